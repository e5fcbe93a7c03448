"""Irregularity by arithmetic; contrasts and their test on small arrays whose truth is known."""

import numpy as np
import pytest

from heartlens.measures.irregularity import above_median, deviations, interval_lengths, irregularity, whole, without_p
from heartlens.measures.resample import q_values
from heartlens.measures.shift import contrast_weights, lag_masks, two_sided_p_values, without_recency
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.simulate.regular import regular

MARKS = np.array([20, 100, 180, 240, 340, 420, 480])  # tokens of the beats; the first and the last interval go on as their neighbours:
LENGTHS = {-1: 80, 0: 80, 1: 80, 2: 60, 3: 100, 4: 80, 5: 60, 6: 60}  # by the beat each begins with
DEVIATIONS = [0, 0, 0, 20 / 80, 30 / 70, 20 / 60, 20 / 80, 10 / 70]  # from medians of the two intervals on either side
IDENTITY = np.array(["00000000000000aa", "00000000000000bb"])


@pytest.fixture
def windows():
    """One window whose beats fall on MARKS, without waves."""
    none = np.array([])
    landmarks = Landmarks("ecg", MARKS / 100, none.astype(str), none, none, none, (0.0, 4.99), "by construction")
    return cut(np.random.default_rng(0).normal(size=500), landmarks, "one")


def test_interval_lengths_are_those_between_the_marks(windows):
    assert interval_lengths(windows.position[0]) == pytest.approx(LENGTHS)


def test_an_interval_cut_by_the_edge_has_its_full_length(windows):
    assert interval_lengths(windows.position[0, 130:200]) == pytest.approx({1: 80, 2: 60})


def test_an_interval_that_is_not_known_has_no_length(windows):
    windows.position[0, 170:250] = np.nan
    assert list(interval_lengths(windows.position[0])) == [-1, 0, 1, 3, 4, 5, 6]


def test_irregularity_is_the_deviation_from_the_neighbours_median():
    assert list(deviations({n: float(length) for n, length in LENGTHS.items()}).values()) == pytest.approx(DEVIATIONS, abs=1e-6)
    assert deviations({0: 80.0, 1: 60.0}) == {}  # one neighbour has no median to speak of


def test_a_beat_is_as_irregular_as_the_interval_before_it_or_after_it(windows):
    """The window begins within the cycle of the beat on token 20, so it shows the interval before that beat."""
    assert irregularity(windows)[0] == pytest.approx(DEVIATIONS[:-1], abs=1e-6)
    assert irregularity(windows, "after")[0] == pytest.approx(DEVIATIONS[1:], abs=1e-6)


def test_clockwork_is_regular_to_the_last_bit():
    windows = regular("ecg", 2)
    found = irregularity(windows)
    assert (found[~np.isnan(found)] == 0).all()
    assert set(np.unique(above_median(found))) <= {0, -1}  # rounding makes no beat irregular


def test_above_the_median():
    values = np.array([[0.1, 0.3, np.nan, 0.2], [0.1, 0.1, 0.1, 0.1], [np.nan] * 4])
    assert above_median(values).tolist() == [[0, 1, -1, 0], [0, 0, 0, 0], [-1] * 4]
    assert above_median(values, 0.3).tolist() == [[0, 0, -1, 0], [0, 0, 0, 0], [-1] * 4]  # by less than 30 % nothing is irregular


