"""p-values and corrections against scipy, against enumeration, and against what a null must give."""

import itertools

import numpy as np
import pytest
from scipy import stats

from heartlens.measures.resample import q_values, rotation_p_values


def test_the_p_value_is_that_of_all_rotations():
    rng = np.random.default_rng(2)
    top, bottom = rng.uniform(1, 2, (3, 4, 2)), rng.uniform(1, 2, (3, 4, 2))
    p_value = rotation_p_values(top, bottom, seed=0, n_permutations=20_000)
    for statistic in range(2):
        every = [(range(3), turns, statistic) for turns in itertools.product(range(4), repeat=3)]  # the first is the observed one
        lift = np.array([top[chosen].sum() / bottom[chosen].sum() for chosen in every])
        exact = np.mean(lift >= lift[0])
        assert p_value[statistic] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_the_smallest_p_value_is_one_in_all_draws():
    top = np.ones((40, 20, 1))
    top[:, 0] = 2
    assert rotation_p_values(top, np.ones((40, 20, 1)), seed=0, n_permutations=999) == pytest.approx([1 / 1000])


def test_rounding_decides_nothing():
    """Even attention has the same lift under every rotation, up to what float32 rounds off: then every draw reaches the observed."""
    bottom = np.random.default_rng(0).uniform(0.1, 0.2, (8, 20, 3))
    top = bottom.copy()
    top[:, 0] *= 1 + 5e-8
    assert rotation_p_values(top, bottom, seed=0, n_permutations=999) == pytest.approx(1)


def test_a_ratio_that_is_not_defined_has_no_p_value():
    bottom = np.ones((3, 4, 2))
    bottom[..., 0] = 0
    assert np.isnan(rotation_p_values(bottom, bottom, seed=0, n_permutations=99)).tolist() == [True, False]


def test_p_values_are_uniform_under_the_null():
    """200 data sets in which no rotation is special: p < 0.05 in 10 of them, standard deviation 3.1; three deviations are allowed."""
    top = np.random.default_rng(11).lognormal(0, 0.3, (6, 20, 200))
    p_value = rotation_p_values(top, np.ones_like(top), seed=0, n_permutations=999)
    assert 1 <= (p_value < 0.05).sum() <= 19
    assert stats.kstest(p_value, "uniform").pvalue > 0.001


def test_q_values_are_scipys_over_what_was_tested():
    p_value = np.array([[0.01, np.nan, 0.04], [0.03, 0.005, np.nan]])
    # Benjamini-Hochberg by hand: sorted .005 .01 .03 .04, times 4 / rank: .02 .02 .04 .04
    assert q_values(p_value) == pytest.approx(np.array([[0.02, np.nan, 0.04], [0.04, 0.02, np.nan]]), nan_ok=True)
    random = np.random.default_rng(0).uniform(size=50)
    assert q_values(random) == pytest.approx(stats.false_discovery_control(random))
    assert np.isnan(q_values(np.full(3, np.nan))).all()
