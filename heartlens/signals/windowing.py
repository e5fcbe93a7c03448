"""One recording becomes windows, stretch by stretch between what cannot be used of it (quality), piece by piece where a stretch is long.

Each piece is labelled (the expert's marks, else waves detected on the recording's own samples), brought to the model's rate and cut.
What a gap or a bad part costs is counted in windows, by reason, and no unusable piece ends the recording.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import floor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals import prepare
from heartlens.signals.cut import windows_at
from heartlens.signals.delineate import Habits, habits_of
from heartlens.signals.hidden_beats import with_hidden_beats
from heartlens.signals.landmark_cache import landmarks_of
from heartlens.signals.landmarks import Landmarks, completed, within
from heartlens.signals.pieces import Piece, pieces_of
from heartlens.signals.quality import Usable, usable
from heartlens.signals.recording import Recording
from heartlens.signals.source import MOST_AT_ONCE
from heartlens.windows import Windows

LANDMARKS = ("auto", "expert", "detected")
LOWEST_RATE_HZ = {"ecg": 50.0, "ppg": 15.0}  # a slower table is a trend, not a heart signal
BLOCK = 2**20  # samples looked at together
GLIMPSE_S, N_GLIMPSES = 60.0, 20  # on which a long recording is judged

Signal = Float[np.ndarray, " sample"]


@dataclass(frozen=True)
class Choice:
    """Which windows of a recording, labelled how: `landmarks` is one of LANDMARKS; `stride` and `draw` are those of `window_starts`.

    `max_windows` are spread evenly over those there are. `polarity` is that of `Hints`: "as-is" asks not whether the signal
    is of its kind and clean. Refuses other landmarks, and counts below 1.
    """

    landmarks: str = "auto"
    bandpass: bool = False
    stride: int = CONTEXT
    max_windows: int | None = None
    draw: int = 0
    polarity: str = "check"

    def __post_init__(self) -> None:
        if self.landmarks not in LANDMARKS:
            raise unknown("landmarks", self.landmarks, LANDMARKS)
        for name, count in (("stride", self.stride), ("max_windows", self.max_windows)):
            if count is not None and count < 1:
                raise Refusal(f"{name} is {count}; it must be at least 1")


class Labelled(NamedTuple):
    """A piece with its landmarks, counted from its first sample; the first of their beats is the stretch's beat number `first_beat`."""

    piece: Piece
    landmarks: Landmarks
    first_beat: int


@dataclass
class Lost:
    """How many windows were left out so far and not yet told, by reason, and why the last piece was refused; and hidden beats."""

    counts: Counter[str] = field(default_factory=Counter)
    reason: str = ""
    n_hidden: int = 0

    def piece(self, n_windows: int, refusal: Refusal) -> None:
        self.counts["no waves found"] += n_windows
        self.reason = f"; {refusal}"

    def taken(self) -> Counter[str]:
        """The counts, which are then told."""
        taken, self.counts = self.counts, Counter()
        return taken


def windows_of(recording: Recording, kind: str, choice: Choice) -> Iterator[Windows]:
    """The windows of a recording in order of time, at most MOST_AT_ONCE together, while the rest is not yet read.

    Refuses a recording without a usable window, and one that no heart signal of that kind can be: too slow, rising from first to last
    sample, or of another shape (`quality.usable`).
    """
    refuse_incredible(recording, kind)
    expert, notes = expert_of(recording, kind, choice)
    clean = usable(recording, kind, choice.polarity)
    notes += clean.notes
    lost = Lost(_unusable(recording, kind, clean, choice.stride, expert))
    labelled: Iterable[Labelled] = labelled_pieces(recording, kind, clean.stretches, choice, expert, lost)
    if choice.max_windows is not None:
        labelled = _spread(list(labelled), choice.max_windows, lost)
    held = None  # one part, so that the last can tell what was lost after it
    for part in (part for each in labelled for part in _cut(recording, kind, choice.bandpass, each)):
        if not len(part):
            lost.counts += Counter(dict(part.skipped))
            continue
        if held is not None:
            yield _with_losses(held, recording, notes, lost)
        held = part
    if held is None:
        counts = ", ".join(f"{reason}: {n}" for reason, n in lost.counts.items() if n)
        raise Refusal(f"{recording.source}: no usable window ({counts}){lost.reason}")
    yield _with_losses(held, recording, notes, lost)


