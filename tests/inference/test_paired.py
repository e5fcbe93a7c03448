"""Changes of a figure of merit, by arithmetic and against scipy and the functions of `detection`."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import permutation_test, ttest_1samp, ttest_ind

from heartlens.inference.paired import (
    auc,
    auc_step,
    calibration_error,
    change,
    draws,
    p_values_of_change,
    ratio,
    ratio_of_effects,
    settled,
    sign_flip_p_values,
)
from heartlens.measures import detection
from heartlens.wording import interval

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
    value, low, high = ratio_of_effects(top, bottom)
    assert (value[0], low[0], high[0]) == pytest.approx((3, 3, 3))
    assert value[1] == pytest.approx(3 / (top[1, :, 1].mean() / 90))
    assert (low[1], high[1]) == (-np.inf, np.inf)
    assert interval(low[1], high[1]) == "unbounded"
    nothing = ratio_of_effects(np.zeros((2, 12, 1)), np.ones((2, 12, 1)))
    assert np.isnan(nothing).all()


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


def test_the_interval_of_a_difference_of_means_is_welchs():
    """Of a mean the jackknife's standard error is the usual one, and of two strata Satterthwaite's degrees of freedom are Welch's."""
    few, many = np.array([0.0, 1, 2, 4, 13]), np.arange(20) ** 2 / 40
    stratum = np.repeat([0, 1], [5, 20])

    def difference(weights):
        shares = [
            weights[:, 1, stratum == which] @ values / np.maximum(weights[..., stratum == which].sum(axis=(1, 2)), 1e-9)
            for which, values in enumerate((few, many))
        ]
        return shares[0] - shares[1]

    found = change(difference, draws(stratum, seed=0, n_resamples=9, n_permutations=9))
    expected = ttest_ind(few, many, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-9)


def test_a_figure_that_no_record_moves_may_still_be_a_step_off():
    same = np.stack([SCORE[0]] * 2)
    step = auc_step(POSITIVE, ~POSITIVE)
    assert step == 1 / (8 * 16)
    found = change(auc(same, POSITIVE), DRAWS, step)
    assert (found.low, found.high, found.p_value) == (-step, step, 1)


@pytest.mark.parametrize(("n", "shared"), [((8, 8), 0.5), ((8, 8), 0.9), ((8, 12), 0.9), ((15, 15), 0.7), ((30, 30), 0.9)])
def test_the_interval_of_a_change_of_auc_covers_it(n, shared):
    """AUCs of 0.87 and 0.80 of correlated normal scores; of 400 samples at least 0.93, less two standard errors of 400 (0.025)."""
    rng = np.random.default_rng(0)
    positive = np.arange(sum(n)) < n[0]
    apart = np.sqrt(2) * ndtri([0.87, 0.80])  # of two normal variables, AUC = Phi(apart / sqrt(2))
    drawn = draws(positive.astype(int), seed=0, n_resamples=2, n_permutations=2)
    covered = []
    for common, *own in rng.normal(size=(400, 3, sum(n))):
        score = np.sqrt(shared) * common + np.sqrt(1 - shared) * np.stack(own) + apart[:, None] * positive
        found = change(auc(score, positive), drawn, auc_step(positive, ~positive))
        covered.append(found.low <= 0.80 - 0.87 <= found.high)
    assert np.mean(covered) >= 0.93 - 0.025


SKEWED = {
    "normal": lambda z: z,
    "exponential": lambda z: -np.log(ndtr(-z)) - 1,
    "lognormal 0.5": lambda z: np.exp(0.5 * z) - np.exp(0.125),
    "lognormal 1": lambda z: np.exp(z) - np.exp(0.5),
}


