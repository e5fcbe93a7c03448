"""One module decides: each demand is needed for a yes, and refuted is told from not shown and from not tested."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from heartlens.inference.verdict import ANSWERS, Among, Claim, concatenated, decide, fingerprint, is_yes, reach

LIFT = Claim("lifts", "the head lifts", unit="lift", smallest=0.25, family="all heads", null=1.0)
MOVES = Claim("moves", "the head moves", unit="logits", smallest=0.5, family="all heads", either=True)
TWINS = xr.DataArray(np.linspace(0, 0.3, 59), dims="twin")  # of reach beyond the null


def array(*values):
    return xr.DataArray(np.array(values, float), dims="head")


def answers(claim, effect, low, high, n_units=20, **demands):
    return decide(claim, array(*effect), array(*low), array(*high), n_units=n_units, **demands)[f"{claim.name}_verdict"].values.tolist()


def test_where_the_interval_lies_decides():
    intervals = [1.5, 0.9, 0.9, np.nan], [2.5, 1.2, 1.3, np.nan]
    assert answers(LIFT, [2, 1.1, 1.1, np.nan], *intervals) == [
        "yes",
        "no",
        "not shown",
        "not tested",
    ]


def test_an_effect_of_one_with_a_wide_interval_is_not_refuted():
    assert answers(MOVES, [1.0, 1.0, -1.0, 0.1], [-0.4, 0.4, -1.6, -0.3], [2.4, 1.6, -0.4, 0.4]) == ["not shown", "yes", "yes", "no"]


def test_too_few_units_are_not_tested():
    assert answers(LIFT, [2.0, 2.0], [1.5, 1.5], [2.5, 2.5], n_units=array(7, 8)) == ["not tested", "yes"]


def test_each_further_demand_is_needed():
    interval = ([2.0], [1.6], [2.4])
    assert answers(LIFT, *interval, q_value=array(0.04), twins=Among(array(0.5), TWINS)) == ["yes"]
    assert answers(LIFT, *interval, q_value=array(0.06), twins=Among(array(0.5), TWINS)) == ["not shown"]
    assert answers(LIFT, *interval, q_value=array(0.04), twins=Among(array(0.2), TWINS)) == ["not shown"]
    assert answers(LIFT, *interval, controls=[(array(0.1), array(0.5))]) == ["yes"]
    assert answers(LIFT, *interval, controls=[(array(-0.1), array(0.5))]) == ["not shown"]


def test_a_demand_that_was_not_measured_is_not_tested():
    interval = ([2.0], [1.6], [2.4])
    assert answers(LIFT, *interval, q_value=array(np.nan)) == ["not tested"]
    assert answers(LIFT, *interval, twins=Among(array(0.5), xr.DataArray(np.empty(0), dims="twin"))) == ["not tested"]
    assert answers(LIFT, *interval, twins=Among(array(0.5), TWINS, n_units=7)) == ["not tested"]


def test_a_claim_of_a_large_effect_needs_an_estimate_of_at_least_the_smallest_of_interest():
    large, moves = replace(LIFT, is_large=True), replace(MOVES, is_large=True)
    at_least = LIFT.null + LIFT.smallest
    assert answers(large, [at_least, at_least - 0.01], [at_least - 0.05] * 2, [at_least + 1] * 2) == ["yes", "not shown"]
    away = MOVES.null - MOVES.smallest
    assert answers(moves, [away, away + 0.01], [away - 1] * 2, [away + 0.02] * 2) == ["yes", "not shown"]


def test_a_control_must_be_exceeded_on_the_side_of_the_effect():
    assert answers(MOVES, [-1.0], [-1.5], [-0.5], controls=[(array(-0.9), array(-0.1))]) == ["yes"]
    assert answers(MOVES, [-1.0], [-1.5], [-0.5], controls=[(array(0.1), array(0.9))]) == ["not shown"]


def test_a_verdict_says_what_it_rests_on_and_how_near_the_border_it_is():
    decided = decide(LIFT, array(2, 1.4), array(1.6, 1.28), array(2.4, 1.5), n_units=20, twins=Among(array(0.6, 0.285), TWINS))
    verdict = decided["lifts_verdict"]
    assert is_yes(decided, "lifts").values.tolist() == [True, False]
    assert (verdict.attrs["unit"], verdict.attrs["family"], verdict.attrs["n_twins"]) == ("lift", "all heads", 59)
    low, high = verdict.attrs["n_yes_redrawn"]
    assert low == 1
    assert high == 2


@pytest.mark.parametrize(("low", "high", "expected"), [(1.0, 2.0, 1.0), (-2.0, -1.0, 1.0), (-1.0, 2.0, -1.0)])
def test_the_reach_of_an_effect_of_either_sign_is_its_nearer_ends(low, high, expected):
    assert reach(MOVES, low, high) == expected


def test_a_claim_that_presupposes_another_has_a_rule_of_its_own_and_the_others_keep_theirs():
    claim = Claim("carries", "it carries", "logit", 0.1, "all heads")
    effect, low, high = (xr.DataArray(value) for value in (2.0, 1.0, 3.0))
    plain, given = (decide(claim, effect, low, high, n_units=9, **more) for more in ({}, {"given": xr.DataArray("yes")}))
    rules = [each["carries_verdict"].attrs["rule"] for each in (plain, given)]
    assert rules == [fingerprint(claim), fingerprint(claim, presupposes=True)]
    assert rules[0] != rules[1]
    answers = [str(decide(claim, effect, low, high, n_units=9, given=xr.DataArray(x))["carries_verdict"].values) for x in ANSWERS]
    assert dict(zip(ANSWERS, answers, strict=True)) == dict.fromkeys(ANSWERS, "not shown") | {"yes": "yes", "not tested": "not tested"}


def test_answers_about_several_things_keep_what_they_agree_in_and_a_rule_of_all():
    effect, low, high = (xr.DataArray(value, name="effect") for value in (2.0, 1.0, 3.0))
    claims = [Claim("changes", "it changes", unit, smallest, "all heads") for unit, smallest in (("logit", 0.25), ("AUC", 0.02))]
    logit, auc = (decide(claim, effect, low, high, n_units=9) for claim in claims)
    both, same, turned = (concatenated(each, "readout")["changes_verdict"] for each in ((logit, auc), (logit, logit), (auc, logit, auc)))
    assert both.values.tolist() == ["yes", "yes"]
    assert {name for name in logit["changes_verdict"].attrs if name not in both.attrs} == {"unit", "smallest"}
    assert (both.attrs["effect"], both.attrs["family"]) == ("effect", "all heads")
    assert same.attrs == logit["changes_verdict"].attrs
    assert both.attrs["rule"] == turned.attrs["rule"] not in (logit["changes_verdict"].attrs["rule"], auc["changes_verdict"].attrs["rule"])
