"""The ECG delineation against signals whose waves were put where they are, against a null, and against cardiologists' marks."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.delineate import delineate
from heartlens.signals.pwave_gate import steady

OFFSETS_S = {"P": -0.16, "QRS": 0.0, "T": 0.26}  # of the peaks from the R peak, at 60 bpm
SHAPES = {"P": (0.15, 0.025), "QRS": (1.0, 0.012), "T": (0.3, 0.04)}  # height in mV, standard deviation in s


def wave_times(r_s, bpm):
    """Peaks as the heart has them: P and T nearer to R when it beats faster."""
    pace = np.sqrt(60.0 / bpm)
    return {name: r_s + offset * pace for name, offset in OFFSETS_S.items()}


def ecg(peaks, rate_hz, duration_s, seed=0, noise=0.01):
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    trace = noise * np.random.default_rng(seed).standard_normal(len(time_s)) + 0.1 * np.sin(2 * np.pi * 0.2 * time_s)
    for name, at in peaks.items():
        height, width = SHAPES[name]
        trace += height * np.exp(-(((time_s[:, None] - at) / width) ** 2) / 2).sum(axis=1)
    return trace, time_s


def sinus(rate_hz, bpm, duration_s=30.0):
    peaks = wave_times(np.arange(0.7, duration_s - 0.6, 60.0 / bpm), bpm)
    return ecg(peaks, rate_hz, duration_s)[0], peaks


def fibrillation(rate_hz, duration_s=40.0, seed=0):
    rng = np.random.default_rng(seed)
    r_s = 0.7 + np.cumsum(rng.uniform(0.5, 1.0, 100))
    peaks = wave_times(r_s[r_s < duration_s - 0.6], 75.0)
    trace, time_s = ecg({name: peaks[name] for name in ("QRS", "T")}, rate_hz, duration_s, seed)
    wobble = np.cumsum(rng.normal(0, 0.3 / np.sqrt(rate_hz), len(time_s)))
    return trace + 0.06 * np.sin(2 * np.pi * 6.0 * time_s + wobble), peaks


def furthest_ms(found, true):
    assert len(found) > 0
    return 1000 * max(np.min(np.abs(found - time)) for time in true[1:-1])


@pytest.mark.parametrize("rate_hz", [100.0, 250.0, 500.0])
@pytest.mark.parametrize("bpm", [50, 75, 110])
def test_every_wave_is_found_where_it_was_put(rate_hz, bpm):
    signal, peaks = sinus(rate_hz, bpm)
    found = delineate(signal, rate_hz, "ecg")
    for name, true in peaks.items():
        assert furthest_ms(found.peaks_s(name), true) <= {"QRS": 8, "P": 20, "T": 20}[name]
        assert len(found.peaks_s(name)) <= len(true)
    assert np.array_equal(found.beat_s, found.peaks_s("QRS"))


def test_a_wave_reaches_from_two_to_three_standard_deviations_around_its_peak():
    signal, _ = sinus(500.0, 60)
    found = delineate(signal, 500.0, "ecg")
    for name, (_, width) in SHAPES.items():
        own = found.wave == name
        for edge in (found.peak_s - found.onset_s, found.offset_s - found.peak_s):
            assert 1.7 * width <= np.median(edge[own]) <= 3.5 * width


def test_every_wave_has_finite_edges_in_order():
    found = delineate(*_args(sinus(250.0, 80)[0], 250.0))
    assert np.all(found.onset_s < found.peak_s)
    assert np.all(found.peak_s < found.offset_s)
    assert np.all(np.diff(found.peak_s) > 0)
    assert found.span_s == (0.0, 30.0)


def _args(signal, rate_hz):
    return signal, rate_hz, "ecg"


def test_an_inverted_lead_has_the_same_landmarks():
    signal, peaks = sinus(250.0, 70)
    found = delineate(-signal, 250.0, "ecg")
    for name, true in peaks.items():
        assert furthest_ms(found.peaks_s(name), true) <= 20


@pytest.mark.parametrize("start_s", [0.1, 0.45, 0.7])
def test_tall_t_waves_are_no_beats_where_the_recording_begins(start_s):
    r_s = np.arange(start_s, 19.5, 0.85)
    peaks = {"QRS": r_s, "T": r_s + 0.26}
    trace, time_s = ecg(peaks, 250.0, 20.0)
    trace += 0.5 * np.exp(-(((time_s[:, None] - peaks["T"]) / 0.025) ** 2) / 2).sum(axis=1)
    found = delineate(trace, 250.0, "ecg").beat_s
    assert furthest_ms(r_s, found) <= 10
    assert found[0] >= start_s - 0.01
    assert len(found) <= len(r_s)


def test_scale_and_offset_change_nothing():
    signal, _ = sinus(250.0, 70, 12.0)
    plain, scaled = delineate(signal, 250.0, "ecg"), delineate(2000 * signal + 9000, 250.0, "ecg")
    np.testing.assert_allclose(plain.peak_s, scaled.peak_s, atol=0.003)


@pytest.mark.parametrize("rate_hz", [100.0, 250.0, 500.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_in_fibrillation_p_is_absent_and_qrs_is_not(rate_hz, seed):
    signal, peaks = fibrillation(rate_hz, seed=seed)
    found = delineate(signal, rate_hz, "ecg")
    assert furthest_ms(found.peaks_s("QRS"), peaks["QRS"]) <= 10
    assert len(found.peaks_s("P")) <= 0.1 * len(found.beat_s)


def test_p_is_absent_where_there_are_too_few_beats_to_tell():
    signal, _ = sinus(250.0, 60, 4.0)
    assert len(delineate(signal, 250.0, "ecg").peaks_s("P")) == 0


def test_the_gate_opens_where_fibrillation_ends():
    rng = np.random.default_rng(1)
    believed = steady(np.concatenate([rng.uniform(40, 260, 40), rng.normal(160, 4, 40)]))
    assert believed[:25].sum() == 0
    assert believed[-25:].all()


def test_a_missing_p_wave_is_not_believed():
    assert steady(np.array([160.0, 161, np.nan, 159, 160, 162])).tolist() == [True, True, False, True, True, True]


NOISE = np.random.default_rng(0).standard_normal(5000)
UNUSABLE = {
    "flat": (np.full(5000, 0.3), "flat"),
    "almost flat": (np.where(np.arange(5000) == 2000, 1.0, 0.0), "no beats found"),
    "short": (sinus(250.0, 60)[0][:500], "too short"),
    "noise": (NOISE, "no beats found|unlike each other"),
    "random walk": (np.cumsum(NOISE), "unlike each other"),
    "gap": (np.where(np.arange(5000) < 20, np.nan, NOISE), "20 samples are missing"),
    "empty": (np.zeros(0), "too short"),
}


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
@pytest.mark.parametrize("case", list(UNUSABLE))
def test_a_signal_without_beats_is_refused_in_one_line(case, kind):
    signal, reason = UNUSABLE[case]
    if kind == "ppg" and case == "short":
        reason = "too short"
    with pytest.raises(Refusal, match=reason) as refusal:
        delineate(signal, 250.0, kind)
    assert "\n" not in str(refusal.value)


def test_a_slow_rate_and_an_unknown_kind_are_refused():
    with pytest.raises(Refusal, match="too low"):
        delineate(NOISE, 10.0, "ecg")
    with pytest.raises(Refusal, match="did you mean 'ecg'"):
        delineate(NOISE, 100.0, "ekg")


def test_importing_it_loads_no_detector():
    import subprocess
    import sys

    code = "import sys, heartlens.signals.delineate; sys.exit(any(name in sys.modules for name in ('neurokit2', 'scipy.signal', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("record", ["1", "101", "177"])
def test_qrs_of_cardiologists_are_found(shared, record):
    wfdb = pytest.importorskip("wfdb")
    path = str(shared / "data/ludb" / record)
    marks = wfdb.rdann(path, "i")
    true = marks.sample[np.array(marks.symbol) == "N"] / 500.0
    true = true[(true > 2) & (true < 8)]
    found = delineate(wfdb.rdrecord(path, channel_names=["i"]).p_signal[:, 0], 500.0, "ecg")
    near = [np.min(np.abs(found.beat_s - time)) <= 0.05 for time in true]
    assert np.mean(near) >= 0.95
    assert np.sum((found.beat_s > 1.9) & (found.beat_s < 8.1)) <= len(true) + 1
