"""Noise of a stated ratio, the same whatever else is read."""

import numpy as np
import pytest

from heartlens.signals.noise import noisy
from heartlens.signals.simulate import simulated
from heartlens.signals.tokens import amplitude

WINDOWS = simulated("ecg", 6, 1)


@pytest.mark.parametrize("snr_db", [20.0, 10.0])
def test_the_noise_has_the_power_that_is_stated(snr_db):
    changed = noisy(WINDOWS, snr_db)
    clean, found = (amplitude(each.tokens, each.low, each.high) for each in (WINDOWS, changed))
    ratio = clean.var(axis=1) / (found - clean).var(axis=1)
    assert 10 * np.log10(np.mean(ratio)) == pytest.approx(snr_db, abs=0.5)
    assert (changed.tokens.min(axis=1) == 0).all()
    assert (changed.tokens.max(axis=1) == 100).all()
    assert changed.notes[-1] == f"white noise added at {snr_db:g} dB"


def test_each_window_has_its_own_noise_whatever_else_is_there():
    assert (noisy(WINDOWS, 10)[2:4].tokens == noisy(WINDOWS[2:4], 10).tokens).all()
    assert not (noisy(WINDOWS, 10, seed=1).tokens == noisy(WINDOWS, 10).tokens).all()
    twice = WINDOWS[np.array([0, 0])]
    assert (noisy(twice, 10).tokens[0] == noisy(twice, 10).tokens[1]).all()


def test_much_signal_is_no_noise():
    assert (noisy(WINDOWS, 100).tokens == WINDOWS.tokens).mean() > 0.99