def _with_losses(part: Windows, recording: Recording, notes: tuple[str, ...], lost: Lost) -> Windows:
    skipped = Counter(dict(part.skipped)) + lost.taken()  # without those that are 0
    sources = (f"{recording.source} sha256:{recording.sha256}",)
    if lost.n_hidden:
        notes += (f"beats taken to lie in bridged gaps: {lost.n_hidden}",)
        lost.n_hidden = 0
    return replace(part, sources=sources, skipped=tuple(skipped.items()), notes=recording.notes + notes + part.notes)


def refuse_incredible(recording: Recording, kind: str) -> None:
    where, rate_hz, length_s = recording.source, recording.rate_hz, len(recording.signal) / recording.rate_hz
    needed_s = CONTEXT / KINDS[kind].rate_hz
    if rate_hz < LOWEST_RATE_HZ[kind]:
        raise Refusal(f"{where}: {rate_hz:g} Hz is too slow for {kind.upper()}; at least {LOWEST_RATE_HZ[kind]:g} Hz are needed")
    if length_s < needed_s:
        raise Refusal(f"{where}: the recording lasts {length_s:.2f} s; a window needs {needed_s:g} s")
    if _rises(recording):
        raise Refusal(f"{where}: {recording.lead} rises from first to last sample; it is a counter or a time, not a signal")


def _rises(recording: Recording) -> bool:
    first = last = None
    for begin in range(0, len(recording.signal), BLOCK):
        samples = recording.samples(slice(begin, begin + BLOCK))
        samples = samples[np.isfinite(samples)]
        if len(samples):
            first, last = (samples[0], samples[0]) if last is None else (first, last)
            if (np.diff(samples, prepend=last) < 0).any():
                return False
            last = samples[-1]
    return bool(first != last)


def expert_of(recording: Recording, kind: str, choice: Choice) -> tuple[Landmarks | None, tuple[str, ...]]:
    """The expert's landmarks if they are wanted and hold a window, else None with a note that says why."""
    if choice.landmarks == "detected":
        return None, ()
    marks = recording.landmarks
    reason = ""
    if marks is None or marks.kind != kind:
        reason = "the file has no expert marks that could be used"
    elif not _n_windows(slice(0, len(recording.signal)), recording.rate_hz, kind, choice.stride, marks):
        reason = f"the expert's marks cover {np.ptp(marks.span_s):.1f} s, less than a window"
    if not reason:
        return marks, ()
    if choice.landmarks == "expert":
        raise Refusal(f"{recording.source}: {reason}; give --landmarks auto or --landmarks detected")
    return None, (f"landmarks detected: {reason}",)


def labelled_pieces(
    recording: Recording, kind: str, stretches: list[slice], choice: Choice, expert: Landmarks | None, lost: Lost
) -> Iterator[Labelled]:
    """The pieces of all stretches that have landmarks."""
    rate_hz = recording.rate_hz
    for stretch in stretches:
        n_windows = _n_windows(stretch, rate_hz, kind, choice.stride, expert)
        if not n_windows:
            continue
        length_s = (stretch.stop - stretch.start) / rate_hz
        span_s = (0.0, length_s) if expert is None else within(expert, stretch.start / rate_hz, stretch.stop / rate_hz).span_s
        try:
            pieces = pieces_of(stretch, rate_hz, kind, span_s, recording.content, choice.stride, choice.draw)
        except Refusal as refusal:
            lost.piece(n_windows, refusal)
            continue
        if expert is None:
            yield from _detected_in(recording, kind, pieces, lost)
        else:
            for piece in pieces:
                marks = within(expert, piece.samples.start / rate_hz, piece.samples.stop / rate_hz)
                yield Labelled(piece, marks if marks.looked_at is None else _with_p_and_t(recording, kind, piece, marks), 0)


def _with_p_and_t(recording: Recording, kind: str, piece: Piece, beats: Landmarks) -> Landmarks:
    """An expert's beats with the detector's P and T waves; without any where it refuses."""
    try:
        return completed(beats, landmarks_of(recording.samples(piece.samples), recording.rate_hz, kind))
    except Refusal:
        return beats


