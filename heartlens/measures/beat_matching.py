"""How well beats are found: from a probability of each token to beats, and from these to hits, misses and extras.

`beats_of` is the published procedure: local maxima of at least `threshold`, APART_S apart (the higher first) and at most WIDEST_S wide at
half prominence, of the mean over overlapping windows (`averaged`). `match` pairs found and true beats one to one: as many pairs within the
tolerance as there can be, and of all such pairings the one of least square error. Counts of records add up, and sensitivity, precision and
F1 are taken of the sums (ANSI/AAMI EC57, gross statistics).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heartlens.measures.detection import ratio
from heartlens.refusal import Refusal

THRESHOLD = 0.015
APART_S = 0.28  # 14 tokens at 50 Hz
WIDEST_S = 0.4  # 20 tokens at 50 Hz
TOLERANCE_S = 0.150
ROUNDING_S = 1e-9

Times = Float[np.ndarray, " beat"]


@dataclass(frozen=True)
class Matches:
    """Pairs of a found and a true beat, true beats that were missed, found ones that are none; how late the found one of each pair is."""

    hits: int
    misses: int
    extras: int
    error_s: Float[np.ndarray, " hit"]

    @property
    def sensitivity(self) -> float:
        return ratio(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> float:
        return ratio(self.hits, self.hits + self.extras)

    @property
    def f1(self) -> float:
        return ratio(2 * self.hits, 2 * self.hits + self.misses + self.extras)


def averaged(
    outputs: Float[np.ndarray, "window time"], starts: Int[np.ndarray, " window"], n_tokens: int
) -> Float[np.ndarray, " {n_tokens}"]:
    """The mean output of each of `n_tokens` tokens over the windows that hold it, in float64; NaN of a token that is in none.

    >>> averaged(np.array([[0.0, 0.2], [0.4, 0.6]]), np.array([0, 1]), 4)
    array([0. , 0.3, 0.6, nan])
    """
    token = starts[:, None] + np.arange(outputs.shape[1])
    inside = (token >= 0) & (token < n_tokens)
    total = np.bincount(token[inside], outputs[inside], n_tokens)
    n_windows = np.bincount(token[inside], minlength=n_tokens)
    return np.divide(total, n_windows, out=np.full(n_tokens, np.nan), where=n_windows > 0)


def beats_of(
    probability: Float[np.ndarray, " token"],
    rate_hz: float,
    threshold: float = THRESHOLD,
    apart_s: float = APART_S,
    widest_s: float | None = WIDEST_S,
) -> Int[np.ndarray, " beat"]:
    """The tokens that are beats, ascending; never the first or last one, which is no local maximum. Refuses NaN."""
    from scipy.signal import find_peaks

    if np.isnan(probability).any():
        n_unknown = int(np.isnan(probability).sum())
        raise Refusal(f"{n_unknown} of {len(probability)} tokens have no probability; give a stretch that windows cover without a gap")
    width = None if widest_s is None else (None, widest_s * rate_hz)
    return np.asarray(find_peaks(probability, height=threshold, distance=max(1, round(apart_s * rate_hz)), width=width)[0], int)


def match(found_s: Times, true_s: Float[np.ndarray, " true_beat"], tolerance_s: float = TOLERANCE_S) -> Matches:
    """The beats found and the true ones paired, both in seconds and in any order."""
    if not tolerance_s >= 0:
        raise Refusal(f"the tolerance is {tolerance_s:g} s; give 0 or more")
    detected, true = np.sort(found_s), np.sort(true_s)
    if not np.isfinite(np.concatenate([detected, true])).all():
        raise Refusal("a beat's time is NaN or infinite; leave such beats out")
    pairs = [pair for parts in _apart(detected, true, tolerance_s + ROUNDING_S) for pair in _paired(*parts, tolerance_s + ROUNDING_S)]
    return Matches(len(pairs), len(true) - len(pairs), len(detected) - len(pairs), np.array(pairs, float))


def total(parts: Sequence[Matches]) -> Matches:
    """The matches of several records as one: counts added, errors in order."""
    hits, misses, extras = (sum(getattr(part, name) for part in parts) for name in ("hits", "misses", "extras"))
    return Matches(hits, misses, extras, np.concatenate([np.zeros(0), *(part.error_s for part in parts)]))


def _apart(detected: Times, true: Float[np.ndarray, " true_beat"], reach_s: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Groups of beats between which nothing can be paired: they lie more than `reach_s` apart."""
    every = np.sort(np.concatenate([detected, true]))
    gaps = np.flatnonzero(np.diff(every) > reach_s)
    first = every[gaps + 1]
    return list(zip(np.split(detected, np.searchsorted(detected, first)), np.split(true, np.searchsorted(true, first)), strict=True))


def _paired(detected: np.ndarray, true: np.ndarray, reach_s: float) -> list[float]:
    """How late each found beat with a true one is, in order. Least squares, under which pairs never cross."""
    from scipy.optimize import linear_sum_assignment

    late = detected[:, None] - true
    within = np.abs(late) <= reach_s
    one_more = 1 + late.size * reach_s**2  # one more pair counts more than all errors together
    pairs = linear_sum_assignment(np.where(within, late**2 - one_more, 0))
    return [float(late[pair]) for pair in zip(*pairs, strict=True) if within[pair]]
