"""Small recordings as devices, archives and programs write them: read right, or refused in one line that names what to give."""

import warnings

import edfio
import numpy as np
import pytest
import wfdb

from heartlens.refusal import Refusal
from heartlens.signals.missing import bridged
from heartlens.signals.quality import usable
from heartlens.signals.readers import read_recording
from heartlens.signals.simulate import ecg, ppg

N = 3000
HEART = ecg.simulate(np.random.default_rng(1), 30.0)[0]
PULSE = np.interp(np.arange(N), np.arange(N), np.tile(ppg.simulate(np.random.default_rng(2), 60.0)[0], 1)[:N])
TIME_S = np.arange(N) / 100
OTHER = np.random.default_rng(3).random(N)
COLUMNS = {"heart": HEART, "pulse": PULSE, "other": OTHER, "breath": np.sin(1.5 * TIME_S), "pressure": 40 * PULSE + 80}
COLUMNS |= {"counter": np.arange(N) % 256, "constant": np.full(N, 97.0), "flag": (np.arange(N) % 80 == 0) * 1.0}


def written(path, header, *columns, before="", separator=","):
    rows = "\n".join(separator.join(each if isinstance(each, str) else f"{each:.6g}" for each in row) for row in zip(*columns, strict=True))
    path.write_text(before + (header + "\n" if header else "") + rows + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "columns", "lead", "kind"),
    [
        ("SpO2 waveform,HR,ECG Lead 1 (mV)", "constant constant heart", "ECG Lead 1 (mV)", "ecg"),
        ("ABP,ART,Chan 2: ECG", "pressure pressure heart", "Chan 2: ECG", "ecg"),
        ("CVP,II,PAP", "other heart other", "II", "ecg"),
        ("ax,ay,az,ecg_raw", "other other other heart", "ecg_raw", "ecg"),
        ("Ableitung_II,Atmung", "heart breath", "Ableitung_II", "ecg"),
        ("seq,EEG Fp1,EOG,ECG EKG1", "counter other other heart", "ECG EKG1", "ecg"),
        ("ECG1,ECG2", "heart other", "ECG1", "ecg"),
        ("III,aVR,V1,V2", "heart heart heart heart", "III", "ecg"),
        ("NIRS_HbO,ppg_ir,ppg_green", "other pulse pulse", "ppg_green", "ppg"),
        ("LED_RED,LED_IR,AMB", "pulse pulse other", "LED_IR", "ppg"),
        ("ECG_R_peak,ECG", "flag heart", "ECG", "ecg"),
        ("ECG quality,ECG", "other heart", "ECG", "ecg"),
        ("HeartRate_ECG,leadII", "constant heart", "leadII", "ecg"),
        ("sample interval,ECG", "constant heart", "ECG", "ecg"),
    ],
)
def test_the_heart_is_found_among_other_columns(tmp_path, names, columns, lead, kind):
    path = written(tmp_path / "x.csv", names, *(COLUMNS[name] for name in columns.split()))
    recording = read_recording(path, rate_hz=100.0 if kind == "ecg" else 50.0)
    assert (recording.lead, recording.kind, len(recording.signal)) == (lead, kind, N)
    assert any(f"lead {lead} taken of" in note for note in recording.notes)
    assert usable(bridged(recording), kind).stretches


@pytest.mark.parametrize(
    ("names", "columns", "expected"),
    [
        ("AccX,AccY,AccZ", "other other other", "give --lead"),
        ("ch1,ch2", "heart heart", "there are ch1, ch2"),
        ("Respiration (ECG derived)", "breath", "is respiration"),
        ("index,IBI,Puls", "counter constant pulse", "give --lead"),
    ],
)
def test_columns_that_do_not_tell_are_listed(tmp_path, names, columns, expected):
    path = written(tmp_path / "x.csv", names, *(COLUMNS[name] for name in columns.split()))
    with pytest.raises(Refusal, match=expected):
        read_recording(path, rate_hz=100.0)


def clock(form):
    return [form(second) for second in TIME_S]