def _detected_in(recording: Recording, kind: str, pieces: list[Piece], lost: Lost) -> Iterator[Labelled]:
    """The pieces of a stretch in which waves are found, their beats counted on from piece to piece."""
    habits = _habits(recording, kind, pieces) if len(pieces) > 1 else None
    n_beats = 0
    for piece in pieces:
        try:
            landmarks = landmarks_of(recording.samples(piece.samples), recording.rate_hz, kind, habits)
        except Refusal as refusal:
            lost.piece(len(piece.starts), refusal)
            continue
        landmarks, n_hidden = with_hidden_beats(landmarks, recording.bridged, piece.samples.start, recording.rate_hz)
        lost.n_hidden += n_hidden
        n_before, n_until = (int(np.searchsorted(landmarks.beat_s, edge)) for edge in piece.own_s)
        yield Labelled(piece, landmarks, n_beats - n_before)
        n_beats += n_until - n_before


def _habits(recording: Recording, kind: str, pieces: list[Piece]) -> Habits | None:
    """What is judged once for the whole stretch: on N_GLIMPSES of it, set one after the other. None where these are refused."""
    length = round(GLIMPSE_S * recording.rate_hz)
    starts = np.linspace(pieces[0].samples.start, pieces[-1].samples.stop - length, N_GLIMPSES).astype(int).tolist()
    glimpses = [recording.samples(slice(start, start + length)) for start in starts]
    levels = [float(np.median(glimpse)) for glimpse in glimpses]
    level = np.concatenate([glimpse - own for glimpse, own in zip(glimpses, levels, strict=True)]) + np.median(levels)  # without jumps
    try:
        return habits_of(level, recording.rate_hz, kind)
    except Refusal:
        return None


def _cut(recording: Recording, kind: str, bandpass: bool, labelled: Labelled) -> Iterator[Windows]:
    piece, landmarks, first_beat = labelled
    if not len(piece.starts):
        return
    signal = recording.samples(piece.samples)
    if bandpass:
        signal = prepare.bandpass(signal, recording.rate_hz, kind)
    signal = prepare.resample(signal, recording.rate_hz, kind)
    for first in range(0, len(piece.starts), MOST_AT_ONCE):
        some = slice(first, first + MOST_AT_ONCE)
        about = (recording.name, piece.start_s[some], first_beat, recording.person, recording.content)
        yield windows_at(signal, piece.starts[some], landmarks, *about)


def _unusable(recording: Recording, kind: str, clean: Usable, stride: int, expert: Landmarks | None) -> Counter[str]:
    """How many windows each reason costs, those before it already paid."""
    lost, before = Counter[str](), _n_windows(slice(0, len(recording.signal)), recording.rate_hz, kind, stride, expert)
    for reason, stretches in clean.left:
        after = sum(_n_windows(stretch, recording.rate_hz, kind, stride, expert) for stretch in stretches)
        lost[reason] = max(before - after, 0)
        before = after
    return lost


def _n_windows(stretch: slice, rate_hz: float, kind: str, stride: int, expert: Landmarks | None) -> int:
    """How many windows a stretch holds, or the part of it that the expert looked at."""
    start_s, end_s = stretch.start / rate_hz, stretch.stop / rate_hz
    if expert is not None:
        start_s, end_s = max(start_s, expert.span_s[0]), min(end_s, expert.span_s[1])
    n_tokens = floor((end_s - start_s) * KINDS[kind].rate_hz + 1e-6)
    return (n_tokens - CONTEXT) // stride + 1 if n_tokens >= CONTEXT else 0


def _spread(labelled: list[Labelled], at_most: int, lost: Lost) -> list[Labelled]:
    """The same pieces with `at_most` windows in all, evenly spread over those there are."""
    numbers = np.cumsum([0, *(len(each.piece.starts) for each in labelled)])
    n_windows = int(numbers[-1])
    if n_windows <= at_most:
        return labelled
    lost.counts["more than max_windows"] += n_windows - at_most
    kept = np.linspace(0, n_windows - 1, at_most).round().astype(int)
    chosen = (kept[(kept >= first) & (kept < end)] - first for first, end in pairwise(numbers))
    return [
        each._replace(piece=replace(each.piece, starts=each.piece.starts[own], start_s=each.piece.start_s[own]))
        for each, own in zip(labelled, chosen, strict=True)
    ]
