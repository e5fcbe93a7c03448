"""Other intervals between the same beats: a rhythm, or one beat early or late; and the control, in which no beat moves (`warp.py`)."""

import numpy as np

from heartlens.refusal import Refusal, unknown
from heartlens.signals.counterfactuals.complexes import Beats
from heartlens.signals.counterfactuals.intervals import RHYTHMS, Intervals, intervals_as
from heartlens.signals.counterfactuals.warp import Shift, all_beats, floors, with_beats_shifted, with_diastoles_shifted
from heartlens.windows import Windows


def with_rhythm(windows: Windows, rhythm: str = "irregular", seed: int = 0) -> Windows:
    """The windows with `regular`, `irregular` (as in AF) or `gradual` intervals (the irregular ones in order of length), mean rate kept.

    `irregular` is drawn from `seed` and each window's identity; regular intervals differ by a token at most. Refuses other rhythms, and
    windows that `can_be_warped` does not hold of.
    """
    if rhythm not in RHYTHMS:
        raise unknown("rhythm", rhythm, RHYTHMS)
    beats = all_beats(windows)
    return with_beats_shifted(windows, beats, _of_rhythm(windows, beats, rhythm, seed), f"beats moved to {rhythm} intervals")


def with_beat_moved(windows: Windows, by_s: float, beat: int = 1) -> Windows:
    """The windows with one beat delayed by `by_s` seconds (negative: advanced), its neighbours where they are.

    `beat` counts from 0 those that a window shows whole. Refuses the first and last, and a move that is farther than there is room.
    """
    beats, by = all_beats(windows), round(by_s * windows.rate_hz)
    for record, each in zip(windows.record, beats, strict=True):
        if not 0 < beat < len(each) - 1:
            raise Refusal(f"{record}: beat {beat} has no neighbours on both sides; legal: 1 to {len(each) - 2}")
        room = _room(each, windows.rate_hz)
        if not -room[beat - 1] <= by <= room[beat]:
            legal = " to ".join(f"{np.trunc(tokens) / windows.rate_hz:.2f}" for tokens in (-room[beat - 1], room[beat]))
            raise Refusal(f"{record}: beat {beat} cannot move by {by_s:g} s between its neighbours; legal: {legal}")
    shifts = [_of_beat(each, beat, by) for each in beats]
    return with_beats_shifted(windows, beats, shifts, f"beat {beat} moved by {by_s:g} s")


def with_middle_beat_moved(windows: Windows, part: float = -0.5) -> Windows:
    """The windows with the middle one of their whole beats advanced by `part` of the room before it, or delayed by that behind it.

    `part` is -1 (as early as can be) to 1. Refuses others, and windows that `can_be_warped` does not hold of.
    """
    beats = all_beats(windows)
    return with_beats_shifted(windows, beats, _of_middle(windows, beats, part), f"middle beat moved by {part:g} of its room")


def with_warped_baseline(windows: Windows, seed: int = 0, part: float | None = None) -> Windows:
    """The control: every diastole as much stretched in one half as compressed in the other, every wave where it is.

    Each diastole's middle moves by half of what its interval would change, as far as LEAST_DIASTOLE allows, were the rhythm irregular, or
    with a `part` the middle beat moved by it.
    """
    beats = all_beats(windows)
    shifts = _of_rhythm(windows, beats, "irregular", seed) if part is None else _of_middle(windows, beats, part)
    return with_diastoles_shifted(windows, beats, shifts, "diastole warped, every wave where it was")


def _of_rhythm(windows: Windows, beats: list[Beats], rhythm: str, seed: int) -> list[Shift]:
    """By how many tokens each beat of each window moves for a rhythm."""
    shifts = []
    for identity, each in zip(windows.identity, beats, strict=True):
        rng = np.random.default_rng([seed, int(identity, 16)])
        new = intervals_as(rhythm, np.diff(each.mark), floors(each, windows.rate_hz), rng)
        shifts.append(np.concatenate([[0], np.round(each.mark[0] + np.cumsum(new) - each.mark[1:]).astype(int)]))
    return shifts


def _of_middle(windows: Windows, beats: list[Beats], part: float) -> list[Shift]:
    if not -1 <= part <= 1 or part == 0:
        raise Refusal(f"a beat cannot move by {part:g} of its room; legal: -1 to 1, not 0")
    shifts = []
    for each in beats:
        middle, room = len(each) // 2, np.maximum(_room(each, windows.rate_hz), 0)
        shifts.append(_of_beat(each, middle, int(part * room[middle if part > 0 else middle - 1])))
    return shifts


def _of_beat(beats: Beats, beat: int, by: int) -> Shift:
    return by * (np.arange(len(beats)) == beat).astype(int)


def _room(beats: Beats, rate_hz: float) -> Intervals:
    """By how many tokens each interval may become shorter."""
    return np.diff(beats.mark) - floors(beats, rate_hz)
