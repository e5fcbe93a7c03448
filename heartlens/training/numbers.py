"""How well numbers are estimated for persons never seen: errors, agreement, correlation, and intervals with the coverage they promise.

Agreement: bias and limits of agreement with repeated measures of a person (Bland & Altman 2007, J Biopharm Stat 17:571, true value varies):
the variance of differences is that within persons plus that between them, from a one-way analysis of variance.
r: correlation of estimate and truth, each less the mean of the numbers that the model was trained on: across folds, the plain one of a
model that learnt nothing is far below 0, since it says more of whom it left out. r within recordings: of both less the recording's mean
(Bakdash & Marusich 2017). skill: 1 - sum of squared errors / that of saying the training mean.
Intervals of numbers: estimate +- a half-width, the quantile of the errors that other persons' models made, every person weighing the same
and one more person with infinite error (Lee, Barber & Willett 2023, arXiv 2306.06342): a new person's number is then within it at least as
often as asked for. With K persons at most K / (K + 1) can be promised. How often it is, is measured on each person with the others' errors.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from heartlens.training.evaluation import Figure, Figures, Statistic, figure
from heartlens.training.examples import Examples

NORMAL = 1.96  # standard deviations on either side that hold 95 %
OF_MEAN = ("MAE", "RMSE", "bias", "record MAE")  # what is told of a constant
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
Values = Float64[np.ndarray, " observation"]


@dataclass(frozen=True)
class Observed:
    """Estimates of one number beside its true values, and the mean of what the model was trained on; whose (`unit`) and of which record."""

    record: Shaped[np.ndarray, " observation"]
    unit: Shaped[np.ndarray, " observation"]
    estimate: Values
    true: Values
    usual: Values

    def means(self, of: str) -> "Observed":
        """The mean of each "record" or "unit" (person)."""
        _, first, place = np.unique(getattr(self, of), return_index=True, return_inverse=True)
        count = np.bincount(place)
        mean = {name: np.bincount(place, getattr(self, name)) / count for name in ("estimate", "true", "usual")}
        return Observed(self.record[first], self.unit[first], **mean)


@dataclass(frozen=True)
class Intervals:
    """Half-widths of the intervals of a number of a window, of a recording's mean and of a person's; infinite where persons are too few."""

    window: float
    record: float
    person: float


def observed(
    examples: Examples, estimate: Float[np.ndarray, "window target output"], usual: Float[np.ndarray, "window output"], output: int
) -> Observed:
    """One number's observations: every window, or every token, that has a true value."""
    window, token = np.nonzero(np.isfinite(examples.target[..., output]))
    return Observed(
        examples.record[window],
        examples.unit[window],
        estimate[window, token, output].astype(float),
        examples.target[window, token, output].astype(float),
        usual[window, output],
    )


def number_figures(of: Observed, coverage: float, seed: int, is_model: bool = True) -> Figures:
    """The figures of one number, with 95 % intervals over persons (records where persons are not known); of a mean no correlations."""
    error, records = of.estimate - of.true, of.means("record")
    record_error = records.estimate - records.true
    of_windows: dict[str, Statistic] = {
        "MAE": lambda i: float(np.abs(error[i]).mean()),
        "RMSE": lambda i: float(np.sqrt((error[i] ** 2).mean())),
        "bias": lambda i: float(error[i].mean()),
        "lower limit of agreement": lambda i: agreement(error[i], of.unit[i])[0],
        "upper limit of agreement": lambda i: agreement(error[i], of.unit[i])[1],
        "r": _correlation(of.estimate - of.usual, of.true - of.usual),
        "r within recordings": within_recordings(of),
        "skill": lambda i: _skill(error[i], (of.true - of.usual)[i]),
    }
    of_records: dict[str, Statistic] = {
        "record MAE": lambda i: float(np.abs(record_error[i]).mean()),
        "record r": _correlation(records.estimate - records.usual, records.true - records.usual),
    }
    if not is_model:
        of_windows, of_records = ({name: of_each[name] for name in of_each if name in OF_MEAN} for of_each in (of_windows, of_records))
    figures = {name: figure(statistic, of.unit, None, seed) for name, statistic in of_windows.items()}
    figures |= {name: figure(statistic, records.unit, None, seed) for name, statistic in of_records.items()}
    inside = held(of, coverage)
    if inside is not None:
        share = inside.astype(float)
        figures[f"within the {coverage:.0%} interval"] = figure(_mean_of_persons(share, of.unit), of.unit, None, seed)
    half = half_width(np.abs(error), of.unit, coverage)
    figures[f"half-width of the {coverage:.0%} interval"] = Figure(half if np.isfinite(half) else np.nan, np.nan, np.nan)
    return figures


