"""What patching compares a recording with: each counterfactual changes it, each control changes it and touches no wave."""

from typing import get_args

import numpy as np
import pytest
from counterfacts import ECG, PPG

from heartlens.analyses.patching import Patching
from heartlens.analyses.patching.pairs import EDITS, able_for, pairs_of

CASES = [(name, windows) for name, edit in EDITS.items() for windows in (ECG, PPG) if windows.kind in edit.kinds]


@pytest.mark.parametrize(("name", "windows"), CASES, ids=[f"{name}-{windows.kind}" for name, windows in CASES])
def test_a_counterfactual_changes_every_window_and_its_control_no_wave(name, windows):
    assert able_for(windows, name).all()
    pairs = pairs_of(windows, name, 0, with_control=True)
    changed, control = (each.tokens != windows.tokens for each in (pairs.corrupt, pairs.control))
    assert changed.any(axis=1).all()
    assert control.any(axis=1).all()
    assert not control[windows.wave >= 0].any()
    np.testing.assert_array_equal(pairs.control.wave, windows.wave)
    moved = (np.abs(pairs.corrupt.position - windows.position) > 0.01).any(axis=1)  # nan is no change
    assert moved.all() == moved.any() == EDITS[name].moves_beats


def test_the_command_offers_every_counterfactual():
    offered = get_args(get_args(Patching.__dataclass_fields__["counterfactual"].type)[0])
    assert set(offered) == set(EDITS)


def test_noise_between_the_waves_is_as_strong_as_that_on_them():
    pairs = pairs_of(ECG, "noisy_waves", 0, with_control=True)
    on, between = (((each.tokens.astype(float) - ECG.tokens) ** 2).sum() for each in (pairs.corrupt, pairs.control))
    assert between == pytest.approx(on, rel=0.15)  # of about 2000 tokens each, folded at the ends
