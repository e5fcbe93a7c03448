"""How well a task head does on records it never saw: every figure with a 95 % interval over persons (over records, where
persons are not known), windows and records apart.

A record's probability is the mean of its windows'. The threshold is never chosen on what it is judged by. With more than two classes,
AUC and F1 are means over classes, each against the rest.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Float, Int64, Shaped

from heartlens.measures import detection
from heartlens.training.examples import Examples

RESAMPLES = 1000
BINS = 10


@dataclass(frozen=True)
class Figure:
    """An estimate and its 95 % interval over records (NaN where there are too few of them)."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})" if np.isfinite(self.low) else f"{self.estimate:.3f} (no interval)"


Figures = dict[str, Figure]
Threshold = Float[np.ndarray, " window"]  # of the fold that each window was judged in


def window_figures(probability: Float[np.ndarray, "window output"], threshold: Threshold, examples: Examples, seed: int) -> Figures:
    """The figures of a task with a target a window, of windows and of records."""
    target, record, unit = examples.target[:, 0], examples.record, examples.unit
    class_of = examples.class_of_unit(examples.records)
    stratum = np.array([class_of[str(name)] for name in unit])
    if len(examples.classes) > 2:
        return _of_several(probability, target, unit, stratum, seed)
    score, positive = probability[:, 0], target == 1
    figures = {f"window {name}": value for name, value in _of_two(score, positive, threshold, unit, stratum, seed).items()}
    _, first = np.unique(record, return_index=True)
    mean, mean_threshold = (detection.by_record(values, record)[1] for values in (score, threshold))
    by_record = _of_two(mean, positive[first], mean_threshold, unit[first], stratum[first], seed)
    return figures | {f"record {name}": value for name, value in by_record.items()}


def _of_two(score: np.ndarray, positive: np.ndarray, threshold: np.ndarray, unit: np.ndarray, stratum: np.ndarray, seed: int) -> Figures:
    above = (score >= threshold).astype(float)  # each window against the threshold of its own fold
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "AUC": lambda i: detection.auc(score[i], positive[i]),
        **{name: _rate(name, above, positive, 0.5) for name in ("sensitivity", "specificity", "f1", "accuracy")},
        "accuracy at 0.5": _rate("accuracy", score, positive, 0.5),
        "Brier": lambda i: detection.brier(score[i], positive[i]),
        "calibration error": lambda i: detection.expected_calibration_error(score[i], positive[i], BINS),
    }
    return {name: figure(statistic, unit, stratum, seed) for name, statistic in statistics.items()}


def _rate(name: str, score: np.ndarray, positive: np.ndarray, threshold: float) -> Callable[[np.ndarray], float]:
    return lambda i: float(getattr(detection.rates(score[i], positive[i], threshold), name))


def _of_several(probability: np.ndarray, target: Int64[np.ndarray, " window"], unit: np.ndarray, stratum: np.ndarray, seed: int) -> Figures:
    called, n_classes = probability.argmax(axis=1), probability.shape[1]

    def over_classes(of_class: Callable[[int, np.ndarray], float]) -> Callable[[np.ndarray], float]:
        return lambda i: float(np.mean([of_class(each, i) for each in range(n_classes)]))

    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "AUC": over_classes(lambda each, i: detection.auc(probability[i, each], target[i] == each)),
        "f1": over_classes(lambda each, i: detection.rates((called[i] == each).astype(float), target[i] == each, 0.5).f1),
        "accuracy": lambda i: float((called[i] == target[i]).mean()),
    }
    return {f"window {name}": figure(statistic, unit, stratum, seed) for name, statistic in statistics.items()}


def figure(statistic: Callable[[np.ndarray], float], record: Shaped[np.ndarray, " window"], label: np.ndarray | None, seed: int) -> Figure:
    """A statistic of windows, given by their indices, with its interval."""
    low, high = detection.record_interval(statistic, record, label, seed=seed, n_resamples=RESAMPLES)
    return Figure(statistic(np.arange(len(record))), low, high)


def calibration(probability: Float[np.ndarray, " any"], positive: Shaped[np.ndarray, " any"]) -> Float[np.ndarray, "3 bin"]:
    """What was said, what came true and how often it was said, by bin of probability."""
    return np.stack(astuple(detection.reliability(probability, positive, BINS))).astype(float)
