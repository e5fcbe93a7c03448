"""Whether two recordings are the same heartbeats: at another rate, with another gain or offset, or one of them a part of the other.

A recording's sketch is taken at its steepest slopes, one a beat or so, whose places do not depend on rate, gain or where a recording
begins. The signal's slope in the seconds after such a place, at a low rate, is hashed by the signs of random projections: what shares a
hash is a candidate (Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002). Candidates are the same where the
slopes themselves correlate by at least SAME at two places that lie equally far apart in both.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float16, Int, Real

WINDOW_S = 4.0  # of the slopes that are compared
COARSE_HZ, COARSE_S = 16.0, 0.12  # of the slopes that are hashed: their rate, and how long each is
FINE_HZ, FINE_S = 30.0, 0.08  # of those that are correlated
GRID_HZ = 50.0  # on which places are sought
APART_S = 0.4  # between two places: no two beats are nearer
PROMINENT = 1.2  # times as steep as the median around: a ramp has no places
N_TABLES, N_BITS = 6, 20
MOST_PLACES = 96  # of a recording are kept: those with the smallest hashes, which are the same ones in a copy
PIECE_S, MOST_ALIKE = 600.0, 64  # of a long recording at a time; places of one hash that are compared
SAME, SAME_S = 0.995, 0.03

Signal = Real[np.ndarray, " sample"]
Times = Float[np.ndarray, " place"]


@dataclass(frozen=True, eq=False)
class Sketch:
    """The places in seconds, their hashes and their slopes, each of length 1; `length_s` is the recording's."""

    length_s: float
    place_s: Times
    hashes: Int[np.ndarray, "place table"]
    slopes: Float16[np.ndarray, "place step"]


def sketch_of(signal: Signal, rate_hz: float) -> Sketch:
    """The sketch of a recording; without places where it is shorter than WINDOW_S or has too low a rate."""
    place_s, codes = np.empty(0), np.empty((0, N_TABLES), np.int64)
    fine = np.empty((0, round(WINDOW_S * FINE_HZ)))
    step, more = round(PIECE_S * rate_hz), round((WINDOW_S + 2) * rate_hz)
    for first in range(0, len(signal), step):
        integral = _Integral(np.asarray(signal[first : first + step + more], np.float64), rate_hz)
        own = _places(integral)
        own = own[own < PIECE_S]
        place_s = np.concatenate([place_s, own + first / rate_hz])
        codes = np.concatenate([codes, _hashes(_slopes(integral, own, COARSE_HZ, COARSE_S))])
        fine = np.concatenate([fine, _slopes(integral, own, FINE_HZ, FINE_S)])
        kept = np.sort(np.argsort(_mixed(codes[:, 0]), kind="stable")[:MOST_PLACES])
        place_s, codes, fine = place_s[kept], codes[kept], fine[kept]
    return Sketch(len(signal) / rate_hz, place_s, codes.astype(np.int32), fine.astype(np.float16))


@dataclass(frozen=True)
class Shared:
    """A recording, how many seconds of heartbeats another has in common with it, and which share of the shorter one that is."""

    name: str
    seconds: float
    share: float


