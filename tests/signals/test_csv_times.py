"""Times of samples: packets, jitter, gaps, damage, clocks that begin anew; and the handed-over cases of tables."""

import resource
import sys

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording

RATE_HZ = 130.0
N = 130 * 60
TIME_S = np.arange(N) / RATE_HZ


def wave(time_s):
    return np.round(np.sin(2 * np.pi * 1.3 * time_s) + 0.3 * np.sin(2 * np.pi * 7.1 * time_s), 6)


def written(path, header, *columns):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]))
    return path


def of_day(time_s):
    return f"{int(time_s) % 86400 // 3600:02d}:{int(time_s) % 3600 // 60:02d}:{time_s % 60:06.3f}"


@pytest.mark.parametrize("blank", [False, True])
@pytest.mark.parametrize("arrival_s", [0.0, 0.1])
def test_one_time_a_packet(tmp_path, blank, arrival_s):
    """73 samples have one time, which comes up to 0.1 s late; two packets in the middle are lost."""
    first = np.arange(N) // 73 * 73
    late = np.random.default_rng(1).uniform(0, arrival_s, N)[first] if arrival_s else np.zeros(N)
    stamps = [f"{1700000000 + time:.3f}" for time in TIME_S[first] + late]
    if blank:
        stamps = [stamp if row == start else "" for row, (stamp, start) in enumerate(zip(stamps, first, strict=True))]
    kept = (first < 73 * 40) | (first >= 73 * 42)
    rows = np.flatnonzero(kept)
    recording = read_recording(written(tmp_path / "a.csv", "timestamp,ecg", [stamps[row] for row in rows], wave(TIME_S)[rows]))
    assert recording.rate_hz == pytest.approx(RATE_HZ, rel=0.002 if arrival_s else 1e-3)
    missing = np.flatnonzero(np.isnan(recording.signal))
    assert missing[0] == 73 * 40
    assert len(missing) == pytest.approx(146, abs=9 if arrival_s else 0)
    assert recording.signal[: 73 * 40].tolist() == wave(TIME_S)[: 73 * 40].tolist()
    assert recording.signal[missing[-1] + 1 :].tolist() == wave(TIME_S)[73 * 42 :].tolist()
    assert "one time for about 73 samples" in recording.notes[0]


def test_jitter_and_small_steps_back_are_resampled(tmp_path):
    time_s = TIME_S + np.random.default_rng(2).normal(0, 0.4 / RATE_HZ, N)
    assert (np.diff(time_s) < 0).any()
    recording = read_recording(written(tmp_path / "a.csv", "time,ecg", np.round(time_s, 5), wave(time_s)))
    assert recording.rate_hz == pytest.approx(RATE_HZ, rel=0.02)
    grid_s = time_s.min() + np.arange(len(recording.signal)) / recording.rate_hz
    off = np.abs(recording.signal - wave(grid_s))
    assert np.nanmedian(off) < 0.01
    assert np.isnan(recording.signal).mean() < 0.01


@pytest.mark.parametrize("digits", [2, 3, 6])
def test_gaps_keep_the_length_and_every_sample(tmp_path, digits):
    kept = np.ones(N, bool)
    for start, length in ((500, 1), (900, 2), (2000, 13), (4000, 1300)):
        kept[start : start + length] = False
    recording = read_recording(written(tmp_path / "a.csv", "time,ecg", np.round(TIME_S, digits)[kept], wave(TIME_S)[kept]))
    assert len(recording.signal) == pytest.approx(N, abs=0 if digits > 2 else 4)
    assert recording.rate_hz == pytest.approx(RATE_HZ, rel=1e-3)
    if digits > 2:
        assert np.isnan(recording.signal).tolist() == (~kept).tolist()
        assert recording.signal[kept].tolist() == wave(TIME_S)[kept].tolist()


@pytest.mark.parametrize("place", [0, 1, 3000, N - 2, N - 1])
@pytest.mark.parametrize("stamp", ["4294967295.0", "0", "-1", "garbage", "", "1e300", "nan"])
def test_a_damaged_time_costs_its_sample(tmp_path, place, stamp):
    stamps = [f"{1700000000 + time:.4f}" for time in TIME_S]
    stamps[place] = stamp
    recording = read_recording(written(tmp_path / "a.csv", "timestamp,ecg", stamps, wave(TIME_S)))
    assert recording.rate_hz == pytest.approx(RATE_HZ, rel=1e-4)
    kept = np.arange(N) != place
    expected = np.where(kept, wave(TIME_S), np.nan)[1 if place == 0 else 0 : N - 1 if place == N - 1 else N]
    assert np.array_equal(recording.signal, expected, equal_nan=True)
    assert "1 sample with" in recording.notes[0]


