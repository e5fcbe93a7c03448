"""95 % intervals over units (persons; recordings where persons are not known), with correct coverage already for LEAST_UNITS units.

A ratio of sums (a lift) gets a t interval of its logarithm with the leverage-corrected standard error HC3 (MacKinnon & White 1985): the
influence of a unit, `(top - ratio * bottom) / (ratio * sum(bottom))`, is divided by 1 less its share of `sum(bottom)`. Degrees of freedom:
units that count (bottom > 0), less 1. A change, whose top may have either sign, gets the same interval without the logarithm. A mean
gets the wider of Student's t interval and Hall's (1992), which allows for skewness. The ratio of two means of either sign gets Fieller's
interval (1954). `docs/calibration.md` has the measured coverage.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.95

ByUnit = Float[np.ndarray, "unit *statistic"]
Statistic = Float[np.ndarray, "*statistic"]


def ratio_interval(top: ByUnit, bottom: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of `sum(top) / sum(bottom)` over units, both not negative; NaN where fewer than two units count.

    Where `sum(top)` is 0, the logarithm has no value: the interval is 0 to infinity.
    """
    top, bottom = np.broadcast_arrays(top, bottom)
    whole = bottom.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = top.sum(axis=0) / whole
        influence = (top - ratio * bottom) / (ratio * whole) / (1 - bottom / whole)
        reach = _quantile(_carriers(bottom), level) * np.sqrt(np.where(bottom > 0, influence**2, 0.0).sum(axis=0))
        low, high = ratio * np.exp(-reach), ratio * np.exp(reach)
    is_nothing, is_known = (whole > 0) & (top.sum(axis=0) == 0), _carriers(bottom) >= 2
    low, high = np.where(is_nothing, 0.0, low), np.where(is_nothing, np.inf, high)
    return np.where(is_known, low, np.nan), np.where(is_known, high, np.nan)


def change_error(top: ByUnit, bottom: ByUnit) -> Statistic:
    """The standard error (HC3) of `sum(top) / sum(bottom)` over units, the top of either sign; NaN with fewer than two units."""
    top, bottom = np.broadcast_arrays(top, bottom)
    whole = bottom.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = (top - top.sum(axis=0) / whole * bottom) / whole / (1 - bottom / whole)
    squares = np.where(bottom > 0, influence**2, 0.0).sum(axis=0)
    return np.where(_carriers(bottom) >= 2, np.sqrt(squares), np.nan)


def change_interval(top: ByUnit, bottom: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of `sum(top) / sum(bottom)` over units, the top of either sign; NaN with fewer than two units."""
    top, bottom = np.broadcast_arrays(top, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = top.sum(axis=0) / bottom.sum(axis=0)
    reach = _quantile(_carriers(bottom), level) * change_error(top, bottom)
    return ratio - reach, ratio + reach


def mean_interval(values: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of the mean over the units whose value is a number; NaN with fewer than two of them.

    On each side the farther end of Student's t interval and of Hall's (1992), which allows for skewness: of 8 exponential values t alone
    covers 0.90, both together 0.95.
    """
    is_given = np.isfinite(values)
    n_units = np.asarray(is_given.sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(is_given, values, 0.0).sum(axis=0) / n_units
        deviation = np.where(is_given, values - mean, 0.0)
        spread = np.sqrt((deviation**2).sum(axis=0) / (n_units - 1))
        skewness = n_units / ((n_units - 1) * (n_units - 2)) * (deviation**3).sum(axis=0) / spread**3
        skewness = np.where(np.isfinite(skewness), skewness, 0.0)
        reach = _quantile(n_units, level) / np.sqrt(n_units)
        low, high = (mean - spread * end for end in (reach, -reach))
        hall_low, hall_high = (mean - spread * _without_skewness(end, skewness, n_units) for end in (reach, -reach))
    is_known = n_units >= 2
    return np.where(is_known, np.minimum(low, hall_low), np.nan), np.where(is_known, np.maximum(high, hall_high), np.nan)


def mean_and_interval(name: str, axes: tuple[Any, ...], values: ByUnit) -> dict[str, Any]:
    """The mean over units and its interval as variables of a summary: `name`, `name_low` and `name_high`, along `axes`."""
    low, high = mean_interval(values)
    return {name: (axes, values.mean(axis=0)), f"{name}_low": (axes, low), f"{name}_high": (axes, high)}


def _without_skewness(end: Any, skewness: Statistic, n_units: Int[np.ndarray, "*statistic"]) -> Statistic:
    """What Hall's cubic transformation takes to `end`: the inverse of w + a w² / 3 + a² w³ / 27 + a / (6 n), a the skewness."""
    slope = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness) / 3
    return np.asarray((np.cbrt(1 + 3 * slope * (end - slope / (2 * n_units))) - 1) / slope)


def fieller_interval(top: ByUnit, bottom: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of `mean(top) / mean(bottom)`, of either sign: all ratios R for which `top - R * bottom` may have mean 0.

    It leaves out 0 exactly where the t interval of `mean(top)` does. NaN with fewer than two units, and where the t interval of
    `mean(bottom)` holds 0, since then any ratio is possible (Fieller 1954).
    """
    top, bottom = np.broadcast_arrays(top, bottom)
    n_units = len(top)
    unknown = np.full(top.shape[1:], np.nan)
    if n_units < 2:
        return unknown, unknown
    mean_top, mean_bottom = top.mean(axis=0), bottom.mean(axis=0)
    off_top, off_bottom = top - mean_top, bottom - mean_bottom
    per_product = _quantile(np.asarray(n_units), level) ** 2 / (n_units * (n_units - 1))
    a = mean_bottom**2 - per_product * (off_bottom**2).sum(axis=0)
    b = mean_top * mean_bottom - per_product * (off_top * off_bottom).sum(axis=0)
    c = mean_top**2 - per_product * (off_top**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        half_width = np.sqrt(np.maximum(b**2 - a * c, 0.0))
        low, high = (b - half_width) / a, (b + half_width) / a
    is_bounded = a > 0
    return np.where(is_bounded, low, np.nan), np.where(is_bounded, high, np.nan)


def _carriers(bottom: ByUnit) -> Int[np.ndarray, "*statistic"]:
    return np.asarray((bottom > 0).sum(axis=0))


def _quantile(n_units: Int[np.ndarray, "*statistic"], level: float) -> Statistic:
    """The quantile of Student's t, of one degree of freedom less than there are units, beyond which lies half of what `level` leaves."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls; scipy.stats takes most of a second to import

    return np.asarray(stdtrit(np.maximum(n_units - 1, 1), 0.5 + level / 2))
