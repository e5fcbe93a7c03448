"""The landmarks of a recording, found by detectors, for files that no expert has marked.

What is not there is absent, not guessed: P waves whose distance to the QRS is unstable (`pwave_gate`), pulses unlike the others
(`pulse`), a notch that cannot be seen. Every ECG wave listed has its onset and offset from the signal itself. The measured
sensitivity, errors and limits are in docs/delineation.md.
"""

import numpy as np
from jaxtyping import Float

from heartlens.axes import KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.beats import (
    ECG_RATE_HZ,
    PPG_RATE_HZ,
    QRS_BAND_HZ,
    at_rate,
    band,
    likeness,
    r_peaks,
    refuse_implausible,
    systolic_peaks,
)
from heartlens.signals.ecg_waves import Wave, p_waves, qrs_waves, t_waves
from heartlens.signals.landmarks import Landmarks, point_landmarks
from heartlens.signals.pulse import NO_FOOT, Traces, diastolic_peak, feet, notch, pulse_likeness, traces
from heartlens.signals.pwave_gate import steady

MIN_S = 3.0
MIN_RATE_HZ = 20.0
QRS_SHAPE_S = 0.15
MIN_PULSE_LIKENESS = 0.8  # of each pulse
MIN_LIKENESS = {"ecg": 0.75, "ppg": 0.9}  # of the median beat; noise reaches 0.61 and 0.88, clean recordings 0.93
SOURCE = "heartlens delineation"

Signal = Float[np.ndarray, " sample"]


def delineate(signal: Signal, rate_hz: float, kind: str) -> Landmarks:
    """The landmarks of one finite `signal` at its original rate, in seconds from its first sample; the span is the whole signal.

    Refuses an unknown kind, a rate below MIN_RATE_HZ, less than MIN_S, missing samples, a flat signal, and one in which no beats are found.
    """
    if kind not in KINDS:
        raise unknown("kind of signal", kind, KINDS)
    _refuse_unusable(signal, rate_hz)
    signal = (signal - np.median(signal)) / np.std(signal)
    return _ecg(signal, rate_hz) if kind == "ecg" else _ppg(signal, rate_hz)


def _refuse_unusable(signal: Signal, rate_hz: float) -> None:
    if rate_hz < MIN_RATE_HZ:
        raise Refusal(f"a rate of {rate_hz:g} Hz is too low to find waves in; at least {MIN_RATE_HZ:g} Hz are needed")
    if len(signal) < MIN_S * rate_hz:
        raise Refusal(f"no beats found: {len(signal) / rate_hz:.1f} s of signal are too short; at least {MIN_S:g} s are needed")
    if not np.isfinite(signal).all():
        raise Refusal(f"{int((~np.isfinite(signal)).sum())} samples are missing or infinite; give a stretch without gaps")
    if np.ptp(signal) == 0:
        raise Refusal(f"no beats found: the signal is flat (every sample is {signal[0]:g})")


def _refuse_unlike(alike: Float[np.ndarray, " beat"], kind: str) -> None:
    typical = float(np.median(alike[np.isfinite(alike)])) if np.isfinite(alike).any() else 0.0
    if typical < MIN_LIKENESS[kind]:
        raise Refusal(
            f"no beats found: what looked like beats is unlike each other (correlation {typical:.2f}, below {MIN_LIKENESS[kind]}); "
            f"too noisy, or is this not {kind.upper()}?"
        )


def _ecg(signal: Signal, rate_hz: float) -> Landmarks:
    ecg = at_rate(signal, rate_hz, ECG_RATE_HZ)
    beats = r_peaks(ecg)
    refuse_implausible(beats, ECG_RATE_HZ, "ecg")
    half = round(QRS_SHAPE_S * ECG_RATE_HZ)
    _refuse_unlike(likeness(band(ecg, ECG_RATE_HZ, QRS_BAND_HZ), beats, half, half), "ecg")
    qrs = qrs_waves(ecg, beats)
    waves = [*qrs, *t_waves(ecg, qrs), *_believed_p(p_waves(ecg, qrs), qrs)]
    waves.sort(key=lambda wave: wave.peak)
    names = np.array([wave.name for wave in waves])
    onset_s, peak_s, offset_s = (np.array([wave[edge] for wave in waves]) / ECG_RATE_HZ for edge in (1, 2, 3))
    return Landmarks("ecg", beats / ECG_RATE_HZ, names, onset_s, peak_s, offset_s, (0.0, len(signal) / rate_hz), SOURCE)


def _believed_p(found: list[Wave], qrs: list[Wave]) -> list[Wave]:
    """The P waves before which the P-R interval is steady."""
    r = np.array([wave.peak for wave in qrs])
    pr_ms = np.full(len(qrs), np.nan)
    owner = np.searchsorted(r, [wave.peak for wave in found])
    pr_ms[owner] = [1000.0 * (r[beat] - wave.peak) / ECG_RATE_HZ for beat, wave in zip(owner, found, strict=True)]
    keep = steady(pr_ms)
    return [wave for beat, wave in zip(owner, found, strict=True) if keep[beat]]


def _ppg(signal: Signal, rate_hz: float) -> Landmarks:
    ppg = at_rate(signal, rate_hz, PPG_RATE_HZ)
    peaks = systolic_peaks(ppg)
    refuse_implausible(peaks, PPG_RATE_HZ, "ppg")
    pulse = traces(ppg)
    foot = feet(pulse.smooth, peaks)
    alike = pulse_likeness(pulse.smooth, peaks)
    _refuse_unlike(alike, "ppg")
    keep = (alike >= MIN_PULSE_LIKENESS) & (foot != NO_FOOT)
    ends = np.append(foot[1:], len(ppg) - 1)
    points = [point for beat in np.flatnonzero(keep) for point in _points(pulse, int(foot[beat]), int(peaks[beat]), int(ends[beat]))]
    names, at = np.array([name for name, _ in points]), np.array([sample for _, sample in points])
    beat_s = foot[keep] / PPG_RATE_HZ
    return point_landmarks(names, at / PPG_RATE_HZ, beat_s, (0.0, len(signal) / rate_hz), SOURCE)


def _points(pulse: Traces, foot: int, peak: int, end: int) -> list[tuple[str, int]]:
    """The points of one pulse that are there, by name; `end` is the next foot."""
    points = [("foot", foot), ("systolic_peak", peak)]
    dip = notch(pulse, peak, end)
    top = None if dip is None else diastolic_peak(pulse, dip, end)
    late = [("dicrotic_notch", dip), ("diastolic_peak", top)]
    return points + [(name, at) for name, at in late if at is not None]
