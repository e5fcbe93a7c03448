"""Twins set a limit and give a p-value that are exact for exchangeable values, by counting."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binomtest

from heartlens.inference.nulls import count_range, in_spreads, twin_limit, twin_p_value


def test_values_above_the_limit_are_those_with_a_p_value_of_at_most_5_percent():
    rng = np.random.default_rng(0)
    for n_twins in (19, 20, 59, 99, 100):
        largest, values = rng.normal(size=n_twins), rng.normal(0.5, 2, 500)
        np.testing.assert_array_equal(values > twin_limit(largest), twin_p_value(values, largest) <= 0.05)


def test_of_exchangeable_values_5_percent_pass():
    """One of 60 exchangeable values is beyond the limit of the other 59 with probability 3 / 60, ties apart."""
    drawn = np.random.default_rng(1).normal(size=(20_000, 60))
    passed = [values[0] > twin_limit(values[1:]) for values in drawn]
    assert np.mean(passed) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 20_000))


def test_too_few_twins_let_nothing_pass():
    assert twin_limit(np.arange(18.0)) == np.inf
    assert twin_limit(np.arange(19.0)) == 18
    assert np.isnan(twin_limit(np.empty(0)))
    assert np.isnan(twin_p_value(np.array([1.0]), np.empty(0))).all()


def test_a_tie_with_a_twin_counts_for_the_twin():
    assert twin_p_value(np.array([1.0]), np.ones(19)) == 1


def test_the_range_of_a_count_over_redrawn_twins():
    values, twins = np.array([0.5, 10.0, 11.0]), np.linspace(0, 1, 59)
    assert count_range(lambda limit: int((values > limit).sum()), twins) == (2, 2)
    near = np.array([0.94, 0.96, 10.0])
    low, high = count_range(lambda limit: int((near > limit).sum()), twins)
    assert low < high


def drawn_lows(rng, n_models):
    """Values of 4 heads at 3 places (wave) of which the last varies ten times as much, of models that learnt nothing."""
    values = rng.normal(size=(n_models, 3, 4)) * np.array([1, 1, 10])[:, None]
    return [xr.DataArray(each, dims=("wave", "head")) for each in values]


def test_a_twin_is_measured_against_the_other_twins():
    """By arithmetic: each twin's largest over heads, less the mean of the others' largest, over their standard deviation."""
    model, *twins = drawn_lows(np.random.default_rng(0), 6)
    values, largest = in_spreads(model, twins, over="head")
    reached = np.stack([twin.values.max(axis=1) for twin in twins])
    for number in range(5):
        others = np.delete(reached, number, axis=0)
        expected = ((reached[number] - others.mean(axis=0)) / others.std(axis=0)).max()
        assert largest.values[number] == pytest.approx(expected)
    np.testing.assert_allclose(values, (model - reached.mean(axis=0)[:, None]) / reached.std(axis=0)[:, None])


def test_models_like_twins_pass_as_often_as_the_level_says():
    """Also where one place varies ten times as much: an effect of 6 at a quiet place is found, which that place's values would hide."""
    rng, n_studies = np.random.default_rng(1), 400
    n_passed = n_found = 0
    for _ in range(n_studies):
        model, *twins = drawn_lows(rng, 40)
        values, largest = in_spreads(model, twins, over="head")
        limit = twin_limit(largest.values)
        n_passed += bool((values > limit).any())
        of_twins = np.stack([twin.values for twin in twins])[:, 0].max(axis=1)
        n_found += bool((model.values[0, 0] + 6 - of_twins.mean()) / of_twins.std() > limit)
    assert binomtest(n_passed, n_studies, 0.05).pvalue > 0.01
    assert n_found > 0.9 * n_studies


def test_where_twins_never_vary_an_effect_stands_out_and_nothing_does_not():
    model, *twins = drawn_lows(np.random.default_rng(2), 40)
    still = [twin.where(twin["wave"] != 0, 0.0) for twin in (each.assign_coords(wave=[0, 1, 2]) for each in twins)]
    model = model.assign_coords(wave=[0, 1, 2])
    values, largest = in_spreads(model.where(model["wave"] != 0, 0.0), still, over="head")
    assert (values[0] == 0).all()
    assert np.isfinite(largest).all()
    values, largest = in_spreads(model.where(model["wave"] != 0, 5.0), still, over="head")
    assert (values[0] > twin_limit(largest.values)).all()