@pytest.mark.parametrize("name", list(SKEWED))
@pytest.mark.parametrize("n", [8, 20, 100])
def test_skewed_changes_of_mean_0_are_called_changes_in_5_percent(name, n):
    """At most 6 %, and 2 standard errors of 4000 samples (0.75 %); random signs alone are wrong in 8 to 15 % of 8 and 20 records."""
    changed = SKEWED[name](np.random.default_rng(1).normal(size=(n, 4000)))
    assert (p_values_of_change(changed, seed=0, n_permutations=999) <= 0.05).mean() <= 0.06 + 0.0075
    if name in ("exponential", "lognormal 1") and n < 100:
        assert (sign_flip_p_values(changed, seed=0, n_permutations=999) <= 0.05).mean() > 0.075


@pytest.mark.parametrize(("n", "least"), [(8, 0.47), (20, 0.72), (100, 0.8)])
def test_changes_of_three_standard_errors_are_found(n, least):
    changed = np.random.default_rng(2).normal(3 / np.sqrt(n), 1, (n, 2000))
    assert (p_values_of_change(changed, seed=0, n_permutations=999) <= 0.05).mean() > least


def test_p_of_symmetric_changes_is_that_of_random_signs_or_of_t():
    """Without skewness h is t with a = 0."""
    changed = np.concatenate([np.arange(1.0, 7), -np.arange(1.0, 7)])[:, None] + 3
    expected = max(ttest_1samp(changed[:, 0], 0).pvalue, sign_flip_p_values(changed, seed=0)[0])
    assert p_values_of_change(changed, seed=0)[0] == pytest.approx(expected)
    assert p_values_of_change(-changed, seed=0)[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["normal", "exponential", "lognormal 0.5"])
@pytest.mark.parametrize("n", [8, 12, 25])
def test_fiellers_interval_covers_the_ratio(name, n):
    """Effects of 20 and 1, correlated, of records of unlike length. None is left out because the lower effect came out small."""
    rng = np.random.default_rng(3)
    own, other, common = (SKEWED[name](z) / SKEWED[name](rng.normal(size=9999)).std() for z in rng.normal(size=(3, n, 1500)))
    tokens = rng.integers(50, 150, (2, n, 1500)).astype(float)
    effect = np.stack([20 + 12 * (own + common) / 2, 1 + 1.5 * (other + common) / 2])
    value, low, high = ratio_of_effects(effect * tokens, tokens)
    assert np.isfinite(value).all()
    assert ((low <= 20) & (high >= 20)).mean() >= 0.93
    assert np.median(value) == pytest.approx(20, rel=0.1)


def test_a_ratio_is_of_sums_and_its_interval_is_that_of_a_mean():
    """Not a mean of ratios; what divides may be below 0. Over a constant, Fieller's interval of 400 records is that of their mean."""
    n = np.tile([1.0, 9.0], 200)
    value = np.where(n == 1, 5.0, 2.0)[:, None]
    ones = np.ones((400, 1))
    ratios = ratio_of_effects(np.stack([value * n[:, None], -ones]), np.stack([n[:, None], ones]))
    assert ratios[0] == pytest.approx(-(5 + 9 * 2) / 10)
    noise = np.random.default_rng(1).normal(10, 2, (400, 1))
    value, low, high = ratio_of_effects(np.stack([noise, ones]), np.ones((2, 400, 1)))
    error = 1.966 * noise.std() / 20
    assert (value[0], low[0], high[0]) == pytest.approx((noise.mean(), noise.mean() - error, noise.mean() + error), abs=0.01 * error)


def test_one_record_that_alone_has_a_figure_shows_nothing():
    """Seven of eight have no number after the change: without the eighth there is no figure, so nothing says how sure its change is."""
    count = np.stack([np.ones(8), np.eye(8)[0]])
    changed = change(ratio(np.stack([np.full(8, 0.8), 0.9 * np.eye(8)[0]]), count), draws(np.zeros(8, int), seed=0))
    assert changed.effect == pytest.approx(0.1)
    assert np.isnan([changed.error, changed.low, changed.high]).all()
