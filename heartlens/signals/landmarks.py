"""Where the waves of a recording lie, and what that makes of each token: its wave, its segment, its place in the cycle.

A token's `position` counts cycles: the beat mark (R peak; foot of the pulse) of beat n is position n, and between two marks it
grows linearly. So `phase = position mod 1`, and `cycle = floor(position + cycle_lead)` (see `axes.Kind`) numbers the beats. Before the
first and after the last mark the neighbouring interval is taken to go on, within the span that was looked at; outside it a token's
position is NaN, its wave NONE and its segment NONE: not known.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int8, Shaped

from heartlens.axes import KINDS, POINT_HALF_WIDTH_S
from heartlens.refusal import unknown

Times = Float[np.ndarray, " time"]
Labels = Int8[np.ndarray, " time"]
Marks = Float[np.ndarray, " mark"]
Names = Shaped[np.ndarray, " mark"]

MISSED = 2.5  # an interval so many times the median is no cycle: beats in it were not found, or left out as unsure
NONE = -1  # the token lies in no wave (or in no known segment)
SLACK_S = 1e-9  # an edge that falls on a sample includes it, and of two peaks as near the first counts, whatever the last bits are


@dataclass(frozen=True)
class Landmarks:
    """The waves of one recording, in seconds from its first sample.

    `beat_s` are the marks of phase 0, ascending. Wave i is called `wave[i]` and lies from `onset_s[i]` to `offset_s[i]`; of a point
    landmark (PPG) these are POINT_HALF_WIDTH_S around its peak. `span_s` is what was looked at, `source` who looked. `looked_at` are the
    waves that were looked for, None: all of the kind.
    """

    kind: str
    beat_s: Float[np.ndarray, " beat"]
    wave: Names
    onset_s: Marks
    peak_s: Marks
    offset_s: Marks
    span_s: tuple[float, float]
    source: str
    looked_at: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in np.unique(self.wave):
            if name not in KINDS[self.kind].waves:
                raise unknown(f"{self.kind} wave", str(name), KINDS[self.kind].waves)
        if not np.all(np.diff(self.beat_s) > 0):
            raise ValueError("beat_s must ascend")

    def peaks_s(self, wave: str) -> Marks:
        """The peak times of one wave."""
        return self.peak_s[self.wave == wave]

    @cached_property
    def marks(self) -> Marks:
        """`beat_s` with one more mark on either side, as far off as its neighbour; empty with fewer than two beats."""
        beats = self.beat_s
        if len(beats) < 2:
            return beats[:0]
        return np.concatenate([[2 * beats[0] - beats[1]], beats, [2 * beats[-1] - beats[-2]]])


def point_landmarks(
    names: Names,
    peak_s: Marks,
    beat_s: Float[np.ndarray, " beat"],
    span_s: tuple[float, float],
    source: str,
) -> Landmarks:
    """The landmarks of a PPG recording: points, each widened by POINT_HALF_WIDTH_S to both sides."""
    order = np.argsort(peak_s, kind="stable")
    peak_s = np.asarray(peak_s, float)[order]
    onset_s, offset_s = peak_s - POINT_HALF_WIDTH_S, peak_s + POINT_HALF_WIDTH_S
    return Landmarks("ppg", np.asarray(beat_s, float), np.asarray(names)[order], onset_s, peak_s, offset_s, span_s, source)


def within(landmarks: Landmarks, start_s: float, end_s: float) -> Landmarks:
    """The landmarks of a stretch of the recording, counted from its start; the span ends where the stretch does."""
    first, last = landmarks.span_s
    shifted = {name: getattr(landmarks, name) - start_s for name in ("beat_s", "onset_s", "peak_s", "offset_s")}
    return replace(landmarks, **shifted, span_s=(max(first - start_s, 0.0), min(last, end_s) - start_s))


def completed(beats: Landmarks, detected: Landmarks, same_beat_s: float = 0.15) -> Landmarks:
    """An expert's beats with the P and T waves that a detector found at these beats: the P before, the T after.

    A detected beat that lies farther than `same_beat_s` from all of the expert's gives no waves.
    """
    found_s, is_experts = detected.beat_s, np.zeros(len(detected.beat_s) + 2, bool)
    after = np.clip(np.searchsorted(beats.beat_s, found_s), 1, len(beats.beat_s) - 1)
    distance = np.minimum(np.abs(found_s - beats.beat_s[after - 1]), np.abs(found_s - beats.beat_s[after]))
    is_experts[1:-1] = distance <= same_beat_s  # False on both sides: no beat before the first and after the last
    n_before = np.searchsorted(found_s, detected.peak_s)
    kept = ((detected.wave == "P") & is_experts[n_before + 1]) | ((detected.wave == "T") & is_experts[n_before])
    wave, onset_s, peak_s, offset_s = (
        np.concatenate([getattr(beats, name), getattr(detected, name)[kept]]) for name in ("wave", "onset_s", "peak_s", "offset_s")
    )
    order = np.argsort(peak_s, kind="stable")
    source = f"{beats.source}; P and T: {detected.source}"
    return Landmarks(beats.kind, beats.beat_s, wave[order], onset_s[order], peak_s[order], offset_s[order], beats.span_s, source)


def positions(landmarks: Landmarks, time_s: Times) -> Times:
    """Each moment's position in cycles; NaN outside the span, more than a cycle beyond the beats, and in an interval that misses some."""
    marks = landmarks.marks
    if not len(marks):
        return np.full(len(time_s), np.nan)
    position = np.interp(time_s, marks, np.arange(len(marks)) - 1.0, left=np.nan, right=np.nan)
    position[_unseen(landmarks, time_s)] = np.nan
    interval = np.diff(marks)
    in_interval = np.clip(np.searchsorted(marks, time_s, side="right") - 1, 0, len(interval) - 1)
    position[interval[in_interval] > MISSED * np.median(interval)] = np.nan
    return position


