"""How well a task head does on records it never saw: every figure with a 95 % interval over persons (over records, where
persons are not known), windows and records apart.

A record's probability is the mean of its windows'. The threshold is never chosen on what it is judged by. With more than two classes,
AUC and F1 are means over classes, each against the rest.

An AUC compares scores of one model only. Scores of different folds' models have different offsets: a model that was trained without a
positive record has seen fewer positives and gives lower scores, so that pooled scores of pure noise have an AUC far below 0.5 (Parker,
Gunter & Bedo 2007; Airola et al. 2011). A `Ranking` says which scores are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from heartlens.measures import detection
from heartlens.training.examples import Examples

RESAMPLES = 1000
BINS = 10


@dataclass(frozen=True)
class Figure:
    """An estimate and its 95 % interval over persons, or records where persons are not known (NaN where there are too few of them)."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})" if np.isfinite(self.low) else f"{self.estimate:.3f} (no interval)"


Figures = dict[str, Figure]
Statistic = Callable[[np.ndarray], float]  # of the indices of windows
Threshold = Float[np.ndarray, " window"]  # of the fold that each window was judged in


@dataclass(frozen=True)
class Ranking:
    """Which scores AUCs compare, and the `rule` in words: for each model the windows that it scored and did not see, and their scores.

    Without `scored`, all scores are of one model.
    """

    rule: str = "all records were scored by one model"
    scored: tuple[tuple[Int64[np.ndarray, " chosen"], Float[np.ndarray, "chosen output"]], ...] = ()


FOLDS = "within each fold, whose records one model scored; the mean over the folds with both classes, weighted by their pairs"
PAIRS = "leave-pair-out, since each person was left out alone: for every pair compared a model was trained without both"
ONE_MODEL = Ranking()


def window_figures(
    probability: Float[np.ndarray, "window output"], threshold: Threshold, examples: Examples, seed: int, ranking: Ranking = ONE_MODEL
) -> Figures:
    """The figures of a task with a target a window, of windows and of records; AUCs compare what `ranking` says. Units are resampled.

    Of scores by several models no calibration error is given: leaving a record out shifts the scores it gets away from its own class, so
    that the pooled scores of noise look worse calibrated than one model's (0.14 instead of 0.08, 20 records in five folds).
    """
    target, record, unit = examples.target[:, 0], examples.record, examples.unit
    class_of = examples.class_of_unit(examples.records)
    stratum = np.array([class_of[str(name)] for name in unit])
    scored = ranking.scored or ((np.arange(len(record)), probability),)
    if len(examples.classes) > 2:
        return _of_several(probability, target, record, unit, stratum, scored, seed)
    positive = target == 1
    names, first, place = np.unique(record, return_index=True, return_inverse=True)
    by_window = [(place[which], score[:, 0]) for which, score in scored]
    by_record = [(np.unique(owner), detection.by_record(score, owner)[1]) for owner, score in by_window]
    aucs = [auc_within(compared, positive[first], owner) for compared, owner in ((by_window, record), (by_record, names))]
    of_windows = _of_two(probability[:, 0], positive, threshold, unit, stratum, aucs[0], seed)
    mean, mean_threshold = (detection.by_record(values, record)[1] for values in (probability[:, 0], threshold))
    of_records = _of_two(mean, positive[first], mean_threshold, unit[first], stratum[first], aucs[1], seed)
    figures = {f"{name_of} {name}": value for name_of, of in (("window", of_windows), ("record", of_records)) for name, value in of.items()}
    return {name: value for name, value in figures.items() if not (ranking.scored and "calibration" in name)}