@dataclass
class Known:
    """The recordings known so far; `shared_with` gives those with which another has heartbeats in common."""

    _places: dict[tuple[int, int], list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    _sketches: dict[str, Sketch] = field(default_factory=dict)

    def add(self, name: str, sketch: Sketch) -> None:
        """A recording more."""
        self._sketches[name] = sketch
        for place, table, code in _codes(sketch):
            self._places[table, code].append((name, place))

    def shared_with(self, sketch: Sketch) -> list[Shared]:
        """The recordings that have heartbeats in common, the largest share first."""
        later_s: dict[str, dict[int, float]] = defaultdict(dict)
        for place, table, code in _codes(sketch):
            for name, other in self._places.get((table, code), ())[:MOST_ALIKE]:
                if place not in later_s[name] and _correlation(sketch, place, self._sketches[name], other) >= SAME:
                    later_s[name][place] = float(self._sketches[name].place_s[other] - sketch.place_s[place])
        candidates = [
            _shared(name, sketch, self._sketches[name], shift_s) for name in later_s for shift_s in _agreed(later_s[name].values())
        ]
        return sorted(candidates, key=lambda shared: -shared.share)


def _agreed(later_s: Iterable[float]) -> list[float]:
    """How much later the same beats are in the other recording, where two places agree on it; else nothing."""
    ordered = sorted(later_s)
    return [later for earlier, later in pairwise(ordered) if later - earlier < SAME_S][:1]


def _shared(name: str, sketch: Sketch, other: Sketch, later_s: float) -> Shared:
    seconds = min(sketch.length_s, other.length_s - later_s) - max(0.0, -later_s)
    return Shared(name, seconds, seconds / min(sketch.length_s, other.length_s))


def _correlation(one: Sketch, place: int, other: Sketch, place_in_other: int) -> float:
    return float(one.slopes[place].astype(np.float32) @ other.slopes[place_in_other].astype(np.float32))


def _codes(sketch: Sketch) -> Iterator[tuple[int, int, int]]:
    for place, codes in enumerate(sketch.hashes.tolist()):
        yield from ((place, table, code) for table, code in enumerate(codes))


class _Integral:
    """A signal's integral at any time: the mean over any stretch, and so the slope at any rate, follow from it alike for every rate."""

    def __init__(self, signal: Float[np.ndarray, " sample"], rate_hz: float) -> None:
        finite = np.isfinite(signal)
        filled = np.where(finite, signal - (signal[finite].mean() if finite.any() else 0.0), 0.0)
        self.rate_hz, self.n_samples = rate_hz, len(signal)
        self._sums = np.concatenate([[0.0], np.cumsum(filled)])
        self._missing = np.concatenate([[0], np.cumsum(~finite)])

    def slopes(self, time_s: Float[np.ndarray, "..."], width_s: float) -> Float[np.ndarray, "..."]:
        """The difference of the means over `width_s` after and before each time."""
        before, middle, after = (self._at(time_s + shift) for shift in (-width_s, 0.0, width_s))
        return (after - 2 * middle + before) / (width_s * self.rate_hz)

    def is_whole(self, start_s: Times, end_s: Times) -> Bool[np.ndarray, " place"]:
        """Whether all samples between are there."""
        edges = [np.clip(np.round(time_s * self.rate_hz).astype(int), 0, self.n_samples) for time_s in (start_s, end_s)]
        return (self._missing[edges[1]] == self._missing[edges[0]]) & (start_s >= 0) & (end_s * self.rate_hz <= self.n_samples - 1)

    def _at(self, time_s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        place = np.minimum(np.maximum(time_s * self.rate_hz + 0.5, 0), self.n_samples)
        whole = np.minimum(place.astype(int), self.n_samples - 1)
        return self._sums[whole] + (place - whole) * (self._sums[whole + 1] - self._sums[whole])


def _places(integral: _Integral) -> Times:
    """Where the slope is steepest in APART_S to both sides, to a fraction of the grid's step."""
    grid_s = np.arange(0, integral.n_samples / integral.rate_hz, 1 / GRID_HZ)
    steepness = np.abs(integral.slopes(grid_s, COARSE_S))
    reach = round(APART_S * GRID_HZ)
    if len(grid_s) < 2 * reach + 3:
        return np.empty(0)
    around = np.lib.stride_tricks.sliding_window_view(steepness, 2 * reach + 1)
    at = np.flatnonzero(around.max(axis=1) == around[:, reach])
    at = at[around[at, reach] > PROMINENT * np.partition(around[at], reach, axis=1)[:, reach]] + reach
    before, middle, after = (steepness[at + shift] for shift in (-1, 0, 1))
    bend = before - 2 * middle + after
    place_s = grid_s[at] + np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1), 0) / GRID_HZ
    return place_s[integral.is_whole(place_s - 0.5, place_s + WINDOW_S + 0.5)]


def _slopes(integral: _Integral, place_s: Times, rate_hz: float, width_s: float) -> Float[np.ndarray, "place step"]:
    """The slopes after each place, their mean taken off, each row of length 1."""
    slopes = integral.slopes(place_s[:, None] + np.arange(round(WINDOW_S * rate_hz)) / rate_hz, width_s)
    slopes = slopes - slopes.mean(axis=1, keepdims=True)
    return slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), np.finfo(float).tiny)


@cache
def _projections() -> Float[np.ndarray, "step bit"]:
    return np.random.default_rng(20261127).normal(size=(round(WINDOW_S * COARSE_HZ), N_TABLES * N_BITS))


def _hashes(slopes: Float[np.ndarray, "place step"]) -> Int[np.ndarray, "place table"]:
    bits = (slopes @ _projections() > 0).reshape(len(slopes), N_TABLES, N_BITS)
    return bits @ (1 << np.arange(N_BITS, dtype=np.int64))


def _mixed(codes: Int[np.ndarray, " place"]) -> Int[np.ndarray, " place"]:
    """The codes in an order that has nothing to do with what they mean."""
    return (codes * 2654435761) % 2**32
