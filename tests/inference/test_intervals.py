"""Intervals cover at the numbers of units where they decide, and are those of textbooks where these have them."""

import numpy as np
import pytest
from scipy import stats

from heartlens.inference.intervals import mean_interval, ratio_interval

N_STUDIES = 4000
LEAST = 0.93 - 3 * np.sqrt(0.93 * 0.07 / N_STUDIES)  # a true coverage of 0.93 falls below this once in 700 times


def studies(n_units, share_with, sd, lift=1.5, seed=0):
    """(unit, study): shares on a wave and even shares, the unit's lift lognormal with mean `lift`; some units lack the wave."""
    rng = np.random.default_rng(seed)
    has_wave = rng.random((n_units, N_STUDIES)) < share_with
    bottom = np.where(has_wave, rng.uniform(0.05, 0.2, has_wave.shape), 0.0)
    return bottom * lift * np.exp(rng.normal(-(sd**2) / 2, sd, has_wave.shape)), bottom


@pytest.mark.parametrize("sd", [0.3, 0.5])
@pytest.mark.parametrize(("n_units", "share_with"), [(8, 1.0), (10, 1.0), (25, 1.0), (50, 1.0), (25, 1 / 3), (50, 1 / 3), (50, 0.1)])
def test_a_lift_is_covered(n_units, share_with, sd):
    low, high = ratio_interval(*studies(n_units, share_with, sd))
    known = ~np.isnan(low)
    assert ((low <= 1.5) & (high >= 1.5))[known].mean() >= LEAST


def test_with_equal_bottoms_the_standard_error_is_that_of_the_mean_over_one_less_a_share():
    """HC3 of a mean: residuals over 1 - 1/n, so the standard error is that of `scipy.stats.sem` times sqrt(n / (n - 1))."""
    top = np.array([1.0, 1.4, 0.9, 1.7, 1.2])
    low, high = ratio_interval(top, np.ones(5))
    reach = stats.t.ppf(0.975, 4) * stats.sem(top) * np.sqrt(5 / 4) / top.mean()
    assert [low, high] == pytest.approx([top.mean() * np.exp(-reach), top.mean() * np.exp(reach)])


def test_a_unit_without_the_wave_changes_nothing():
    top, bottom = np.array([1.0, 1.4, 0.9]), np.array([0.8, 1.1, 1.0])
    np.testing.assert_allclose(ratio_interval(np.append(top, 0), np.append(bottom, 0)), ratio_interval(top, bottom))


def test_one_unit_has_no_interval_and_nothing_is_between_0_and_infinity():
    assert np.isnan(ratio_interval(np.array([1.0, 0.0]), np.array([1.0, 0.0]))).all()
    assert ratio_interval(np.zeros(3), np.ones(3)) == (0.0, np.inf)


def test_the_interval_of_a_mean_of_values_that_lie_evenly_about_it_is_scipys():
    half = np.random.default_rng(0).normal(0, 3, (6, 4))
    values = 2 + np.concatenate([half, -half])
    low, high = mean_interval(values)
    expected = stats.t.interval(0.95, 11, values.mean(axis=0), stats.sem(values))
    np.testing.assert_allclose([low, high], expected, rtol=1e-5)


def test_where_values_are_skewed_an_end_is_halls():
    """By Hall (1992), with the skewness that scipy gives: g(w) = w + a w²/3 + a² w³/27 + a/(6n) of the end is the quantile of t."""
    values = np.random.default_rng(3).exponential(size=20)
    low, high = mean_interval(values)
    a, quantile = stats.skew(values, bias=False), stats.t.ppf(0.975, 19) / np.sqrt(20)
    w = (values.mean() - high) / values.std(ddof=1)
    assert w + a * w**2 / 3 + a**2 * w**3 / 27 + a / 120 == pytest.approx(-quantile)
    assert low == pytest.approx(values.mean() - quantile * values.std(ddof=1))  # t reaches further below


SKEWED = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal": lambda rng, shape: np.exp(rng.normal(0, 0.5, shape)) - np.exp(0.125),
    "long tails": lambda rng, shape: rng.standard_t(4, shape),
}


@pytest.mark.parametrize("of", list(SKEWED))
@pytest.mark.parametrize("n_units", [8, 10, 25, 50])
def test_a_mean_is_covered(of, n_units):
    low, high = mean_interval(SKEWED[of](np.random.default_rng(n_units), (n_units, N_STUDIES)))
    assert ((low <= 0) & (high >= 0)).mean() >= LEAST


def test_values_that_are_missing_take_no_part():
    values = np.array([[1.0, 1.0], [2.0, np.nan], [4.0, 4.0], [np.nan, np.nan]])
    low, high = mean_interval(values)
    for column in range(2):
        expected = mean_interval(values[~np.isnan(values[:, column]), column])
        np.testing.assert_allclose([low[column], high[column]], expected)
    assert np.isnan(mean_interval(np.array([1.0, np.nan]))).all()
