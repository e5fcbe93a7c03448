"""How good a detector is: its ranking, its rates at a threshold, its calibration, and an interval of any of these over records.

A score belongs to a window, and is positive where `score >= threshold`. Windows of one record are not independent: `by_record` gives
record-wise scores, and `record_interval` resamples whole records, within each class, so that no resample lacks one.
AUC is P(score of a positive > score of a negative), a tie counting half (Mann & Whitney 1947); the threshold is that of the largest
Youden index, sensitivity + specificity - 1 (Youden 1950); calibration error after Naeini (2015); intervals are BCa (Efron 1987), with
the acceleration of several samples (Davison & Hinkley 1997, section 5.3).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from heartlens.refusal import Refusal

Score = Float[np.ndarray, " window"]
Positive = Bool[np.ndarray, " window"]
OfRecord = Shaped[np.ndarray, " window"]
ByBin = Float[np.ndarray, " bin"]


@dataclass(frozen=True)
class Rates:
    """How often a detector is right at one threshold; NaN where there is nothing to count."""

    sensitivity: float
    specificity: float
    precision: float
    f1: float
    accuracy: float
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class Reliability:
    """What was predicted and what came true, by bin of equal width from 0 to 1; NaN in a bin that is empty."""

    predicted: ByBin
    observed: ByBin
    count: Int[np.ndarray, " bin"]


def auc(score: Score, positive: Positive) -> float:
    """How often a positive window scores higher than a negative one, ties half; NaN where there is one class only.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    _, n_positive, n_negative = _counts(score, positive)
    n_below = np.cumsum(n_negative) - n_negative
    return ratio((n_positive * (n_below + n_negative / 2)).sum(), n_positive.sum() * n_negative.sum())


def rates(score: Score, positive: Positive, threshold: float) -> Rates:
    """The rates of calling positive what scores at least `threshold`."""
    called = _finite(score) >= threshold
    hits, alarms = int((called & positive).sum()), int((called & ~positive).sum())
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return Rates(
        sensitivity=ratio(hits, n_positive),
        specificity=ratio(n_negative - alarms, n_negative),
        precision=ratio(hits, hits + alarms),
        f1=ratio(2 * hits, hits + alarms + n_positive),
        accuracy=ratio(hits + n_negative - alarms, len(score)),
        n_positive=n_positive,
        n_negative=n_negative,
    )


