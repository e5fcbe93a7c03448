"""Twins set a limit and give a p-value that are exact for exchangeable values, by counting."""

import numpy as np
import pytest

from heartlens.inference.nulls import count_range, twin_limit, twin_p_value


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