def test_only_whole_cycles_without_a_p_wave_are_told():
    """Cycles of 80 tokens from the first token on: the first begins with the window, the last is cut off after 20."""
    windows = regular("ecg", 1)
    windows.wave[0, 240:320] = -1  # cycle 3
    assert without_p(windows)[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert whole(without_p(windows), windows)[0].tolist() == [-1, 0, 0, 1, 0, 0, -1]
    windows.position[0, 410:420] = np.nan  # within cycle 5
    assert whole(without_p(windows), windows)[0].tolist() == [-1, 0, 0, 1, 0, -1, -1]


def test_a_contrast_is_the_difference_of_two_means():
    """Four cycles of 1, 2, 3 and 4 keys, even shares 1/10; the change on cycles 1 and 3 is 0.02 a key, on the others 0.01 less than 0."""
    cycle = np.repeat([[0, 1, 2, 3]], 2, axis=0).repeat([1, 2, 3, 4], axis=1)
    even, state = np.full((2, 10), 0.1), np.array([[0, 1, 0, 1], [1, 1, 1, 1]])
    weights = contrast_weights(state, cycle, even, IDENTITY, 5)
    change = np.where(np.isin(cycle, (1, 3)), 0.02, -0.01)
    assert weights[0, 0] @ change[0] == pytest.approx(0.2 + 0.1)
    assert (weights[1] == 0).all()  # nothing to compare with


def test_shuffles_move_the_feature_among_known_cycles():
    cycle, even = np.arange(6)[None], np.full((1, 6), 1 / 6)
    weights = contrast_weights(np.array([[1, 0, 0, 0, 0, -1]]), cycle, even, IDENTITY[:1], 200)[0]
    assert (weights[:, 5] == 0).all()
    assert ((weights > 0).sum(axis=1) == 1).all()
    drawn = (weights[1:] > 0)[:, :5].mean(axis=0)
    assert drawn == pytest.approx(np.full(5, 0.2), abs=0.1)
    again = contrast_weights(np.array([[1, 0, 0, 0, 0, -1]]), cycle, even, IDENTITY[:1], 200)[0]
    np.testing.assert_array_equal(weights, again)


def test_lags_count_from_the_windows_last_cycle():
    masks = lag_masks(np.array([[-1, 0, 0, 1, 2, 3]]), 3)
    assert masks[0].tolist() == [[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0], [0, 1, 1, 1, 0, 0]]


def records_of(rng, n_records, n_heads, change_of, n_shuffles=20, n_cycles=7, n_windows=2):
    """What a tally would hold of records whose windows have `n_cycles` one-key cycles, the feature on three of them drawn by `rng`."""
    cycle = np.tile(np.arange(n_cycles), (n_windows, 1))
    even, masks = np.full((n_windows, n_cycles), 1 / n_cycles), lag_masks(cycle, n_cycles)
    contrast, even_contrast, by_lag = [], [], []
    for _ in range(n_records):
        state = rng.permuted(np.tile([1, 1, 1, *[0] * (n_cycles - 3)], (n_windows, 1)), axis=1)
        identity = np.array([f"{value:016x}" for value in rng.integers(2**62, size=n_windows)])
        weights, change = contrast_weights(state, cycle, even, identity, n_shuffles), change_of(state, n_heads)
        contrast.append(np.einsum("bsk,bhk->sh", weights, change)[:, None] / n_windows)
        even_contrast.append(np.einsum("bsk,bk,blk->sl", weights, even, masks)[:, None] / n_windows)
        by_lag.append(np.einsum("bhk,blk->lh", change, masks) / n_windows)
    even_by_lag = np.full((n_records, n_cycles), 1 / n_cycles)
    return np.array(contrast), np.array(even_contrast), np.array(by_lag), even_by_lag


def q_of(contrast, seed=0):
    return q_values(two_sided_p_values(contrast, np.ones_like(contrast), seed=seed, n_permutations=499)[0])


def test_what_follows_the_feature_is_found():
    found = without_recency(*records_of(np.random.default_rng(0), 8, 1, lambda state, _: 0.01 * state[:, None]))
    # 0.01 on cycles of even share 1/7; a record's lags are those of the others, whose mean is 3 of 7 cycles wherever they lie
    assert found[:, 0].mean() == pytest.approx(0.07, rel=0.05)
    assert q_of(found)[0] < 0.01


def test_recency_alone_is_not_taken_for_irregularity():
    """All of the change lies on the last cycle, in every window alike: taken out, nothing is left, however the feature falls."""

    def last_gains(state, n_heads):
        return np.tile(np.where(np.arange(state.shape[1]) == state.shape[1] - 1, 0.3, -0.05), (len(state), n_heads, 1))

    parts = records_of(np.random.default_rng(1), 8, 2, last_gains)
    assert np.abs(parts[0]).max() > 0.5  # as it is, windows whose last cycle has the feature show an effect
    assert np.abs(without_recency(*parts)).max() < 1e-12


def test_a_lone_record_keeps_its_contrast():
    parts = records_of(np.random.default_rng(2), 1, 1, lambda state, _: 0.01 * state[:, None])
    np.testing.assert_array_equal(without_recency(*parts), parts[0])


def test_no_change_has_p_one_and_constants_of_either_sign_are_no_finding():
    one = np.ones((5, 4, 2))
    for value in (0.0, 0.3, -0.3):
        assert two_sided_p_values(one * value, one, seed=0, n_permutations=99).tolist() == [1.0, 1.0]


def test_both_signs_are_found():
    top = np.random.default_rng(0).normal(size=(10, 20, 2)) * 0.01
    top[:, 0] += [1.0, -1.0]
    assert two_sided_p_values(top, np.ones_like(top), seed=0, n_permutations=999) == pytest.approx([2 / 1000, 2 / 1000])


def test_under_the_null_few_repeats_find_anything():
    """Changes of eight heads with recency, heavy tails and a common part, none of which knows of the feature: of 200 repeats
    q < 0.05 in at most 5 %, anywhere."""

    def noise(rng):
        def change(state, n_heads):
            shape = (len(state), n_heads, state.shape[1])
            recent = 0.3 * np.arange(shape[-1]) / shape[-1]
            return rng.standard_t(3, size=shape) + rng.normal(size=(shape[0], 1, shape[2])) + recent

        return change

    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found += bool((q_of(without_recency(*records_of(rng, 8, 8, noise(rng))), seed) < 0.05).any())
    assert found <= 10
