"""What stretches of signal look like, in few numbers: what tells ECG from pulses from neither, up from down, and clean from noisy.

All stretches are of one length; each is averaged to about WORK_HZ and looked at as a whole, by one Fourier transform. The numbers have
no unit, so that they mean the same at any gain. How they are spread in recordings of every kind: docs/reading.md.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

WORK_HZ = 100.0
LIVE_HZ, QRS_HZ, PULSE_HZ = (0.5, 40.0), (5.0, 35.0), (0.5, 8.0)
SMOOTH_HZ = (0.5, 20.0)  # in which steep rises are looked for
BREATH_HZ = 0.5
RETURN_S = 0.1  # on either side of the steepest place
CYCLE_S = (0.27, 2.0)
N_CELLS = 3  # of a stretch, in which its beats are measured: each holds one, also at 40 a minute
TRIMMED = 0.008  # of the samples, on either side: what a few spikes may be
TINY = 1e-30

Stretches = Float[np.ndarray, "stretch sample"]
Trait = Float[np.ndarray, " stretch"]


class Traits(NamedTuple):
    """One number a stretch each.

    `peaked_slope`, `peaked_qrs`: the kurtosis of the steps, and of the signal within QRS_HZ: noise has 3, a sine 1.5, QRS complexes far
    more. `one_way`: around the steepest place of each second, the way from before to after over the way travelled: 0 for a QRS complex,
    which returns at once, 1 for the rise of a pulse (median). `sharp`: of the power within LIVE_HZ, the part above 5 Hz. `slow`: of the
    slope's power below 8 Hz, the part below BREATH_HZ. `steep_rise`: the skewness of the slope within PULSE_HZ: above 0 where rises are
    steeper than falls. `regular`: the height of the autocorrelation's peak at the lag of a beat. `rough`: the median bend (second
    difference at WORK_HZ) of the roughest second, over the range: complexes are too short to count. `line`: the part of the bends' power
    in one narrow line. `beats`: the part of the range that beats fill, when the drift under them is taken away (median cell). `core`: the
    part of the range that is left without its few outermost samples. `upward`, `rounded`: the skewness within QRS_HZ and PULSE_HZ: above
    0 where the sharpest, and the largest slow waves (P and T of an ECG) point up.
    """

    peaked_slope: Trait
    peaked_qrs: Trait
    one_way: Trait
    sharp: Trait
    slow: Trait
    steep_rise: Trait
    regular: Trait
    rough: Trait
    line: Trait
    beats: Trait
    core: Trait
    upward: Trait
    rounded: Trait

    def of(self, which: Bool[np.ndarray, " stretch"]) -> "Traits":
        """The traits of some stretches."""
        return Traits(*(trait[which] for trait in self))


def traits(stretches: Stretches, rate_hz: float) -> Traits:
    """The traits of finite stretches at `rate_hz`; those of a flat stretch are 0."""
    factor = max(int(rate_hz / WORK_HZ), 1)
    n_stretches, length = len(stretches), stretches.shape[1] // factor
    work_hz = rate_hz / factor
    raw = stretches[:, : length * factor].reshape(n_stretches, length, factor) @ np.full(factor, 1 / factor)
    along, bands = _bands(length, work_hz)
    level = raw - raw[:, :1] - (raw[:, -1:] - raw[:, :1]) * along  # both ends at 0, lest a jump between them count
    level /= np.ptp(raw, axis=1)[:, None] + TINY
    spectrum = np.fft.rfft(level, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    qrs, pulse, smooth = np.fft.irfft(spectrum * bands.seen_in[:, None], length, axis=2)
    sums = power @ bands.summed
    sloped = power * bands.squared
    sharp, live = sums.T
    breath, below = (sloped @ bands.slow).T
    steps = np.diff(level, axis=1)
    ordered = np.sort(level, axis=1)
    return Traits(
        peaked_slope=_kurtosis(steps - steps.mean(axis=1, keepdims=True)),
        peaked_qrs=_kurtosis(qrs),
        one_way=_one_way(smooth, work_hz),
        sharp=sharp / (live + TINY),
        slow=breath / (below + TINY),
        steep_rise=_skewness(np.diff(pulse, axis=1)),
        regular=_regular(power * bands.seen_in[1], length, work_hz),
        rough=_rough(np.diff(steps, axis=1), work_hz),
        line=_line(sloped * bands.squared),
        beats=_beats(level),
        core=_core(ordered),
        upward=_skewness(qrs),
        rounded=_skewness(pulse),
    )


class _Bands(NamedTuple):
    """Which frequencies of a stretch belong to which band: 1 or 0; and their squares."""

    seen_in: Float[np.ndarray, "band frequency"]  # QRS, pulse, smooth
    summed: Float[np.ndarray, "frequency 2"]  # sharp, live
    slow: Float[np.ndarray, "frequency 2"]  # below a breath, below the pulse's upper edge
    squared: Float[np.ndarray, " frequency"]


@lru_cache(maxsize=64)
def _bands(length: int, rate_hz: float) -> tuple[Float[np.ndarray, " sample"], _Bands]:
    """A rise from 0 to 1 along a stretch, and the bands of its spectrum."""
    frequency = np.fft.rfftfreq(length, 1 / rate_hz)

    def within(low: float, high: float) -> Float[np.ndarray, " frequency"]:
        return ((frequency >= low) & (frequency <= high)).astype(float)

    return _rise(length), _Bands(
        seen_in=np.stack([within(*QRS_HZ), within(*PULSE_HZ), within(*SMOOTH_HZ)]),
        summed=np.stack([within(QRS_HZ[0], LIVE_HZ[1]), within(*LIVE_HZ)], axis=1),
        slow=np.stack([frequency < BREATH_HZ, frequency < PULSE_HZ[1]], axis=1).astype(float),
        squared=frequency**2,
    )


def _kurtosis(signal: Stretches) -> Trait:
    squares = np.square(signal)
    return np.asarray(signal.shape[1] * np.einsum("ij,ij->i", squares, squares) / (np.square(squares.sum(axis=1)) + TINY))


def _skewness(signal: Stretches) -> Trait:
    squares = np.square(signal)
    mean = squares.mean(axis=1)
    return np.asarray(np.einsum("ij,ij->i", squares, signal) / signal.shape[1] / (mean * np.sqrt(mean) + TINY))


def _one_way(smooth: Stretches, rate_hz: float) -> Trait:
    n_stretches, length = smooth.shape
    reach, way = max(round(RETURN_S * rate_hz), 1), np.abs(np.diff(smooth, axis=1))
    n_seconds = max(round(length / rate_hz), 1)
    second = way.shape[1] // n_seconds
    steepest = way[:, : n_seconds * second].reshape(n_stretches, n_seconds, second).argmax(axis=2) + np.arange(n_seconds) * second
    before, after = np.clip(steepest - reach, 0, None), np.clip(steepest + 1 + reach, None, length - 1)
    travelled = np.concatenate([np.zeros((n_stretches, 1)), np.cumsum(way, axis=1)], axis=1)
    row = np.arange(n_stretches)[:, None]
    net = np.abs(smooth[row, after] - smooth[row, before])
    return _middle(net / (travelled[row, after] - travelled[row, before] + TINY))


def _regular(power: Float[np.ndarray, "stretch frequency"], length: int, rate_hz: float) -> Trait:
    similarity = np.fft.irfft(power, length, axis=1)
    first, last = round(CYCLE_S[0] * rate_hz), min(round(CYCLE_S[1] * rate_hz), length // 2)
    lagged = similarity[:, first:last] / (similarity[:, :1] + TINY)
    valley = lagged[:, : max(lagged.shape[1] // 2, 1)].argmin(axis=1)
    return np.asarray(np.where(np.arange(lagged.shape[1]) >= valley[:, None], lagged, -1.0).max(axis=1))


def _rough(bends: Stretches, rate_hz: float) -> Trait:
    n_seconds = max(round(bends.shape[1] / rate_hz), 1)
    size = bends.shape[1] // n_seconds
    seconds = np.abs(bends[:, : n_seconds * size]).reshape(len(bends), n_seconds, size)
    return np.asarray(_middle(seconds).max(axis=1))


def _line(bent: Float[np.ndarray, "stretch frequency"]) -> Trait:
    at = np.clip(bent.argmax(axis=1)[:, None] + np.arange(-2, 3), 0, bent.shape[1] - 1)
    at[:, 1:][at[:, 1:] == at[:, :-1]] = 0  # the last frequency counts once
    return np.asarray(np.take_along_axis(bent, at, axis=1).sum(axis=1) / (bent.sum(axis=1) + TINY))


def _beats(level: Stretches) -> Trait:
    """The median range of the cells, each without the line from its beginning to its end, over the range."""
    size = level.shape[1] // N_CELLS
    cells = level[:, : N_CELLS * size].reshape(len(level), N_CELLS, size)
    edge = max(size // 10, 1)
    begin, end = cells[..., :edge].mean(axis=2, keepdims=True), cells[..., -edge:].mean(axis=2, keepdims=True)
    own = np.ptp(cells - begin - (end - begin) * _rise(size), axis=2)
    return _middle(own) / (np.ptp(level, axis=1) + TINY)


@lru_cache(maxsize=64)
def _rise(size: int) -> Float[np.ndarray, " sample"]:
    """From 0 to 1 in so many steps."""
    return np.linspace(0, 1, size)


def _core(ordered: Stretches) -> Trait:
    n_out = max(round(TRIMMED * ordered.shape[1]), 1)
    return np.asarray((ordered[:, -1 - n_out] - ordered[:, n_out]) / (ordered[:, -1] - ordered[:, 0] + TINY))


def median(values: Float[np.ndarray, " value"]) -> float:
    """The median of finite numbers, as `np.median` gives it, in a quarter of its time where there are few."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def _middle(values: Float[np.ndarray, "*rest value"]) -> Float[np.ndarray, "*rest"]:
    """The median along the last axis, of an even number the upper one."""
    at = values.shape[-1] // 2
    return np.asarray(np.partition(values, at, axis=-1)[..., at])