def within_figures(of: Observed, seed: int) -> Figures:
    """What alone can be told of numbers that were learnt within recordings: their correlation there."""
    return {"r within recordings": figure(within_recordings(of), of.unit, None, seed)}


def agreement(error: Values, unit: Shaped[np.ndarray, " observation"]) -> tuple[float, float]:
    """The 95 % limits of agreement of differences, repeated within persons; NaN with fewer than two persons.

    >>> agreement(np.array([-1.0, 1.0, 0.0]), np.array(["a", "b", "c"]))
    (-1.96, 1.96)
    """
    _, place = np.unique(unit, return_inverse=True)
    count = np.bincount(place)
    n_units, n_all = len(count), len(error)
    if n_units < 2:
        return float("nan"), float("nan")
    mean = np.bincount(place, error) / count
    between = (count * (mean - error.mean()) ** 2).sum() / (n_units - 1)
    within = ((error - mean[place]) ** 2).sum() / (n_all - n_units) if n_all > n_units else 0.0
    usual_count = (n_all**2 - (count**2).sum()) / ((n_units - 1) * n_all)
    spread = float(np.sqrt(within + max(between - within, 0.0) / usual_count))
    return float(error.mean()) - NORMAL * spread, float(error.mean()) + NORMAL * spread


def half_width(error: Values, unit: Shaped[np.ndarray, " observation"], coverage: float) -> float:
    """The least half-width that holds so large a share of the errors' sizes, persons weighing the same; see the module's first lines.

    >>> half_width(np.arange(9.0), np.arange(9), 0.9), half_width(np.arange(8.0), np.arange(8), 0.9)
    (8.0, inf)
    """
    _, place = np.unique(unit, return_inverse=True)
    count = np.bincount(place)
    order = np.argsort(error, kind="stable")
    reached = np.cumsum((1 / count / (len(count) + 1))[place][order])
    least = int(np.searchsorted(reached, coverage - 1e-9))
    return float(error[order][least]) if least < len(error) else float("inf")


def held(of: Observed, coverage: float) -> Bool[np.ndarray, " observation"] | None:
    """Whether each true value lies within the interval that the other persons' errors give; None where they are too few for one."""
    error = np.abs(of.estimate - of.true)
    inside = np.zeros(len(error), bool)
    for name in np.unique(of.unit):
        own = of.unit == name
        reach = half_width(error[~own], of.unit[~own], coverage) if not own.all() else float("inf")
        if not np.isfinite(reach):
            return None
        inside[own] = error[own] <= reach
    return inside


def covered(of: Observed) -> Float64[np.ndarray, " level"]:
    """The share of true values, mean over persons, within intervals that promise LEVELS; NaN where persons are too few."""
    sides = [held(of, level) for level in LEVELS]
    everyone = np.arange(len(of.true))
    return np.array([np.nan if inside is None else _mean_of_persons(inside.astype(float), of.unit)(everyone) for inside in sides])


def intervals(of: Observed, coverage: float) -> Intervals:
    """The half-widths that a model trained on everybody is given: those of all persons' errors, each by a model that never saw them."""
    levels = (of, of.means("record"), of.means("unit"))
    return Intervals(*(half_width(np.abs(each.estimate - each.true), each.unit, coverage) for each in levels))


def within_recordings(of: Observed) -> Statistic:
    """The correlation of estimate and truth, both less their recording's mean."""
    _, place = np.unique(of.record, return_inverse=True)
    count = np.bincount(place)
    estimate, true = (values - (np.bincount(place, values) / count)[place] for values in (of.estimate, of.true))
    return _correlation(estimate, true, is_centred=True)


def _correlation(one: Values, other: Values, is_centred: bool = False) -> Statistic:
    """Of chosen observations; NaN where one of both does not vary."""

    def correlation(i: np.ndarray) -> float:
        a, b = (each[i] - (0.0 if is_centred else each[i].mean()) for each in (one, other))
        size = float(np.sqrt((a**2).sum() * (b**2).sum()))
        return float((a * b).sum() / size) if size > 1e-12 * max(1.0, float(np.abs(b).max(initial=0.0))) else float("nan")

    return correlation


def _mean_of_persons(share: Values, unit: Shaped[np.ndarray, " observation"]) -> Statistic:
    _, place = np.unique(unit, return_inverse=True)
    weight = 1 / np.bincount(place)[place]
    return lambda i: float((share[i] * weight[i]).sum() / weight[i].sum())


def _skill(error: Values, spread: Values) -> float:
    total = float((spread**2).sum())
    return 1 - float((error**2).sum()) / total if total else float("nan")
