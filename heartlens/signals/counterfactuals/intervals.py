"""The intervals a window's beats could have: regular, irregular as in atrial fibrillation, or the irregular ones in order of length.

The first and the last beat stay, so the intervals' sum and with it the mean rate do. Each has a floor: what of it cannot be compressed, and
the refractory time of the AV node. `irregular`: what is above the floors is shared out by gamma variables with the spread of the
project's simulated fibrillation; of N_DRAWS the one whose successive differences (RMSSD over the mean) are nearest to those of
independent intervals of that spread, sqrt(2) SPREAD, is taken. Few intervals or a fast heart leave less room: `rmssd` tells.
"""

import math

import numpy as np
from jaxtyping import Float

from heartlens.refusal import unknown
from heartlens.signals.simulate.rhythms import SPREAD

RHYTHMS = ("regular", "irregular", "gradual")
N_DRAWS = 64
Intervals = Float[np.ndarray, " interval"]


def intervals_as(rhythm: str, length: Intervals, floor: Intervals, rng: np.random.Generator) -> Intervals:
    """Intervals of the same sum as `length` with a rhythm, none below its floor. Refuses unknown rhythms."""
    if rhythm not in RHYTHMS:
        raise unknown("rhythm", rhythm, RHYTHMS)
    if rhythm == "regular":
        return above(np.full(len(length), length.mean()), floor)
    drawn = _fibrillating(length, floor, rng)
    if rhythm == "irregular":
        return drawn
    return above(np.sort(drawn) if drawn[0] < drawn[-1] else -np.sort(-drawn), floor)


def above(wanted: Intervals, floor: Intervals) -> Intervals:
    """The wanted intervals, those below their floor raised to it, what this costs taken from the others in proportion to their room.

    >>> above(np.array([80.0, 80.0, 80.0]), np.array([40.0, 100.0, 60.0]))
    array([ 66.66666667, 100.        ,  73.33333333])
    """
    room = np.maximum(wanted - floor, 0.0)
    return floor + room * (wanted.sum() - floor.sum()) / room.sum()


def rmssd(intervals: Intervals) -> float:
    """The root mean square of successive differences, over the mean interval."""
    return float(np.sqrt(np.mean(np.diff(intervals) ** 2)) / intervals.mean())


def _fibrillating(length: Intervals, floor: Intervals, rng: np.random.Generator) -> Intervals:
    room = length.sum() - floor.sum()
    shape = (room / (SPREAD * length.sum())) ** 2
    share = rng.gamma(shape, size=(N_DRAWS, len(length)))
    drawn = floor + room * share / share.sum(axis=1, keepdims=True)
    return min(drawn, key=lambda each: abs(rmssd(each) - math.sqrt(2) * SPREAD))
