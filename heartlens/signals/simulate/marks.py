"""What a simulated signal comes with: a checked request, and only the marks that lie inside the signal."""

from dataclasses import replace

import numpy as np

from heartlens.refusal import Refusal, unknown
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.simulate.rhythms import RATES_BPM, RHYTHMS, Rhythm

LEGAL_BPM = (40.0, 120.0)  # slower, an interval could be longer than the margin of a corpus; faster, P would fall on T


def rhythm_of(rng: np.random.Generator, duration_s: float, rhythm: str, rate_bpm: float | None) -> Rhythm:
    """The beats of a named rhythm, at a rate within RATES_BPM if none is given. Refuses unknown rhythms and rates outside LEGAL_BPM."""
    if rhythm not in RHYTHMS:
        raise unknown("rhythm", rhythm, RHYTHMS)
    drawn_bpm = float(rng.uniform(*RATES_BPM[rhythm]))  # drawn in any case, so that what follows does not depend on it
    rate_bpm = drawn_bpm if rate_bpm is None else rate_bpm
    if not LEGAL_BPM[0] <= rate_bpm <= LEGAL_BPM[1]:
        raise Refusal(f"rate_bpm is {rate_bpm:g}; it must lie between {LEGAL_BPM[0]:g} and {LEGAL_BPM[1]:g}")
    return RHYTHMS[rhythm](rng, duration_s, rate_bpm)


def inside(landmarks: Landmarks, duration_s: float) -> Landmarks:
    """The beats and the waves whose peak lies from 0 to `duration_s`; the span, in which all is known, from the first beat to the last."""
    beat_s = landmarks.beat_s[(landmarks.beat_s >= 0) & (landmarks.beat_s < duration_s)]
    if len(beat_s) < 2:
        raise Refusal(f"{duration_s:g} s hold fewer than two beats; simulate at least 4 s")
    kept = (landmarks.peak_s >= 0) & (landmarks.peak_s < duration_s)
    waves = {name: getattr(landmarks, name)[kept] for name in ("wave", "onset_s", "peak_s", "offset_s")}
    return replace(landmarks, **waves, beat_s=beat_s, span_s=(float(beat_s[0]), float(beat_s[-1])))
