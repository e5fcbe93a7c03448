"""When the heart beats: sinus rhythm, atrial fibrillation, and sinus rhythm with premature ventricular beats.

Sinus: integral pulse frequency modulation (Hyndman & Mohn 1975): a beat each time the integral of the rate reaches the next integer;
the rate swings with the breath and at 0.1 Hz, the two bands of McSharry 2003. AF: intervals without serial correlation, a gamma
distribution above a refractory floor. Ectopy: a beat comes early, the next one when it would have come anyway (full
compensatory pause).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

LEAD_S = 4.0  # beats are made from this long before the signal to this long after it, so that none is missing at its edges
SLOW_HZ = 0.1
FLOOR_S = 0.35  # the shortest interval in AF: the refractory time of the AV node
SPREAD = 0.22  # standard deviation of the AF interval, of its mean
MEMORY = 4  # intervals that the QT and the ejection time look back on

Beats = Float[np.ndarray, " beat"]


@dataclass(frozen=True)
class Rhythm:
    """Beats from before second 0 to after the signal's end, which of them are `ectopic`, and whether the atria fibrillate."""

    beat_s: Beats
    ectopic: Bool[np.ndarray, " beat"]
    fibrillating: bool = False

    @cached_property
    def interval_s(self) -> Beats:
        """The interval before each beat; the first beat's is taken to be the second's."""
        intervals = np.diff(self.beat_s)
        return np.concatenate([intervals[:1], intervals])

    @cached_property
    def pace(self) -> Beats:
        """What times of repolarisation and ejection scale with: the square root (Bazett 1920) of the mean of the last MEMORY intervals.

        In seconds**0.5, so 1 at 60 beats a minute. The mean, because the QT adapts over beats, not within one.
        """
        before = np.concatenate([np.full(MEMORY - 1, self.interval_s.mean()), self.interval_s])
        return np.sqrt(np.convolve(before, np.full(MEMORY, 1 / MEMORY), mode="valid"))


def sinus(rng: np.random.Generator, duration_s: float, rate_bpm: float) -> Rhythm:
    """Sinus rhythm whose rate swings by a few per cent with the breath and at SLOW_HZ around `rate_bpm`."""
    time_s = np.arange(-LEAD_S, duration_s + LEAD_S, 0.01)
    swing = np.zeros(len(time_s))
    for hz, depth in ((rng.uniform(0.2, 0.3), rng.uniform(0.01, 0.05)), (SLOW_HZ, rng.uniform(0.01, 0.04))):
        swing += depth * np.sin(2 * np.pi * (hz * time_s + rng.uniform()))
    beats = np.cumsum(rate_bpm / 60 * (1 + swing)) * 0.01 + rng.uniform()
    beat_s = np.interp(np.arange(1, int(beats[-1]) + 1), beats, time_s)
    return Rhythm(beat_s, np.zeros(len(beat_s), bool))


def fibrillation(rng: np.random.Generator, duration_s: float, rate_bpm: float) -> Rhythm:
    """Irregularly irregular beats of mean rate `rate_bpm`: no interval knows of another, none is below FLOOR_S."""
    mean_s = 60 / rate_bpm
    shape = ((mean_s - FLOOR_S) / (SPREAD * mean_s)) ** 2  # of the gamma distribution that has this mean and spread above the floor
    n_intervals = int((duration_s + 2 * LEAD_S) / FLOOR_S) + 1
    intervals = FLOOR_S + (mean_s - FLOOR_S) * rng.gamma(shape, 1 / shape, n_intervals)
    beat_s = np.cumsum(intervals) - LEAD_S - intervals[0] * rng.uniform()
    beat_s = beat_s[beat_s < duration_s + LEAD_S]
    return Rhythm(beat_s, np.zeros(len(beat_s), bool), fibrillating=True)


def ectopy(rng: np.random.Generator, duration_s: float, rate_bpm: float) -> Rhythm:
    """Sinus rhythm in which about one beat in five, never two in a row, comes after 60 to 75 % of its interval."""
    beat_s = sinus(rng, duration_s, rate_bpm).beat_s
    early = rng.uniform(size=len(beat_s)) < 1 / 4
    early[0] = False
    early[1:] &= ~early[:-1]
    advance = rng.uniform(0.25, 0.4, len(beat_s)) * np.diff(beat_s, prepend=beat_s[0])
    return Rhythm(beat_s - early * advance, early)


RHYTHMS: dict[str, Callable[[np.random.Generator, float, float], Rhythm]] = {"sinus": sinus, "af": fibrillation, "ectopy": ectopy}
RATES_BPM = {"sinus": (55.0, 90.0), "af": (70.0, 110.0), "ectopy": (55.0, 85.0)}  # between these a rate is drawn if none is asked
