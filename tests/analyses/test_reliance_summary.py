"""What survives of a reliance, by arithmetic: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.reliance.arms import FACTORS, P_WAVES, RHYTHMS, WITH_P
from heartlens.analyses.reliance.summary import summarized

P_WAVE = FACTORS["ecg"].index("p_wave")


def sums_of(effect, sham):
    """Records of two windows, whose logit changes by so much without P wave, and by so much under its sham; two heads carry it all.

    The first head carries under the sham what it carries anyway.
    """
    effect, sham = np.broadcast_arrays(effect, sham)
    logit, n_arms = np.zeros((2, len(effect), len(P_WAVES), len(RHYTHMS)))
    for p_wave, rhythm in WITH_P:
        place = P_WAVES.index(p_wave), RHYTHMS.index(rhythm)
        logit[:, *place] = 2 * {"removed": effect, "baseline": sham}.get(p_wave, 0 * effect)
        n_arms[:, *place] = 2
    carried = np.zeros((2, len(effect), len(FACTORS["ecg"]), 1, 2))
    carried[:, :, P_WAVE] = 2 * effect[:, None, None]
    carried[1, :, P_WAVE] = 2 * np.stack([np.roll(effect, 1), 0 * effect], axis=1)[:, None]
    whole = 2 * effect[:, None] * (np.arange(len(FACTORS["ecg"])) == P_WAVE)
    grid, heads = ("record", "p_wave", "rhythm"), ("record", "factor", "layer", "head")
    sums = {"logit": (grid, logit), "n_arms": (grid, n_arms), "head_effect": (heads, carried[0]), "head_sham": (heads, carried[1])}
    sums |= {"head_whole": (heads[:2], whole), "n_swapped": (heads[:2], np.full(whole.shape, 2.0))}
    sums |= {"n_left_out": ("record", np.zeros(len(effect))), "n_windows": ("record", np.full(len(effect), 2.0))}
    places = {"record": np.arange(len(effect)), "p_wave": list(P_WAVES), "rhythm": list(RHYTHMS), "factor": list(FACTORS["ecg"])}
    return xr.Dataset(sums, coords={**places, "layer": [0], "head": [0, 1]}, attrs={"kind": "ecg"})


def summary_of(effect, sham, of_twin=0.0, factor="p_wave"):
    found = summarized(sums_of(effect, sham), {"twin": sums_of(np.full(2, of_twin), 0.0)}, 0, 999)
    return found.sel(factor=factor)


def test_where_no_twin_saw_such_windows_the_others_largest_is_the_limit():
    assert float(summary_of(around(1), 0.0, of_twin=-0.5, factor="rhythm_no_p")["null_high"]) == 0.5


def around(value, n=12):
    return value + np.random.default_rng(0).normal(0, 0.1, n)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_survives_that_is_beyond_twins_and_sham(sign):
    found = summary_of(around(sign), 0.0, of_twin=0.5)
    assert float(found["effect"]) == pytest.approx(around(sign).mean())
    assert float(found["effect_low"]) < float(found["effect"]) < float(found["effect_high"])
    assert bool(found["survives"])
    assert not summary_of(around(sign), 0.0, of_twin=-1.5)["survives"]
    assert not summary_of(around(sign), np.roll(around(sign), 1))["survives"]
    assert not summary_of(around(sign), 2.0 * sign)["survives"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_survives_that_carries_more_than_under_the_sham(sign):
    found = summary_of(around(sign), 0.0)
    effect = around(sign).mean()
    assert found["head_survives"].values.tolist() == [[False, True]]
    assert found["head_effect"].values.ravel() == pytest.approx([effect, effect])
    assert found["head_sham"].values.ravel() == pytest.approx([effect, 0])
    assert found["head_whole"].item() == pytest.approx(effect)
    assert found["head_share"].values.ravel() == pytest.approx([1, 1])


def test_what_is_sure_but_for_how_much_was_tested_does_not_survive():
    """Of six records p is 2 / 64 at best; of three factors, or of their heads, q is above 0.05."""
    found = summary_of(around(1, n=6), 0.0)
    for name in ("", "head_"):
        assert found[f"{name}p_value"].values.ravel()[-1] < 0.05 < found[f"{name}q_value"].values.ravel()[-1]
        assert found[f"{name}excess_low"].values.ravel()[-1] > 0
        assert not found[f"{name}survives"].any()
