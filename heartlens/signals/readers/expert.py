"""An expert's marks beside a WFDB record, as landmarks: LUDB's (the annotator is named after the lead) and the QT database's (q1c).

`(` and `)` directly before and after a peak are its onset and offset. A bracket that the expert did not set is estimated from the record's
median for that wave, else from LUDB's (TYPICAL_S). The QRS mark is kept as the annotator set it: it lies near
the largest deflection (at the median 2 ms off in LUDB), and moving it there is unsteady from beat to beat where the QRS has two sides.

Experts may mark only some beats (qtdb/sel221: 30 of 51). A cycle is known only between neighbouring beats, so the span is the longest
run without an unmarked beat: none in the record's `atr` file, else no interval longer than MISSED times the median.

A file that marks nothing but beats is taken for beats alone, whatever it is called: P and T waves were not looked for.
"""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from heartlens.signals.landmarks import Landmarks
from heartlens.signals.readers.beside import beside, is_beside
from heartlens.signals.readers.wfdb_marks import marks_in

NOT_MARKS = ("hea", "dat", "mat")
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
LETTERS = {"(": "(", ")": ")", "p": "p", "t": "t", "u": "u"} | dict.fromkeys(BEATS, "Q")
WAVES = {"p": "P", "Q": "QRS", "t": "T"}
TYPICAL_S = {"P": (0.056, 0.046), "QRS": (0.042, 0.049), "T": (0.098, 0.076)}  # medians of LUDB: onset to peak, peak to offset
MISSED = 1.75
SAME_BEAT_S = 0.15  # two annotators' marks of one beat are not farther apart

Times = Float[np.ndarray, " mark"]
Beats = Float[np.ndarray, " beat"]
Waves = Float[np.ndarray, " wave"]
Others = Float[np.ndarray, " other"]
Wave = tuple[str, float, float, float]  # name, onset, peak, offset in seconds


def expert_landmarks(header: Path, lead: str, rate_hz: float, length_s: float) -> tuple[Landmarks | None, tuple[str, ...]]:
    """The expert's landmarks in seconds, None where there are none; a note where marks are there and cannot be used, or only in part.

    `rate_hz` is that of the record's frames, in which annotations count unless they have a clock of their own. Marks of beats alone
    give landmarks that `looked_at` nothing but the QRS.
    """
    annotator = next((name for name in (lead.lower(), "q1c") if name not in NOT_MARKS and is_beside(header, f"{header.stem}.{name}")), None)
    if annotator is None:
        return None, ()
    marks = _annotations(header, annotator, rate_hz)
    if marks is None or not ((marks[0] >= 0) & (marks[0] < length_s)).all():
        return None, (f"the marks in {header.stem}.{annotator} cannot be read",)
    time_s, letters = marks
    waves = _bracketed(time_s, letters)
    beat_s = np.unique([peak for wave, _, peak, _ in waves if wave == "QRS"])
    if len(beat_s) < 2:
        return None, (f"the marks in {header.stem}.{annotator} hold {len(beat_s)} beats",)
    others = None
    if is_beside(header, f"{header.stem}.atr") and (atr := _annotations(header, "atr", rate_hz)) is not None:
        others = atr[0][[letter == "Q" for letter in atr[1]]]
    landmarks = _known_run(waves, beat_s, time_s, others, f"expert, annotator {annotator}")
    notes = _of_waves(header, annotator, {wave for wave, *_ in waves})
    if landmarks.looked_at is not None:
        landmarks = replace(landmarks, source=f"{landmarks.source} (beats)")
    if len(landmarks.beat_s) < len(beat_s):
        notes += (f"{header.stem}: {len(landmarks.beat_s)} of the expert's {len(beat_s)} beats used; elsewhere beats are unmarked",)
    return landmarks, notes


def _of_waves(header: Path, annotator: str, marked: set[str]) -> tuple[str, ...]:
    """A note of the waves that the expert did not mark."""
    if marked == {"QRS"}:
        return (f"{header.stem}.{annotator} marks beats alone: P and T are the detector's, where it finds them",)
    absent = [wave for wave in ("P", "T") if wave not in marked]
    return (f"{header.stem}.{annotator} marks no {absent[0]} wave: there is none in these windows",) if absent else ()


def _annotations(header: Path, annotator: str, rate_hz: float) -> tuple[Times, str] | None:
    """The times in seconds and the letters of the marks that mean a wave or a bracket, in order of time; None where they cannot be read."""
    marks = marks_in(beside(header, f"{header.stem}.{annotator}"))
    if marks is None:
        return None
    places = [place for place, symbol in enumerate(marks.symbols) if symbol in LETTERS]
    return marks.sample[places] / (marks.clock_hz or rate_hz), "".join(LETTERS[marks.symbols[place]] for place in places)


def _bracketed(time_s: Times, letters: str) -> list[Wave]:
    """Wave, onset, peak and offset (NaN: no bracket). A biphasic T, marked twice, is one wave with its first peak."""
    marked_waves = []
    for match in re.finditer(r"(\(?)(p|Q|u|t+)(\)?)", letters):
        wave = WAVES.get(match[2][0])
        if wave:
            onset = time_s[match.start(1)] if match[1] else np.nan
            offset = time_s[match.start(3)] if match[3] else np.nan
            marked_waves.append((wave, onset, time_s[match.start(2)], offset))
    return marked_waves


def _known_run(marked_waves: list[Wave], beat_s: Beats, time_s: Times, others: Others | None, source: str) -> Landmarks:
    edges = [-np.inf, *_breaks(beat_s, others), np.inf]
    runs = itertools.pairwise(edges)
    start, end = max(runs, key=lambda run: np.ptp(beat_s[(beat_s > run[0]) & (beat_s < run[1])]))
    beats, marks = (times[(times > start) & (times < end)] for times in (beat_s, time_s))
    names = np.array([wave for wave, *_ in marked_waves])
    onset, peak, offset = np.array([times for _, *times in marked_waves]).T
    onset, offset = (_completed(names, edge, peak, side) for side, edge in enumerate((onset, offset)))
    inside = (peak > start) & (peak < end)
    names, onset, peak, offset = (array[inside] for array in (names, onset, peak, offset))
    looked_at = ("QRS",) if set(names.tolist()) == {"QRS"} else None
    return Landmarks("ecg", beats, names, onset, peak, offset, (float(marks[0]), float(marks[-1])), source, looked_at)


def _breaks(beat_s: Beats, others: Others | None) -> list[float]:
    """The middles of the intervals in which a beat was not marked."""
    intervals = np.diff(beat_s)
    if others is None:
        missed = intervals > MISSED * np.median(intervals)
    else:
        first, last = np.searchsorted(others, [beat_s[:-1] + SAME_BEAT_S, beat_s[1:] - SAME_BEAT_S])
        missed = last > first
    return list((beat_s[:-1] + intervals / 2)[missed])


def _completed(names: Shaped[np.ndarray, " wave"], edge: Waves, peak: Waves, side: int) -> Waves:
    """The onsets (side 0) or offsets (side 1), the missing ones at the wave's usual distance from its peak."""
    width = np.abs(peak - edge)
    for wave, typical in TYPICAL_S.items():
        known_widths = width[(names == wave) & ~np.isnan(width)]
        width[(names == wave) & np.isnan(width)] = np.median(known_widths) if len(known_widths) else typical[side]
    return peak + width * (1 if side else -1)