@pytest.mark.parametrize(
    ("stamps", "header"),
    [
        (lambda: (np.arange(N) * 8000 + 2**32 - 4_000_000) % 2**32, "timestamp_us"),
        (lambda: (np.arange(N) * 8 + 60_000) % 65536, "time_ms"),
        (lambda: [of_day(86390 + n / 125) for n in range(N)], "time"),
        (lambda: [f"{(n // 125) // 60}:{(n // 125) % 60:02d}.{n % 125 * 8:03d}" for n in range(N)], "time"),
    ],
)
def test_clocks_that_begin_anew(tmp_path, stamps, header):
    recording = read_recording(written(tmp_path / "a.csv", f"{header},ecg", stamps(), wave(TIME_S)))
    assert recording.rate_hz == pytest.approx(125, rel=1e-6)
    assert recording.signal.tolist() == wave(TIME_S).tolist()


def test_a_counter_of_samples_shows_what_is_lost(tmp_path):
    kept = np.ones(N, bool)
    kept[1000:1040] = False
    path = written(tmp_path / "a.csv", "packet counter,ecg", (np.arange(N) % 256)[kept], wave(TIME_S)[kept])
    recording = read_recording(path, rate_hz=RATE_HZ)
    assert np.isnan(recording.signal).tolist() == (~kept).tolist()
    assert "40 samples that packet counter skips are left missing" in recording.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda time_s: np.where(np.arange(N) < 3000, time_s, time_s - 10), "go back by 9.99.* s after 3000 samples; give --rate"),
        (lambda time_s: time_s[::-1], "go back"),
        (lambda time_s: np.where(np.arange(N) < 3000, time_s, time_s + 1e8), "times as long as the samples; cut the file at the gaps"),
        (lambda time_s: np.random.default_rng(3).permutation(time_s), "go back"),
    ],
)
def test_times_that_are_refused(tmp_path, change, message):
    path = written(tmp_path / "a.csv", "time [s],ecg", np.round(change(TIME_S), 4), wave(TIME_S))
    with pytest.raises(Refusal, match=message):
        read_recording(path)
    assert read_recording(path, rate_hz=RATE_HZ).signal.tolist() == wave(TIME_S).tolist()


