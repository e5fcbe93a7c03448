"""From a recording's own samples to the model's: the gaps, the paper's band (arXiv 2407.20775), the model's rate."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Real

from heartlens.axes import KINDS
from heartlens.refusal import Refusal

FLAT_S = 2.0  # a live heart does not leave the signal unchanged for longer
ORDER = 4  # of the Butterworth filter, which runs forwards and backwards

Signal = Float[np.ndarray, " sample"]
Samples = Real[np.ndarray, " sample"]


def finite_stretches(signal: Samples) -> list[slice]:
    """Where the signal has no missing (NaN or infinite) sample, in order."""
    return _runs(np.isfinite(signal))


def live_stretches(signal: Samples, rate_hz: float) -> list[slice]:
    """Where no sample is missing and the signal never stays the same for FLAT_S or longer (a lead that is off, a saturated amplifier)."""
    live = np.isfinite(signal)
    for run in _runs(signal[1:] == signal[:-1], at_least=FLAT_S * rate_hz - 1):
        live[run.start : run.stop + 1] = False
    return _runs(live)


def bandpass(signal: Signal, rate_hz: float, kind: str) -> Signal:
    """A finite signal within `Kind.bandpass_hz`, without shift in time; meant for the recording's own rate.

    Where the rate cannot hold the upper edge, there is nothing above it to remove, and only the lower edge is applied.
    """
    from scipy.signal import butter, sosfiltfilt

    low, high = KINDS[kind].bandpass_hz
    band, shape = ([low, high], "bandpass") if high < 0.99 * rate_hz / 2 else (low, "highpass")
    if rate_hz <= 2 * low:
        raise Refusal(f"a rate of {rate_hz:g} Hz is too low for the {kind.upper()} band of {low:g} to {high:g} Hz")
    sections = butter(ORDER, band, shape, fs=rate_hz, output="sos")
    edge = min(len(signal) - 1, round(rate_hz / low))  # one period of the lowest frequency, mirrored, keeps the ends quiet
    return np.asarray(sosfiltfilt(sections, signal, padlen=edge))


def resample(signal: Signal, rate_hz: float, kind: str) -> Float[np.ndarray, " token"]:
    """A finite signal at the model's rate, its first sample where it was; what the lower rate cannot hold is filtered out before."""
    ratio = tokens_per_sample(rate_hz, kind)
    if ratio == 1:
        return signal
    from scipy.signal import resample_poly

    up, down = ratio.numerator, ratio.denominator
    if signal.dtype != np.float64:
        return np.asarray(resample_poly(signal, up, down, padtype="line"))
    return np.asarray(resample_poly(signal, up, down, padtype="line", window=_filter(up, down)))


@lru_cache(maxsize=16)
def _filter(up: int, down: int) -> Float[np.ndarray, " tap"]:
    """The filter that `resample_poly` makes anew for every signal of double precision."""
    from scipy.signal import firwin

    largest = max(up, down)
    return np.asarray(firwin(20 * largest + 1, 1 / largest, window=("kaiser", 5.0)))


def tokens_per_sample(rate_hz: float, kind: str) -> Fraction:
    """The model's rate over the recording's. Refuses a rate of which it is no simple fraction."""
    ratio = Fraction(KINDS[kind].rate_hz / rate_hz).limit_denominator(10_000)
    if abs(ratio * rate_hz / KINDS[kind].rate_hz - 1) > 1e-4:
        raise Refusal(f"a rate of {rate_hz:g} Hz cannot be brought to {KINDS[kind].rate_hz:g} Hz")
    return ratio


def _runs(true: Bool[np.ndarray, " sample"], at_least: float = 1) -> list[slice]:
    """Where `true` holds for `at_least` so many samples."""
    changes = np.flatnonzero(true[1:] != true[:-1]) + 1
    edges = np.concatenate([[0] * bool(true[:1].any()), changes, [len(true)] * bool(true[-1:].any())]).astype(int).reshape(-1, 2)
    long = edges[edges[:, 1] - edges[:, 0] >= at_least]
    return [slice(start, stop) for start, stop in long.tolist()]
