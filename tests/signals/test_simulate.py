"""Simulated signals are the truth that other tests compare with: here their landmarks are compared with the waveforms themselves."""

import numpy as np
import pytest

from heartlens.axes import KINDS
from heartlens.refusal import Refusal
from heartlens.signals.landmarks import NONE
from heartlens.signals.simulate import ecg, ppg, simulated
from heartlens.signals.simulate.rhythms import FLOOR_S, RHYTHMS

SIMULATE = {"ecg": ecg.simulate, "ppg": ppg.simulate}
SEEDS = range(8)
EXTREMUM = {"foot": -1, "systolic_peak": 1, "dicrotic_notch": -1, "diastolic_peak": 1}


def waves(kind, seed, rhythm="sinus", duration_s=30.0, **options):
    """The waves alone, and the landmarks."""
    return SIMULATE[kind](np.random.default_rng(seed), duration_s, rhythm, disturbed=False, **options)


def of(landmarks, wave):
    """Onset, peak and offset of one wave, a column each."""
    chosen = landmarks.wave == wave
    return np.column_stack([landmarks.onset_s[chosen], landmarks.peak_s[chosen], landmarks.offset_s[chosen]])


def intervals(rhythm, seed, rate_bpm=80.0, duration_s=1800.0):
    return np.diff(RHYTHMS[rhythm](np.random.default_rng(seed), duration_s, rate_bpm).beat_s)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_a_seed_gives_the_same_bits_and_another_seed_others(kind, rhythm):
    (first, marks), (again, marks_again) = (SIMULATE[kind](np.random.default_rng(3), 12.0, rhythm) for _ in range(2))
    other, _ = SIMULATE[kind](np.random.default_rng(4), 12.0, rhythm)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(marks.peak_s, marks_again.peak_s)
    assert len(first) == 12 * KINDS[kind].rate_hz
    assert np.corrcoef(first, other)[0, 1] < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_disturbance_changes_the_trace_a_little_and_the_landmarks_not_at_all(kind):
    clean, clean_marks = waves(kind, 5)
    trace, marks = SIMULATE[kind](np.random.default_rng(5), 30.0)
    np.testing.assert_array_equal(marks.peak_s, clean_marks.peak_s)
    assert 0 < np.std(trace - clean) < 0.1 * np.ptp(clean)


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("rate_bpm", [60.0, 75.0, 100.0])
def test_the_heart_rate_is_the_one_asked_for(rhythm, rate_bpm):
    assert 60 / intervals(rhythm, 1, rate_bpm).mean() == pytest.approx(rate_bpm, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_marked_beats_come_at_the_rate_asked_for(kind, seed):
    _, landmarks = waves(kind, seed, duration_s=60.0, rate_bpm=72.0)
    assert 60 / np.diff(landmarks.beat_s).mean() == pytest.approx(72.0, rel=0.02)


def test_fibrillation_is_irregularly_irregular_and_sinus_is_not():
    for seed in SEEDS:
        regular, irregular = intervals("sinus", seed), intervals("af", seed)
        assert np.std(regular) / regular.mean() < 0.07
        assert 0.2 < np.std(irregular) / irregular.mean() < 0.25
        assert irregular.min() >= FLOOR_S
        assert abs(np.corrcoef(irregular[:-1], irregular[1:])[0, 1]) < 0.1
        assert np.corrcoef(regular[:-1], regular[1:])[0, 1] > 0.3


def test_an_ectopic_beat_comes_early_and_is_followed_by_a_full_compensatory_pause():
    rhythm = RHYTHMS["ectopy"](np.random.default_rng(0), 600.0, 70.0)
    early = np.flatnonzero(rhythm.ectopic)[:-1]
    assert 0.14 < rhythm.ectopic.mean() < 0.24
    before, after = rhythm.interval_s[early], rhythm.interval_s[early + 1]
    assert np.all(before < 0.8 * 60 / 70)
    np.testing.assert_allclose(before + after, 2 * 60 / 70, rtol=0.15)


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_ecg_waves_peak_where_they_are_marked(rhythm, seed):
    trace, landmarks = waves("ecg", seed, rhythm)
    for wave in ("QRS",) if rhythm == "af" else KINDS["ecg"].waves:  # fibrillatory waves move the peak of T
        for onset, peak, offset in np.round(of(landmarks, wave) * 100).astype(int):
            if onset >= 0 and offset < len(trace):
                highest = onset + np.argmax(np.abs(trace[onset : offset + 1]))
                assert abs(highest - peak) <= 1, (wave, peak)


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_pulse_landmarks_are_local_extrema_of_the_pulses(rhythm, seed):
    trace, landmarks = waves("ppg", seed, rhythm)
    np.testing.assert_array_equal(landmarks.beat_s, landmarks.peaks_s("foot"))
    for name, sign in EXTREMUM.items():
        slope = np.sign(np.diff(sign * trace))
        extrema = (np.flatnonzero((slope[:-1] > 0) & (slope[1:] < 0)) + 1) / 50
        inside = landmarks.peaks_s(name)[1:-1]
        assert len(inside) > 20
        assert np.abs(inside[:, None] - extrema).min(axis=1).max() <= 1 / 50, name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sinus_cycle_has_every_wave_once_and_in_order(seed):
    for kind, order in (("ecg", ["QRS", "T", "P"]), ("ppg", ["foot", "systolic_peak", "dicrotic_notch", "diastolic_peak"])):
        _, landmarks = waves(kind, seed)
        first, last = landmarks.span_s
        names = landmarks.wave[(landmarks.peak_s >= first - 1e-9) & (landmarks.peak_s < last - 1e-9)]
        assert names.tolist() == order * (len(landmarks.beat_s) - 1)


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_waves_begin_peak_and_end_in_this_order_and_those_of_an_ecg_do_not_overlap(rhythm, seed):
    for kind in KINDS:
        _, landmarks = waves(kind, seed, rhythm)
        assert np.all(landmarks.onset_s < landmarks.peak_s)
        assert np.all(landmarks.peak_s < landmarks.offset_s)
        assert np.all(np.diff(landmarks.peak_s) > 0)
        if kind == "ecg":
            assert np.all(landmarks.onset_s[1:] > landmarks.offset_s[:-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_of_the_ecg_are_those_of_a_healthy_adult(seed):
    _, landmarks = waves("ecg", seed, rate_bpm=60.0)
    p, qrs, t = (of(landmarks, wave)[1:-1] for wave in KINDS["ecg"].waves)
    pr = np.array([qrs[qrs[:, 0] > onset][0, 0] - onset for onset in p[:-1, 0]])
    qt = np.array([end - qrs[qrs[:, 0] < end][-1, 0] for end in t[1:, 2]])
    for duration_s, shortest, longest in ((qrs[:, 2] - qrs[:, 0], 0.08, 0.12), (pr, 0.11, 0.2), (qt, 0.35, 0.45)):
        assert duration_s.min() >= shortest
        assert duration_s.max() <= longest


def test_the_qt_interval_shortens_with_the_root_of_the_cycle():
    ends = []
    for rate_bpm in (50.0, 100.0):
        _, landmarks = waves("ecg", 1, rate_bpm=rate_bpm)
        ends.append(np.mean([t - landmarks.beat_s[landmarks.beat_s < t].max() for t in landmarks.peaks_s("T") if t > landmarks.span_s[0]]))
    assert ends[1] / ends[0] == pytest.approx(0.5**0.5, rel=0.03)


def test_waves_that_are_not_there_are_not_marked():
    for seed in SEEDS:
        _, fibrillating = waves("ecg", seed, "af")
        assert set(fibrillating.wave) == {"QRS", "T"}
        _, ectopic = waves("ecg", seed, "ectopy")
        qrs = of(ectopic, "QRS")
        wide = (qrs[:, 2] - qrs[:, 0] > 0.125).sum()
        assert abs(len(qrs) - len(ectopic.peaks_s("P")) - wide) <= 1  # at either end of the signal one of the two may be cut off


def test_a_pulse_is_the_higher_the_longer_the_ventricle_filled():
    trace, landmarks = waves("ppg", 2, "af", duration_s=120.0)
    peaks = landmarks.peaks_s("systolic_peak")[1:-1]
    height = trace[np.round(peaks * 50).astype(int)]
    assert np.corrcoef(np.diff(peaks), height[1:])[0, 1] > 0.7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_every_token_of_the_windows_is_known(kind, rhythm):
    windows = simulated(kind, n_records=12, windows_per_record=2, rhythm=rhythm)
    assert windows.records == [f"simulated {kind} {number:02d}" for number in range(12)]
    assert len(windows) == 24
    assert np.isfinite(windows.position).all()
    assert (windows.segment != NONE).all()
    np.testing.assert_array_equal(windows.tokens.min(axis=1), 0)
    np.testing.assert_array_equal(windows.tokens.max(axis=1), 100)
    assert windows.sources == (f"simulated {kind} ({rhythm}, seed 0)",)
    assert any("simulated" in note and "seed 0" in note for note in windows.notes)
    assert not windows.skipped


def test_tokens_fall_on_waves_about_as_often_as_in_people():
    windows = simulated("ecg")
    share = [np.mean(windows.wave == index) for index in range(3)]  # P, QRS, T
    rate_hz = 1.2  # about 72 beats a minute
    np.testing.assert_allclose(share, np.array([0.095, 0.1, 0.17]) * rate_hz, rtol=0.15)


def test_windows_do_not_start_at_the_same_phase():
    assert np.ptp(simulated("ppg").phase[:, 0]) > 0.8


def test_more_records_leave_the_first_ones_as_they_were():
    few, many = simulated("ecg", n_records=3, seed=7), simulated("ecg", n_records=6, seed=7)
    np.testing.assert_array_equal(few.identity, many[: len(few)].identity)
    signals = {row.tobytes() for row in many.tokens}
    assert len(signals) == len(many)
    assert not signals & {row.tobytes() for row in simulated("ecg", n_records=6, seed=8).tokens}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "eeg"}, "unknown kind 'eeg'; did you mean 'ecg'"),
        ({"kind": "ecg", "rhythm": "sinsu"}, "unknown rhythm 'sinsu'; did you mean 'sinus'"),
        ({"kind": "ppg", "n_records": 0}, "at least 1 record"),
        ({"kind": "ppg", "seed": -1}, "seed of 0 or more"),
    ],
)
def test_what_cannot_be_simulated_is_refused(given, message):
    with pytest.raises(Refusal, match=message):
        simulated(**given)


def test_rates_and_durations_out_of_range_are_refused():
    with pytest.raises(Refusal, match="rate_bpm is 200; it must lie between 40 and 120"):
        waves("ecg", 0, rate_bpm=200.0)
    with pytest.raises(Refusal, match="fewer than two beats"):
        waves("ppg", 0, duration_s=0.5)
    with pytest.raises(Refusal, match="unknown rhythm 'flutter'"):
        waves("ppg", 0, "flutter")
