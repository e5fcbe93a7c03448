"""The beats of a recording: R peaks of an ECG, systolic peaks of a PPG, and how alike they are.

Signals here are at a detector's working rate (`at_rate`) and beats are sample indices at that rate. Both detectors (peak_detectors)
were chosen by measurement (docs/delineation.md). They find beats in noise too, so callers look at `likeness` before they believe them.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from heartlens.refusal import Refusal
from heartlens.signals.peak_detectors import pulse_candidates, qrs_candidates

ECG_RATE_HZ = 500.0  # both rates: finer than any human mark, and whole multiples of the usual recording rates
PPG_RATE_HZ = 250.0
QRS_BAND_HZ = (5.0, 40.0)
PULSE_BAND_HZ = (0.5, 8.0)
SNAP_S = 0.08
LEAD_IN_S = 10.0  # mirrored before and after an ECG: the detector invents beats until its threshold has settled, and at the end
INVERTED = 1.5
WEAK = 0.2
ROUGH, ROUGH_S = 0.17, 0.01  # a second whose signal bends so much within 10 ms, of the usual second's range, is noise
MIN_BEATS = 3  # two intervals are the least that can be compared
RATE_BPM = (25.0, 220.0)

Signal = Float[np.ndarray, " sample"]
Beats = Int[np.ndarray, " beat"]


def at_rate(signal: Signal, rate_hz: float, to_hz: float) -> Float[np.ndarray, " resampled"]:
    """The signal at another rate, its first sample where it was, its own line taken as going on beyond the ends."""
    from scipy.signal import resample_poly

    ratio = _ratio(rate_hz, to_hz)
    return np.asarray(resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line"))


def samples_per_step(rate_hz: float, kind: str) -> int:
    """After how many samples of a recording one of them falls on a sample of the detector's working rate again."""
    return _ratio(rate_hz, ECG_RATE_HZ if kind == "ecg" else PPG_RATE_HZ).denominator


def band(signal: Signal, rate_hz: float, edges_hz: tuple[float, float]) -> Signal:
    """The signal within `edges_hz`, without shift in time (second-order Butterworth forwards and backwards)."""
    from scipy.signal import sosfiltfilt

    return np.asarray(sosfiltfilt(_sections(rate_hz, edges_hz), signal, padlen=min(len(signal) - 1, round(rate_hz / edges_hz[0]))))


class QrsHabit(NamedTuple):
    """What the QRS complexes of a recording have in common: whether they point down, and their median height."""

    points_down: bool
    height: float


class Complexes(NamedTuple):
    """What may be QRS complexes: the signal within their band, and the highest and the lowest sample of each."""

    qrs: Signal
    up: Beats
    down: Beats

    @property
    def habit(self) -> QrsHabit:
        """They point down where their troughs are INVERTED times as deep as their peaks are high."""
        up, down = (float(np.median(height)) if len(height) else 0.0 for height in (self.qrs[self.up], -self.qrs[self.down]))
        return QrsHabit(True, down) if down > INVERTED * up else QrsHabit(False, up)

    def beats(self, habit: QrsHabit) -> Beats:
        """The R peaks (troughs, where QRS points down), without those far lower than usual: in a pause the detector takes what there is."""
        height, beats = (-self.qrs, self.down) if habit.points_down else (self.qrs, self.up)
        return beats[height[beats] > WEAK * habit.height]


def complexes(ecg: Signal) -> Complexes:
    """What may be QRS complexes in an ECG at ECG_RATE_HZ."""
    smooth, lead_in = band(ecg, ECG_RATE_HZ, (0.5, 40.0)), round(LEAD_IN_S * ECG_RATE_HZ)
    candidates = qrs_candidates(np.pad(smooth, lead_in, "reflect"), ECG_RATE_HZ) - lead_in
    candidates = candidates[(candidates >= 0) & (candidates < len(ecg))]
    qrs, reach = band(ecg, ECG_RATE_HZ, QRS_BAND_HZ), round(SNAP_S * ECG_RATE_HZ)
    return Complexes(qrs, _snapped(qrs, candidates, reach), _snapped(-qrs, candidates, reach))


