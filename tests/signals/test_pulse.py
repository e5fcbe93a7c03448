"""The PPG delineation against pulses whose points are known by arithmetic."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.delineate import delineate

FINE = 2000  # samples a second on which the truth is read off


def pulse_train(bpm, dip, duration_s=30.0, irregular=0.0, seed=0):
    """Starts of the beats, the signal as a function of time, and the truth: of each beat, systolic peak and (if `dip`) notch.

    A pulse is a systolic and a diastolic bump; with `dip` they are far enough apart for a minimum between them.
    """
    rng = np.random.default_rng(seed)
    intervals = 60.0 / bpm * (1 + irregular * rng.uniform(-1, 1, int(duration_s * bpm / 60) + 2))
    start_s = np.cumsum(intervals) - intervals[0] + 0.3
    start_s = start_s[start_s < duration_s - 0.7]
    bumps = [(0.16, 0.055, 1.0), (0.42, 0.07, 0.45)] if dip else [(0.17, 0.07, 1.0), (0.38, 0.11, 0.4)]

    def signal(time_s):
        trace = np.zeros(len(time_s))
        for centre, width, height in bumps:
            trace += height * np.exp(-(((time_s[:, None] - start_s - centre) / width) ** 2) / 2).sum(axis=1)
        return trace

    return start_s, signal


def sampled(signal, rate_hz, duration_s=30.0, noise=0.005):
    trace = signal(np.arange(round(duration_s * rate_hz)) / rate_hz)
    return trace + noise * np.random.default_rng(3).standard_normal(len(trace))


def turning_s(signal, start_s, low_s, high_s, sign):
    """Where the signal is highest (sign 1) or lowest (-1) between two times after each start, by search on a fine grid."""
    grid = np.arange(low_s, high_s, 1 / FINE)
    return np.array([start + grid[np.argmax(sign * signal(start + grid))] for start in start_s])


def furthest_ms(found, true):
    return 1000 * max(np.min(np.abs(found - time)) for time in true[1:-1])


@pytest.mark.parametrize("rate_hz", [50.0, 125.0])
@pytest.mark.parametrize("bpm", [50, 75, 110])
def test_feet_and_systolic_peaks_are_found(rate_hz, bpm):
    start_s, signal = pulse_train(bpm, dip=False)
    found = delineate(sampled(signal, rate_hz), rate_hz, "ppg")
    assert furthest_ms(found.peaks_s("systolic_peak"), turning_s(signal, start_s, 0.05, 0.3, 1)) <= 20
    rise = turning_s(lambda time_s: np.gradient(signal(time_s)), start_s, 0.0, 0.2, 1)
    feet = found.peaks_s("foot")
    before = np.array([rise[rise > foot][0] - foot for foot in feet if np.any(rise > foot)])
    assert np.all((before > 0.03) & (before < 0.2))
    assert len(feet) <= len(start_s)
    assert np.array_equal(feet, found.beat_s)


@pytest.mark.parametrize("rate_hz", [50.0, 125.0, 1000.0])
@pytest.mark.parametrize("bpm", [50, 75, 90])
def test_a_notch_is_where_the_pulse_is_lowest_between_its_bumps(rate_hz, bpm):
    start_s, signal = pulse_train(bpm, dip=True)
    found = delineate(sampled(signal, rate_hz), rate_hz, "ppg")
    assert furthest_ms(found.peaks_s("dicrotic_notch"), turning_s(signal, start_s, 0.2, 0.4, -1)) <= 20
    assert furthest_ms(found.peaks_s("diastolic_peak"), turning_s(signal, start_s, 0.33, 0.5, 1)) <= 20


@pytest.mark.parametrize("rate_hz", [50.0, 125.0])
def test_a_notch_without_a_dip_is_where_the_pulse_bends_most(rate_hz):
    start_s, signal = pulse_train(70, dip=False)
    found = delineate(sampled(signal, rate_hz, noise=0.001), rate_hz, "ppg")
    bend = turning_s(lambda time_s: np.gradient(np.gradient(signal(time_s))), start_s, 0.26, 0.4, 1)
    assert furthest_ms(found.peaks_s("dicrotic_notch"), bend) <= 20


def test_the_points_of_each_pulse_follow_each_other():
    _, signal = pulse_train(70, dip=True, irregular=0.2)
    found = delineate(sampled(signal, 125.0), 125.0, "ppg")
    order = ["foot", "systolic_peak", "dicrotic_notch", "diastolic_peak"]
    assert list(found.wave) == order * len(found.beat_s)


def test_a_disturbed_stretch_has_no_pulses():
    _, signal = pulse_train(70, dip=True)
    trace = sampled(signal, 125.0)
    trace[1500:2000] += 2 * np.random.default_rng(0).standard_normal(500).cumsum() / 10
    found = delineate(trace, 125.0, "ppg")
    disturbed = (found.beat_s > 12.2) & (found.beat_s < 15.8)
    assert disturbed.sum() <= 2
    assert (~disturbed).sum() >= 26


def test_upside_down_is_not_silently_believed_to_be_upright():
    _, signal = pulse_train(70, dip=True)
    upright, inverted = (delineate(sign * sampled(signal, 125.0), 125.0, "ppg").beat_s for sign in (1, -1))
    assert np.min(np.abs(upright[5:-5, None] - inverted)) > 0.05


@pytest.mark.parametrize("seed", range(5))
def test_noise_in_the_band_of_the_pulse_is_refused(seed):
    noise = np.random.default_rng(seed).standard_normal(3000)
    smooth = np.convolve(noise, np.hanning(12), "same")
    with pytest.raises(Refusal, match="no beats found"):
        delineate(smooth, 50.0, "ppg")
