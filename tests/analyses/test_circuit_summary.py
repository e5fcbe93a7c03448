"""The numbers of a circuit by arithmetic, and its verdicts where nothing is to be found: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.circuit.summary import summarized

TESTED = np.array([1, 2, 1, 2, 1, 1, 1, 1, 0])  # windows; the last record was searched
CHANGE = np.array([10.0, 15, 20, 20, 12, 14, 9, 20, 0])  # mean of each record's windows
OFF = np.array([1.0, 1.5, 1, 2, 1, 1.5, 1, 3, 0])  # of the circuit
SHARES = np.linspace(0.5, 1.2, 19)  # how far random sets are off, of the change


def over_sets(*columns):
    return np.stack([np.array(column, float) for column in columns], axis=1)


def sums_of(change=CHANGE, off=OFF, rest=0.9, random=SHARES, random_rest=0.3 * SHARES, readout="af_logit"):
    """Three nodes, of which the first is the circuit; as many random sets as `random` has shares of the change that they are off by."""
    draws = change[:, None] * np.asarray(random)
    values = {
        "off_none": ((), change),
        "off_circuit": ((), off),
        "off_rest": ((), rest * change),
        "off_toggled": (("node",), over_sets(0.8 * change, 0.9 * off, off)),
        "off_path": (("size",), over_sets(change, off)),
        "off_without_path": (("size",), over_sets(0 * change, change)),
        "off_random": (("draw", "size"), np.stack([draws, draws], axis=2)),
        "off_random_circuit": (("draw",), draws),
        "off_random_rest": (("draw",), change[:, None] * np.asarray(random_rest)),
        "whole": ((), np.array([3.0, 3, 3, 3, 3, 3, 3, 3, 100])[: len(change)]),
    }
    n = TESTED[: len(change)]
    sums = {name: (("record", *axes), each * n.reshape(-1, *(1 for _ in axes))) for name, (axes, each) in values.items()}
    sums |= {
        "n_tested": ("record", n.astype(float)),
        "searched_faithfulness": ("record", 1.8 + 0.0 * n),
        "n_windows": ("record", 2.0 + 0 * n),
    }
    for name, of_node in (("in_circuit", [2, 0, 0]), ("rank", [0, 2, 4]), ("returns", [2, 1, 0])):
        sums[name] = ("record", "node"), np.tile(np.array(of_node, float), (len(n), 1))
    places = {"record": list("abcdefghi")[: len(n)], "node": ["L1H1", "L1H2", "MLP 1"], "size": [0, 1], "draw": range(len(random))}
    return xr.Dataset(sums, coords=places, attrs={"readout": readout})


@pytest.fixture(scope="module")
def summary():
    return summarized(sums_of(), seed=0)


def answer(claim, **what):
    return str(summarized(sums_of(**what), seed=0, n_permutations=999)[f"{claim}_verdict"].values)


def test_faithfulness_is_of_means_over_records_with_fiellers_interval(summary):
    top, bottom = (CHANGE - OFF)[:8], CHANGE[:8]
    assert float(summary["faithfulness"]) == pytest.approx(top.sum() / bottom.sum())
    for end in ("low", "high"):  # exactly there the mean of top - R * bottom is at the border of the t test
        off = top - float(summary[f"faithfulness_{end}"]) * bottom
        assert abs(off.mean()) / (off.std(ddof=1) / np.sqrt(8)) == pytest.approx(2.364624, abs=1e-5)
    assert float(summary["rest_faithfulness"]) == pytest.approx(0.1)
    assert summary["path_faithfulness"].values == pytest.approx([0, top.sum() / bottom.sum()])


def test_a_gain_is_what_a_member_adds_and_another_would_add(summary):
    expected = [(0.8 * CHANGE - OFF)[:8].sum(), 0.1 * OFF.sum(), 0]
    assert summary["gain"].values == pytest.approx(np.array(expected) / CHANGE.sum())
    assert float(summary["gain_low"][0]) < float(summary["gain"][0]) < float(summary["gain_high"][0])
    assert summary["needed_verdict"].values.tolist() == ["yes", "not tested", "not tested"]


def test_what_is_read_is_the_mean_over_tested_records(summary):
    assert float(summary["whole"]) == pytest.approx(3)
    assert float(summary["change"]) == pytest.approx(15)
    assert summary["rank"].values.tolist() == [0, 1, 2]
    assert summary["returns"].values.tolist() == [1, 0.5, 0]
    assert (summary.attrs["n_tested_records"], summary.attrs["n_tested_windows"], summary.attrs["circuit_size"]) == (8, 10, 1)


def test_a_circuit_that_keeps_more_than_half_and_than_every_random_set_holds(summary):
    assert [str(summary[f"{claim}_verdict"].values) for claim in ("changes", "keeps", "complete")] == ["yes"] * 3
    assert float(summary["keeps_twin_p"]) == pytest.approx(1 / 20)


ANSWERS = {
    "a random set does as well": ("keeps", {"random": [0.01, *SHARES[1:]]}, "not shown"),
    "too few random sets to tell": ("keeps", {"random": SHARES[1:], "random_rest": SHARES[1:]}, "not tested"),
    "less than half is kept": ("keeps", {"off": 0.8 * CHANGE}, "no"),
    "the rest keeps more than half": ("complete", {"rest": 0.2}, "no"),
    "as much is lost without a random set": ("complete", {"random_rest": [0.95, *SHARES[1:]]}, "not shown"),
}


@pytest.mark.parametrize(("claim", "what", "expected"), ANSWERS.values(), ids=list(ANSWERS))
def test_what_is_concluded(claim, what, expected):
    assert answer(claim, **what) == expected


SMALL = {
    "too small to be of interest": ({"change": 0.01 * CHANGE, "off": 0.01 * OFF}, "no"),
    "of one record": ({"change": np.where(CHANGE == 9, 20, 0.0), "off": 0 * OFF}, "not shown"),
    "of too few records": ({"change": CHANGE[:7], "off": OFF[:7]}, "not tested"),
}


@pytest.mark.parametrize(("what", "expected"), SMALL.values(), ids=list(SMALL))
def test_without_a_change_no_set_is_judged_and_no_faithfulness_given(what, expected):
    summary = summarized(sums_of(**what), seed=0)
    assert str(summary["changes_verdict"].values) == expected
    for claim in ("keeps", "complete", "needed"):
        assert (summary[f"{claim}_verdict"] == "not tested").all()
    for name in ("faithfulness", "gain", "path_faithfulness"):
        assert summary[name].isnull().all()
    assert float(summary["off_circuit"]) == pytest.approx(np.mean(what["off"][: summary.attrs["n_tested_records"]]))


def test_a_circuit_drawn_like_the_random_sets_holds_in_at_most_one_study_in_twenty():
    """Circuit and random sets are as faithful by record, up to the same noise; so are what is left without them."""
    rng, n_studies, n_yes = np.random.default_rng(0), 20, 0
    for _ in range(n_studies):
        sums = sums_of()
        off = np.clip(rng.normal(0.3, 0.1, 20) + rng.normal(0, 0.1, (9, 20)), 0, None) * CHANGE[:, None]
        rest = np.clip(rng.normal(0.7, 0.1, 20) + rng.normal(0, 0.1, (9, 20)), 0, None) * CHANGE[:, None]
        n = TESTED[:, None]
        drawn = {"off_circuit": ("record", (n * off)[:, 0]), "off_random_circuit": (("record", "draw"), (n * off)[:, 1:])}
        drawn |= {"off_rest": ("record", (n * rest)[:, 0]), "off_random_rest": (("record", "draw"), (n * rest)[:, 1:])}
        summary = summarized(sums.assign(drawn), seed=0, n_permutations=99)
        n_yes += str(summary["keeps_verdict"].values) == "yes"
    assert n_yes <= 0.05 * n_studies