@pytest.mark.parametrize(
    ("names", "times"),
    [
        ("Time (min),ECG", [f"{each / 60:.9g}" for each in TIME_S]),
        ("t[us],ECG", [f"{each * 1e6:.0f}" for each in TIME_S]),
        ("epoch,ECG", [f"{1.7e9 + each:.3f}" for each in TIME_S]),
        ("Timestamp (ns),ECG", [str(1_700_000_000_000_000_000 + round(each * 1e9)) for each in TIME_S]),
        ("time,ECG", clock(lambda each: f"00:{int(each) // 60:02d}:{each % 60:06.3f}")),
        ("datetime,ECG", clock(lambda each: f"2024-03-01T10:00:{each:06.3f}+01:00")),
        ("time,ECG", clock(lambda each: f"03/01/2024 10:00:{each:06.3f} AM")),
        ("time,ECG", clock(lambda each: f"23:59:{50 + each:06.3f}" if each < 10 else f"00:00:{each - 10:06.3f}")),
    ],
)
def test_times_in_other_units_and_forms(tmp_path, names, times):
    recording = read_recording(written(tmp_path / "x.csv", names, times, HEART))
    assert recording.rate_hz == pytest.approx(100, rel=1e-4)
    assert recording.signal == pytest.approx(HEART, abs=1e-5)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (np.where(TIME_S < 15, TIME_S, TIME_S + 86_400), "cut the file at the gaps"),
        ((1000 * TIME_S) % 10_000, "go back by 9.99 s"),
    ],
)
def test_times_that_jump_are_refused(tmp_path, times, expected):
    path = written(tmp_path / "x.csv", "time_ms,ECG" if times.max() < 10_001 else "time,ECG", [f"{each:.9g}" for each in times], HEART)
    with pytest.raises(Refusal, match=expected):
        read_recording(path)


@pytest.mark.parametrize("code", ["#N/A", "NaN", "null", "--", "-", ""])
def test_a_sample_that_is_missing_takes_its_place(tmp_path, code):
    """`#N/A`, as spreadsheets write it, begins like a comment; a line left out would move all that follows."""
    cells = [code if number == 100 else f"{value:.5f}" for number, value in enumerate(HEART)]
    for names, columns in (("I,II", (cells, HEART)), *([("ECG", (cells,))] if code else [])):
        recording = read_recording(written(tmp_path / "x.csv", names, *columns), rate_hz=100.0)
        assert len(recording.signal) == N
        assert np.flatnonzero(np.isnan(recording.signal)).tolist() == [100]
        assert recording.signal[101:] == pytest.approx(HEART[101:], abs=1e-5)


def test_a_missing_first_sample_is_no_start_time(tmp_path):
    """2147483647 is the year 2038 to a clock, and the sample after it would be the rate."""
    samples = np.round(1000 * HEART)
    samples[::700] = 2**31 - 1
    path = written(tmp_path / "x.csv", "ECG", [f"{each:.0f}" for each in samples])
    with pytest.raises(Refusal, match="missing rate"):
        read_recording(path)
    recording = read_recording(path, rate_hz=100.0)
    assert (recording.lead, len(recording.signal)) == ("ECG", N)
    assert np.flatnonzero(np.isnan(recording.signal)).tolist() == list(range(0, N, 700))


@pytest.mark.parametrize("start", ["1700000000.0", "2023-11-14 22:13:20", "2023-11-14T22:13:20.500"])
def test_a_wrist_bands_start_time_may_be_text(tmp_path, start):
    path = written(tmp_path / "BVP.csv", "", [f"{each:.3f}" for each in 100 * PULSE], before=f"{start}\n50.0\n")
    recording = read_recording(path)
    assert (recording.rate_hz, recording.kind, len(recording.signal)) == (50.0, "ppg", N)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("mmHg", "a pressure"),
        ("kPa", "a pressure"),
        ("cmH2O", "a pressure"),
        ("degC", "a temperature"),
        ("L/min", "respiration"),
        ("Ohm", "respiration"),
        ("bpm", "a number"),
        ("%", "a number"),
        ("g", "acceleration"),
    ],
)
def test_a_unit_tells_in_every_format(tmp_path, unit, expected):
    wfdb.wrsamp("w", 100, [unit], ["CH0"], HEART[:, None], fmt=["16"], write_dir=str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edfio.Edf([edfio.EdfSignal(HEART, 100, label="CH0", physical_dimension=unit)]).write(tmp_path / "e.edf")
    written(tmp_path / "c.csv", f"CH0 [{unit}]", HEART)
    for name in ("w.hea", "e.edf", "c.csv"):
        with pytest.raises(Refusal, match=f"is {expected}"):
            read_recording(tmp_path / name, rate_hz=100.0)


def test_a_rate_that_is_given_overrides_that_of_an_edf_file(tmp_path):
    edfio.Edf([edfio.EdfSignal(HEART, 100, label="EKG", physical_dimension="mV")]).write(tmp_path / "e.edf")
    recording = read_recording(tmp_path / "e.edf", rate_hz=200.0)
    assert recording.rate_hz == 200
    assert "200 Hz was given and taken, not the 100 Hz that the file says" in recording.notes