def waves(landmarks: Landmarks, time_s: Times) -> Labels:
    """Each moment's wave as its index in `Kind.waves`, else NONE; of two that overlap, that with the nearer peak. NONE outside the span."""
    label = np.full(len(time_s), NONE, np.int8)
    distance = np.full(len(time_s), np.inf)
    near = (landmarks.offset_s >= time_s.min(initial=np.inf) - SLACK_S) & (landmarks.onset_s <= time_s.max(initial=-np.inf) + SLACK_S)
    arrays = (array[near] for array in (landmarks.wave, landmarks.onset_s, landmarks.peak_s, landmarks.offset_s))
    for name, onset, peak, offset in zip(*arrays, strict=True):
        first, last = np.searchsorted(time_s, [onset - SLACK_S, offset + SLACK_S])
        inside = slice(first, last)
        nearer = np.abs(time_s[inside] - peak) < distance[inside] - SLACK_S
        label[inside][nearer] = KINDS[landmarks.kind].waves.index(str(name))
        distance[inside][nearer] = np.abs(time_s[inside] - peak)[nearer]
    label[_unseen(landmarks, time_s)] = NONE
    return label


def segments(landmarks: Landmarks, wave: Labels, position: Times, time_s: Times) -> Labels:
    """Each moment's segment as its index in `Kind.segments`, NONE where the position is not known.

    ECG: the wave it lies in, else the baseline. PPG: near the systolic peak or the notch, else upstroke (from a foot to the next
    systolic peak), else downslope.
    """
    kind = KINDS[landmarks.kind]
    if kind.name == "ecg":
        segment = np.where(wave == NONE, len(kind.waves), wave).astype(np.int8)
    else:
        segment = _pulse_segments(landmarks, wave, time_s)
    segment[np.isnan(position)] = NONE
    return segment


def _unseen(landmarks: Landmarks, time_s: Times) -> Bool[np.ndarray, " time"]:
    start_s, end_s = landmarks.span_s
    return (time_s < start_s - SLACK_S) | (time_s > end_s + SLACK_S)


def _pulse_segments(landmarks: Landmarks, wave: Labels, time_s: Times) -> Labels:
    kind = KINDS["ppg"]
    foot, peak = (_last_before(landmarks.peaks_s(name), time_s) for name in ("foot", "systolic_peak"))
    segment = np.where(foot > peak, kind.segments.index("upstroke"), kind.segments.index("downslope")).astype(np.int8)
    for name, asked in (("systolic_peak", "peak"), ("dicrotic_notch", "notch")):
        segment[wave == kind.waves.index(name)] = kind.segments.index(asked)
    return segment


def _last_before(marks: Marks, time_s: Times) -> Times:
    marks = np.concatenate([[-np.inf], marks])
    return marks[np.searchsorted(marks, time_s, side="right") - 1]
