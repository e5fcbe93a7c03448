"""How irregular each beat is, and which have no P wave: a number a cycle, from what is known of its tokens. Arrays in, arrays out.

A beat's interval is the one that ends at its mark (`before`: RR or foot to foot, what makes it early or late) or the one that begins there
(`after`). `irregularity = |interval - m| / m`, m the median of the NEIGHBOURS intervals on either side, itself left out, of those that the
window shows. An interval's length is the reciprocal of the slope of `Windows.position`, so that one cut by the window's edge has its full
length too. Beyond a recording's first and last beat `position` repeats the neighbouring interval, which here looks regular.
"""

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import KINDS
from heartlens.windows import Windows

NEIGHBOURS = 2  # intervals on either side
N_DIGITS = 6  # of an irregularity: rounding must not make equal intervals differ
ROUNDING = 1e-9  # of positions, in cycles
UNKNOWN = -1

States = Int[np.ndarray, "window cycle"]  # 1 yes, 0 no, UNKNOWN


def interval_lengths(position: Float[np.ndarray, " time"]) -> dict[int, float]:
    """The length in tokens of each interval, by the number of the beat it begins with, in order; only those with two tokens in them.

    >>> interval_lengths(np.array([0.8, 0.9, 1.0, 1.25, 1.5]))
    {0: 10.0, 1: 4.0}
    """
    number = np.floor(position + ROUNDING)
    step = np.diff(position)
    within = number[1:] == number[:-1]  # False where a position is not known
    return {int(n): round(1 / float(np.median(step[within & (number[1:] == n)])), N_DIGITS) for n in np.unique(number[1:][within])}


def deviations(length: dict[int, float]) -> dict[int, float]:
    """Each interval's irregularity, where at least two neighbours are known.

    >>> deviations({0: 80.0, 1: 80.0, 2: 60.0, 3: 100.0, 5: 80.0})
    {0: 0.142857, 1: 0.0, 2: 0.25, 3: 0.25}
    """
    deviation = {}
    for number, interval in length.items():
        near = [length[n] for n in range(number - NEIGHBOURS, number + NEIGHBOURS + 1) if n != number and n in length]
        if len(near) >= 2:
            deviation[number] = round(abs(interval - float(np.median(near))) / float(np.median(near)), N_DIGITS)
    return deviation


def irregularity(windows: Windows, interval: str = "before") -> Float[np.ndarray, "window cycle"]:
    """The irregularity of each cycle (as `Windows.cycle` counts them); NaN where it is not known."""
    of_cycles = np.full((len(windows), n_cycles(windows)), np.nan)
    for index, position in enumerate(windows.position):
        beat = np.floor(position + KINDS[windows.kind].cycle_lead)
        first = np.fmin.reduce(beat)
        for number, value in deviations(interval_lengths(position)).items():
            cycle = number - first + (interval == "before")
            if 0 <= cycle <= np.fmax.reduce(beat) - first:
                of_cycles[index, int(cycle)] = value
    return of_cycles


def n_cycles(windows: Windows) -> int:
    """The largest number of cycles that a window shows, at least 1."""
    return max(int(windows.cycle.max(initial=0)) + 1, 1)


def above_median(values: Float[np.ndarray, "window cycle"], least: float = 0.0) -> States:
    """Which cycles lie above both the median of their window's and `least`: 1, 0 (they do not), UNKNOWN where there is no value.

    With `least` a regular window, whose cycles differ by little, has none; the median halves a window all of whose cycles are irregular.
    """
    has_value = ~np.isnan(values)
    median = np.array([np.median(row[is_given]) if is_given.any() else 0.0 for row, is_given in zip(values, has_value, strict=True)])
    return np.where(has_value, values > np.maximum(median, least)[:, None], UNKNOWN).astype(int)


def without_p(windows: Windows) -> States:
    """Which cycles have no token in a P wave: 1, else 0."""
    p_wave = windows.wave == KINDS[windows.kind].waves.index("P")
    return np.array(
        [[int(not in_p[cycle == n].any()) for n in range(n_cycles(windows))] for in_p, cycle in zip(p_wave, windows.cycle, strict=True)]
    )


def whole(state: States, windows: Windows) -> States:
    """The states, UNKNOWN for every cycle that the window does not show from its first to its last token.

    A cycle that is cut is not compared: the last one holds the asking token, and the changes of its few keys would outweigh all others.
    """
    inner = np.zeros_like(state, dtype=bool)
    for index, cycle in enumerate(windows.cycle):
        begins, ends = np.flatnonzero(np.diff(cycle) != 0) + 1, np.flatnonzero(np.diff(cycle) != 0)
        for first, last in zip(begins[:-1], ends[1:], strict=True):
            inner[index, cycle[first]] = cycle[first] >= 0 and cycle[first - 1] >= 0 and cycle[last + 1] >= 0
    return np.where(inner, state, UNKNOWN)
