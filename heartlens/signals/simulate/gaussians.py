"""Waves as sums of Gaussians in time (McSharry 2003), each with its own width before and after its centre, and what disturbs them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

REACH = 2.5  # a wave begins and ends this many widths from its centre, where 4 % of its height are left

Parts = Float[np.ndarray, " gaussian"]
Trace = Float64[np.ndarray, " sample"]


@dataclass(frozen=True)
class Gaussians:
    """One Gaussian an entry: `height` at `centre_s`, of standard deviation `rise_s` before and `fall_s` after the centre."""

    height: Parts
    centre_s: Parts
    rise_s: Parts
    fall_s: Parts

    @property
    def onset_s(self) -> Parts:
        return self.centre_s - REACH * self.rise_s

    @property
    def offset_s(self) -> Parts:
        return self.centre_s + REACH * self.fall_s

    def chosen(self, which: np.ndarray) -> "Gaussians":
        """Those of a mask."""
        return Gaussians(self.height[which], self.centre_s[which], self.rise_s[which], self.fall_s[which])

    def add_to(self, trace: Trace, time_s: Trace) -> None:
        """Add all of them to `trace`, each out to six widths, where less than 2e-8 of it is left."""
        first, last = np.searchsorted(time_s, [self.centre_s - 6 * self.rise_s, self.centre_s + 6 * self.fall_s])
        for i, inside in enumerate(map(slice, first, last)):
            away = time_s[inside] - self.centre_s[i]
            width = np.where(away < 0, self.rise_s[i], self.fall_s[i])
            trace[inside] += self.height[i] * np.exp(-0.5 * (away / width) ** 2)


def waveform(parts: list[Gaussians], time_s: Trace) -> Trace:
    """The sum of all `parts` at each moment."""
    trace = np.zeros(len(time_s))
    for part in parts:
        part.add_to(trace, time_s)
    return trace


def disturbance(rng: np.random.Generator, time_s: Trace, wander: float, noise: float) -> Trace:
    """A baseline that moves with the breath (`wander` high) and drifts slowly (the same again), and white noise of deviation `noise`."""
    trace = rng.normal(0, noise, len(time_s))
    for hz in (rng.uniform(0.2, 0.3), rng.uniform(0.03, 0.08)):
        trace += wander * np.sin(2 * np.pi * (hz * time_s + rng.uniform()))
    return trace
