"""The landmarks of a recording, found by detectors, for files that no expert has marked.

What is not there is absent, not guessed: P waves whose distance to the QRS is unstable (`pwave_gate`), pulses unlike the others
(`pulse`), a notch that cannot be seen. Every ECG wave listed has its onset and offset from the signal itself. The measured
sensitivity, errors and limits are in docs/delineation.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from heartlens.axes import KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.beats import (
    ECG_RATE_HZ,
    PPG_RATE_HZ,
    Beats,
    Complexes,
    QrsHabit,
    at_rate,
    band,
    complexes,
    likeness,
    median_shape,
    outside_noise,
    refuse_implausible,
    shapes,
    systolic_peaks,
)
from heartlens.signals.ecg_waves import WAVE_BAND_HZ, Wave, p_sign, p_waves, qrs_waves, t_waves
from heartlens.signals.landmarks import Landmarks, point_landmarks
from heartlens.signals.pulse import NO_FOOT, Traces, diastolic_peak, feet, notch, pulse_shapes, traces
from heartlens.signals.pwave_gate import steady

MIN_S = 3.0
MIN_RATE_HZ = 20.0
QRS_SHAPE_S = 0.15
MIN_PULSE_LIKENESS = 0.8  # of each pulse
MIN_LIKENESS = {"ecg": 0.75, "ppg": 0.9}  # of the median beat; noise reaches 0.61 and 0.88, clean recordings 0.93
SOURCE = "heartlens delineation"

Signal = Float[np.ndarray, " sample"]


class Habits(NamedTuple):
    """What is judged once for a recording and then holds in every piece of it.

    `centre` and `scale` bring it to a median of 0 and a deviation of 1. ECG: `qrs` (its height so scaled) and the sign of P. PPG: the
    usual pulse.
    """

    centre: float
    scale: float
    qrs: QrsHabit | None = None
    p_sign: int = 0
    pulse: Float[np.ndarray, " shape"] | None = None


def delineate(signal: Signal, rate_hz: float, kind: str, habits: Habits | None = None) -> Landmarks:
    """The landmarks of one finite `signal` at its original rate, in seconds from its first sample; the span is the whole signal.

    `habits` are those of the recording of which the signal is a piece; without them, it is judged by itself. Refuses an unknown kind, a
    rate below MIN_RATE_HZ, less than MIN_S, missing samples, a flat signal, and one in which no beats are found.
    """
    _refuse_unusable(signal, rate_hz, kind)
    habits = habits or _scaled_by(signal)
    signal = (signal - habits.centre) / habits.scale
    return _ecg(signal, rate_hz, habits) if kind == "ecg" else _ppg(signal, rate_hz, habits)


def habits_of(signal: Signal, rate_hz: float, kind: str) -> Habits:
    """The habits of a recording, from a signal that stands for it. Refuses as `delineate` does."""
    _refuse_unusable(signal, rate_hz, kind)
    habits = _scaled_by(signal)
    signal = (signal - habits.centre) / habits.scale
    if kind == "ecg":
        ecg = at_rate(signal, rate_hz, ECG_RATE_HZ)
        found = complexes(ecg)
        qrs = qrs_waves(found.qrs, _ecg_beats(ecg, found, found.habit))
        return habits._replace(qrs=found.habit, p_sign=p_sign(band(ecg, ECG_RATE_HZ, WAVE_BAND_HZ), qrs))
    ppg = at_rate(signal, rate_hz, PPG_RATE_HZ)
    return habits._replace(pulse=median_shape(_pulse_shapes(traces(ppg), systolic_peaks(ppg))))


def _scaled_by(signal: Signal) -> Habits:
    return Habits(float(np.median(signal)), float(np.std(signal)))


def _refuse_unusable(signal: Signal, rate_hz: float, kind: str) -> None:
    if kind not in KINDS:
        raise unknown("kind of signal", kind, KINDS)
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


def _ecg(signal: Signal, rate_hz: float, habits: Habits) -> Landmarks:
    ecg = at_rate(signal, rate_hz, ECG_RATE_HZ)
    found = complexes(ecg)
    beats = _ecg_beats(ecg, found, habits.qrs or found.habit)
    qrs, smooth = qrs_waves(found.qrs, beats), band(ecg, ECG_RATE_HZ, WAVE_BAND_HZ)
    waves = [*qrs, *t_waves(smooth, qrs), *_believed_p(p_waves(smooth, qrs, habits.p_sign or p_sign(smooth, qrs)), qrs)]
    waves.sort(key=lambda wave: wave.peak)
    names = np.array([wave.name for wave in waves])
    onset_s, peak_s, offset_s = (np.array([wave[edge] for wave in waves]) / ECG_RATE_HZ for edge in (1, 2, 3))
    return Landmarks("ecg", beats / ECG_RATE_HZ, names, onset_s, peak_s, offset_s, (0.0, len(signal) / rate_hz), SOURCE)


def _ecg_beats(ecg: Signal, found: Complexes, habit: QrsHabit) -> Beats:
    """The R peaks outside noise. Refuses what no heart does, and complexes unlike each other."""
    beats, half = outside_noise(found.beats(habit), ecg), round(QRS_SHAPE_S * ECG_RATE_HZ)
    refuse_implausible(beats, ECG_RATE_HZ, "ecg")
    around = shapes(found.qrs, beats, half, half)
    _refuse_unlike(likeness(around, median_shape(around)), "ecg")
    return beats


def _believed_p(found: list[Wave], qrs: list[Wave]) -> list[Wave]:
    """The P waves before which the P-R interval is steady."""
    r = np.array([wave.peak for wave in qrs])
    pr_ms = np.full(len(qrs), np.nan)
    owner = np.searchsorted(r, [wave.peak for wave in found])
    pr_ms[owner] = [1000.0 * (r[beat] - wave.peak) / ECG_RATE_HZ for beat, wave in zip(owner, found, strict=True)]
    keep = steady(pr_ms)
    return [wave for beat, wave in zip(owner, found, strict=True) if keep[beat]]


def _ppg(signal: Signal, rate_hz: float, habits: Habits) -> Landmarks:
    ppg = at_rate(signal, rate_hz, PPG_RATE_HZ)
    peaks, pulse = systolic_peaks(ppg), traces(ppg)
    around = _pulse_shapes(pulse, peaks)
    alike = likeness(around, median_shape(around) if habits.pulse is None else habits.pulse)
    foot = feet(pulse.smooth, peaks)
    keep = (alike >= MIN_PULSE_LIKENESS) & (foot != NO_FOOT)
    ends = np.append(foot[1:], len(ppg) - 1)
    points = [point for beat in np.flatnonzero(keep) for point in _points(pulse, int(foot[beat]), int(peaks[beat]), int(ends[beat]))]
    names, at = np.array([name for name, _ in points]), np.array([sample for _, sample in points])
    beat_s = foot[keep] / PPG_RATE_HZ
    return point_landmarks(names, at / PPG_RATE_HZ, beat_s, (0.0, len(signal) / rate_hz), SOURCE)


def _pulse_shapes(pulse: Traces, peaks: Beats) -> Float[np.ndarray, "beat shape"]:
    """The pulses around their systolic peaks. Refuses what no heart does, and pulses unlike each other."""
    refuse_implausible(peaks, PPG_RATE_HZ, "ppg")
    around = pulse_shapes(pulse.smooth, peaks)
    _refuse_unlike(likeness(around, median_shape(around)), "ppg")
    return around


def _points(pulse: Traces, foot: int, peak: int, end: int) -> list[tuple[str, int]]:
    """The points of one pulse that are there, by name; `end` is the next foot."""
    points = [("foot", foot), ("systolic_peak", peak)]
    dip = notch(pulse, peak, end)
    top = None if dip is None else diastolic_peak(pulse, dip, end)
    late = [("dicrotic_notch", dip), ("diastolic_peak", top)]
    return points + [(name, at) for name, at in late if at is not None]
