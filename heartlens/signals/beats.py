"""The beats of a recording: R peaks of an ECG, systolic peaks of a PPG, and how alike they are.

Signals here are at a detector's working rate (`at_rate`) and beats are sample indices at that rate. Both detectors are neurokit2's,
chosen by measurement (docs/delineation.md): `rodrigues2021` for the ECG, as it misses no beat in any of the leads tried, and
`elgendi` for the PPG. A detector finds beats in noise too, so callers look at `likeness` before they believe them.
"""

import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

from heartlens.refusal import Refusal

ECG_RATE_HZ = 500.0  # both rates: finer than any human mark, and whole multiples of the usual recording rates
PPG_RATE_HZ = 250.0
QRS_BAND_HZ = (5.0, 40.0)
PULSE_BAND_HZ = (0.5, 8.0)
SNAP_S = 0.08
LEAD_IN_S = 10.0  # mirrored before and after an ECG: the detector invents beats until its threshold has settled, and at the end
INVERTED = 1.5
WEAK = 0.2
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
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, edges_hz, "bandpass", fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, signal, padlen=min(len(signal) - 1, round(rate_hz / edges_hz[0]))))


def r_peaks(ecg: Signal) -> Beats:
    """The R peaks of an ECG at ECG_RATE_HZ; in a record whose QRS points down (INVERTED times as far as up), its troughs instead."""
    import neurokit2

    smooth = band(ecg, ECG_RATE_HZ, (0.5, 40.0))
    lead_in = round(LEAD_IN_S * ECG_RATE_HZ)
    led_in = np.pad(smooth, lead_in, "reflect")
    found = _found(lambda: neurokit2.ecg_findpeaks(led_in, sampling_rate=ECG_RATE_HZ, method="rodrigues2021")["ECG_R_Peaks"])
    found = found[(found >= lead_in) & (found < lead_in + len(ecg))] - lead_in
    qrs, reach = band(ecg, ECG_RATE_HZ, QRS_BAND_HZ), round(SNAP_S * ECG_RATE_HZ)
    up, down = _snapped(qrs, found, reach), _snapped(-qrs, found, reach)
    points_down = len(found) and np.median(-qrs[down]) > INVERTED * np.median(qrs[up])
    return _strong(-qrs, down) if points_down else _strong(qrs, up)


def systolic_peaks(ppg: Signal) -> Beats:
    """The systolic peaks of a PPG at PPG_RATE_HZ, pulses upwards."""
    import neurokit2

    smooth = band(ppg, PPG_RATE_HZ, PULSE_BAND_HZ)
    found = _found(lambda: neurokit2.ppg_findpeaks(smooth, sampling_rate=PPG_RATE_HZ, method="elgendi")["PPG_Peaks"])
    return _snapped(smooth, found, round(SNAP_S * PPG_RATE_HZ))


def likeness(signal: Signal, beats: Beats, before: int, after: int) -> Float[np.ndarray, " beat"]:
    """The correlation of each beat, from `before` to `after` samples around it, with the median beat; NaN where it is cut off."""
    whole = (beats >= before) & (beats < len(signal) - after)
    alike = np.full(len(beats), np.nan)
    if whole.any():
        shapes = signal[beats[whole, None] + np.arange(-before, after)]
        shapes = shapes - shapes.mean(axis=1, keepdims=True)
        template = np.median(shapes, axis=0)
        norms = np.linalg.norm(shapes, axis=1) * np.linalg.norm(template)
        alike[whole] = shapes @ template / np.where(norms > 0, norms, np.inf)
    return alike


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


def _found(detector: Callable[[], object]) -> Beats:
    """What the detector returns, without its warnings; nothing where it fails, as neurokit2 does on flat or short signals."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return np.asarray(detector(), int)
        except (IndexError, ZeroDivisionError, TypeError, ValueError):
            return np.zeros(0, int)


def _strong(height: Signal, beats: Beats) -> Int[np.ndarray, " strong"]:
    """The beats but for those far lower than the median: after a pause the detector takes what there is."""
    return beats[height[beats] > WEAK * np.median(height[beats])] if len(beats) else beats


def _snapped(height: Signal, beats: Beats, reach: int) -> Int[np.ndarray, " snapped"]:
    """Each beat moved to the highest sample within `reach`, ascending and each once."""
    edges = [(max(beat - reach, 0), beat + reach + 1) for beat in beats]
    return np.unique(np.array([start + int(np.argmax(height[start:stop])) for start, stop in edges], int))
