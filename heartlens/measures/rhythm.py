"""The rhythm of a stretch of tokens, generated or real: the heart rate by the project's beat detectors, the period without any.

The period is the first of the highest local maxima of the autocorrelation among lags of legal heart rates, so it needs no beat to be found;
a signal that repeats nothing has none (its maxima are below LEAST).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from heartlens.axes import KINDS
from heartlens.refusal import Refusal
from heartlens.signals.beats import ECG_RATE_HZ, PPG_RATE_HZ, RATE_BPM, at_rate, r_peaks, systolic_peaks

DETECTORS = {"ecg": (r_peaks, ECG_RATE_HZ), "ppg": (systolic_peaks, PPG_RATE_HZ)}
FEWEST = 3  # beats that a rate needs
LEAST = 0.3  # of the autocorrelation at lag 0; that of 500 tokens of noise stays below
AS_HIGH = 0.9  # of the highest maximum: the first that is so high counts, not a multiple of the period


@dataclass(frozen=True)
class Rhythm:
    """Beats a minute (60 over the median interval), and the seconds after which the signal repeats; NaN where there is none."""

    rate_bpm: float
    period_s: float


def rhythm_of(tokens: UInt8[np.ndarray, " time"], kind: str) -> Rhythm:
    """The rhythm of tokens of a kind of signal."""
    return Rhythm(_rate_bpm(tokens.astype(float), kind), _period_s(tokens.astype(float), KINDS[kind].rate_hz))


def rhythms_of(tokens: UInt8[np.ndarray, "*stretch time"], kind: str) -> Float[np.ndarray, "*stretch 2"]:
    """Rate (beats a minute) and period (s) of many stretches; equal ones are measured once."""
    different, place = np.unique(tokens.reshape(-1, tokens.shape[-1]), axis=0, return_inverse=True)
    found = [rhythm_of(one, kind) for one in different]
    return np.array([[one.rate_bpm, one.period_s] for one in found])[place.ravel()].reshape(*tokens.shape[:-1], 2)


def _rate_bpm(signal: np.ndarray, kind: str) -> float:
    detect, rate_hz = DETECTORS[kind]
    try:
        beats = detect(at_rate(signal, KINDS[kind].rate_hz, rate_hz))
    except Refusal:
        return float("nan")
    return float(60 * rate_hz / np.median(np.diff(beats))) if len(beats) >= FEWEST else float("nan")


def _period_s(signal: np.ndarray, rate_hz: float) -> float:
    """The lag of the first high maximum of the autocorrelation, each lag's divided by how many samples overlap."""
    centred = signal - signal.mean()
    n = len(centred)
    product = np.correlate(centred, centred, "full")[n - 1 :] / (n - np.arange(n))
    slowest, fastest = (round(60 / bpm * rate_hz) for bpm in RATE_BPM)
    lag = np.arange(max(fastest, 1), min(slowest, n // 2))
    is_peak = (product[lag] >= product[lag - 1]) & (product[lag] > product[lag + 1]) & (product[lag] > LEAST * product[0])
    peaks = lag[is_peak]
    return float(peaks[product[peaks] >= AS_HIGH * product[peaks].max()][0] / rate_hz) if len(peaks) else float("nan")
