"""Attention by distance in cycles, by arithmetic on windows whose cycle is 80 tokens."""

from dataclasses import replace

import numpy as np
import pytest

from heartlens.axes import CONTEXT
from heartlens.engine import Asked
from heartlens.engine.protocol import sums_of_pattern
from heartlens.measures import cycles
from heartlens.signals.simulate.regular import regular

CYCLE = 80
WINDOWS = regular("ecg", 2)
N_LAGS = 9


def looking_back(n_tokens, n_heads=1):
    """Every token looks `n_tokens` back, and at itself where there is none."""
    key = np.arange(CONTEXT) - n_tokens
    pattern = np.zeros((2, n_heads, CONTEXT, CONTEXT))
    pattern[:, :, np.arange(CONTEXT), np.where(key >= 0, key, np.arange(CONTEXT))] = 1
    return pattern


def sums(pattern, **what):
    return sums_of_pattern(pattern, Asked(np.full(pattern.shape[::2], -1, np.int32), np.empty(0, np.int32), **what), 0)


def found(pattern, n_sink=0):
    """The attention at each distance, summed over the queries."""
    bins = cycles.distances(WINDOWS.position, N_LAGS, n_sink).astype(np.int16)
    return sums(pattern, bins=bins, n_bins=cycles.n_bins(N_LAGS)).binned


@pytest.mark.parametrize(("n_back", "distance"), [(0, 0), (16, 5), (80, 25), (160, 50), (204, 64)])
def test_what_looks_back_so_many_tokens_lies_at_that_distance(n_back, distance):
    one = found(looking_back(n_back))[0, 0]
    assert one[distance] == (CONTEXT if n_back == 0 else CONTEXT - n_back)
    assert one.sum() == CONTEXT


def test_lags_reach_half_a_cycle_to_either_side():
    counts = cycles.by_lag(np.ones(cycles.n_bins(3)))
    assert counts.tolist() == [13, 25, 25]
    for n_back, lag in ((30, 0), (50, 1), (110, 1), (130, 2)):
        assert cycles.by_lag(found(looking_back(n_back)))[0, 0, lag] == CONTEXT - n_back + (n_back if lag == 0 else 0)


@pytest.mark.parametrize(("n_back", "difference"), [(80, 0), (320, 0), (96, 5), (64, 20), (160 + 32, 10)])
def test_phase_differences_count_from_the_asking_tokens_phase_backwards(n_back, difference):
    turned = cycles.by_phase_difference(found(looking_back(n_back)))[0, 0]
    assert turned[difference] == CONTEXT - n_back
    assert turned.sum() == CONTEXT - n_back  # what looks at itself is in lag 0 and does not count


def test_a_rotation_takes_the_same_width_around_another_difference():
    turned = np.arange(25.0)
    bands = cycles.same_phase(turned, 1)
    assert bands[0] == 24 + 0 + 1
    assert bands[1] == 0 + 1 + 2
    assert bands[24] == 23 + 24 + 0
    assert bands.sum() == 3 * turned.sum()


def test_later_keys_the_sink_and_unknown_positions_do_not_count():
    ahead = looking_back(80).swapaxes(2, 3)
    assert found(ahead).sum() == 2 * CYCLE  # only those that look at themselves
    to_first = np.zeros((2, 1, CONTEXT, CONTEXT))
    to_first[..., 0] = 1
    assert found(to_first, n_sink=1).sum() == 0
    assert found(to_first).sum() > 0
    position = WINDOWS.position.copy()
    position[:, 300:] = np.nan
    bins = cycles.distances(position, N_LAGS, 0)
    assert (bins[:, 300:] == cycles.NOT_COUNTED).all()
    assert (bins[:, 299, :300] >= 0).all()


def test_what_is_too_far_back_does_not_count():
    bins = cycles.distances(WINDOWS.position, 2, 0)
    assert bins.max() == cycles.n_bins(2) - 1 == 37
    assert bins[0, 499, 499 - 122] == cycles.NOT_COUNTED
    assert bins[0, 499, 499 - 119] == 37


def test_looked_back_is_the_mean_distance():
    asked = np.arange(CONTEXT) >= 160
    reached = sums(looking_back(160, 3), coordinates=cycles.coordinates(WINDOWS)).reached
    top, bottom = cycles.looked_back(reached, WINDOWS, np.stack([asked, asked]))
    assert bottom == pytest.approx(np.full((2, 3), 340))
    assert top / bottom == pytest.approx(np.full((2, 3), 2.0))


def test_positions_far_into_a_recording_and_unknown_ones_do_not_blur_the_distance():
    position = WINDOWS.position + 1e6
    position[:, :100] = np.nan
    windows = replace(WINDOWS, position=position)
    asked = np.tile(np.arange(CONTEXT) >= 260, (2, 1))
    reached = sums(looking_back(160), coordinates=cycles.coordinates(windows)).reached
    top, bottom = cycles.looked_back(reached, windows, asked)
    assert bottom == pytest.approx(np.full((2, 1), 240))
    assert top / bottom == pytest.approx(np.full((2, 1), 2.0))


@pytest.mark.parametrize("n_sink", [0, 3])
def test_even_attention_by_distance_is_that_of_an_even_pattern(n_sink):
    even = np.zeros((2, 1, CONTEXT, CONTEXT))
    for query in range(n_sink, CONTEXT):
        even[:, :, query, n_sink : query + 1] = 1 / (query + 1 - n_sink)
    expected = found(even, n_sink)[:, 0]
    assert cycles.even_by_distance(cycles.distances(WINDOWS.position, N_LAGS, n_sink), N_LAGS, n_sink) == pytest.approx(expected, abs=1e-9)


def test_rollout_is_the_product_of_half_attention_and_half_identity():
    first, second = (np.array([[[[1.0, 0.0], [x, 1 - x]]]]) for x in (0.5, 1.0))
    once = cycles.rolled_out(first, None)
    assert once[0, 0].tolist() == [[1.0, 0.0], [0.25, 0.75]]
    assert cycles.rolled_out(second, once)[0, 0].tolist() == [[1.0, 0.0], [0.5 + 0.125, 0.375]]


def test_the_entropy_of_even_attention_is_the_logarithm():
    assert sums(np.full((1, 1, 8, 8), 1 / 8)).entropy == pytest.approx(np.log(8))