def outside_noise(beats: Beats, ecg: Signal) -> Int[np.ndarray, " kept"]:
    """The beats of an ECG at ECG_RATE_HZ that do not lie in a second that is rough throughout: there the detector takes what there is.

    QRS complexes fill less than half of a second, so its median bend tells. What is left of a second belongs to the last one.
    """
    step, second = round(ROUGH_S * ECG_RATE_HZ), round(ECG_RATE_HZ)
    coarse = ecg[: len(ecg) // step * step].reshape(-1, step).mean(axis=1)
    size = min(second // step, len(coarse))
    n_seconds = len(coarse) // size
    bends = np.abs(np.diff(coarse, n=2, prepend=coarse[:1], append=coarse[-1:]))
    usual = np.median(np.ptp(coarse[: n_seconds * size].reshape(n_seconds, size), axis=1))
    is_noise = np.median(bends[: n_seconds * size].reshape(n_seconds, size), axis=1) > ROUGH * usual
    return beats[~is_noise[np.minimum(beats // second, n_seconds - 1)]]


def r_peaks(ecg: Signal) -> Beats:
    """The R peaks of an ECG at ECG_RATE_HZ; in a record whose QRS points down, its troughs instead."""
    found = complexes(ecg)
    return found.beats(found.habit)


def systolic_peaks(ppg: Signal) -> Beats:
    """The systolic peaks of a PPG at PPG_RATE_HZ, pulses upwards."""
    smooth = band(ppg, PPG_RATE_HZ, PULSE_BAND_HZ)
    return _snapped(smooth, pulse_candidates(smooth, PPG_RATE_HZ), round(SNAP_S * PPG_RATE_HZ))


def shapes(signal: Signal, beats: Beats, before: int, after: int) -> Float[np.ndarray, "beat shape"]:
    """The signal from `before` to `after` samples around each beat, its mean taken off; NaN where it is cut off."""
    whole = (beats >= before) & (beats < len(signal) - after)
    around = np.full((len(beats), before + after), np.nan)
    around[whole] = signal[beats[whole, None] + np.arange(-before, after)]
    return around - around.mean(axis=1, keepdims=True)


def median_shape(shapes: Float[np.ndarray, "beat shape"]) -> Float[np.ndarray, " shape"]:
    """The median beat of those that are not cut off; NaN where all are."""
    whole = np.isfinite(shapes).all(axis=1)
    return np.median(shapes[whole], axis=0) if whole.any() else np.full(shapes.shape[1], np.nan)


def likeness(shapes: Float[np.ndarray, "beat shape"], usual: Float[np.ndarray, " shape"]) -> Float[np.ndarray, " beat"]:
    """The correlation of each beat with the usual one; NaN where it is cut off."""
    norms = np.linalg.norm(shapes, axis=1) * np.linalg.norm(usual)
    return np.einsum("bs,s->b", shapes, usual) / np.where(norms > 0, norms, np.inf)


def refuse_implausible(beats: Beats, rate_hz: float, kind: str) -> None:
    """Refuses fewer than MIN_BEATS beats, and a median heart rate outside RATE_BPM."""
    if len(beats) < MIN_BEATS:
        raise Refusal(
            f"no beats found: {len(beats)} in this {kind.upper()}, {MIN_BEATS} are needed; is it flat, short, or not {kind.upper()}?"
        )
    bpm = 60.0 * rate_hz / float(np.median(np.diff(beats)))
    if not RATE_BPM[0] <= bpm <= RATE_BPM[1]:
        raise Refusal(
            f"no beats found: {bpm:.0f} a minute is no heart rate ({RATE_BPM[0]:.0f} to {RATE_BPM[1]:.0f}); is this {kind.upper()}?"
        )


def _ratio(rate_hz: float, to_hz: float) -> Fraction:
    return Fraction(to_hz / rate_hz).limit_denominator(10_000)


@lru_cache
def _sections(rate_hz: float, edges_hz: tuple[float, float]) -> Float[np.ndarray, "section 6"]:
    from scipy.signal import butter

    return np.asarray(butter(2, edges_hz, "bandpass", fs=rate_hz, output="sos"))


def _snapped(height: Signal, beats: Beats, reach: int) -> Int[np.ndarray, " snapped"]:
    """Each beat moved to the highest sample within `reach`, ascending and each once."""
    around = np.clip(beats[:, None] + np.arange(-reach, reach + 1), 0, len(height) - 1)
    return np.unique(around[np.arange(len(beats)), np.argmax(height[around], axis=1)])
