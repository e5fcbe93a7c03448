"""Regular windows: every label follows from a token's number."""

import numpy as np
import pytest

from heartlens.axes import KINDS
from heartlens.refusal import Refusal
from heartlens.signals.simulate.regular import LENGTH, MARK, SPANS, regular

TIME = np.arange(500)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_follow_from_the_tokens_number(kind):
    windows, length = regular(kind, 3), LENGTH[kind]
    expected = np.full(length, -1)
    for index, wave in enumerate(KINDS[kind].waves):
        first, last = SPANS[kind][wave]
        expected[first : last + 1] = index
    assert (windows.wave == expected[TIME % length]).all()
    assert (windows.cycle == TIME // length).all()
    assert windows.position == pytest.approx(np.tile((TIME - MARK[kind]) / length, (3, 1)))
    assert (windows.segment >= 0).all()
    assert windows.records == [f"regular {kind} {number:02d}" for number in range(3)]
    assert windows.sources == (f"simulated regular {kind} (seed 0)",)  # so that a result says it is simulated


@pytest.mark.parametrize("kind", KINDS)
def test_periodic_windows_repeat_and_others_do_not(kind):
    length = LENGTH[kind]
    periodic, noise = (regular(kind, 2, periodic=periodic).tokens for periodic in (True, False))
    assert (periodic[:, length:] == periodic[:, :-length]).all()
    assert (noise[:, length:] == noise[:, :-length]).mean() < 0.1
    assert (periodic[0] != periodic[1]).mean() > 0.9


def test_a_seed_gives_the_same_tokens_and_another_seed_others():
    one, again, other = (regular("ecg", 2, seed=seed).tokens for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).mean() > 0.9


def test_only_the_waves_asked_for():
    assert set(np.unique(regular("ecg", 1, ("QRS",)).wave)) == {-1, 1}
    assert set(np.unique(regular("ecg", 1, ()).wave)) == {-1}


def test_refusals():
    with pytest.raises(Refusal, match="unknown kind 'eeg'"):
        regular("eeg")
    with pytest.raises(Refusal, match="unknown ecg wave 'U'; legal: P, QRS, T"):
        regular("ecg", waves=("P", "U"))
    with pytest.raises(Refusal, match="windows of 0 records; give at least 1"):
        regular("ecg", 0)
