"""Lead I of a simulated heart: P, Q, R, S and T as Gaussians in time around each R peak (after McSharry 2003, without its phase).

Convention: a wave lies from REACH widths before its centre to REACH widths after it, the QRS from where Q begins to where S ends;
its peak is the centre, the QRS's that of R. The T wave's times and widths scale with `Rhythm.pace` (Bazett). In AF there is no P,
but a fibrillatory wave of 4 to 9 Hz. An ectopic beat has no P, a slow QRS of either sign and a T against it.
Every person lies within the 5th to 95th percentiles of the cardiologists' marks of lead I in LUDB (Kalyakulina 2020).
"""

from dataclasses import dataclass

import numpy as np

from heartlens.axes import KINDS
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.simulate.gaussians import Gaussians, Trace, disturbance, waveform
from heartlens.signals.simulate.marks import inside, rhythm_of
from heartlens.signals.simulate.rhythms import LEAD_S, Rhythm

RANGES = {  # of each wave: height (of R's), centre (s after R), width before and after the centre (s); T's at 60 beats a minute
    "P": ((0.07, 0.17), (-0.16, -0.125), (0.017, 0.021), (0.016, 0.020)),
    "Q": ((-0.16, -0.04), (-0.031, -0.024), (0.0065, 0.009), (0.007, 0.009)),
    "R": ((1.0, 1.0), (0.0, 0.0), (0.010, 0.013), (0.009, 0.012)),
    "S": ((-0.28, -0.08), (0.024, 0.033), (0.007, 0.010), (0.007, 0.011)),
    "T": ((0.14, 0.42), (0.255, 0.30), (0.038, 0.050), (0.028, 0.036)),
}
QRS = ("Q", "R", "S")
SLOWER = 1.6  # an ectopic QRS travels through muscle, not through the bundle


@dataclass(frozen=True)
class Subject:
    """One person's waves (rows as RANGES), the height of R in mV, the sign of the ectopic QRS, and what disturbs the trace (of R)."""

    waves: dict[str, tuple[float, ...]]
    height_mv: float
    ectopic_sign: float
    fibrillatory: float
    wander: float
    noise: float


def subject(rng: np.random.Generator) -> Subject:
    """A person drawn from RANGES."""
    return Subject(
        waves={name: tuple(float(rng.uniform(*edges)) for edges in ranges) for name, ranges in RANGES.items()},
        height_mv=float(rng.uniform(0.4, 0.85)),
        ectopic_sign=float(rng.choice([-1.0, 1.0])),
        fibrillatory=float(rng.uniform(0.02, 0.06)),
        wander=float(rng.uniform(0.01, 0.05)),
        noise=float(rng.uniform(0.004, 0.014)),
    )


def simulate(
    rng: np.random.Generator, duration_s: float, rhythm: str = "sinus", rate_bpm: float | None = None, disturbed: bool = True
) -> tuple[Trace, Landmarks]:
    """Lead I in mV at 100 Hz, and its landmarks; without baseline wander and noise unless `disturbed`.

    Landmarks whose peak is outside the signal are left out, and nothing is known before the first or after the last R peak
    (`span_s`). The same seed gives the same heart, disturbed or not. Refuses unknown rhythms, and rates outside 40 to 120.
    """
    of_person, of_rhythm, of_beats, of_trace = rng.spawn(4)
    person, beats = subject(of_person), rhythm_of(of_rhythm, duration_s, rhythm, rate_bpm)
    waves = _waves(of_beats, person, beats)
    time_s = np.arange(round(duration_s * KINDS["ecg"].rate_hz)) / KINDS["ecg"].rate_hz
    trace = waveform(list(waves.values()), time_s)
    if beats.fibrillating:
        trace += person.fibrillatory * fibrillatory_wave(of_beats, time_s)
    if disturbed:
        trace += disturbance(of_trace, time_s, person.wander, person.noise)
    return trace * person.height_mv, inside(_landmarks(waves, beats, rhythm), duration_s)


def _waves(rng: np.random.Generator, person: Subject, rhythm: Rhythm) -> dict[str, Gaussians]:
    waves = {name: _wave(rng, person, rhythm, name) for name in RANGES}
    conducted = ~rhythm.ectopic & (not rhythm.fibrillating)
    return waves | {"P": waves["P"].chosen(conducted)}


def _wave(rng: np.random.Generator, person: Subject, rhythm: Rhythm, name: str) -> Gaussians:
    height, centre_s, rise_s, fall_s = person.waves[name]
    stretch, sign = np.ones(len(rhythm.beat_s)), np.ones(len(rhythm.beat_s))
    if name == "T":
        stretch, sign = rhythm.pace * np.where(rhythm.ectopic, 1.15, 1.0), np.where(rhythm.ectopic, -person.ectopic_sign, 1.0)
    elif name in QRS:
        stretch, sign = np.where(rhythm.ectopic, SLOWER, 1.0), np.where(rhythm.ectopic, person.ectopic_sign, 1.0)
    vary = sign * (1 + rng.normal(0, 0.03, len(stretch)))
    return Gaussians(height * vary, rhythm.beat_s + centre_s * stretch, rise_s * stretch, fall_s * stretch)


def fibrillatory_wave(rng: np.random.Generator, time_s: Trace) -> Trace:
    """A wave of height about 1 whose frequency and height drift, sharpened by its second harmonic (Stridh & Sornmo 2001)."""
    swing_hz, swing_phase, height_phase = rng.uniform(0.1, 0.4), rng.uniform(), rng.uniform()
    hz = rng.uniform(5.0, 8.0) + np.sin(2 * np.pi * (swing_hz * time_s + swing_phase))
    phase = 2 * np.pi * np.cumsum(hz) / KINDS["ecg"].rate_hz
    height = 1 + 0.4 * np.sin(2 * np.pi * (0.3 * time_s + height_phase))
    return height * (np.sin(phase) + 0.4 * np.sin(2 * phase))


def _landmarks(waves: dict[str, Gaussians], rhythm: Rhythm, name: str) -> Landmarks:
    edges = {
        "P": (waves["P"].onset_s, waves["P"].centre_s, waves["P"].offset_s),
        "QRS": (waves["Q"].onset_s, waves["R"].centre_s, waves["S"].offset_s),
        "T": (waves["T"].onset_s, waves["T"].centre_s, waves["T"].offset_s),
    }
    onset_s, peak_s, offset_s = (np.concatenate(column) for column in zip(*edges.values(), strict=True))
    names = np.repeat(list(edges), [len(peaks) for _, peaks, _ in edges.values()])
    order = np.argsort(peak_s, kind="stable")
    marks = (names[order], onset_s[order], peak_s[order], offset_s[order])
    return Landmarks("ecg", rhythm.beat_s, *marks, span_s=(-LEAD_S, LEAD_S), source=f"simulated ecg ({name})")
