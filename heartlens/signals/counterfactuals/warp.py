"""Beats moved in time by warping what lies between them; the first and the last beat of a window, and all outside them, stay.

Every beat moves by whole tokens, so that the QRS complex (of a pulse: foot to systolic peak) is the same tokens elsewhere. The diastole
(end of T to P onset; of a pulse, end of the diastolic peak to the foot) takes up the change down to LEAST_DIASTOLE of its length
(`complexes.py`); below that the P wave with the PR segment, and ST with the T wave, are compressed, to no less than LEAST_WAVES. A pulse
keeps its height: how an interval's length changes the filling is not modelled.

What is stretched or compressed is the smooth part of the signal (parabolas over SMOOTHED tokens). What is left, its noise, is not
resampled, which would smooth it: it moves by as much as the nearest edge of a beat does, and is cut off or goes on half-way to the next.
"""

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import CONTEXT
from heartlens.signals.counterfactuals.baseline import unrounded
from heartlens.signals.counterfactuals.complexes import Beats, beats_of
from heartlens.signals.counterfactuals.intervals import Intervals
from heartlens.signals.counterfactuals.kept import Able, refuse_unable
from heartlens.signals.counterfactuals.scale import edited
from heartlens.signals.landmarks import NONE
from heartlens.signals.simulate.rhythms import FLOOR_S
from heartlens.windows import Windows

LEAST_WAVES = 0.5
LEAST_BEATS = 4  # three intervals: with fewer a rhythm is not told
SMOOTHED = 9  # tokens
LEAST_ROOM = 0.2  # of the intervals' sum must lie above their floors

UNABLE = f"fewer than {LEAST_BEATS} beats marked one after the other, or no room between them"
Source = Float[np.ndarray, " time"]  # the old place of each new token
Shift = Int[np.ndarray, " _"]  # by how many tokens each beat moves
Places = Int[np.ndarray, " time"]
Knots = list[tuple[int, int]]  # new and old places


def can_be_warped(windows: Windows) -> Able:
    """Which windows show LEAST_BEATS whole beats one after the other, with LEAST_ROOM between them."""
    return np.array([beats is not None for beats in _warpable(windows)], bool)


def all_beats(windows: Windows) -> list[Beats]:
    """The beats of each window. Refuses windows that `can_be_warped` does not hold of."""
    found = _warpable(windows)
    refuse_unable(windows, np.array([beats is not None for beats in found], bool), UNABLE)
    return [beats for beats in found if beats is not None]


def with_beats_shifted(windows: Windows, beats: list[Beats], shifts: list[Shift], note: str, *, rescale: bool) -> Windows:
    """The windows with their beats elsewhere."""
    sources, noise_from = [], []
    for each, shift in zip(beats, shifts, strict=True):
        sources.append(_source(_knots(each, shift)))
        edges = [(int(old + by), int(old)) for old, by in zip([*each.onset, *each.offset], [*shift, *shift], strict=True)]
        noise_from.append(_nearest(edges))
    return _warped(windows, beats, shifts, sources, noise_from, note, rescale)


def with_diastoles_shifted(windows: Windows, beats: list[Beats], shifts: list[Shift], note: str, *, rescale: bool) -> Windows:
    """The control: beats where they are, the middle of each diastole moved by half of what its interval would change by."""
    still, sources, noise_from = [0 * shift for shift in shifts], [], []
    for each, none, shift in zip(beats, still, shifts, strict=True):
        knots = _knots(each, none) + _middles(each, np.diff(shift))
        sources.append(_source(knots))
        noise_from.append(_nearest(knots))
    return _warped(windows, beats, still, sources, noise_from, note, rescale)


def _warpable(windows: Windows) -> list[Beats | None]:
    """The beats of each window that can be warped, else None."""
    found = (beats_of(windows, index) for index in range(len(windows)))
    return [beats if beats is not None and _with_room(beats, windows.rate_hz) else None for beats in found]


def _with_room(beats: Beats, rate_hz: float) -> bool:
    length, floor = np.diff(beats.mark), floors(beats, rate_hz)
    return bool(len(beats) >= LEAST_BEATS and floor.max() < length.mean() and floor.sum() < (1 - LEAST_ROOM) * length.sum())


def floors(beats: Beats, rate_hz: float) -> Intervals:
    """The shortest that each interval may become, in tokens."""
    least = [sum(_least(part, beats.least_diastole)) for part in _parts(beats)]
    return np.maximum(np.diff(beats.mark) - (beats.onset[1:] - beats.offset[:-1]) + least, FLOOR_S * rate_hz)


