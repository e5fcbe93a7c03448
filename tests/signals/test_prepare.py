"""Filtering and resampling: what passes, what does not, and that nothing moves in time."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from heartlens.refusal import Refusal
from heartlens.signals.prepare import bandpass, finite_stretches, live_stretches, resample, tokens_per_sample


def tone(hz, rate_hz, seconds=20):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def level(signal):
    """The amplitude of a tone, away from the ends."""
    quarter = len(signal) // 4
    return float(np.sqrt(2) * np.std(signal[quarter:-quarter]))


@pytest.mark.parametrize("rate_hz", [500.0, 360.0, 250.0, 64.0, 512.407, 130.0])
def test_the_filter_that_is_kept_gives_the_bits_of_a_new_one(rate_hz):
    signal, ratio = np.random.default_rng(0).normal(size=2000), tokens_per_sample(rate_hz, "ecg")
    expected = resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line")
    assert np.array_equal(resample(signal, rate_hz, "ecg"), expected)


@pytest.mark.parametrize("rate_hz", [125, 128, 250, 257.3, 360, 500, 1000, 2000])
def test_a_tone_keeps_its_place_at_the_models_rate(rate_hz):
    slow = resample(tone(5, rate_hz), rate_hz, "ecg")
    assert abs(len(slow) - 2000) <= 1
    time_s = np.arange(len(slow)) / 100
    assert np.abs(slow - np.sin(2 * np.pi * 5 * time_s))[100:-100].max() < 0.01


def test_what_the_models_rate_cannot_hold_is_removed():
    assert level(resample(tone(70, 500), 500, "ecg")) < 0.01


def test_an_offset_does_not_ring_at_the_ends():
    assert np.abs(resample(np.full(2000, 7.0), 360, "ecg") - 7).max() < 1e-3


def test_the_models_own_rate_changes_nothing():
    signal = tone(3, 50)
    assert resample(signal, 50, "ppg") is signal


@pytest.mark.parametrize(
    ("kind", "hz", "passes"), [("ecg", 0.2, 0), ("ecg", 10, 1), ("ecg", 80, 0), ("ppg", 0.2, 0), ("ppg", 5, 1), ("ppg", 30, 0)]
)
def test_the_band(kind, hz, passes):
    assert level(bandpass(tone(hz, 500), 500, kind)) == pytest.approx(passes, abs=0.02)


def test_the_band_does_not_shift():
    signal = tone(8, 250)
    assert np.abs(bandpass(signal, 250, "ecg") - signal)[500:-500].max() < 0.02


def test_a_rate_that_cannot_hold_the_upper_edge_is_only_freed_of_drift():
    assert level(bandpass(tone(12, 30), 30, "ppg")) == pytest.approx(1, abs=0.02)
    assert level(bandpass(tone(0.2, 30), 30, "ppg")) < 0.02


def test_stretches_and_flat_parts():
    signal = np.concatenate([[np.nan], tone(3, 100, 3), [np.inf], np.zeros(200), [1.0, 2.0, 2.0]])
    assert finite_stretches(signal) == [slice(1, 301), slice(302, 505)]
    assert live_stretches(signal, 100) == [slice(1, 301), slice(502, 505)]
    assert live_stretches(signal[:-4], 100) == [slice(1, 301), slice(302, 501)]


def test_refusals():
    with pytest.raises(Refusal, match="2 Hz is too low for the ECG band of 1 to 45 Hz"):
        bandpass(tone(0.5, 2), 2, "ecg")
    with pytest.raises(Refusal, match=r"cannot be brought to 100 Hz"):
        resample(tone(1, 1.2345678e7, 1e-5), 1.2345678e7, "ecg")