def best_threshold(score: Score, positive: Positive) -> float:
    """The threshold of the largest Youden index, midway between two scores; of several such the middle one. Refuses one class only."""
    value, n_positive, n_negative = _counts(score, positive)
    if not n_positive.sum() or not n_negative.sum():
        raise Refusal(f"no threshold can be chosen: all {len(score)} windows are of one class; give windows of both")
    hits, alarms = (n[::-1].cumsum()[::-1] for n in (n_positive, n_negative))  # what scores at least this value
    index = hits * alarms[0] - alarms * hits[0]  # in whole numbers, so that ties are ties
    best = np.flatnonzero(index == index.max())
    place = int(best[(len(best) - 1) // 2])
    if place == 0:  # nothing is better than calling all positive
        return float(value[0])
    midway = (value[place - 1] + value[place]) / 2
    return float(midway if midway > value[place - 1] else value[place])


def brier(probability: Score, positive: Positive) -> float:
    """The mean square of probability minus truth: 0 where all are right with certainty, 1/4 where all probabilities are 1/2."""
    return ratio(((_probable(probability) - positive) ** 2).sum(), len(probability))


def reliability(probability: Score, positive: Positive, n_bins: int = 10) -> Reliability:
    """The mean probability, the fraction that came true and the number of windows in each of `n_bins` bins; 1 is in the last."""
    if n_bins < 1:
        raise Refusal(f"n_bins is {n_bins}; give 1 or more")
    place = np.minimum((_probable(probability) * n_bins).astype(int), n_bins - 1)
    count, predicted, observed = (np.bincount(place, weight, n_bins) for weight in (None, probability, positive))
    sums = np.stack([predicted, observed])
    mean = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
    return Reliability(mean[0], mean[1], count)


def expected_calibration_error(probability: Score, positive: Positive, n_bins: int = 10) -> float:
    """How far what came true lies from what was predicted, in the mean over windows."""
    bins = reliability(probability, positive, n_bins)
    return ratio((bins.count * np.nan_to_num(np.abs(bins.predicted - bins.observed))).sum(), bins.count.sum())


def by_record(score: Score, record: OfRecord) -> tuple[Shaped[np.ndarray, " record"], Float[np.ndarray, " record"]]:
    """The names of the records, sorted, and the mean score of each one's windows."""
    names, place = np.unique(record, return_inverse=True)
    return names, np.bincount(place, score) / np.bincount(place)


def record_interval(
    statistic: Callable[[Int[np.ndarray, " chosen"]], float],
    record: OfRecord,
    label: OfRecord | None = None,
    *,
    seed: int,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """The 95 % interval (low, high) of `statistic(indices of windows)` over records resampled within their label.

    A record's windows go together. Without `label` all records are alike. NaN where a label has fewer than two records; refuses a
    record with two labels. A statistic that no resample changes (an AUC of 1) has an interval of width zero, which is too narrow.
    """
    windows, strata = _strata(record, np.zeros(len(record), int) if label is None else label)
    if min(map(len, strata), default=0) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([rng.choice(stratum, (n_resamples, len(stratum))) for stratum in strata], axis=1)
    resampled = np.array([statistic(np.concatenate([windows[i] for i in chosen])) for chosen in drawn])
    observed = statistic(np.arange(len(record)))
    return _bca(resampled, observed, np.concatenate([_influence(statistic, windows, stratum) for stratum in strata]))


def _strata(record: OfRecord, label: OfRecord) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Each record's windows, and the records of each label."""
    names, first, place = np.unique(record, return_index=True, return_inverse=True)
    mixed = label != label[first][place]
    if mixed.any():
        raise Refusal(f"record {record[mixed][0]} has windows of two labels; give one label a record, or none")
    windows = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1]) if len(names) else []
    return windows, [np.flatnonzero(label[first] == value) for value in np.unique(label)]


def _influence(statistic: Callable[[np.ndarray], float], windows: list[np.ndarray], stratum: np.ndarray) -> np.ndarray:
    """How much each record of a stratum moves the statistic, by leaving it out."""
    without = [statistic(np.concatenate(windows[:i] + windows[i + 1 :])) for i in stratum]
    if not np.isfinite(without).any():
        return np.zeros(len(stratum))
    return np.nan_to_num(np.nanmean(without) - np.array(without)) * (1 - 1 / len(stratum))


def _bca(resampled: np.ndarray, observed: float, influence: np.ndarray) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri

    finite = resampled[np.isfinite(resampled)]
    if not len(finite) or not np.isfinite(observed):
        return np.nan, np.nan
    least = 1 / (len(finite) + 1)
    bias = ndtri(np.clip((finite < observed).mean() + (finite == observed).mean() / 2, least, 1 - least))
    spread = 6 * (influence**2).sum() ** 1.5
    acceleration = (influence**3).sum() / spread if spread > 0 else 0.0
    tails = bias + ndtri(np.array([0.025, 0.975]))
    low, high = np.quantile(finite, ndtr(bias + tails / (1 - acceleration * tails)))
    return float(low), float(high)


def _counts(score: Score, positive: Positive) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, ascending, and how many positive and negative windows have each."""
    value, place = np.unique(_finite(score), return_inverse=True)
    n_positive, n_negative = (np.bincount(place[which], minlength=len(value)) for which in (positive, ~positive))
    return value, n_positive, n_negative


def _finite(score: Score) -> Float[np.ndarray, " window"]:
    """The scores in float64, so that a threshold between two neighbours stays between them. Refuses what is not a number."""
    if not np.isfinite(score).all():
        raise Refusal(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are NaN or infinite; leave out windows without a score")
    return score.astype(float)


def _probable(probability: Score) -> Float[np.ndarray, " window"]:
    scores = _finite(probability)
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise Refusal(f"probabilities go from {scores.min():g} to {scores.max():g}; they must lie from 0 to 1: is this a logit?")
    return scores


def ratio(top: float | np.number, bottom: float | np.number) -> float:
    """`top / bottom`; NaN where `bottom` is 0."""
    return float(top / bottom) if bottom else float("nan")
