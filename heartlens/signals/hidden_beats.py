"""Beats that a bridged gap hides: a lost QRS complex would make two regular cycles look like one long one.

Where an interval is twice its neighbours', and the bridged gap lies where the beat in between is due, that beat is marked. It gets a
place in the cycle only, no wave: none was recorded.
"""

from dataclasses import replace

import numpy as np

from heartlens.signals.landmarks import Landmarks

N_NEIGHBOURS = 4  # intervals on either side, whose median is the usual one
EVEN = 0.15  # of the usual interval: how far the halves may be off it, and the gap off the middle

Gaps = tuple[tuple[int, int], ...]


def with_hidden_beats(landmarks: Landmarks, gaps: Gaps, first_sample: int, rate_hz: float) -> tuple[Landmarks, int]:
    """The landmarks of a piece that begins at `first_sample`, with the beats that the bridged `gaps` hide, and their number.

    `gaps` are the first samples of each, and those after their last.
    """
    beats = landmarks.beat_s
    if not gaps or len(beats) < N_NEIGHBOURS:
        return landmarks, 0
    starts_s, ends_s = ((np.array(gaps, float) - first_sample) / rate_hz).T
    intervals, hidden = np.diff(beats), []
    for index in np.flatnonzero(intervals > (2 - 2 * EVEN) * np.median(intervals)).tolist():
        around = np.concatenate([intervals[max(index - N_NEIGHBOURS, 0) : index], intervals[index + 1 : index + 1 + N_NEIGHBOURS]])
        usual, due_s = float(np.median(around)), float(beats[index] + intervals[index] / 2)
        is_hidden = ((starts_s < due_s + EVEN * usual) & (ends_s > due_s - EVEN * usual)).any()
        if is_hidden and abs(intervals[index] / 2 - usual) <= EVEN * usual:
            hidden.append(due_s)
    return (replace(landmarks, beat_s=np.sort(np.append(beats, hidden))), len(hidden)) if hidden else (landmarks, 0)
