"""A recording laid out to be looked at: all of it as recorded, what of it can be used and why the rest cannot, and a window from anywhere.

The usable stretches are at the model's rate, as the tasks make them, so a window has the tokens that `heartlens attention --at` would see.
Landmarks are those that `read` gives: the expert's, else the detector's, found on the recording's own samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Float64

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import prepare
from heartlens.signals.cut import windows_at
from heartlens.signals.landmarks import NONE, Landmarks
from heartlens.signals.quality import usable
from heartlens.signals.recording import Recording
from heartlens.signals.tokens import tokenised
from heartlens.signals.windowing import Choice, Lost, expert_of, labelled_pieces, refuse_incredible
from heartlens.windows import Windows

TOO_SHORT = "shorter than a window"


@dataclass(frozen=True)
class Stretch:
    """A usable stretch at the model's rate; `labelled` are its landmarks by piece: seconds from the stretch's start, whose beats they are
    (from, until), and the number of the first one."""

    start_s: float
    signal: Float32[np.ndarray, " token"]
    labelled: tuple[tuple[Landmarks, tuple[float, float], int], ...]


@dataclass(frozen=True)
class Strip:
    """A recording with all that a screen shows of it. `raw` are its samples in `unit` at `rate_hz`, NaN where they are missing.

    `skipped`: from and until when nothing can be used (seconds), and why. `marked_by`: who marked the waves, empty where nobody did.
    """

    name: str
    kind: str
    lead: str
    unit: str
    rate_hz: float
    person: str
    content: str
    raw: Float32[np.ndarray, " sample"]
    stretches: tuple[Stretch, ...]
    skipped: tuple[tuple[float, float, str], ...]
    marked_by: str
    notes: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """How long the recording lasts."""
        return len(self.raw) / self.rate_hz

    def starts_s(self) -> list[tuple[float, float]]:
        """From the first to the last second at which a window can begin, stretch by stretch."""
        rate_hz = KINDS[self.kind].rate_hz
        return [(each.start_s, each.start_s + (len(each.signal) - CONTEXT) / rate_hz) for each in self.stretches]

    def nearest_start_s(self, start_s: float) -> float:
        """The second nearest to `start_s` at which a window can begin."""
        return min((min(max(start_s, first), last) for first, last in self.starts_s()), key=lambda place: abs(place - start_s))

    def window_at(self, start_s: float) -> Windows:
        """The window that begins there, to the nearest sample. Refuses one that does not lie in what can be used, and a flat one."""
        return self._window(*self._place(start_s))

    def _place(self, start_s: float) -> tuple[Stretch, int]:
        """The stretch and the sample at which a window begins."""
        rate_hz = KINDS[self.kind].rate_hz
        for stretch in self.stretches:
            first = round((start_s - stretch.start_s) * rate_hz) if np.isfinite(start_s) else -1
            if 0 <= first <= len(stretch.signal) - CONTEXT:
                return stretch, first
        legal = ", ".join(f"{first:g} to {last:g} s" for first, last in self.starts_s()[:4])
        raise Refusal(f"a window cannot begin at {start_s:g} s of {self.name}; legal: {legal}")

    def samples_at(self, start_s: float) -> Float32[np.ndarray, " time"]:
        """The samples of the window that begins there, at the model's rate. Refuses as `window_at` does."""
        stretch, first = self._place(start_s)
        return stretch.signal[first : first + CONTEXT]

    def beats_s(self) -> Float64[np.ndarray, " beat"]:
        """When the beats are, over the whole recording, in seconds."""
        beats = [
            stretch.start_s + landmarks.beat_s[(landmarks.beat_s >= own[0]) & (landmarks.beat_s < own[1])]
            for stretch in self.stretches
            for landmarks, own, _ in stretch.labelled
        ]
        return np.concatenate([np.empty(0), *beats])

    def overview(
        self, from_s: float, until_s: float, n_columns: int
    ) -> tuple[Float32[np.ndarray, " column"], Float32[np.ndarray, " column"]]:
        """The least and the largest sample of each of `n_columns` equal parts of a time: no peak is lost. NaN where there is none."""
        edges = np.linspace(from_s, until_s, n_columns + 1) * self.rate_hz
        edges = np.clip(np.round(edges).astype(int), 0, len(self.raw))
        least, largest = (np.full(n_columns, np.nan, np.float32) for _ in range(2))
        for column, (first, last) in enumerate(pairwise(edges.tolist())):
            part = self.raw[first : max(last, min(first + 1, len(self.raw)))]
            part = part[np.isfinite(part)]
            if len(part):
                least[column], largest[column] = part.min(), part.max()
        return least, largest

    def _window(self, stretch: Stretch, first: int) -> Windows:
        rate_hz = KINDS[self.kind].rate_hz
        starts, start_s = np.array([first]), np.array([stretch.start_s + first / rate_hz])
        about = (self.name, start_s)
        for landmarks, own, first_beat in stretch.labelled:
            if own[0] <= first / rate_hz < own[1] and len(landmarks.beat_s) >= 2:
                windows = windows_at(stretch.signal, starts, landmarks, *about, first_beat, self.person, self.content)
                break
        else:
            windows = self._unmarked(stretch.signal[first : first + CONTEXT], start_s)
        if not len(windows):
            raise Refusal(f"{self.name}: the window at {start_s[0]:g} s is flat; move it elsewhere")
        return windows

    def _unmarked(self, samples: Float32[np.ndarray, " time"], start_s: Float64[np.ndarray, " window"]) -> Windows:
        """A window in which nobody marked waves."""
        if np.ptp(samples) == 0:
            raise Refusal(f"{self.name}: the window at {start_s[0]:g} s is flat; move it elsewhere")
        nothing = np.full((1, CONTEXT), NONE, np.int8)
        return Windows(
            self.kind,
            tokenised(samples[None]),
            np.array([self.name]),
            start_s,
            samples.min(keepdims=True),
            samples.max(keepdims=True),
            nothing,
            nothing,
            np.full((1, CONTEXT), np.nan),
            np.array([self.person]),
            np.array([self.content]),
        )


