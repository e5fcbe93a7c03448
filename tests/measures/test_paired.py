"""Changes of a figure of merit, by arithmetic and against scipy and the functions of `detection`."""

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test

from heartlens.measures import detection
from heartlens.measures.paired import auc, calibration_error, change, draws, ratio, ratio_of_effects, settled, sign_flip_p_values

RNG = np.random.default_rng(0)
POSITIVE = np.arange(24) % 3 == 0
SCORE = np.round(np.clip(RNG.normal(0.4 + 0.3 * POSITIVE, 0.2, (2, 24)), 0.01, 0.99), 2)  # with ties
DRAWS = draws(POSITIVE.astype(int), seed=0)
BEFORE, AFTER = np.ones((1, 2, 24)) * [[1], [0]], np.ones((1, 2, 24)) * [[0], [1]]


def test_merits_are_those_of_detection():
    for merit, of_detection in ((auc, detection.auc), (calibration_error, detection.expected_calibration_error)):
        for weights, score in ((BEFORE, SCORE[0]), (AFTER, SCORE[1])):
            assert merit(SCORE, POSITIVE)(weights)[0] == pytest.approx(of_detection(score, POSITIVE))


def test_a_resample_is_records_taken_several_times():
    times = DRAWS.weights[:1].astype(int)[0]
    weights = np.stack([DRAWS.weights[:1], np.zeros((1, 24))], axis=1)
    expected = detection.auc(np.repeat(SCORE[0], times), np.repeat(POSITIVE, times))
    assert auc(SCORE, POSITIVE)(weights)[0] == pytest.approx(expected)
    assert (DRAWS.weights[:, POSITIVE].sum(axis=1) == POSITIVE.sum()).all()  # a resample has as many of each label


def test_a_change_has_its_effect_inside_its_interval():
    found = change(auc(SCORE, POSITIVE), DRAWS)
    assert found.effect == pytest.approx(detection.auc(SCORE[1], POSITIVE) - detection.auc(SCORE[0], POSITIVE))
    assert found.low <= found.effect <= found.high
    assert 0.0001 <= found.p_value <= 1


def test_p_of_a_change_is_scipys():
    top, bottom = np.stack([np.zeros(9), RNG.normal(0.6, 1, 9)]), np.ones((2, 9))
    expected = permutation_test(top[::-1], lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True).pvalue
    assert change(ratio(top, bottom), draws(np.zeros(9, int), seed=0)).p_value == pytest.approx(expected, abs=0.015)
    found = sign_flip_p_values(top[1][:, None], seed=0)
    assert found[0] == pytest.approx(expected, abs=0.015)


def test_no_change_is_no_finding():
    same = np.stack([SCORE[0]] * 2)
    found = change(auc(same, POSITIVE), DRAWS)
    assert (found.effect, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    rounding = settled(np.ones((9, 2)) + 1e-9, np.ones((9, 2)))
    assert np.array_equal(rounding, np.zeros((9, 2)))
    assert sign_flip_p_values(rounding, seed=0).tolist() == [1, 1]


def test_the_least_p_is_that_of_two_arrangements():
    found = sign_flip_p_values(np.ones((5, 1)), seed=0)[0]
    assert found == pytest.approx(2 / 32, abs=0.01)


def test_one_record_tests_nothing():
    assert np.isnan(sign_flip_p_values(np.ones((1, 1)), seed=0)).all()
    alone = change(ratio(np.array([[1.0], [2.0]]), np.ones((2, 1))), draws(np.zeros(1, int), seed=0))
    assert alone.effect == 1
    assert np.isnan([alone.low, alone.high, alone.p_value]).all()


def test_a_ratio_of_effects():
    bottom = np.ones((2, 12, 2)) * [[[10.0]], [[90.0]]]
    top = np.stack([np.full((12, 2), 30.0), np.full((12, 2), 90.0)])
    top[1, :, 1] = RNG.normal(0, 90, 12)  # nothing sure outside
    value, low, high = ratio_of_effects(top, bottom, seed=0)
    assert (value[0], low[0], high[0]) == pytest.approx((3, 3, 3))
    assert np.isnan([value[1], low[1], high[1]]).all()


def test_ties_between_classes_are_worth_a_half():
    """Of 4 pairs one is won, two are tied, one is lost."""
    score = np.stack([np.array([0.5, 0.3, 0.5, 0.3])] * 2)
    both = auc(score, np.array([True, True, False, False]))(np.eye(2)[:, :, None] * np.ones(4))
    assert both == pytest.approx([2 / 4] * 2)


def test_the_observed_arrangement_counts_once():
    """Where 24 records all change by 1, no draw of 99 reaches it (chance 2 / 2^24 each), and p is 1 / 100, never 0."""
    drawn = draws(np.zeros(24, int), seed=0, n_resamples=2, n_permutations=99)
    assert change(ratio(np.stack([np.zeros(24), np.ones(24)]), np.ones((2, 24))), drawn).p_value == 1 / 100
    assert sign_flip_p_values(np.ones((24, 1)), seed=0, n_permutations=99).tolist() == [1 / 100]


@pytest.mark.parametrize(
    ("few", "many", "near"), [([0, 1, 2, 4, 13], np.arange(20) ** 2 / 40, 0.04), ([0, 1, 9], [0] * 8 + [30, 1, 2], 0.015)]
)
def test_the_interval_is_scipys_bca(few, many, near):
    """The difference of the means of two skewed strata of unlike size; within what another draw of the resamples makes."""
    few, many = (np.asarray(each, float) for each in (few, many))
    stratum = np.repeat([0, 1], [len(few), len(many)])

    def difference(weights):
        shares = [
            weights[:, 1, stratum == one] @ each / weights[..., stratum == one].sum(axis=(1, 2)) for one, each in enumerate((few, many))
        ]
        return shares[0] - shares[1]

    found = change(difference, draws(stratum, seed=0, n_resamples=20_000, n_permutations=9))
    statistic = {"method": "BCa", "n_resamples": 40_000, "rng": np.random.default_rng(1)}
    expected = bootstrap((few, many), lambda x, y, axis: x.mean(axis) - y.mean(axis), **statistic).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=near)


def test_a_ratio_is_of_sums_and_its_interval_is_that_of_a_mean():
    """Not a mean of ratios; what divides may be below 0. Of a mean of 400 records the percentiles are 1.96 standard errors away."""
    n = np.tile([1.0, 9.0], 200)
    value = np.where(n == 1, 5.0, 2.0)[:, None]
    ones = np.ones((400, 1))
    ratios = ratio_of_effects(np.stack([value * n[:, None], -ones]), np.stack([n[:, None], ones]), seed=0, n_resamples=200)
    assert ratios[0] == pytest.approx(-(5 + 9 * 2) / 10)
    noise = np.random.default_rng(1).normal(10, 2, (400, 1))
    value, low, high = ratio_of_effects(np.stack([noise, ones]), np.ones((2, 400, 1)), seed=0)
    error = 1.96 * noise.std() / 20
    assert (value[0], low[0], high[0]) == pytest.approx((noise.mean(), noise.mean() - error, noise.mean() + error), abs=0.15 * error)
