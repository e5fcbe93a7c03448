"""95 % intervals over units (persons; recordings where persons are not known) that cover at the numbers of units where they decide.

A ratio of sums (a lift) gets a t interval of its logarithm with the leverage-corrected standard error HC3 (MacKinnon & White 1985): the
influence of a unit, `(top - ratio * bottom) / (ratio * sum(bottom))`, is divided by 1 less its share of `sum(bottom)`. Degrees of freedom:
units that have a say (bottom > 0), less 1. A change, whose top may have either sign, gets the same interval without the logarithm. A mean
gets the t interval (Student 1908). `docs/calibration.md` has the measured coverage.
"""

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.95

ByUnit = Float[np.ndarray, "unit *statistic"]
Statistic = Float[np.ndarray, "*statistic"]


def ratio_interval(top: ByUnit, bottom: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of `sum(top) / sum(bottom)` over units, both not negative; NaN where fewer than two units have a say.

    Where `sum(top)` is 0, the logarithm has no value: the interval is 0 to infinity.
    """
    top, bottom = np.broadcast_arrays(top, bottom)
    whole = bottom.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = top.sum(axis=0) / whole
        influence = (top - ratio * bottom) / (ratio * whole) / (1 - bottom / whole)
        reach = _quantile(_carriers(bottom) - 1, level) * np.sqrt(np.where(bottom > 0, influence**2, 0.0).sum(axis=0))
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
    reach = _quantile(_carriers(bottom) - 1, level) * change_error(top, bottom)
    return ratio - reach, ratio + reach


def mean_interval(values: ByUnit, level: float = LEVEL) -> tuple[Statistic, Statistic]:
    """The interval (low, high) of the mean over the units whose value is a number; NaN with fewer than two of them."""
    is_given = np.isfinite(values)
    n_units = is_given.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(is_given, values, 0.0).sum(axis=0) / n_units
        variance = np.where(is_given, (values - mean) ** 2, 0.0).sum(axis=0) / (n_units - 1)
        reach = _quantile(n_units - 1, level) * np.sqrt(variance / n_units)
    is_known = n_units >= 2
    return np.where(is_known, mean - reach, np.nan), np.where(is_known, mean + reach, np.nan)


def _carriers(bottom: ByUnit) -> Int[np.ndarray, "*statistic"]:
    return np.asarray((bottom > 0).sum(axis=0))


def _quantile(degrees: Int[np.ndarray, "*statistic"], level: float) -> Statistic:
    """The quantile of Student's t that leaves out half of what is beyond `level` on each side."""
    from scipy.stats import t

    return np.asarray(t.ppf(0.5 + level / 2, np.maximum(degrees, 1)))
