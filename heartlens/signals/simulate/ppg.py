"""The finger pulse of a simulated heart: a systolic wave, a reflected one and the run-off beneath them, Gaussians in time.

Convention: the landmarks are read off the pulses' sum (overlap and all) on a grid of 1 ms, before baseline and noise are added:
the systolic peak is the maximum nearest to where it was put, the foot the lowest point since the systolic peak before, the
dicrotic notch and the diastolic peak the first minimum and maximum after the systolic peak. A pulse that is cut short by the next
one may have no notch: then none is marked. Times scale with `Rhythm.pace`; a pulse's height follows the time its ventricle had to fill.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import KINDS
from heartlens.signals.landmarks import Landmarks, point_landmarks
from heartlens.signals.simulate.gaussians import Gaussians, Trace, disturbance, waveform
from heartlens.signals.simulate.marks import inside, rhythm_of
from heartlens.signals.simulate.rhythms import LEAD_S, Rhythm

GRID_HZ = 1000.0
RANGES = {  # of each part: height (of the systolic wave), centre (s after the beat), width before and after (s); at 60 beats a minute
    "systolic": ((1.0, 1.0), (0.20, 0.22), (0.058, 0.072), (0.074, 0.086)),
    "reflected": ((0.18, 0.30), (0.46, 0.50), (0.050, 0.062), (0.080, 0.115)),
    "run-off": ((0.10, 0.34), (0.30, 0.34), (0.10, 0.12), (0.34, 0.54)),
}


@dataclass(frozen=True)
class Subject:
    """One person's pulse (rows as RANGES), how much the breath changes its height, and what disturbs the trace."""

    parts: dict[str, tuple[float, ...]]
    breath_depth: float
    wander: float
    noise: float


def subject(rng: np.random.Generator) -> Subject:
    """A person drawn from RANGES."""
    return Subject(
        parts={name: tuple(float(rng.uniform(*edges)) for edges in ranges) for name, ranges in RANGES.items()},
        breath_depth=float(rng.uniform(0.02, 0.08)),
        wander=float(rng.uniform(0.01, 0.04)),
        noise=float(rng.uniform(0.001, 0.004)),
    )


def simulate(
    rng: np.random.Generator, duration_s: float, rhythm: str = "sinus", rate_bpm: float | None = None, disturbed: bool = True
) -> tuple[Trace, Landmarks]:
    """The pulse in arbitrary units at 50 Hz, and its landmarks (beats: feet); without baseline and noise unless `disturbed`.

    Landmarks outside the signal are left out, and nothing is known before the first or after the last foot (`span_s`). The same
    seed gives the same pulses, disturbed or not. Refuses unknown rhythms, and rates outside 40 to 120.
    """
    of_person, of_rhythm, of_beats, of_trace = rng.spawn(4)
    person, beats = subject(of_person), rhythm_of(of_rhythm, duration_s, rhythm, rate_bpm)
    pulses = _pulses(of_beats, person, beats)
    grid_s = np.arange(round(-LEAD_S * GRID_HZ), round((duration_s + LEAD_S) * GRID_HZ)) / GRID_HZ
    grid = waveform(list(pulses.values()), grid_s)
    landmarks = _landmarks(grid, grid_s, pulses["systolic"].centre_s, f"simulated ppg ({rhythm})")
    step = round(GRID_HZ / KINDS["ppg"].rate_hz)
    first = round(LEAD_S * GRID_HZ)
    taken = slice(first, first + step * round(duration_s * KINDS["ppg"].rate_hz), step)
    trace, time_s = grid[taken], grid_s[taken]
    if disturbed:
        trace = trace + disturbance(of_trace, time_s, person.wander, person.noise)
    return trace, inside(landmarks, duration_s)


def filling(interval_s: Float[np.ndarray, " beat"]) -> Float[np.ndarray, " beat"]:
    """How full the ventricle is after each interval, 1 for the mean one: it fills exponentially once it has relaxed.

    >>> filling(np.array([0.8, 0.8, 0.4, 1.2])).round(2)
    array([1.  , 1.  , 0.57, 1.16])
    """
    filled = 1 - np.exp(-(interval_s / interval_s.mean() - 0.2) / 0.5)
    return filled / (1 - np.exp(-0.8 / 0.5))


def _pulses(rng: np.random.Generator, person: Subject, rhythm: Rhythm) -> dict[str, Gaussians]:
    breath = np.sin(2 * np.pi * (rng.uniform(0.2, 0.3) * rhythm.beat_s + rng.uniform()))
    size = filling(rhythm.interval_s) * (1 + person.breath_depth * breath) * (1 + rng.normal(0, 0.015, len(breath)))
    return {
        name: Gaussians(height * size, rhythm.beat_s + centre_s * rhythm.pace, rise_s * rhythm.pace, fall_s * rhythm.pace)
        for name, (height, centre_s, rise_s, fall_s) in person.parts.items()
    }


def _landmarks(grid: Trace, grid_s: Trace, expected_s: Float[np.ndarray, " beat"], source: str) -> Landmarks:
    minima, maxima = _turns(grid)
    peaks = np.unique([maxima[np.argmin(np.abs(grid_s[maxima] - moment))] for moment in expected_s])
    feet = np.array([first + np.argmin(grid[first:last]) for first, last in itertools.pairwise(peaks)])
    found = {"foot": feet, "systolic_peak": peaks}
    for name, turns in (("dicrotic_notch", minima), ("diastolic_peak", maxima)):
        firsts = [turns[(turns > peak) & (turns < foot)][:1] for peak, foot in zip(peaks[:-1], feet, strict=True)]
        found[name] = np.concatenate(firsts)
    names = np.repeat(list(found), [len(index) for index in found.values()])
    return point_landmarks(names, grid_s[np.concatenate(list(found.values()))], grid_s[feet], (-LEAD_S, LEAD_S), source)


def _turns(grid: Trace) -> tuple[Int[np.ndarray, " minimum"], Int[np.ndarray, " maximum"]]:
    """The indices of the local minima and of the local maxima."""
    slope = np.sign(np.diff(grid))
    turns = np.flatnonzero(np.diff(slope)) + 1
    return turns[slope[turns] > 0], turns[slope[turns] < 0]
