"""p-values by rotation and their correction, with the record as the unit. Every function takes many statistics at once.

The statistic is a ratio of sums over records, `sum_r top / sum_r bottom`: lift is one, a mean another (bottom = 1).
"""

from typing import Any

import numpy as np
from jaxtyping import Float

Ratio = Float[np.ndarray, "*statistic"]
ByRecord = Float[np.ndarray, "record *statistic"]
ByRotation = Float[np.ndarray, "record rotation *statistic"]
TIE = 1e-6  # ratios this close are equal: attention is summed in float32, and rounding must not decide a test


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
    q, tested = np.full(p_value.shape, np.nan), ~np.isnan(p_value)  # scipy.stats has this too, but takes most of a second to import
    order = np.argsort(p_value[tested])
    rank = np.arange(1, order.size + 1)
    stepped_up = np.empty(order.size)
    stepped_up[order] = np.minimum.accumulate((p_value[tested][order] * order.size / rank)[::-1])[::-1]
    q[tested] = np.minimum(stepped_up, 1.0)
    return q


def known_mean(values: ByRecord) -> Ratio:
    """The mean over the records whose value is a number; NaN without one."""
    is_number = np.isfinite(values)
    return over(np.where(is_number, values, 0.0).sum(axis=0), is_number.sum(axis=0))


def over(top: Any, bottom: Any) -> np.ndarray:
    """One by the other, of numbers or arrays that fit each other; NaN over 0.

    >>> over(np.array([1.0, 3.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=np.asarray(bottom) != 0)
