"""The rhythm of a stretch of tokens, generated or real: the heart rate by the project's beat detectors, the period without any.

A stretch repeats if its autocorrelation, once the correlation of neighbouring tokens is taken out, is too high for noise at some lag of a
heart rate from 30 to 240 a minute. What is taken out is an autoregression of order 2 (Yule-Walker). Of what is left, white for noise, the
autocorrelation over n - k products has a standard deviation of 1 / sqrt(n - k) at lag k (Bartlett 1946); the limit is the normal quantile
for 2 % over all lags (Bonferroni). Measured share of noise that repeats: 0.5 to 4 % (autoregressive of order 1 with coefficients
0 to 0.98, pink; 100 to 500 tokens). The period is then the first of the highest local maxima of the stretch's own autocorrelation.

A stretch shows only periods that fit into it MIN_PERIODS times; `slowest_bpm` is the slowest rate that it can show.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, UInt8

from heartlens.axes import KINDS
from heartlens.refusal import Refusal
from heartlens.signals.beats import ECG_RATE_HZ, PPG_RATE_HZ, at_rate, r_peaks, systolic_peaks

DETECTORS = {"ecg": (r_peaks, ECG_RATE_HZ), "ppg": (systolic_peaks, PPG_RATE_HZ)}
FEWEST = 3  # beats that a rate needs
SEARCHED_BPM = (30.0, 240.0)  # the rates whose periods are searched
MIN_PERIODS = 2.5  # periods that a stretch must hold
FALSE_ALARM = 0.02  # share of white noise that repeats, at most
LEAST = 0.3  # of the autocorrelation at lag 0, that a period's must reach
AS_HIGH = 0.9  # of the highest maximum: the first that is so high counts, not a multiple of the period


@dataclass(frozen=True)
class Rhythm:
    """Beats a minute (60 over the median interval), and the seconds after which the signal repeats; NaN where there is none.

    No period means none from `slowest_bpm` up: the stretch is too short for slower rates.
    """

    rate_bpm: float
    period_s: float
    slowest_bpm: float

    def __str__(self) -> str:
        rate = f"{self.rate_bpm:.0f} beats a minute" if np.isfinite(self.rate_bpm) else "too few beats for a heart rate"
        if np.isfinite(self.period_s):
            return f"{rate}; repeats after {self.period_s:.2f} s"
        short = f" (stretch too short for slower than {self.slowest_bpm:.0f} bpm)" if self.slowest_bpm > SEARCHED_BPM[0] else ""
        return f"{rate}; does not repeat{short}"


def rhythm_of(tokens: UInt8[np.ndarray, " time"], kind: str) -> Rhythm:
    """The rhythm of tokens of a kind of signal."""
    signal, rate_hz = tokens.astype(float), KINDS[kind].rate_hz
    return Rhythm(_rate_bpm(signal, kind), _period_s(signal, rate_hz), slowest_bpm(len(tokens), kind))


def rhythms_of(tokens: UInt8[np.ndarray, "*stretch time"], kind: str) -> Float[np.ndarray, "*stretch 2"]:
    """Rate (beats a minute) and period (s) of many stretches; equal ones are measured once."""
    different, place = np.unique(tokens.reshape(-1, tokens.shape[-1]), axis=0, return_inverse=True)
    rhythms = [rhythm_of(stretch, kind) for stretch in different]
    return np.array([[rhythm.rate_bpm, rhythm.period_s] for rhythm in rhythms])[place.ravel()].reshape(*tokens.shape[:-1], 2)


def slowest_bpm(n_tokens: int, kind: str) -> float:
    """The slowest rate whose period a stretch of `n_tokens` can show: SEARCHED_BPM's lower end, or more where the stretch is short."""
    return float(60 * KINDS[kind].rate_hz / _lags(n_tokens, KINDS[kind].rate_hz)[1])


def _rate_bpm(signal: np.ndarray, kind: str) -> float:
    detect, rate_hz = DETECTORS[kind]
    try:
        beats = detect(at_rate(signal, KINDS[kind].rate_hz, rate_hz))
    except Refusal:
        return float("nan")
    return float(60 * rate_hz / np.median(np.diff(beats))) if len(beats) >= FEWEST else float("nan")


def _lags(n_tokens: int, rate_hz: float) -> tuple[int, int]:
    """The lags of the fastest and of the slowest rate searched in a stretch."""
    slowest, fastest = (round(60 / bpm * rate_hz) for bpm in SEARCHED_BPM)
    return fastest, min(slowest, int(n_tokens / MIN_PERIODS))


def _period_s(signal: np.ndarray, rate_hz: float) -> float:
    """The lag of the first high maximum of the autocorrelation; NaN where no lag is beyond what noise gives."""
    fastest, slowest = _lags(len(signal), rate_hz)
    lag = np.arange(fastest, slowest + 1)
    left = _without_neighbours(signal)
    if not len(lag) or left.std() <= 1e-9 * max(signal.std(), 1e-9):  # a straight line or a flat one
        return float("nan")
    autocorrelation, whitened = _autocorrelation(signal), _autocorrelation(left)
    limit = NormalDist().inv_cdf(1 - FALSE_ALARM / len(lag))
    if not (whitened[lag] * np.sqrt(len(left) - lag) > limit).any():
        return float("nan")
    peaks = lag[
        (autocorrelation[lag] >= autocorrelation[lag - 1])
        & (autocorrelation[lag] > autocorrelation[lag + 1])
        & (autocorrelation[lag] > LEAST)
    ]
    return float(peaks[autocorrelation[peaks] >= AS_HIGH * autocorrelation[peaks].max()][0] / rate_hz) if len(peaks) else float("nan")


def _autocorrelation(signal: np.ndarray) -> Float[np.ndarray, " lag"]:
    """The autocorrelation by lag, each lag's divided by how many samples overlap."""
    centred, n = signal - signal.mean(), len(signal)
    product = np.correlate(centred, centred, "full")[n - 1 :] / (n - np.arange(n))
    return product / product[0]


def _without_neighbours(signal: np.ndarray) -> Float[np.ndarray, " time"]:
    """What an autoregression of order 2 (Yule-Walker) does not forecast."""
    centred = signal - signal.mean()
    product = np.array([centred[lag:] @ centred[: len(centred) - lag] for lag in range(3)])
    matrix = product[[[0, 1], [1, 0]]]
    weight = np.linalg.lstsq(matrix, product[1:], rcond=None)[0]
    return centred[2:] - weight[0] * centred[1:-1] - weight[1] * centred[:-2]
