"""The numbers of a patching by arithmetic: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.patching.summary import summarized

RNG = np.random.default_rng(0)
WHOLE = np.array([1.0, -1, 2, -2, 3, 1, -1, 1, 2, 2, -3, 1])  # of either sign
N_PAIRS = 2


def noise():
    """Of mean 0 over records, where signed as the whole is."""
    drawn = RNG.normal(0, 0.1, len(WHOLE))
    return drawn - np.sign(WHOLE) * (np.sign(WHOLE) * drawn).mean()


HEADS = np.stack([0.8 * WHOLE + noise(), -0.8 * WHOLE + noise(), np.abs(WHOLE), np.where(WHOLE == 3, 15.0, 0.0)], axis=1)
CONTROL = np.stack([0 * WHOLE, -0.8 * WHOLE + noise(), 0 * WHOLE, 0 * WHOLE], axis=1)
EXPECTED = [0.8, -0.8, WHOLE.sum() / np.abs(WHOLE).sum(), 15 / np.abs(WHOLE).sum()]


def sums_of(heads=HEADS, whole=WHOLE, control=CONTROL, direction="denoise"):
    """Records of two pairs: a layer of heads, whose effect is the same in P as at all tokens; all else does nothing."""
    n, sign = len(whole), 1 if direction == "denoise" else -1
    nothing = {
        "direct": ("layer", "head"),
        "stream": ("level", "place"),
        "stream_back": ("level", "lag"),
        "path": ("part", "layer", "head"),
    }
    sizes = {"layer": 1, "head": heads.shape[1], "level": 2, "place": 2, "lag": 2, "part": 3}
    values = {name: (axes, np.zeros((n, *(sizes[axis] for axis in axes)))) for name, axes in nothing.items()}
    values |= {"effect": (("layer", "head", "place"), sign * np.repeat(heads[:, None, :, None], 2, axis=-1))}
    values |= {"control_effect": (("layer", "head"), sign * control[:, None]), "cross_model": (("side", "swapped"), SHARES[:n])}
    values |= {name: ((), each) for name, each in (("clean", whole + 5), ("corrupt", 0 * whole + 5), ("control", 0.5 * whole + 5))}
    values |= {"base_logit": (("side",), np.full((n, 2), [7.0, 4.0])), "n_unchanged": ((), 0 * whole), "n_pairs": ((), 1 + 0 * whole)}
    values |= {"n_windows": ((), 2 + 0 * whole)}
    places = {"place": ["P", "all"], "part": ["Q", "K", "V"], "record": np.arange(n), "head": np.arange(heads.shape[1])}
    told = {"counterfactual": "without_p", "readout": "af_logit", "direction": direction, "receiver": "none", "kind": "ecg"}
    return xr.Dataset({name: (("record", *axes), N_PAIRS * each) for name, (axes, each) in values.items()}, coords=places, attrs=told)


SHARES = np.stack([np.full((12, 2), [3.0, 1.0]), np.full((12, 2), [1.0, 1.0])], axis=1)  # clean, then corrupt; two parts


def summary_of(twins=None, **what):
    return summarized(sums_of(**what), twins or {"still": sums_of(heads=0 * HEADS)}, 0, 999)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_effects_are_signed_as_each_records_difference_and_divided_by_their_sizes(direction):
    found = summary_of(direction=direction)
    effect = found["effect"].sel(place="all").isel(layer=0)
    assert effect.values == pytest.approx(EXPECTED)
    assert (found["effect_low"].sel(place="all").values[0, :2] < EXPECTED[:2]).all()
    assert (found["effect_high"].sel(place="all").values[0, :2] > EXPECTED[:2]).all()
    assert found["control_effect"].values[0] == pytest.approx([0, -0.8, 0, 0])
    assert found["beyond_control"].values[0] == pytest.approx(np.array(EXPECTED) - [0, -0.8, 0, 0])


def test_the_differences_are_of_clean_and_counterfactual_and_of_clean_and_control():
    found = summary_of()
    assert float(found["difference"]) == pytest.approx(WHOLE.mean())
    assert float(found["difference_low"]) < WHOLE.mean() < float(found["difference_high"])
    assert float(found["control_difference"]) == pytest.approx(WHOLE.mean() / 2)
    np.testing.assert_allclose(found["record_difference"], WHOLE)


def test_heads_survive_either_way_and_beyond_their_control():
    """Neither one that moves the readout up whichever way the counterfactual does (6, of flips of size 6.3), nor one of one record."""
    survives = summary_of()["effect_survives"].isel(layer=0)
    assert survives.sel(place="all").values.tolist() == [True, False, False, False]
    assert survives.sel(place="P").values.tolist() == [True, True, False, False]  # waves have no control
    away = summary_of(control=0 * CONTROL)["effect_survives"].isel(layer=0)
    assert away.sel(place="all").values.tolist() == [True, True, False, False]


def test_twins_largest_effects_are_over_the_models_difference():
    """A twin whose head moves its readout by 6 against its difference of 2: 6 over the mean size of the model's."""
    twin = sums_of(heads=np.full((2, 1), -6.0), whole=np.full(2, 2.0), control=np.zeros((2, 1)))
    found = summary_of(twins={"one": twin})
    assert float(found["null_high"]) == pytest.approx(6 / np.abs(WHOLE).mean())
    assert not found["effect_survives"].any()


def test_what_is_sure_but_for_how_much_was_tested_does_not_survive():
    """Of six records p is 2 / 64 at best; q over all that is tested is above 0.05."""
    found = summary_of(whole=np.ones(6), heads=0.8 + HEADS[:6, :1] * 0.01, control=np.zeros((6, 1)))
    at = {"layer": 0, "head": 0, "place": 1}
    assert found["effect_p_value"][at] < 0.05 < found["effect_q_value"][at]
    assert not found["effect_survives"].any()


def test_the_stream_at_all_tokens_is_not_tested():
    p_value = summary_of()["stream_p_value"]
    assert p_value.sel(place="all").isnull().all()
    assert p_value.sel(place="P").notnull().all()


def test_shares_of_fine_tuning_are_of_the_recording_and_of_its_difference():
    found = summary_of()
    assert found["cross_model"].values.tolist() == [[3, 1], [2, 0]]
    assert found["base_logit"].values.tolist() == [7, 3]
