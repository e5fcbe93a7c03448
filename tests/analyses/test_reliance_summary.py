"""What is concluded of a reliance, by arithmetic: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.reliance.arms import FACTORS, KINDS_OF, P_WAVES, RHYTHMS, SWAPS, WITH_P, contrast
from heartlens.analyses.reliance.summary import summarized
from heartlens.analysis import beside
from heartlens.tally import Tally

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
    bins = np.zeros((*logit.shape, 3))
    bins[..., 1] = n_arms
    sums |= {"probability": (grid, logit / 10), "n_logits": ((*grid, "logit_bin"), bins)}
    by_dose = ("dose_token", "dose_embedding", "n_doses", "token_effect", "token_square", "embedding_effect", "embedding_square")
    sums |= {name: (("record", "factor", "change"), np.zeros((len(effect), len(FACTORS["ecg"]), 3))) for name in by_dose}
    sums |= {"n_left_out": ("record", np.zeros(len(effect))), "n_windows": ("record", np.full(len(effect), 2.0))}
    places = {"record": np.arange(len(effect)), "p_wave": list(P_WAVES), "rhythm": list(RHYTHMS), "factor": list(FACTORS["ecg"])}
    places |= {"logit_bin": np.arange(3), "change": list(KINDS_OF)}
    return xr.Dataset(sums, coords={**places, "layer": [0], "head": [0, 1]}, attrs={"kind": "ecg"})


def summary_of(effect, sham, of_twin=0.0, factor="p_wave"):
    return summarized(sums_of(effect, sham), twins_of(of_twin), 0, 999).sel(factor=factor)


def twins_of(effect):
    """20 twins with an effect that hardly differs between 12 records."""
    tally = Tally(sums_of(around(effect) if effect else np.zeros(12), 0.0))
    return beside({f"twin {n}": tally for n in range(20)})


def around(value, n=12):
    return value + np.random.default_rng(0).normal(0, 0.1, n)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_survives_that_is_beyond_twins_and_sham(sign):
    found = summary_of(around(sign), 0.0, of_twin=0.5)
    assert float(found["effect"]) == pytest.approx(around(sign).mean())
    assert float(found["effect_low"]) < float(found["effect"]) < float(found["effect_high"])
    assert found["relies_verdict"].item() == "yes"
    for other in (
        summary_of(around(sign), 0.0, of_twin=-1.5),
        summary_of(around(sign), np.roll(around(sign), 1)),
        summary_of(around(sign), 2.0 * sign),
    ):
        assert other["relies_verdict"].item() == "not shown"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_survives_that_carries_more_than_under_the_sham(sign):
    found = summary_of(around(sign), 0.0)
    effect = around(sign).mean()
    assert (found["head_carries_verdict"] == "yes").values.tolist() == [[False, True]]
    assert found["head_effect"].values.ravel() == pytest.approx([effect, effect])
    assert found["head_sham"].values.ravel() == pytest.approx([effect, 0])
    assert found["head_whole"].item() == pytest.approx(effect)
    assert found["head_share"].values.ravel() == pytest.approx([1, 1])


def test_what_six_records_show_is_not_tested():
    found = summary_of(around(1, n=6), 0.0)
    assert found["relies_verdict"].item() == "not tested"
    assert (found["head_carries_verdict"] == "not tested").all()


@pytest.mark.parametrize("of", ["effect", "sham"])
@pytest.mark.parametrize("factor", ["rhythm", "p_wave", "interaction"])
def test_what_heads_carry_is_of_the_same_arms_as_the_effect(factor, of):
    """Where one head carries all, the swaps' differences of arms, each with its weight, are the contrast."""
    whole = 0 * contrast("ecg", factor, of)
    for (*source, p_wave, rhythm), weights in SWAPS.items():
        whole.loc[{"p_wave": source[0], "rhythm": source[1]}] += weights.get((of, factor), 0.0)
        whole.loc[{"p_wave": p_wave, "rhythm": rhythm}] -= weights.get((of, factor), 0.0)
    xr.testing.assert_allclose(whole, contrast("ecg", factor, of))


@pytest.mark.parametrize("of", KINDS_OF)
def test_effect_sham_and_rival_are_measured_in_the_same_states_of_the_other_factor(of):
    rhythm, p_wave, both = (contrast("ecg", factor, of) for factor in ("rhythm", "p_wave", "interaction"))
    for state in ("present", "removed"):
        assert sorted(rhythm.sel(p_wave=state).values) == [-0.5, 0, 0, 0, 0.5]
    for state in ("regular", "irregular"):
        assert sorted(p_wave.sel(rhythm=state).values) == [-0.5, 0, 0, 0, 0, 0.5]
    np.testing.assert_allclose(both.sum("rhythm"), 0, atol=1e-12)  # neither factor alone makes an interaction, ...
    np.testing.assert_allclose(both.sum("p_wave"), 0, atol=1e-12)
    assert float(both.sel(p_wave="present", rhythm="regular")) == 1  # ... and the sham's and the rival's are of its size


def test_an_interaction_that_the_sham_has_too_does_not_survive():
    """A ceiling: with P waves removed nothing raises the logit further; the same sham without its partner shows it as well."""
    sums = sums_of(around(1), 0.0)
    for p_wave, rhythm in WITH_P:
        place = {"p_wave": p_wave, "rhythm": rhythm}
        up = (p_wave in ("removed", "baseline")) or rhythm in ("irregular", "together")
        sums["logit"].loc[place] = 2 * around(1) * up
    found = summarized(sums, twins_of(0.0), 0, 999).sel(factor="interaction")
    assert float(found["effect"]) == pytest.approx(-around(1).mean())
    assert float(found["excess"]) == pytest.approx(0, abs=1e-9)
    assert found["relies_verdict"].item() != "yes"


def test_a_slope_is_of_sums_over_records():
    """By arithmetic: effect 2 per unit in one record of dose 1, 1 per unit in one of dose 3, whose weight is 9."""
    sums = sums_of(np.ones(2), 0.0)
    for name, values in {"n_doses": (1, 1), "token_effect": (2, 9), "token_square": (1, 9), "dose_token": (1, 3)}.items():
        sums[name].loc[{"factor": "p_wave", "change": "effect"}] = np.array(values, float)
    here = summarized(sums, beside({}), 0, 999).sel(factor="p_wave", change="effect")
    assert float(here["slope_token"]) == pytest.approx(11 / 10)
    assert float(here["dose_token"]) == pytest.approx(2)
    assert np.isnan(float(here["slope_embedding"]))
