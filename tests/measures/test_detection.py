"""Detectors against the definitions, by counting pairs and by trying every threshold; intervals against a known truth."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heartlens.measures.detection import (
    auc,
    best_threshold,
    brier,
    by_record,
    expected_calibration_error,
    rates,
    record_interval,
    reliability,
)
from heartlens.refusal import Refusal

WINDOWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=25)  # few values: many ties


def arrays(pairs):
    score, positive = zip(*pairs, strict=True)
    return np.array(score, float), np.array(positive, bool)


def auc_by_pairs(score, positive):
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    return np.mean(pairs) if pairs else np.nan


def youden(score, positive, threshold):
    found = rates(score, positive, threshold)
    return found.sensitivity + found.specificity - 1


def of_records(rng, n_records, n_windows, apart):
    """Scores of two classes of records that lie `apart` in the mean, half of the variance (1) between records."""
    record = np.repeat(np.arange(n_records), n_windows)
    positive = record % 2 == 0
    noise = rng.normal(0, np.sqrt(0.5), n_records)[record] + rng.normal(0, np.sqrt(0.5), len(record))
    return noise + apart * positive, positive, record


@settings(deadline=None)
@given(WINDOWS)
def test_auc_counts_pairs(pairs):
    score, positive = arrays(pairs)
    assert auc(score, positive) == pytest.approx(auc_by_pairs(score, positive), nan_ok=True)


def test_auc_of_two_normals():
    rng = np.random.default_rng(0)
    positive = np.arange(20_000) % 2 == 0
    found = auc(rng.normal(0, 1, 20_000) + positive, positive)
    assert found == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=4 * 0.0034)  # four standard errors (Hanley & McNeil)


def test_rates_by_hand():
    score = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.2])
    positive = np.array([True, True, False, True, False, False, True])
    found = rates(score, positive, 0.5)  # called: three of four positives, one of three negatives
    assert (found.n_positive, found.n_negative) == (4, 3)
    assert (found.sensitivity, found.specificity, found.precision) == pytest.approx((3 / 4, 2 / 3, 3 / 4))
    assert (found.f1, found.accuracy) == pytest.approx((3 / 4, 5 / 7))


def test_rates_that_nothing_defines_are_nan():
    none = rates(np.array([0.1, 0.2]), np.array([False, False]), 0.5)
    assert np.isnan([none.sensitivity, none.precision, none.f1]).all()
    assert (none.specificity, none.accuracy) == (1, 1)
    assert np.isnan(rates(np.array([0.9]), np.array([True]), 0.5).specificity)


@settings(deadline=None)
@given(WINDOWS.filter(lambda pairs: len({positive for _, positive in pairs}) == 2))
def test_no_threshold_beats_the_best(pairs):
    score, positive = arrays(pairs)
    every = [*(np.unique(score) - 0.25), np.inf]
    threshold = best_threshold(score, positive)
    assert youden(score, positive, threshold) == pytest.approx(max(youden(score, positive, one) for one in every))


def test_the_best_threshold_lies_midway_and_of_several_in_the_middle():
    assert best_threshold(np.array([1.0, 2.0, 4.0, 5.0]), np.array([False, False, True, True])) == 3
    # - + - + - +: thresholds 1.5, 3.5 and 5.5 are equally good
    assert best_threshold(np.arange(1.0, 7.0), np.arange(6) % 2 == 1) == 3.5
    assert best_threshold(np.full(4, 0.7), np.arange(4) < 2) == 0.7  # all alike: all positive


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_threshold_between_neighbouring_numbers_separates_them(precision):
    low = precision(0.1)
    score = np.array([low, np.nextafter(low, precision(1))])
    positive = np.array([False, True])
    found = rates(score, positive, best_threshold(score, positive))
    assert (found.sensitivity, found.specificity) == (1, 1)


def test_calibration_by_hand():
    probability = np.array([0.05, 0.15, 0.15, 1.0])
    positive = np.array([False, True, False, True])
    bins = reliability(probability, positive)
    assert bins.count.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert bins.predicted[[0, 1, 9]] == pytest.approx([0.05, 0.15, 1.0])
    assert bins.observed[[0, 1, 9]] == pytest.approx([0.0, 0.5, 1.0])
    assert np.isnan(bins.predicted[2:9]).all()
    assert np.isnan(bins.observed[2:9]).all()
    assert expected_calibration_error(probability, positive) == pytest.approx((1 * 0.05 + 2 * 0.35 + 0) / 4)
    assert brier(probability, positive) == pytest.approx((0.05**2 + 0.85**2 + 0.15**2 + 0) / 4)


def test_a_calibrated_detector_has_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=100_000)
    positive = rng.uniform(size=100_000) < probability
    assert expected_calibration_error(probability, positive) < 0.01  # about 0.8 * sqrt(1/6 / 10 000) = 0.003 by chance
    assert expected_calibration_error(probability**2, positive) == pytest.approx(1 / 6, abs=0.01)  # the integral of p - p^2
    assert brier(probability, positive) == pytest.approx(1 / 6, abs=0.004)  # that of p (1 - p)


def test_by_record_is_the_mean_of_each_records_windows():
    names, mean = by_record(np.array([1.0, 5.0, 3.0, 0.0]), np.array(["b", "a", "b", "c"]))
    assert names.tolist() == ["a", "b", "c"]
    assert mean == pytest.approx([5, 2, 0])


def test_the_interval_of_a_mean_is_scipys_bca():
    value = np.random.default_rng(9).lognormal(0, 0.7, 25)
    found = record_interval(lambda chosen: float(value[chosen].mean()), np.arange(25), seed=0, n_resamples=10_000)
    known, plain = (
        stats.bootstrap((value,), np.mean, n_resamples=10_000, method=method, rng=np.random.default_rng(1)).confidence_interval
        for method in ("BCa", "percentile")
    )
    width = known.high - known.low
    assert found == pytest.approx((known.low, known.high), abs=0.05 * width)  # as in test_resample
    assert plain.high < known.high - 0.05 * width


def test_the_interval_of_a_difference_is_scipys_bca():
    """Two samples of unequal size: the acceleration must weigh them."""
    rng = np.random.default_rng(4)
    many, few = rng.lognormal(0, 1.0, 40), rng.lognormal(0, 1.0, 12)
    value, label = np.r_[many, few], np.repeat([0, 1], [40, 12])

    def difference(chosen):
        return float(value[chosen][label[chosen] == 1].mean() - value[chosen][label[chosen] == 0].mean())

    found = record_interval(difference, np.arange(52), label, seed=0, n_resamples=10_000)
    known = stats.bootstrap(
        (few, many), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=10_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((known.low, known.high), abs=0.05 * (known.high - known.low))


def test_records_are_resampled_whole_and_within_their_label():
    record = np.repeat([f"r{number}" for number in range(6)], [1, 2, 3, 1, 2, 3])[::-1].copy()
    label = np.isin(record, ["r0", "r1", "r2"])

    def watched(chosen):
        seen, times = np.unique(chosen, return_counts=True)
        assert all(len({times[seen == window].item() for window in np.flatnonzero(record == name)}) == 1 for name in set(record[chosen]))
        n_records = {
            value: sum((record[chosen][label[chosen] == value] == name).sum() / (record == name).sum() for name in set(record))
            for value in (False, True)
        }
        assert sorted(n_records.values()) in ([3, 3], [2, 3])  # two where one is left out
        return float(len(chosen))

    low, high = record_interval(watched, record, label, seed=0, n_resamples=50)
    assert low < high


def test_the_interval_covers_the_truth():
    """100 data sets of 40 records x 5 windows. The true AUC is Phi(1 / sqrt 2). Nominally 95 %, standard error 2.2 points; 0.88 to 0.99
    allows for the small sample. An interval over windows, as though they were independent, is a good third too short (last line)."""
    truth, inside = stats.norm.cdf(1 / np.sqrt(2)), []
    for seed in range(100):
        score, positive, record = of_records(np.random.default_rng(seed), 40, 5, 1.0)

        def statistic(chosen, score=score, positive=positive):  # the AUC without ties, and without the cost of checked types
            return float((score[chosen[positive[chosen]], None] > score[chosen[~positive[chosen]]]).mean())

        found = [record_interval(statistic, unit, positive, seed=seed, n_resamples=200) for unit in (record, np.arange(200))]
        inside.append([low <= truth <= high for low, high in found])
    by_records, by_windows = np.mean(inside, axis=0)
    assert 0.88 <= by_records <= 0.99
    assert by_windows < 0.85


def test_the_interval_is_quick_and_the_same_again():
    score, positive, record = of_records(np.random.default_rng(0), 50, 10, 1.0)

    def found():
        return record_interval(lambda i: auc(score[i], positive[i]), record, positive, seed=3)

    started = time.process_time()
    first = found()
    assert time.process_time() - started < 5  # 0.3 s without the types checked
    assert first == found()
    assert first[0] < auc(score, positive) < first[1]


def test_fewer_than_two_records_in_a_class_have_no_interval():
    record, label = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 0, 0, 0])
    assert np.isnan(record_interval(lambda chosen: 1.0, record, label, seed=0)).all()
    assert np.isnan(record_interval(lambda chosen: 1.0, record[:0], seed=0)).all()


def test_a_perfect_detector_has_an_interval_of_width_zero():
    positive = np.arange(10) % 2 == 0
    score = positive.astype(float)
    assert record_interval(lambda i: auc(score[i], positive[i]), np.arange(10), positive, seed=0) == (1, 1)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda: auc(np.array([0.1, np.nan]), np.array([True, False])), "1 of 2 scores are NaN"),
        (lambda: brier(np.array([-2.0, 3.0]), np.array([True, False])), "is this a logit"),
        (lambda: reliability(np.array([0.5]), np.array([True]), 0), "n_bins is 0"),
        (lambda: best_threshold(np.array([0.1, 0.2]), np.array([True, True])), "all 2 windows are of one class"),
        (lambda: record_interval(lambda i: 0.0, np.array(["a", "a"]), np.array([0, 1]), seed=0), "record a has windows of two labels"),
    ],
)
def test_what_cannot_be_judged_is_refused(act, why):
    with pytest.raises(Refusal, match=why):
        act()
