"""Intervals, p-values and corrections against scipy, against enumeration, and against what a null must give."""

import itertools

import numpy as np
import pytest
from scipy import stats

from heartlens.measures.resample import interval_over_records, q_values, rotation_p_values, upper_quantile


def ratios(n_records, seed=0):
    rng = np.random.default_rng(seed)
    bottom = rng.uniform(0.5, 1.5, n_records)
    return bottom * rng.lognormal(0, 0.5, n_records), bottom


def scipys_interval(top, bottom, method):
    found = stats.bootstrap(
        (top, bottom),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        n_resamples=10_000,
        method=method,
        rng=np.random.default_rng(1),
    )
    return found.confidence_interval


def test_the_interval_is_scipys_bca():
    top, bottom = ratios(25, seed=9)
    low, high = interval_over_records(top[:, None], bottom[:, None], seed=0, n_resamples=10_000)
    known, plain = (scipys_interval(top, bottom, method) for method in ("BCa", "percentile"))
    width = known.high - known.low
    # the 2.5 % quantile of 10 000 draws has a standard error of about 1 % of the interval's width, in both; 5 % is three and a half
    assert low[0] == pytest.approx(known.low, abs=0.05 * width)
    assert high[0] == pytest.approx(known.high, abs=0.05 * width)
    assert plain.high < known.high - 0.05 * width  # so the comparison tells BCa from the plain bootstrap


def test_records_that_lack_the_wave_take_no_part_in_the_bias_correction():
    top, bottom = ratios(4, seed=3)
    absent = np.zeros(8)  # of 12 records 4 have the wave: (8/12)^12 = 0.8 % of all resamples have none
    low, high = interval_over_records(np.r_[top, absent][:, None], np.r_[bottom, absent][:, None], seed=0)
    resampled = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 2000)[:, :4]
    resampled = resampled[resampled.sum(1) > 0]
    values = (resampled @ top) / (resampled @ bottom)
    observed = top.sum() / bottom.sum()
    alone = (top.sum() - top) / (bottom.sum() - bottom)
    deviation = np.r_[alone, np.full(8, observed)]
    deviation = deviation.mean() - deviation
    is_tie = np.isclose(values, observed)  # counts half
    bias = stats.norm.ppf(((values < observed) & ~is_tie).mean() + is_tie.mean() / 2)
    acceleration = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    levels = [stats.norm.cdf(bias + z / (1 - acceleration * z)) for z in bias + stats.norm.ppf([0.025, 0.975])]
    assert [low[0], high[0]] == pytest.approx(np.quantile(values, levels), rel=1e-9)


def test_constant_data_have_an_interval_of_width_zero():
    bottom = np.random.default_rng(0).uniform(0.5, 1.5, (9, 2))
    low, high = interval_over_records(1.25 * bottom, bottom, seed=0)
    assert low == pytest.approx(1.25, rel=1e-12)
    assert high == pytest.approx(1.25, rel=1e-12)


@pytest.mark.parametrize("n_with_the_wave", [0, 1])
def test_fewer_than_two_records_with_the_wave_have_no_interval(n_with_the_wave):
    bottom = (np.arange(5) < n_with_the_wave).astype(float)[:, None]
    low, high = interval_over_records(2 * bottom, bottom, seed=0)
    assert np.isnan([low[0], high[0]]).all()


def test_the_interval_covers_the_truth():
    """300 repeats of 20 normal ratios: nominally 95 %; the bootstrap of 20 is known to fall short by 1 to 3 points, and 300 repeats have a
    standard error of 1.3 points. 0.88 to 0.98 holds both; an interval of half or twice the width would cover 68 % or 99.99 %."""
    top = np.random.default_rng(5).normal(1, 0.3, (20, 300))
    low, high = interval_over_records(top, np.ones((20, 300)), seed=0)
    assert 0.88 <= ((low < 1) & (high > 1)).mean() <= 0.98


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


@pytest.mark.parametrize(("n_draws", "rank"), [(5, 5), (19, 19), (20, 20), (39, 38), (99, 95)])
def test_the_upper_quantile_is_conformal(n_draws, rank):
    drawn = np.random.default_rng(0).permutation(n_draws) + 1.0  # 1 .. n in some order: the k-th smallest is k
    assert upper_quantile(np.stack([drawn, -drawn], axis=1)) == pytest.approx([rank, rank - n_draws - 1])


def test_without_draws_there_is_no_quantile():
    assert np.isnan(upper_quantile(np.empty((0, 2)))).all()