CASES = {  # file: lead, rate, samples, the first ones, missing
    "01-e4-bvp-two-line-preamble/BVP_made.csv": ("BVP_made", 64, 3840, [31.75, 40.70], 0),
    "01-e4-bvp-two-line-preamble/BVP_real_cut.csv": ("BVP_real_cut", 64, 5760, [-7.27, -13.06], 0),
    "03-watch-ecg-preamble-and-decimal-comma/ecg_en_preamble.csv": ("Lead I", 512.407, 15360, [-145.0, -145.175], 0),
    "04-strap-logger-ns-and-datetime/ECG_logger.csv": ("ecg [uV]", 130, 7800, [-145, -145], 0),
    "04-strap-logger-ns-and-datetime/ECG_logger.txt": ("ecg [uV]", 130, 7800, [-145, -145], 0),
    "04-strap-logger-ns-and-datetime/ecg_time_in_ns.csv": ("ecg", 130, 7800, [-145, -145], 0),
    "05-channel-chosen-among-unfamiliar-names/monitor_abp_first.csv": ("ECG lead II", 125, 7500, [0.8, 0.8], 0),
    "05-channel-chosen-among-unfamiliar-names/acc_first_for_ppg.csv": ("ppg_ir", 125, 7500, [0.654, 0.6823], 0),
    "17-encodings-and-separators/latin1_microvolt.csv": ("ECG [µV]", 100, 3000, [-0.1443], 0),
    "17-encodings-and-separators/openbci.csv": ("EXG Channel 1", 100, 3000, [-144.3], 0),
    "17-encodings-and-separators/sep_line.csv": ("A_ECG_LL-RA_24BIT_CAL", 100, 3000, [-0.1443], 0),
    "19-phone-camera-timestamps/three_lost_each_3s.csv": ("ppg", 100, 6000, [0.654], 60),
    "24-one-corrupt-timestamp/last_stamp_all_ones.csv": ("ecg", 100, 5999, [-0.1443], 0),
    "25-archive-csv-export/samples_seconds.csv": ("MLII", 360, 10800, [-0.145], 0),
    "29-milliseconds-at-1000-hz/time_in_ms_step_1.csv": ("ecg", 1000, 30000, [-0.145], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_handed_over_cases(shared, case):
    lead, rate_hz, n_samples, first, n_missing = CASES[case]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recording = read_recording(shared / "cases" / case)
    assert recording.lead == lead
    assert recording.rate_hz == pytest.approx(rate_hz, rel=1e-4)
    assert len(recording.signal) == n_samples
    assert recording.signal[: len(first)].tolist() == first
    assert np.isnan(recording.signal).sum() == n_missing
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sys.platform == "darwin" or grown_kb < 300_000


def test_handed_over_cases_that_name_no_rate(shared):
    cases = shared / "cases"
    comma = read_recording(cases / "03-watch-ecg-preamble-and-decimal-comma/ecg_de_values_only_uV.csv", rate_hz=512.407)
    point = read_recording(cases / "03-watch-ecg-preamble-and-decimal-comma/ecg_en_preamble.csv")
    assert comma.signal.tolist() == point.signal.tolist()
    assert (point.unit, point.kind, comma.kind) == ("uV", "ecg", "ecg")
    for name, first in (("header_0_no_index.csv", -0.1443), ("ppg_counts_header_0_no_index.csv", 2105)):
        recording = read_recording(cases / "16-table-written-by-pandas" / name, rate_hz=100)
        assert (len(recording.signal), recording.signal[0]) == (3000, first)
    exg = read_recording(cases / "34-wrapping-sample-counter-first/exg_250hz.csv", rate_hz=250, kind="ecg")
    assert exg.lead == "EXG Channel 1"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("GSR", 3 + 0.004 * np.arange(N)),
        ("pressure", 1000 + 0.02 * np.arange(N)),
        ("temp_skin", 30 + 0.0005 * np.arange(N)),
        ("volume", np.cumsum(np.random.default_rng(0).uniform(0.01, 0.03, N))),
    ],
)
def test_what_rises_and_is_no_time_by_its_name_or_its_steps_gives_no_rate(tmp_path, name, values):
    path = tmp_path / "x.csv"
    rows = [f"{value:.6f},{sample:.4f}" for value, sample in zip(values, np.sin(np.arange(N) / 9), strict=True)]
    path.write_text("\n".join([f"{name},PPG", *rows]))
    with pytest.raises(Refusal, match=r"missing rate.*--rate"):
        read_recording(path)


def test_even_steps_of_a_name_that_says_nothing_are_taken_for_seconds_and_said(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["x,PPG", *(f"{0.02 * place:.2f},{np.sin(place / 9):.4f}" for place in range(N))]))
    recording = read_recording(path)
    assert recording.rate_hz == pytest.approx(50)
    assert "times of 'x' taken for seconds" in recording.notes[0]


@pytest.mark.parametrize("given_hz", [125.5, 126, 126.2])
def test_a_given_rate_that_is_not_quite_that_of_the_times_is_told(tmp_path, given_hz):
    path = written(tmp_path / "a.csv", "time,ecg", [f"{n / 125:.3f}" for n in range(N)], wave(TIME_S))
    recording = read_recording(path, rate_hz=given_hz)
    assert recording.rate_hz == given_hz
    assert f"{given_hz:g} Hz was given and taken, the times make 125 Hz" in recording.notes[0]
    assert "given" not in read_recording(path, rate_hz=125).notes[0]


@pytest.mark.parametrize("text", ["time,ecg\n0.0,1.5\n", "time,ecg\n10:00:00,1.5\n", "time,ecg\n,1.5\n0.1,1.2\n"])
def test_one_sample_with_a_time_is_told(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(Refusal, match="there is one sample"):
        read_recording(tmp_path / "a.csv")


def test_the_column_that_holds_no_numbers_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("time;ecg\n" + "\n".join(f"{8000 * n:,.1f};7,254.9" for n in range(300)).replace("0.0;", "0;", 1))
    with pytest.raises(Refusal, match=r"ecg holds '7,254\.9'"):
        read_recording(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("time;ecg;resp\n" + ";7,254.9;7,254.9\n" * 300)
    with pytest.raises(Refusal, match=r"ecg holds '7,254\.9'"):
        read_recording(tmp_path / "a.csv")