def strip_of(recording: Recording, kind: str, choice: Choice | None = None, *, is_marked: bool = True) -> Strip:
    """A recording as a strip, without its landmarks where it is not to be marked. Refuses one of another kind, and one without a stretch
    as long as a window.
    """
    choice = choice or Choice()
    if recording.kind not in (None, kind):
        raise Refusal(
            f"{recording.source}: {recording.lead} is {str(recording.kind).upper()}, and this model reads {kind.upper()}; "
            f"choose a model for {str(recording.kind).upper()}, or another lead"
        )
    refuse_incredible(recording, kind)
    expert, notes = expert_of(recording, kind, choice)
    clean = usable(recording, kind, choice.polarity)
    lost = Lost()
    stretches, marked_by = [], ""
    for where in clean.stretches:
        if (where.stop - where.start) * KINDS[kind].rate_hz < CONTEXT * recording.rate_hz:
            continue
        signal = recording.samples(where)
        signal = prepare.bandpass(signal, recording.rate_hz, kind) if choice.bandpass else signal
        signal = prepare.resample(signal, recording.rate_hz, kind).astype(np.float32)
        if len(signal) < CONTEXT:
            continue
        labelled = []
        pieces = labelled_pieces(recording, kind, [where], choice, expert, lost) if is_marked else ()
        for piece, landmarks, first_beat in pieces:
            offset_s = (piece.samples.start - where.start) / recording.rate_hz
            labelled.append((_later(landmarks, offset_s), (piece.own_s[0] + offset_s, piece.own_s[1] + offset_s), first_beat))
            marked_by = landmarks.source
        stretches.append(Stretch(where.start / recording.rate_hz, signal, tuple(labelled)))
    if not stretches:
        raise Refusal(f"{recording.source}: {why_nothing(clean.left, recording, CONTEXT / KINDS[kind].rate_hz)}")
    raw = np.asarray(recording.signal[:], np.float32)
    return Strip(
        recording.name,
        kind,
        recording.lead,
        recording.unit,
        recording.rate_hz,
        recording.person,
        recording.content,
        raw,
        tuple(stretches),
        tuple(_skipped(clean.left, recording, CONTEXT / KINDS[kind].rate_hz)),
        marked_by,
        (*recording.notes, *notes, *clean.notes),
    )


def _later(landmarks: Landmarks, by_s: float) -> Landmarks:
    """The landmarks, counted from a moment that lies `by_s` earlier."""
    moved = {name: getattr(landmarks, name) + by_s for name in ("beat_s", "onset_s", "peak_s", "offset_s")}
    return replace(landmarks, **moved, span_s=(landmarks.span_s[0] + by_s, landmarks.span_s[1] + by_s))


def why_nothing(left: tuple[tuple[str, list[slice]], ...], recording: Recording, needed_s: float) -> str:
    """Why no stretch of `needed_s` seconds can be used: how much was left out for each reason, or how long the recording is."""
    lost_s: dict[str, float] = {}
    for from_s, until_s, reason in _skipped(left, recording):
        lost_s[reason] = lost_s.get(reason, 0.0) + until_s - from_s
    counts = ", ".join(f"{reason} {seconds:.1f} s" for reason, seconds in lost_s.items())
    lasts = f"the recording lasts {len(recording.signal) / recording.rate_hz:.2f} s"
    return f"no {needed_s:g} s that can be used ({f'{counts}; ' if counts else ''}{lasts})"


def _skipped(
    left: tuple[tuple[str, list[slice]], ...], recording: Recording, shortest_s: float = 0.0
) -> Iterator[tuple[float, float, str]]:
    """What is not used, and why: what each reason takes of what those before it left, then what is shorter than `shortest_s`."""
    before = [slice(0, len(recording.signal))]
    rate_hz = recording.rate_hz
    for reason, after in left:
        for stretch in before:
            place = stretch.start
            for part in [part for part in after if stretch.start <= part.start < stretch.stop]:
                if part.start > place:
                    yield place / rate_hz, part.start / rate_hz, reason
                place = part.stop
            if place < stretch.stop:
                yield place / rate_hz, stretch.stop / rate_hz, reason
        before = after
    for stretch in before:
        if (stretch.stop - stretch.start) / rate_hz < shortest_s:
            yield stretch.start / rate_hz, stretch.stop / rate_hz, TOO_SHORT