def _parts(beats: Beats) -> list[tuple[int, int, int]]:
    """ST with T, diastole, and P with PR of each interval, in tokens."""
    edges = np.stack([beats.offset[:-1], beats.end[:-1], beats.start[1:], beats.onset[1:]])
    return [(int(st), int(diastole), int(pr)) for st, diastole, pr in np.diff(edges, axis=0).T]


def _least(part: tuple[int, int, int], least_diastole: float) -> tuple[int, int, int]:
    st, diastole, pr = part
    return int(np.ceil(LEAST_WAVES * st)), max(int(np.ceil(least_diastole * diastole)), 1), int(np.ceil(LEAST_WAVES * pr))


def _knots(beats: Beats, shift: Shift) -> Knots:
    """New and old places of every edge of every beat."""
    knots = []
    for beat, (st, diastole, pr) in enumerate(_parts(beats)):
        offset, onset, change = beats.offset[beat], beats.onset[beat + 1], shift[beat + 1] - shift[beat]
        least_st, least_diastole, least_pr = _least((st, diastole, pr), beats.least_diastole)
        short = min(diastole + change - least_diastole, 0)  # what the waves have to give
        of_st = round(short * (st - least_st) / max(st - least_st + pr - least_pr, 1))
        edges = ((offset, 0), (offset + st, of_st), (onset - pr, change - short + of_st), (onset, change))
        knots += [(int(old + shift[beat] + moved), int(old)) for old, moved in edges]
    return knots


def _middles(beats: Beats, change: Shift) -> Knots:
    """New and old places of the middle of every diastole."""
    knots = []
    for (_, diastole, _), end, by in zip(_parts(beats), beats.end[:-1], change, strict=True):
        most = int((1 - beats.least_diastole) * diastole / 2)
        knots.append((int(end + diastole // 2 + np.clip(round(by / 2), -most, most)), int(end + diastole // 2)))
    return knots


def _source(knots: Knots) -> Source:
    new, old = np.array(sorted({(-1, -1), *knots, (CONTEXT, CONTEXT)})).T
    return np.interp(np.arange(CONTEXT), new, old)


def _nearest(knots: Knots) -> Places:
    """The old place of the noise at each new token: it has moved by as much as the knot that is nearest to it."""
    new, old = np.array(sorted(set(knots))).T
    nearest = np.searchsorted((new[1:] + new[:-1]) // 2, np.arange(CONTEXT), side="left")
    return np.clip(np.arange(CONTEXT) - (new - old)[nearest], 0, CONTEXT - 1)


def _warped(
    windows: Windows, beats: list[Beats], shifts: list[Shift], sources: list[Source], noise_from: list[Places], note: str, rescale: bool
) -> Windows:
    """The windows read at the sources, landmarks with them; what each beat moves by gives its new mark."""
    from scipy.signal import savgol_filter

    time, near = np.arange(CONTEXT), _labelled(np.array(sources), windows.wave)
    trace = unrounded(windows.tokens.astype(float))
    smooth = savgol_filter(trace, SMOOTHED, 2, axis=1)
    wave, segment = (np.take_along_axis(labels, near, axis=1) for labels in (windows.wave, windows.segment))
    level, position, support = windows.tokens.astype(float), windows.position.copy(), np.zeros(windows.tokens.shape, bool)
    for index, (each, shift, source, old) in enumerate(zip(beats, shifts, sources, noise_from, strict=True)):
        resampled = np.interp(source, time, smooth[index]) + (trace[index] - smooth[index])[old]
        level[index] = np.where(source == old, windows.tokens[index, old], resampled)
        support[index, each.offset[0] + 1 : each.onset[-1]] = True
        between = (time >= each.mark[0]) & (time <= each.mark[-1])
        position[index, between] = np.interp(time[between], each.mark + shift, each.number)
    return edited(windows, level, support, note, rescale=rescale, wave=wave, segment=segment, position=position)


def _labelled(sources: Float[np.ndarray, "window time"], wave: Int[np.ndarray, "window time"]) -> Int[np.ndarray, "window time"]:
    """The old token whose labels a new one has: of the two that it lies between one outside all waves, lest stretching widen a wave."""
    low, high = np.floor(sources).astype(int), np.ceil(sources).astype(int)
    free_low, free_high = (np.take_along_axis(wave == NONE, place, axis=1) for place in (low, high))
    return np.where(free_low == free_high, np.round(sources).astype(int), np.where(free_low, low, high))
