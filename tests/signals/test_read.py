"""Reading as a user does: files, folders and patterns in, labelled windows out, and what is said about the rest."""

import subprocess
import sys

import numpy as np
import pytest
import wfdb

from heartlens.refusal import Refusal
from heartlens.signals import windowing
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.quality import usable
from heartlens.signals.read import read
from heartlens.signals.tokens import tokenise

NOISE = np.random.default_rng(0).normal(size=200_000)


@pytest.fixture(autouse=True)
def detected(monkeypatch, request):
    """A detector that finds a beat every 0.8 s from 0.5 s on, so that these tests do not depend on how well the real one works.

    Nor is it asked whether the noise they read is a heart signal: test_quality does.
    """

    def delineate(signal, rate_hz, kind, habits=None):
        assert np.isfinite(signal).all()
        if np.abs(signal).max() > 1000:
            raise Refusal("no beats found")
        end_s = len(signal) / rate_hz
        beat_s = np.arange(0.5, end_s, 0.8)
        names = np.array(["QRS" if kind == "ecg" else "foot"] * len(beat_s))
        return Landmarks(kind, beat_s, names, beat_s - 0.05, beat_s, beat_s + 0.05, (0.0, end_s), "test")

    if "shared" not in request.fixturenames:
        monkeypatch.setattr(windowing, "landmarks_of", delineate)
        monkeypatch.setattr(windowing, "usable", lambda recording, kind, polarity: usable(recording, kind, "as-is"))