def _of_two(
    score: np.ndarray, positive: np.ndarray, threshold: np.ndarray, unit: np.ndarray, stratum: np.ndarray, auc: Statistic, seed: int
) -> Figures:
    above = (score >= threshold).astype(float)  # each window against the threshold of its own fold
    statistics: dict[str, Statistic] = {
        "AUC": auc,
        **{name: _rate(name, above, positive, 0.5) for name in ("sensitivity", "specificity", "f1", "accuracy")},
        "accuracy at 0.5": _rate("accuracy", score, positive, 0.5),
        "Brier": lambda i: detection.brier(score[i], positive[i]),
        "calibration error": lambda i: detection.expected_calibration_error(score[i], positive[i], BINS),
    }
    return {name: figure(statistic, unit, stratum, seed) for name, statistic in statistics.items()}


def auc_within(
    scored: Sequence[tuple[Int64[np.ndarray, " score"], Float[np.ndarray, " score"]]],
    positive: Bool[np.ndarray, " record"],
    record: Shaped[np.ndarray, " window"],
) -> Statistic:
    """The share of pairs of a positive and a negative record's scores, both of one model, that the positive's wins (ties half).

    `scored` has for each model the places of the records (in the sorted names) and their scores. The statistic is of indices of windows;
    a record that a resample holds twice counts twice. NaN where nothing is compared.
    """
    _, place = np.unique(record, return_inverse=True)
    n_windows = np.bincount(place)
    row_of, column_of = np.cumsum(positive) - 1, np.cumsum(~positive) - 1
    won, compared = np.zeros((2, int(positive.sum()), int((~positive).sum())))
    for owner, score in scored:
        column, against = column_of[owner[~positive[owner]]], score[~positive[owner]]
        for each in np.unique(owner[positive[owner]]):
            own = score[owner == each][:, None]
            wins = ((own > against) + (own == against) / 2).sum(axis=0)
            won[row_of[each]] += np.bincount(column, wins, won.shape[1])
            compared[row_of[each]] += np.bincount(column, minlength=won.shape[1]) * len(own)

    def auc(i: np.ndarray) -> float:
        times = np.bincount(place[i], minlength=len(n_windows)) / n_windows
        n_pairs = times[positive] @ compared @ times[~positive]
        return float(times[positive] @ won @ times[~positive] / n_pairs) if n_pairs else float("nan")

    return auc


def _rate(name: str, score: np.ndarray, positive: np.ndarray, threshold: float) -> Statistic:
    return lambda i: float(getattr(detection.rates(score[i], positive[i], threshold), name))


def _of_several(
    probability: np.ndarray,
    target: Int64[np.ndarray, " window"],
    record: np.ndarray,
    unit: np.ndarray,
    stratum: np.ndarray,
    scored: Sequence[tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> Figures:
    called, n_classes = probability.argmax(axis=1), probability.shape[1]
    _, first, place = np.unique(record, return_index=True, return_inverse=True)
    aucs = [
        auc_within([(place[which], score[:, each]) for which, score in scored], target[first] == each, record) for each in range(n_classes)
    ]

    def over_classes(of_class: Callable[[int, np.ndarray], float]) -> Statistic:
        return lambda i: float(np.mean([of_class(each, i) for each in range(n_classes)]))

    statistics: dict[str, Statistic] = {
        "AUC": over_classes(lambda each, i: aucs[each](i)),
        "f1": over_classes(lambda each, i: detection.rates((called[i] == each).astype(float), target[i] == each, 0.5).f1),
        "accuracy": lambda i: float((called[i] == target[i]).mean()),
    }
    return {f"window {name}": figure(statistic, unit, stratum, seed) for name, statistic in statistics.items()}


def figure(statistic: Statistic, record: Shaped[np.ndarray, " window"], label: np.ndarray | None, seed: int) -> Figure:
    """A statistic of windows, given by their indices, with its interval."""
    low, high = detection.record_interval(statistic, record, label, seed=seed, n_resamples=RESAMPLES)
    return Figure(statistic(np.arange(len(record))), low, high)


def calibration(probability: Float[np.ndarray, " any"], positive: Shaped[np.ndarray, " any"]) -> Float[np.ndarray, "3 bin"]:
    """What was said, what came true and how often it was said, by bin of probability."""
    return np.stack(astuple(detection.reliability(probability, positive, BINS))).astype(float)
