"""Which heads matter, by arithmetic: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.ablation import Ablation
from heartlens.tally import Tally


def summary_of(change, n_matched=3):
    """Changes of a logit by record and head, of two windows a record, and of a probability that never changes."""
    change = np.asarray(change, float)
    records = [f"r{place}" for place in range(len(change))]
    ablated = np.zeros((len(change), 1, 2, 2, 2))
    ablated[:, 0, 0] = 2 * change.reshape(-1, 2, 2)
    sums = {
        "intact": (("record", "readout"), np.zeros((len(change), 2))),
        "bottom": (("record", "readout"), np.full((len(change), 2), 2.0)),
        "ablated": (("record", "how", "readout", "layer", "head"), ablated),
        "norm": (("record", "layer", "head"), np.full((len(change), 2, 2), 6.0)),
        "n_windows": ("record", np.full(len(change), 2.0)),
    }
    places = {"record": records, "how": ["zero"], "readout": ["af_logit", "af_probability"], "layer": [0, 1], "head": [0, 1]}
    told = xr.Dataset(sums, coords=places, attrs={"kind": "ecg", "answers": "last token", "waves": ""})
    found = Ablation(how="zero", n_matched=n_matched, n_permutations=999).summarize(Tally(told), {})
    return found.sel(readout="af_logit", how="zero").transpose("layer", "head", ...)


def noise(n):
    """Of mean 0 over the records, for each head."""
    drawn = np.random.default_rng(0).normal(0, 0.1, (n, 4))
    return drawn - drawn.mean(axis=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_matters_that_does_more_than_its_controls_and_in_the_direction_of_what_it_does(sign):
    alone = summary_of(sign * np.array([1.0, 0, 0, 0]) + noise(12))
    assert alone["matters"].values.tolist() == [[True, False], [False, False]]
    less = summary_of(sign * np.array([1.0, 2, 2, 2]) + noise(12))
    assert less["matters"].values.tolist() == [[False, True], [True, True]]
    as_much = summary_of(sign * np.ones(4) + 5 * noise(12))
    assert (as_much["q_value"] < 0.05).all()
    assert not as_much["matters"].any()


def test_what_is_sure_but_for_how_much_was_tested_does_not_matter():
    """Of six records p is 2 / 64 at best; of four heads and two readouts q is above 0.05."""
    found = summary_of(np.array([-1.0, 0, 0, 0]) + noise(6) * [1, 0, 0, 0])
    assert float(found["effect_high"][0, 0]) < 0
    assert float(found["excess_high"][0, 0]) < 0
    assert float(found["p_value"][0, 0]) < 0.05 < float(found["q_value"][0, 0])
    assert not found["matters"].any()


def test_effects_and_norms_are_of_a_window():
    found = summary_of(np.array([[1.0, 2, 3, 4], [3, 2, 1, 0]]))
    assert found["effect"].values.ravel() == pytest.approx([2, 2, 2, 2])
    assert found["norm"].values.ravel() == pytest.approx([3] * 4)
