"""Other intervals between the same beats (`warp.py`): a rhythm, or one beat early or late; and controls.

In one control no beat moves but the diastoles are warped; in the other all inner beats move together, the intervals between them as they
were, which changes as many tokens as a rhythm does. `strength` s, 0 to 1: every beat moves by s times what it would (in whole tokens).
"""

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal, unknown
from heartlens.signals.counterfactuals.baseline import generator_of
from heartlens.signals.counterfactuals.complexes import Beats
from heartlens.signals.counterfactuals.intervals import RHYTHMS, Intervals, intervals_as
from heartlens.signals.counterfactuals.scale import Strength, of_each, strength_note
from heartlens.signals.counterfactuals.warp import Shift, all_beats, can_be_warped, floors, with_beats_shifted, with_diastoles_shifted
from heartlens.windows import Windows


def with_rhythm(
    windows: Windows, rhythm: str = "irregular", seed: int = 0, strength: Strength = 1.0, *, since: str = "as_it_is", rescale: bool = True
) -> Windows:
    """The windows with `regular`, `irregular` (as in AF) or `gradual` intervals (the irregular ones in order of length), mean rate kept.

    `irregular` is drawn from `seed` and each window's identity; regular intervals differ by a token at most. `since`: from which intervals
    the strength counts, those of the window `as_it_is` or a rhythm's: a strength of 0 gives these. Refuses other rhythms, and windows that
    `can_be_warped` does not hold of.
    """
    for name, legal in ((rhythm, RHYTHMS), (since, ("as_it_is", *RHYTHMS))):
        if name not in legal:
            raise unknown("rhythm", name, legal)
    beats, part = all_beats(windows), of_each(strength, windows)
    there = _of_rhythm(windows, beats, rhythm, seed)
    here = _of_rhythm(windows, beats, since, seed) if since != "as_it_is" else [0 * shift for shift in there]
    shifts = [begin + by for begin, by in zip(here, _part_of([b - a for a, b in zip(here, there, strict=True)], part), strict=True)]
    return with_beats_shifted(windows, beats, shifts, f"beats moved to {rhythm} intervals{strength_note(strength)}", rescale=rescale)


def with_beats_moved_together(windows: Windows, strength: Strength = 1.0, seed: int = 0, *, rescale: bool = True) -> Windows:
    """The control of a rhythm: all beats but the first and the last later, or all earlier, by the same time; intervals between them stay.

    `strength` is the part of the room that the last interval (later) or the first one (earlier) has; which of the two is drawn from `seed`,
    the window's record and its start. Refuses windows that `can_be_warped` does not hold of.
    """
    beats, shifts = all_beats(windows), []
    for index, each in enumerate(beats):
        room = np.maximum(_room(each, windows.rate_hz), 0)
        inner = (np.arange(len(each)) > 0) & (np.arange(len(each)) < len(each) - 1)
        is_later = generator_of(windows, index, seed).random() < 0.5
        shifts.append(inner * int(room[-1] if is_later else -room[0]))
    shifts = _part_of(shifts, of_each(strength, windows))
    return with_beats_shifted(windows, beats, shifts, f"inner beats moved together{strength_note(strength)}", rescale=rescale)


def with_beat_moved(windows: Windows, by_s: float, beat: int = 1, *, rescale: bool = True) -> Windows:
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
    return with_beats_shifted(windows, beats, shifts, f"beat {beat} moved by {by_s:g} s", rescale=rescale)


def movable_beats(windows: Windows) -> list[tuple[int, float, float, float]]:
    """The beats of one window that `with_beat_moved` can move: number, token of the mark, from and until how many seconds. Else none."""
    if not can_be_warped(windows).all():
        return []
    (beats,) = all_beats(windows)
    room = np.trunc(np.maximum(_room(beats, windows.rate_hz), 0)) / windows.rate_hz
    return [(beat, float(beats.mark[beat]), float(-room[beat - 1]), float(room[beat])) for beat in range(1, len(beats) - 1)]


def with_middle_beat_moved(windows: Windows, part: float = -0.5, *, rescale: bool = True) -> Windows:
    """The windows with the middle one of their whole beats advanced by `part` of the room before it, or delayed by that behind it.

    `part` is -1 (as early as can be) to 1. Refuses others, and windows that `can_be_warped` does not hold of.
    """
    beats = all_beats(windows)
    shifts = _of_middle(windows, beats, part)
    return with_beats_shifted(windows, beats, shifts, f"middle beat moved by {part:g} of its room", rescale=rescale)


def with_warped_baseline(
    windows: Windows, seed: int = 0, part: float | None = None, strength: Strength = 1.0, *, rescale: bool = True
) -> Windows:
    """The control: every diastole as much stretched in one half as compressed in the other, every wave where it is.

    It changes far fewer tokens than a rhythm does. Each diastole's middle moves by half of what its interval would change, as far as
    LEAST_DIASTOLE allows, were the rhythm irregular, or with a `part` the middle beat moved by it.
    """
    beats = all_beats(windows)
    shifts = _of_rhythm(windows, beats, "irregular", seed) if part is None else _of_middle(windows, beats, part)
    shifts = _part_of(shifts, of_each(strength, windows))
    return with_diastoles_shifted(
        windows, beats, shifts, f"diastole warped, every wave where it was{strength_note(strength)}", rescale=rescale
    )


def _part_of(shifts: list[Shift], strength: Float[np.ndarray, " window"]) -> list[Shift]:
    """The shifts times each window's strength, in whole tokens; halves are rounded towards 0."""
    return [(np.sign(shift) * np.ceil(part * np.abs(shift) - 0.5)).astype(int) for part, shift in zip(strength, shifts, strict=True)]


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
