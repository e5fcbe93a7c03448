"""What is concluded of heads, by arithmetic and by simulation with known truth: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import false_discovery_control

from heartlens.analyses.ablation import Ablation
from heartlens.inference.paired import sign_flip_p_values
from heartlens.inference.verdict import is_yes
from heartlens.measures.resample import q_values
from heartlens.tally import Tally

NAMES = ("af_logit", "af_probability")


def summary_of(changes, names=NAMES, hows=("zero",), norm=3.0):
    """The summary of changes of readouts (record, how, readout, head) of two windows a record; heads in two layers."""
    changes = np.asarray(changes, float)
    n_records, _, _, n_heads = changes.shape
    sums = {
        "intact": (("record", "readout"), np.zeros((n_records, len(names)))),
        "bottom": (("record", "readout"), np.full((n_records, len(names)), 2.0)),
        "ablated": (("record", "how", "readout", "layer", "head"), 2 * changes.reshape(*changes.shape[:3], 2, n_heads // 2)),
        "norm": (
            ("record", "layer", "head"),
            2 * np.broadcast_to(np.reshape(norm * np.ones(n_heads), (2, -1)), (n_records, 2, n_heads // 2)),
        ),
        "n_windows": ("record", np.full(n_records, 2.0)),
    }
    places = {"record": [f"r{place}" for place in range(n_records)], "how": list(hows), "readout": list(names)}
    places |= {"layer": [0, 1], "head": np.arange(n_heads // 2)}
    told = xr.Dataset(sums, coords=places, attrs={"kind": "ecg", "answers": "last token", "waves": ""})
    return Ablation(how=",".join(hows), n_permutations=999).summarize(Tally(told), {})


def of_logit(true, n_records=12, spread=0.1):
    """Changes of a logit by these true ones, with noise whose mean over records is 0, and of a probability that never changes."""
    noise = np.random.default_rng(0).normal(0, spread, (n_records, len(true)))
    changes = np.zeros((n_records, 1, 2, len(true)))
    changes[:, 0, 0] = true + noise - noise.mean(axis=0)
    return summary_of(changes).sel(readout="af_logit", how="zero")


def names_of(found, claim):
    return np.flatnonzero(is_yes(found, claim).transpose("layer", "head").values.ravel()).tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_matters_that_does_more_than_heads_of_its_norm(sign):
    alone = of_logit(sign * np.array([1.0, 0, 0, 0, 0, 0, 0, 0]))
    assert (names_of(alone, "changes"), names_of(alone, "matters")) == ([0], [0])
    as_much = of_logit(sign * np.ones(8))
    assert (names_of(as_much, "changes"), names_of(as_much, "matters")) == (list(range(8)), [])


def test_a_head_that_spreads_as_far_as_the_others_changes_the_readout_and_does_not_matter():
    found = of_logit(np.linspace(0.5, 1.5, 8), n_records=50)
    assert names_of(found, "changes") == list(range(8))
    assert names_of(found, "matters") == []
    assert (found["matters_verdict"] == "not shown").all()


def test_no_is_told_from_not_shown():
    """An interval within a quarter of a logit rules that out; a wider one around 0 does not."""
    assert (of_logit(np.zeros(8), spread=0.1)["changes_verdict"] == "no").all()
    assert (of_logit(np.zeros(8), spread=2.0)["changes_verdict"] == "not shown").all()
    assert (of_logit(np.zeros(8), n_records=7)["changes_verdict"] == "not tested").all()


def test_effects_and_norms_are_of_a_window():
    changes = np.zeros((2, 1, 2, 4))
    changes[:, 0, 0] = [[1.0, 2, 3, 4], [3, 2, 1, 0]]
    found = summary_of(changes).sel(readout="af_logit", how="zero")
    assert found["effect"].values.ravel() == pytest.approx([2, 2, 2, 2])
    assert found["norm"].values.ravel() == pytest.approx([3] * 4)


def test_a_readout_with_nothing_true_in_it_has_no_finding_because_of_the_others():
    """Readouts with true effects, near-copies of each other, and one readout on which no head has any.

    In one family of all of them, as it was, that readout has a finding in most studies; in its own in at most 5 %.
    """
    rng, in_one_family, in_its_own = np.random.default_rng(0), 0, 0
    for _ in range(30):
        shared = rng.normal(size=(20, 1, 64))
        shared[..., :32] += 1.5
        changes = shared + 0.1 * rng.normal(size=(20, 16, 64))
        changes[:, 15] = rng.normal(size=(20, 64))
        p_value = sign_flip_p_values(changes, seed=0, n_permutations=1999)
        in_one_family += int((q_values(p_value)[15] < 0.05).any())
        in_its_own += int((q_values(p_value[15]) < 0.05).any())
    print(f"a readout with nothing true in it has a finding: {in_one_family} of 30 in one family, {in_its_own} of 30 in its own")
    assert in_one_family >= 20
    assert in_its_own <= 4  # 99 % of tests, of 30 studies of which 5 % have one


def test_each_readout_and_way_is_a_family_of_its_own():
    changes = np.random.default_rng(0).normal(size=(12, 2, 2, 8))
    changes[:, 0, 0, :4] += 3.0
    found = summary_of(changes, hows=("zero", "mean"))
    for where in ({"readout": readout, "how": how} for readout in NAMES for how in ("zero", "mean")):
        family = found.sel(where)
        expected = false_discovery_control(family["p_value"].values.ravel())
        assert family["q_value"].values.ravel() == pytest.approx(expected)
    assert found["changes_verdict"].attrs["family"] == "all heads, for one readout and one way of taking away"
