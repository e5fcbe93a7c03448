"""Noise as a counterfactual: of the strength that is stated, where it is asked for, on the same scale."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG

from heartlens.axes import LEVELS
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf

MID = np.where(np.arange(500) % 2, 45, 55).astype(np.uint8)  # of standard deviation 5, far from both ends


def level(windows):
    return replace(windows, tokens=np.tile(MID, (len(windows), 1)))


@pytest.mark.parametrize("snr_db", [0.0, 6.0])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_noise_has_the_power_that_is_stated_however_few_tokens_it_falls_on(snr_db, share):
    windows = level(ECG)
    at = np.tile(np.arange(500) < 500 * share, (len(windows), 1))
    change = cf.with_noise(windows, snr_db, at, rescale=False).tokens.astype(float) - windows.tokens
    power = (change**2).sum(axis=1) / 500
    assert power.mean() == pytest.approx(25 / 10 ** (snr_db / 10) + share / 12, rel=0.05)  # rounding adds a twelfth
    assert np.abs(change[at].mean()) < 4 * 5 / np.sqrt(share * at.sum())


def test_no_other_token_changes_and_landmarks_and_scale_stay():
    for windows in (ECG, AF, PPG):
        found = cf.with_noise(windows, 0.0, windows.wave >= 0, rescale=False)
        assert (found.tokens == windows.tokens)[windows.wave < 0].all()
        assert (found.tokens != windows.tokens)[windows.wave >= 0].mean() > 0.9
        for name in ("wave", "segment", "position", "low", "high", "record", "start_s"):
            np.testing.assert_array_equal(getattr(found, name), getattr(windows, name))
    assert cf.with_noise(ECG).notes[-1] == "noise added at 10 dB"


def test_what_would_leave_the_scale_is_folded_back():
    """Of a window of two levels at the ends half of the noise leaves; folded it lies as far inside."""
    ends = replace(ECG, tokens=np.where(np.arange(500) % 2, 0, LEVELS).astype(np.uint8)[None].repeat(len(ECG), axis=0))
    change = np.abs(cf.with_noise(ends, 20.0, rescale=False).tokens.astype(float) - ends.tokens)
    assert change.max() <= 30  # sd 5; what had not been folded would be at the other end
    assert change.mean() == pytest.approx(5 * np.sqrt(2 / np.pi), rel=0.05)


def test_each_window_has_its_own_noise_of_the_seed():
    np.testing.assert_array_equal(cf.with_noise(ECG).tokens[2:4], cf.with_noise(ECG[2:4]).tokens)
    assert (cf.with_noise(ECG, seed=1).tokens != cf.with_noise(ECG).tokens).any(axis=1).all()
    alike = replace(level(ECG), start_s=np.array([0.0, 5.0, *[0.0] * (len(ECG) - 2)]))  # a window is known by its tokens and its start
    change = cf.with_noise(alike, rescale=False).tokens.astype(int) - MID
    assert (change[0] != change[1]).any()
    assert (change[0] == change[2]).all()


def test_noise_on_no_token_or_of_no_strength_is_refused():
    at = np.ones(ECG.tokens.shape, bool)
    at[3] = False
    with pytest.raises(Refusal, match=r"no token to add noise to in 1 of 8 windows \(simulated ecg 03: 1\)"):
        cf.with_noise(ECG, at=at)
    with pytest.raises(Refusal, match="snr-db is inf; legal: any number of decibels"):
        cf.with_noise(ECG, float("inf"))
