"""Beats against the golden published procedure, and matching against every pairing there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartlens.measures.beat_matching import averaged, beats_of, match, total
from heartlens.refusal import Refusal

TIMES = st.lists(st.integers(0, 60), max_size=5).map(lambda tens: np.array(tens, float) / 20)  # 0 to 3 s in steps of 50 ms


def every_pairing(found, true, tolerance_s):
    """The errors of every one-to-one pairing within the tolerance."""
    if not len(found):
        yield ()
        return
    yield from every_pairing(found[1:], true, tolerance_s)
    for i, time_s in enumerate(true):
        if abs(found[0] - time_s) <= tolerance_s + 1e-9:
            for rest in every_pairing(found[1:], np.delete(true, i), tolerance_s):
                yield (found[0] - time_s, *rest)


@settings(deadline=None)
@given(TIMES, TIMES, st.sampled_from([0.1, 0.15, 2.0]))
def test_no_pairing_has_more_pairs_or_as_many_of_less_error(found, true, tolerance_s):
    matches = match(found, true, tolerance_s)
    best = min(every_pairing(found, true, tolerance_s), key=lambda errors: (-len(errors), sum(np.square(errors))))
    assert (matches.hits, matches.misses, matches.extras) == (len(best), len(true) - len(best), len(found) - len(best))
    assert (matches.error_s**2).sum() == pytest.approx(sum(np.square(best)))


def test_matching_by_hand():
    """Greedy from the left, or by nearest first, would lose a pair: 1.10 is nearest to 1.08, but 1.20 has nothing else."""
    matches = match(np.array([0.95, 1.10, 3.0, 4.0]), np.array([1.20, 1.08, 2.0]))
    assert (matches.hits, matches.misses, matches.extras) == (2, 1, 2)
    assert matches.error_s == pytest.approx([-0.13, -0.10])
    assert (matches.sensitivity, matches.precision, matches.f1) == pytest.approx((2 / 3, 2 / 4, 4 / 7))


def test_of_two_beats_in_reach_the_nearer_is_taken():
    matches = match(np.array([0.86, 0.99]), np.array([1.0]))
    assert (matches.hits, matches.extras) == (1, 1)
    assert matches.error_s == pytest.approx([-0.01])


@pytest.mark.parametrize(("late_s", "hits"), [(0.15, 1), (-0.15, 1), (0.151, 0), (-0.151, 0)])
def test_the_tolerance_is_within_reach(late_s, hits):
    assert match(np.array([1.0 + late_s]), np.array([1.0])).hits == hits


def test_a_shifted_copy_is_all_hits_and_all_as_late():
    true = np.cumsum(np.random.default_rng(0).uniform(0.4, 1.2, 2000))
    matches = match(true + 0.08, true)
    assert (matches.hits, matches.misses, matches.extras) == (2000, 0, 0)
    assert matches.error_s == pytest.approx(0.08)


def test_counts_of_records_add_up():
    """F1 of the sums, not the mean of F1: 3 of 3 and 0 of 1 are 6 / 8."""
    good, bad, empty = match(np.arange(3.0), np.arange(3.0)), match(np.array([5.0]), np.array([9.0])), match(np.zeros(0), np.zeros(0))
    both = total([good, bad, empty])
    assert (both.hits, both.misses, both.extras, len(both.error_s)) == (3, 1, 1, 3)
    assert (both.f1, both.sensitivity, both.precision) == pytest.approx((6 / 8, 3 / 4, 3 / 4))
    assert np.isnan([empty.f1, empty.sensitivity, empty.precision]).all()
    assert total([]).hits == 0


def test_averaged_is_the_mean_over_the_windows_that_hold_a_token():
    rng = np.random.default_rng(0)
    signal, starts = rng.uniform(size=40), np.array([0, 4, 8, 32])
    outputs = signal[starts[:, None] + np.arange(8)]
    found = averaged(outputs, starts, 40)
    covered = np.r_[0:16, 32:40]
    assert found[covered] == pytest.approx(signal[covered])
    assert np.isnan(found[16:32]).all()
    outputs[1] += 1
    assert averaged(outputs, starts, 40)[covered] - signal[covered] == pytest.approx(np.repeat([0, 0.5, 0], [4, 8, 12]))
    beyond = averaged(outputs, starts - 4, 33)  # what reaches beyond an end is left out
    assert beyond[:4] == pytest.approx(outputs[0, 4:] / 2 + outputs[1, :4] / 2)
    assert beyond[28:] == pytest.approx(outputs[3, :5])


def bumps(at_s, height, rate_hz, width_s=0.04):
    time_s = np.arange(round(10 * rate_hz)) / rate_hz
    return sum(h * np.exp(-0.5 * ((time_s - s) / width_s) ** 2) for s, h in zip(at_s, height, strict=True))


@pytest.mark.parametrize("rate_hz", [50, 100.0])
def test_beats_are_the_high_narrow_maxima_that_lie_apart(rate_hz):
    at_s, height = [1.0, 2.0, 2.2, 3.0, 4.0, 4.3, 5.5], [0.9, 0.4, 0.5, 0.01, 0.3, 0.2, 0.6]
    probability = bumps(at_s, height, rate_hz) + bumps([7.0], [0.5], rate_hz, width_s=0.15) + bumps([8.4], [0.5], rate_hz, width_s=0.2)
    found = beats_of(probability, rate_hz) / rate_hz
    assert found == pytest.approx([1.0, 2.2, 4.0, 4.3, 5.5, 7.0])  # 2.0 is too near to 2.2, 3.0 too low, 8.4 too wide
    assert beats_of(probability, rate_hz, threshold=0.45) / rate_hz == pytest.approx([1.0, 2.2, 5.5, 7.0])
    assert beats_of(probability, rate_hz, widest_s=None)[-1] / rate_hz == 8.4
    assert 2.0 in beats_of(probability, rate_hz, apart_s=0.1) / rate_hz


def test_the_published_beats_of_the_long_example(shared):
    golden = np.load(shared / "heartgpt/golden/beat_pipeline.npz")
    output = golden["output"].astype(float)
    found = beats_of(output, rate_hz=50.0)
    assert found.tolist() == golden["peaks"].tolist()
    assert output[found] == pytest.approx(golden["heights"])


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(Refusal, match="1 of 3 tokens have no probability"):
        beats_of(np.array([0.1, np.nan, 0.2]), 50.0)
    with pytest.raises(Refusal, match="NaN or infinite"):
        match(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(Refusal, match=r"the tolerance is -0\.1 s"):
        match(np.array([1.0]), np.array([1.0]), tolerance_s=-0.1)
