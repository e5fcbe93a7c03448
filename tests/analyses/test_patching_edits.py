"""What patching compares a recording with: each counterfactual changes it, each control changes it and touches no wave."""

from typing import get_args

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG

from heartlens.analyses.patching import Patching
from heartlens.analyses.patching.pairs import EDITS, able_for, pairs_of
from heartlens.signals.counterfactuals import dose_of

GIVEN = {name: (AF,) if name == "with_p_waves" else (ECG, PPG) for name in EDITS}
CASES = [(name, windows) for name, edit in EDITS.items() for windows in GIVEN[name] if windows.kind in edit.kinds]


@pytest.mark.parametrize(("name", "windows"), CASES, ids=[f"{name}-{windows.kind}" for name, windows in CASES])
def test_a_counterfactual_changes_every_window_and_its_control_as_much(name, windows):
    assert able_for(windows, name).all()
    pairs = pairs_of(windows, name, 0, with_control=True, rescale=False)
    changed, control = (each.tokens != windows.tokens for each in (pairs.corrupt, pairs.control))
    assert changed.any(axis=1).all()
    assert control.any(axis=1).all()
    dose, of_control = (dose_of(windows, each).mean() for each in (pairs.corrupt, pairs.control))
    assert of_control == pytest.approx(dose, rel=0.2)
    moved = (np.abs(pairs.corrupt.position - windows.position) > 0.01).any(axis=1)  # nan is no change
    assert moved.all() == moved.any() == EDITS[name].moves_beats
    if name not in ("irregular", "regular", "gradual"):  # there all beats move together
        assert not control[windows.wave >= 0].any()
        np.testing.assert_array_equal(pairs.control.wave, windows.wave)


def test_the_command_offers_every_counterfactual():
    offered = get_args(get_args(Patching.__dataclass_fields__["counterfactual"].type)[0])
    assert set(offered) == set(EDITS)
