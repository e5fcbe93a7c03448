"""Heads against heads of their norm, on simulated heads whose truth is known. The old rule stands here as what it was: a reproduction."""

import numpy as np
import pytest
from scipy import stats

from heartlens.inference.intervals import change_error, change_interval
from heartlens.inference.peers import excess_over_peers

N_HEADS = 64


def simulated(rng, n_units, spread, planted=(), power=0.0, noise=0.3):
    """Changes of a readout (unit, head), true effects around 0 with this spread between heads, times the norm to a power; and the norms."""
    norm = np.exp(rng.normal(0, 0.7, N_HEADS))
    true = rng.normal(0, spread, N_HEADS) * norm**power
    true[: len(planted)] += planted
    return true + noise * rng.normal(size=(n_units, N_HEADS)) + noise / 2 * rng.normal(size=(n_units, 1)), norm


def standing_out(changes, norm):
    """Which heads lie beyond their peers and have an interval without 0."""
    ones = np.ones_like(changes)
    low, high = change_interval(changes, ones)
    excess = excess_over_peers(changes.mean(axis=0), change_error(changes, ones), norm)
    return ((low > 0) & (excess.low > 0)) | ((high < 0) & (excess.high < 0))


def beyond_three_neighbours(changes, norm):
    """The rule before: the effect less the mean of the three heads of nearest norm, as if these three knew what heads of that norm do."""
    apart = np.abs(norm[:, None] - norm) + np.diag(np.full(N_HEADS, np.inf))
    control = changes[:, np.argsort(apart, axis=1)[:, :3]].mean(axis=2)
    inside = [change_interval(each, np.ones_like(each)) for each in (changes, changes - control)]
    return np.all([low > 0 for low, _ in inside], axis=0) | np.all([high < 0 for _, high in inside], axis=0)


@pytest.mark.parametrize(("n_units", "at_least"), [(10, 8), (50, 15), (200, 20)])
def test_three_neighbours_as_constants_let_many_heads_stand_out_that_do_not(n_units, at_least):
    """The more units, the more: their noise vanishes and the spread between heads remains."""
    rng = np.random.default_rng(0)
    counts = [beyond_three_neighbours(*simulated(rng, n_units, 0.2)).sum() for _ in range(5)]
    assert np.mean(counts) > at_least


@pytest.mark.parametrize("n_units", [10, 200])
@pytest.mark.parametrize(("spread", "power"), [(0.2, 0.0), (0.2, 1.0), (0.0, 0.0)])
def test_where_heads_differ_at_random_few_studies_have_any_that_stands_out(n_units, spread, power):
    """At most 5 % of studies: as many as 40 studies let expect in 99 % of tests."""
    rng = np.random.default_rng(1)
    n_studies = sum(standing_out(*simulated(rng, n_units, spread, power=power)).any() for _ in range(40))
    assert n_studies <= stats.binom.ppf(0.99, 40, 0.05)


@pytest.mark.parametrize(("planted", "spread", "noise"), [(1.0, 0.1, 0.3), (0.05, 0.005, 0.015)], ids=["1 logit", "0.05 nats"])
def test_a_planted_head_is_found_with_25_persons(planted, spread, noise):
    rng = np.random.default_rng(2)
    n_found = sum(standing_out(*simulated(rng, 25, spread, [planted], noise=noise))[0] for _ in range(20))
    print(f"power for {planted}: {n_found / 20:.2f}")
    assert n_found >= 18


def test_several_planted_heads_do_not_hide_each_other():
    found = standing_out(*simulated(np.random.default_rng(3), 25, 0.05, [1.0] * 8))
    assert found[:8].all()


def test_who_adds_more_may_do_more():
    """Effects that grow with the norm, without any spread of their own, are what the norm lets expect."""
    rng = np.random.default_rng(4)
    norm = np.exp(rng.normal(0, 0.7, N_HEADS))
    changes = 0.5 * np.log(norm) + 0.1 * rng.normal(size=(50, N_HEADS))
    excess = excess_over_peers(changes.mean(axis=0), change_error(changes, np.ones_like(changes)), norm)
    assert np.abs(excess.expected - 0.5 * np.log(norm)).max() < 0.05
    assert not standing_out(changes, norm).any()


def test_the_studentised_excess_of_heads_measured_without_error_is_that_of_a_regression():
    """Where the spread is the same at every norm: the residual from the line of the others, over the standard error of a new value."""
    norm = np.exp(np.linspace(-2, 2, N_HEADS))
    effect = 1 + 0.5 * np.log(norm) + 0.1 * np.where(np.arange(N_HEADS) % 2, 1.0, -1.0)
    excess = excess_over_peers(effect, np.zeros(N_HEADS), norm)
    for head in (0, 31, 63):
        x, y = (np.delete(values, head) for values in (np.log(norm), effect))
        line = stats.linregress(x, y)
        spread = ((y - line.intercept - line.slope * x) ** 2).sum() / (N_HEADS - 3)
        error = np.sqrt(spread * (1 + 1 / (N_HEADS - 1) + (np.log(norm[head]) - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
        apart = effect[head] - line.intercept - line.slope * np.log(norm[head])
        limit = stats.t.ppf(1 - 0.025 / N_HEADS, N_HEADS - 3)
        assert excess.studentised[head] == pytest.approx(apart / error)
        assert (excess.low[head], excess.high[head]) == pytest.approx((apart - limit * error, apart + limit * error))


def test_heads_of_one_norm_and_heads_that_do_nothing():
    excess = excess_over_peers(np.array([5.0] + [0.0] * 7), np.zeros(8), np.full(8, 2.0))
    assert (excess.low[0], excess.high[0], excess.studentised[0]) == (5, 5, np.inf)
    assert (excess.low[1:] == 0).all()
    nothing = excess_over_peers(np.zeros(8), np.zeros(8), np.zeros(8))
    assert (nothing.low == 0).all()
    assert (nothing.high == 0).all()


def test_fewer_than_four_heads_are_not_compared():
    assert np.isnan(excess_over_peers(np.arange(3.0), np.ones(3), np.ones(3)).low).all()
    effect = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])
    assert np.isnan(excess_over_peers(effect, np.ones(6), np.ones(6)).low).tolist() == [False, False, True, False, False, False]
