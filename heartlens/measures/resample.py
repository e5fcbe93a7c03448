"""Intervals, p-values and their correction, with the record as the unit. Every function takes many statistics at once.

The statistic is a ratio of sums over records, `sum_r top / sum_r bottom`: lift is one, a mean another (bottom = 1).
"""

from typing import Any

import numpy as np
from jaxtyping import Float

Ratio = Float[np.ndarray, "*statistic"]
ByRecord = Float[np.ndarray, "record *statistic"]
ByRotation = Float[np.ndarray, "record rotation *statistic"]
ByTwin = Float[np.ndarray, "twin *statistic"]
TIE = 1e-6  # ratios this close are equal: attention is summed in float32, and rounding must decide no test


def interval_over_records(top: ByRecord, bottom: ByRecord, *, seed: int, n_resamples: int = 2000) -> tuple[Ratio, Ratio]:
    """The 95 % interval (low, high) of each ratio over resampled records: bias-corrected and accelerated (BCa, Efron 1987).

    NaN where fewer than two records have a say (bottom > 0). All statistics share the resamples.
    """
    n_records, shape = len(top), top.shape[1:]
    top, bottom = (np.broadcast_to(x, top.shape).reshape(n_records, -1) for x in (top, bottom))
    interval = np.full((2, top.shape[1]), np.nan)
    known = (bottom > 0).sum(axis=0) >= 2
    if known.any():
        weights = np.random.default_rng(seed).multinomial(n_records, np.full(n_records, 1 / n_records), n_resamples).astype(float)
        interval[:, known] = _bca(top[:, known], bottom[:, known], weights)
    return interval[0].reshape(shape), interval[1].reshape(shape)


def rotation_p_values(
    top: ByRotation,
    bottom: ByRotation,
    *,
    seed: int,
    n_permutations: int = 9999,
) -> Ratio:
    """How often each ratio at rotation 0 is reached when every record's labels are rotated at random, independently; one-sided, high.

    Rotation 0 is among those drawn, and the observed arrangement counts once: p is never below 1 / (n_permutations + 1), and the test
    is exact under the null (Phipson & Smyth 2010). NaN where the ratio is not defined.
    """
    n_records, n_rotations = top.shape[:2]
    shape = top.shape[2:]
    observed = over(top[:, 0].sum(0), bottom[:, 0].sum(0)).reshape(-1)
    flat_top, flat_bottom = (x.reshape(n_records * n_rotations, -1) for x in (top, bottom))
    drawn = np.random.default_rng(seed).integers(n_rotations, size=(n_permutations, n_records))
    reached = np.zeros(observed.shape)
    for part in np.array_split(drawn, max(1, n_permutations // 500)):
        chosen = np.zeros((len(part), n_records * n_rotations))
        np.put_along_axis(chosen, part + np.arange(n_records) * n_rotations, 1.0, axis=1)
        reached += (over(chosen @ flat_top, chosen @ flat_bottom) >= observed * (1 - TIE)).sum(0)
    p_value = (1 + reached) / (1 + n_permutations)
    return np.where(np.isnan(observed), np.nan, p_value).reshape(shape)


def q_values(p_value: Ratio) -> Ratio:
    """Benjamini-Hochberg q-values over everything in `p_value`; NaN, where nothing was tested, stays NaN and is not counted."""
    from scipy.stats import false_discovery_control

    tested = ~np.isnan(p_value)
    q = np.full(p_value.shape, np.nan)
    if tested.any():
        q[tested] = false_discovery_control(p_value[tested])
    return q


def upper_quantile(values: ByTwin, level: float = 0.95) -> Ratio:
    """The value that one more draw exceeds with probability at most 1 - `level`: the k-th smallest, k = ceil(level (n + 1)), at most n.

    The sample quantile with the finite-sample correction of conformal prediction (Vovk 2005); NaN without draws.

    >>> float(upper_quantile(np.arange(1.0, 40.0)))
    38.0
    """
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    rank = min(len(values), int(np.ceil(level * (len(values) + 1))))
    return np.asarray(np.sort(values, axis=0)[rank - 1])


def over(top: Any, bottom: Any) -> np.ndarray:
    """One by the other, of numbers or arrays that fit each other; NaN over 0.

    >>> over(np.array([1.0, 3.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=np.asarray(bottom) != 0)


def _bca(top: np.ndarray, bottom: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr, ndtri

    resampled = over(weights @ top, weights @ bottom)
    observed = over(top.sum(0), bottom.sum(0))
    jackknife = over(top.sum(0) - top, bottom.sum(0) - bottom)
    n_defined = np.isfinite(resampled).sum(axis=0)
    below = ((resampled < observed).sum(axis=0) + 0.5 * (resampled == observed).sum(axis=0)) / n_defined
    bias = ndtri(np.clip(below, 1 / (len(resampled) + 1), 1 - 1 / (len(resampled) + 1)))
    deviation = np.nan_to_num(np.nanmean(jackknife, axis=0) - jackknife)
    spread = (deviation**2).sum(0) ** 1.5
    acceleration = np.divide((deviation**3).sum(0), 6 * spread, out=np.zeros_like(spread), where=spread > 0)
    tails = [bias + ndtri(tail) for tail in (0.025, 0.975)]
    return np.array([_quantiles(resampled, ndtr(bias + tail / (1 - acceleration * tail))) for tail in tails])


def _quantiles(resampled: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Each column's own quantile of its defined values (a resample without any record that has the wave defines none)."""
    ordered = np.sort(resampled, axis=0)  # NaN last
    place = level * (np.isfinite(ordered).sum(axis=0) - 1)
    under = np.floor(place).astype(int)
    over = np.ceil(place).astype(int)
    column = np.arange(ordered.shape[1])
    return ordered[under, column] + (place - under) * (ordered[over, column] - ordered[under, column])