def csv(path, signal, header="II"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n" + "\n".join(f"{value:.17g}" for value in signal) + "\n")
    return path


def marked_record(folder, first_s=2.0, n_beats=12, signal=None):
    """A 20 s WFDB record at 250 Hz whose lead `i` has expert marks, a beat a second from `first_s` on."""
    signal = NOISE[:5000] if signal is None else signal
    wfdb.wrsamp("r", 250, ["mV"], ["i"], signal[:, None], fmt=["16"], write_dir=str(folder))
    marks = [(round((first_s + beat) * 250) + at, symbol) for beat in range(n_beats) for at, symbol in ((-10, "("), (0, "N"), (10, ")"))]
    wfdb.wrann("r", "i", np.array([at for at, _ in marks]), [symbol for _, symbol in marks], write_dir=str(folder))
    return folder / "r.hea"


def test_a_table_at_the_models_rate_is_cut_as_it_is(tmp_path):
    path = csv(tmp_path / "a.csv", NOISE[:1700])
    windows = read(str(path), rate_hz=100)
    assert windows.kind == "ecg"
    assert windows.start_s.tolist() == [0.0, 5.0, 10.0]
    assert (windows.tokens[2] == tokenise(NOISE[1000:1500])).all()
    assert windows.records == [f"{tmp_path.name}/a"]
    assert windows.sources[0].startswith(f"{path} sha256:")
    assert windows.notes == ("landmarks detected: the file has no expert marks that could be used", "landmarks: test")


def test_the_lead_tells_the_kind_before_the_user_does(tmp_path):
    assert read(csv(tmp_path / "a.csv", NOISE[:1000], "PLETH"), rate_hz=50).kind == "ppg"
    assert read(csv(tmp_path / "b.csv", NOISE[:1000], "II"), rate_hz=50, kind="ppg").kind == "ecg"
    assert read(csv(tmp_path / "c.csv", NOISE[:1000], "R"), rate_hz=50, kind="ppg").kind == "ppg"


def test_expert_marks_give_the_span_and_the_labels(tmp_path):
    windows = read(marked_record(tmp_path))
    assert windows.start_s[0] >= 1.96
    assert windows.start_s[1] == pytest.approx(windows.start_s[0] + 5)
    time_s = windows.start_s[:, None] + np.arange(500) / 100
    assert windows.position == pytest.approx(time_s - 2, abs=1e-6)
    assert ((windows.wave == 1) == (np.abs((time_s + 0.5) % 1 - 0.5) < 0.0401)).all()
    assert "landmarks: expert, annotator i (beats); P and T: test" in windows.notes


def test_expert_marks_keep_their_times_after_a_gap(tmp_path):
    signal = NOISE[:5000].copy()
    signal[2000:2075] = np.nan
    windows = read(marked_record(tmp_path, n_beats=18, signal=signal))
    assert 1.96 <= windows.start_s[0] <= 3.0
    assert windows.start_s[1:].tolist() == [8.3, 13.3]
    assert windows.position[1:] == pytest.approx(windows.start_s[1:, None] + np.arange(500) / 100 - 2, abs=1e-6)


def test_marks_shorter_than_a_window_are_not_used_and_that_is_said(tmp_path):
    path = marked_record(tmp_path, n_beats=4)
    windows = read(path)
    assert windows.start_s.tolist() == [0.0, 5.0, 10.0, 15.0]
    assert "landmarks detected: the expert's marks cover 3.1 s, less than a window" in windows.notes
    with pytest.raises(
        Refusal, match=r"the expert's marks cover 3\.1 s, less than a window; give --landmarks auto or --landmarks detected"
    ):
        read(path, landmarks="expert")


def test_detected_is_detected_even_where_an_expert_was(tmp_path):
    windows = read(marked_record(tmp_path), landmarks="detected")
    assert len(windows) == 4
    assert "landmarks: test" in windows.notes


def test_gaps_and_flat_parts_cost_windows_and_are_counted(tmp_path):
    signal = NOISE[:5000].copy()
    signal[700:730] = np.nan
    signal[3000:3400] = 0.25
    windows = read(csv(tmp_path / "a.csv", signal), rate_hz=100)
    assert windows.start_s == pytest.approx([0.0, *np.arange(7.3, 25.1, 5.0), *np.arange(34.0, 49.0, 5.0)])
    assert dict(windows.skipped) == {"missing samples": 1, "flat window": 1}
    first = round(windows.start_s[-1] * 100)
    assert (windows.tokens[-1] == tokenise(signal[first : first + 500])).all()


def test_a_stretch_without_beats_does_not_end_the_recording(tmp_path):
    signal = NOISE[:3000].copy()
    signal[1000:1030] = np.nan
    signal[500] = 2000
    windows = read(csv(tmp_path / "a.csv", signal), rate_hz=100)
    assert windows.start_s.min() == 10.3
    assert dict(windows.skipped)["no waves found"] == 2


def test_the_stride_and_the_evenly_spread_choice(tmp_path):
    path = csv(tmp_path / "a.csv", NOISE[:5000])
    assert len(read(path, rate_hz=100, stride=250)) == 19
    chosen = read(path, rate_hz=100, max_windows=3)
    assert chosen.start_s.tolist() == [0.0, 20.0, 45.0]
    assert chosen.skipped == (("more than max_windows", 7),)
    assert len(read(path, rate_hz=100, max_windows=99)) == 10


def test_the_band_is_applied_only_when_asked_for(tmp_path):
    drifting = NOISE[:5000] + 50 * np.sin(np.arange(5000) / 500)
    path = csv(tmp_path / "a.csv", drifting)
    span = {asked: np.median(read(path, rate_hz=250, bandpass=asked).high) for asked in (False, True)}
    assert span[False] > 20
    assert span[True] < 5


def test_a_folder_gives_its_recordings_and_names_what_it_skips(tmp_path):
    csv(tmp_path / "x/PPG.csv", NOISE[:1000], "PPG")
    csv(tmp_path / "y/PPG.csv", NOISE[1000:2000], "PPG")
    csv(tmp_path / "y/table.csv", ["1"] * 0 + [1.0, 2.0], "age")
    csv(tmp_path / "y/trend.csv", np.arange(1000.0), "PPG")
    windows = read(tmp_path, rate_hz=50)
    assert windows.records == ["x/PPG", "y/PPG"]
    assert dict(windows.skipped) == {"file that is no recording": 1, "recording without a usable window": 1}
    assert [
        any(said in note for note in windows.notes) for said in ("table.csv: cannot tell ECG from PPG", "it is a counter or a time")
    ] == [True, True]


def test_a_pattern_a_list_and_a_path_twice(tmp_path):
    (tmp_path / "empty").mkdir()
    for number, name in enumerate("ab"):
        csv(tmp_path / f"{name}.csv", NOISE[1000 * number : 1000 + 1000 * number])
    assert len(read(str(tmp_path / "?.csv"), rate_hz=100)) == 4
    assert len(read([tmp_path / "a.csv", tmp_path, tmp_path / "empty/../b.csv"], rate_hz=100)) == 4


def test_equal_names_are_told_apart_by_more_of_their_path(tmp_path):
    for number, folder in enumerate(("p/x", "q/x")):
        csv(tmp_path / folder / "1.csv", NOISE[1000 * number : 1000 + 1000 * number])
    np.save(tmp_path / "q/x/1.npy", NOISE[2000:3000])
    assert len(read(tmp_path, rate_hz=100, kind="ecg").records) == 3


def test_a_recording_without_window_beside_a_good_one_is_skipped(tmp_path):
    good, short = csv(tmp_path / "good.csv", NOISE[:1000]), csv(tmp_path / "short.csv", NOISE[:300])
    windows = read([good, short], rate_hz=100)
    assert windows.skipped == (("recording without a usable window", 1),)
    assert f"skipped {short}: the recording lasts 3.00 s; a window needs 5 s" in windows.notes


def test_a_bad_file_beside_good_ones_is_reported_and_left_out_unless_strict(tmp_path):
    good, bad = csv(tmp_path / "good.csv", NOISE[:1000]), csv(tmp_path / "bad.csv", NOISE[:1000], "R")
    other = csv(tmp_path / "other.csv", NOISE[1000:2000])
    windows = read([good, bad, other], rate_hz=100)
    assert windows.records == [f"{tmp_path.name}/good", f"{tmp_path.name}/other"]
    assert windows.skipped == (("file that cannot be read", 1),)
    assert sum("bad.csv: cannot tell ECG from PPG" in note for note in windows.notes) == 1
    for paths in ([good, bad], tmp_path):
        with pytest.raises(Refusal, match=r"bad\.csv: cannot tell ECG from PPG"):
            read(paths, rate_hz=100, strict=True)
    short = csv(tmp_path / "short.csv", NOISE[:300])
    with pytest.raises(Refusal, match=r"short\.csv: the recording lasts 3\.00 s"):
        read([good, short], rate_hz=100, strict=True)


@pytest.mark.parametrize(
    ("signal", "header", "options", "message"),
    [
        (NOISE[:1000], "R", {}, "cannot tell ECG from PPG by the name 'R'; give the kind"),
        (NOISE[:1000], "II", {"rate_hz": None}, "missing rate"),
        (NOISE[:1000], "II", {"rate_hz": 0.0}, "the rate is 0 Hz"),
        (NOISE[:1000], "II", {"rate_hz": -1.0}, "the rate is -1 Hz"),
        (NOISE[:1000], "II", {"rate_hz": np.inf}, "the rate is inf Hz"),
        (NOISE[:1000], "II", {"rate_hz": 10.0}, "10 Hz is too slow for ECG; at least 50 Hz"),
        (NOISE[:1000], "II", {"kind": "eeg"}, "unknown kind 'eeg'; did you mean 'ecg'"),
        (NOISE[:1000], "II", {"landmarks": "none"}, "unknown landmarks 'none'"),
        (NOISE[:1000], "II", {"landmarks": "expert"}, "no expert marks that could be used; give --landmarks auto"),
        (NOISE[:1000], "II", {"lead": "V9"}, "unknown lead 'V9'"),
        (NOISE[:1000], "II", {"stride": 0}, "stride is 0; it must be at least 1"),
        (NOISE[:1000], "II", {"max_windows": 0}, "max_windows is 0"),
        (NOISE[:499], "II", {}, r"the recording lasts 4\.99 s; a window needs 5 s"),
        (np.full(1000, 7.0), "II", {}, r"no usable window \(flat window: 2\)"),
        (np.full(1000, np.nan), "II", {}, "no rows of numbers"),
        (np.where(np.arange(1000) % 400 < 30, np.nan, NOISE[:1000]), "II", {}, r"no usable window \(missing samples: 2\)"),
        (np.arange(1000.0), "II", {}, "II rises from first to last sample"),
        (NOISE[:1000] + 5000, "II", {}, r"no usable window \(no waves found: 2\); no beats found"),
    ],
)
def test_refusals(tmp_path, signal, header, options, message):
    path = csv(tmp_path / "a.csv", signal, header)
    with pytest.raises(Refusal, match=message) as refusal:
        read(path, **{"rate_hz": 100.0} | options)
    assert "\n" not in str(refusal.value)


def test_a_text_that_is_no_table_is_no_recording_of_a_folder(tmp_path):
    csv(tmp_path / "good.csv", NOISE[:1000])
    (tmp_path / "LICENSE.txt").write_text("The data are intended for research.\nNo 1 may sell them.\n")
    windows = read(tmp_path, rate_hz=100)
    assert windows.skipped == ()
    assert any("1 .txt" in note for note in windows.notes)


def test_refusals_of_paths(tmp_path):
    good = csv(tmp_path / "good.csv", NOISE[:1000])
    bad = csv(tmp_path / "bad.csv", NOISE[:1000], "R")
    ppg = csv(tmp_path / "z/ppg.csv", NOISE[1:1001], "PPG")
    (tmp_path / "empty").mkdir()
    for paths, message in (
        ([], "no files were given"),
        (tmp_path / "none.csv", "no such file or folder"),
        (tmp_path / "empty", "no file here that a reader knows"),
        (str(tmp_path / "*.xyz"), "the pattern matches no file"),
        ([bad, bad.with_name("bad.csv")], r"bad\.csv: cannot tell ECG from PPG"),
        ([good, ppg], "windows of ecg and ppg cannot be mixed"),
    ):
        with pytest.raises(Refusal, match=message):
            read(paths, rate_hz=100)


def test_a_folder_of_which_nothing_can_be_used_is_refused_with_the_first_reason(tmp_path):
    for name in "ab":
        csv(tmp_path / f"{name}.csv", NOISE[:1000])
    with pytest.raises(Refusal, match=r"a\.csv: missing rate; .*\(and 1 more files without a usable window\)"):
        read(tmp_path)


def test_importing_the_reader_is_light():
    heavy = "{'pandas', 'scipy', 'wfdb', 'torch', 'neurokit2', 'matplotlib', 'xarray'}"
    code = f"import sys, heartlens.signals.read; print({heavy} & {{name.split('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_ludb_as_a_user_reads_it(shared):
    windows = read(shared / "data/ludb", lead="ii", landmarks="expert")
    assert len(windows.records) >= 45
    assert (windows.segment >= 0).all()
    r_peaks = windows.tokens[(windows.phase < 0.005) & (windows.wave == 1)]
    assert np.median(r_peaks) > 60
    assert any("ludb_subset.csv: " in note for note in windows.notes)


def test_qtdb_mitdb_and_the_published_examples_as_a_user_reads_them(shared):
    starts = read(shared / "data/qtdb/sel100.hea").start_s
    assert 601.09 <= starts[0] <= 604.79
    assert np.diff(starts) == pytest.approx([5, 5, 5])
    assert len(read(shared / "data/mitdb/100.hea", lead="MLII", max_windows=20)) == 20
    published = read(shared / "heartgpt/Example_inputs/example_context_ECG.csv", rate_hz=100, kind="ecg")
    golden = np.load(shared / "heartgpt/golden/ECGPT_560k_iters.npz")
    assert (published.tokens[0] == golden["tokens"][0]).all()


def test_bidmc_and_welltory_as_a_user_reads_them(shared):
    windows = read(shared / "data/bidmc/bidmc_27_Signals.csv", lead="PLETH", rate_hz=125)
    assert len(windows) == 47
    assert windows.skipped == (("cut off at a rail", 1),)  # from 460 s on, where the sensor moves
    camera = [shared / f"data/welltory/subject_0{n}" for n in (3, 5)]
    with pytest.raises(Refusal, match="R is upside down: its pulses fall more steeply than they rise; give --invert"):
        read(camera, kind="ppg")
    windows = read(camera, kind="ppg", polarity="invert")
    assert windows.records == ["subject_03/PPG", "subject_05/PPG"]
    assert len(windows) >= 14
