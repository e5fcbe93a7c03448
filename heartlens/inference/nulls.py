"""What models that learnt nothing reach: the limit set by twins, the p-value among them, and how much both depend on the twins drawn.

If there is nothing to find, twins and model are exchangeable for a statistic taken on the same windows in the same way: then the
rank of the model's value among theirs is uniform, and a p-value is that rank (conformal prediction, Vovk 2005; Phipson & Smyth 2010). Of a
search over heads, waves or levels a twin gives its largest value over all that was searched.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

ALPHA = 0.05
STRICT = 0.02  # of claims that twins alone decide: their limit is itself drawn, and with 0.05 unlucky twins let up to 15 % pass
N_REDRAWS = 400  # sets of twins, drawn with replacement, which show how much a count depends on the twins
BORDER = (0.05, 0.95)
LEAST_SPREAD, SMALLEST = 0.25, 1e-12

Twins = Float[np.ndarray, " twin"]
Values = Float[np.ndarray, "*statistic"]


def twin_p_value(values: Values, largest: Twins) -> Values:
    """The p-value of each value among the largest of the twins: how many reach it, itself counted. NaN without twins or a value.

    >>> twin_p_value(np.array([0.5, 2.0]), np.array([0.0, 1.0, 1.0]))
    array([0.75, 0.25])
    """
    ordered = np.sort(largest[~np.isnan(largest)])
    n_reaching = len(ordered) - np.searchsorted(ordered, values, side="left")
    p_value = (1.0 + n_reaching) / (1 + len(ordered))
    return np.where(np.isnan(values) | (len(ordered) == 0), np.nan, p_value)


def twin_limit(largest: Twins, alpha: float = ALPHA) -> float:
    """What a value must exceed for a p-value of at most `alpha`; infinite where the twins are too few for one, NaN without any.

    >>> twin_limit(np.arange(59.0)), twin_limit(np.arange(5.0))
    (56.0, inf)
    """
    finite = largest[~np.isnan(largest)]
    return float(_limits(finite[None], alpha)[0]) if len(finite) else float("nan")


def _limits(drawn: Float[np.ndarray, "draw twin"], alpha: float) -> Float[np.ndarray, " draw"]:
    """`twin_limit` of several sets of twins of one size, none of them NaN."""
    rank = int(np.ceil(round((1 - alpha) * (drawn.shape[1] + 1), 9)))
    return np.sort(drawn, axis=1)[:, rank - 1] if rank <= drawn.shape[1] else np.full(len(drawn), np.inf)


def in_spreads(values: xr.DataArray, twins: Sequence[xr.DataArray], over: str | Sequence[str]) -> tuple[xr.DataArray, xr.DataArray]:
    """The values in standard deviations of what twins reach at the same place, and of each twin the largest so expressed (`twin`).

    What a twin reaches at a place (a wave and a layer, say) is its largest value over the axes `over` (heads); mean and standard deviation
    are over twins, apart for each place; a twin's own are those of the other twins, as the model's are of models other than itself. So a
    search over places does not set the limit of all by the place where twins vary most (max-T, Westfall & Young 1993). Where twins hardly
    vary, a LEAST_SPREAD of the places' median deviation counts, lest the smallest difference there seem large.
    """
    if not twins:
        return values, xr.DataArray(np.empty(0), dims="twin")
    reached = xr.concat(twins, "twin").max(over)
    centre, spread = reached.mean("twin"), reached.std("twin")
    least = max(LEAST_SPREAD * float(spread.median()), SMALLEST)
    away, n_others = reached - centre, reached.notnull().sum("twin") - 1
    mean = (away.sum("twin") - away) / n_others
    variance = (((away**2).sum("twin") - away**2) / n_others - mean**2).clip(min=least**2)
    largest = ((away - mean) / variance**0.5).max([axis for axis in reached.dims if axis != "twin"])
    return (values - centre) / spread.clip(min=least), largest


def count_range(count: Callable[[float], int], largest: Twins, alpha: float = ALPHA, seed: int = 0) -> tuple[int, int]:
    """How many pass, from the 5 % to the 95 % quantile over redrawn twins: `count` is asked with the limit of each set of twins."""
    finite = largest[~np.isnan(largest)]
    if not len(finite):
        return 0, 0
    drawn = np.random.default_rng(seed).choice(finite, (N_REDRAWS, len(finite)))
    limits, index = np.unique(_limits(drawn, alpha), return_inverse=True)
    counts = np.array([count(float(limit)) for limit in limits])[index]
    low, high = np.quantile(counts, BORDER, method="nearest")
    return int(low), int(high)
