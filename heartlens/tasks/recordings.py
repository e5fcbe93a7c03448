"""Recordings as the tasks take them: whatever can be tokenised, one after the other, waves or not; what cannot be used, with its reason."""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.parser import add_paths, add_persons
from heartlens.privacy import names_of
from heartlens.provenance import Inventory
from heartlens.refusal import Refusal
from heartlens.signals.files import Files
from heartlens.signals.hints import add_hints, hints_of
from heartlens.signals.quality import usable
from heartlens.signals.strip import strip_of, why_nothing
from heartlens.signals.tables import some
from heartlens.signals.tokens import amplitude, tokenised
from heartlens.training.recordings import stretches_of
from heartlens.windows import Windows

Signal = Float32[np.ndarray, " _"]
NOT_USED = "recording that cannot be used"


@dataclass(frozen=True)
class Prepared:
    """A recording: its usable stretches at the model's rate, each with its start in seconds; or why it cannot be used (`reason`).

    `unit` is that of the samples, `source` the file with its SHA-256, `content` a hash of the samples, `copy_of` the recording that this is
    a copy of.
    """

    name: str
    person: str = ""
    stretches: tuple[tuple[Signal, float], ...] = ()
    duration_s: float = 0.0
    notes: tuple[str, ...] = ()
    reason: str = ""
    unit: str = ""
    source: str = ""
    content: str = ""
    copy_of: str = ""

    @property
    def bare(self) -> "Prepared":
        """The same without its signal."""
        return replace(self, stretches=())


@dataclass(frozen=True)
class Window:
    """One window of a recording: its samples at the model's rate and where it begins; `chosen` says how it was chosen."""

    samples: Float32[np.ndarray, " time"]
    start_s: float
    chosen: str

    @property
    def tokens(self) -> UInt8[np.ndarray, " time"]:
        """Its tokens, as the published procedure makes them."""
        return tokenised(self.samples[None])[0]


def recordings_of(files: Files, kind: str, keep_names: bool = True, n_tokens: int = CONTEXT) -> Iterator[Prepared]:
    """Each recording of `files`, in stretches of at least `n_tokens`; a copy of one that came before is not used.

    Unless `keep_names`, with codes for folders and persons.
    """
    stored = names_of(files, keep_names)
    for prepared in _as_named(files, kind, n_tokens):
        name, person = stored.record(prepared.name), stored.person(prepared.person)
        notes, (reason,) = stored.notes(prepared.notes, files.names()), stored.notes([prepared.reason], files.names())
        source, copy_of = stored.source(prepared.source), stored.record(prepared.copy_of)
        yield replace(prepared, name=name, person=person, notes=notes, reason=reason, source=source, copy_of=copy_of)


def _as_named(files: Files, kind: str, n_tokens: int) -> Iterator[Prepared]:
    name_of: dict[str, str] = {}
    for name in files.names():
        try:
            recording = files.recording(name)
        except Refusal as refusal:
            yield Prepared(name, reason=str(refusal))
            continue
        about = (name, recording.person)
        first = name_of.setdefault(recording.content, name)
        if recording.kind not in (None, kind):
            yield Prepared(*about, reason=f"{recording.lead} is {str(recording.kind).upper()}, not {kind.upper()}; give --lead")
        elif first != name:
            yield Prepared(*about, reason=f"the same recording as {first}", copy_of=first)
        else:
            try:
                clean = usable(recording, kind, files.polarity)
            except Refusal as refusal:
                yield Prepared(*about, reason=str(refusal))
                continue
            stretches = tuple(stretches_of(recording, kind, clean, files.bandpass, n_tokens))
            reason = "" if stretches else why_nothing(clean.left, recording, n_tokens / KINDS[kind].rate_hz)
            source = f"{recording.source} sha256:{recording.sha256}"
            yield Prepared(
                *about,
                stretches,
                len(recording.signal) / recording.rate_hz,
                recording.notes + clean.notes,
                reason,
                recording.unit,
                source,
                recording.content,
            )


def one_recording(given: argparse.Namespace, kind: str) -> Prepared:
    """The one recording of a command line. Refuses several, and one that cannot be used."""
    files = files_of(given, kind)
    if len(files.names()) != 1:
        raise Refusal(f"{len(files.names())} recordings are given ({some(files.names())}); this task takes one, name its file")
    (prepared,) = recordings_of(files, kind, given.keep_names)
    if prepared.reason:
        raise Refusal(f"{prepared.name}: {prepared.reason}")
    return prepared


def add_window(parser: Any) -> None:
    """The arguments that say which window of a recording."""
    group = parser.add_argument_group(
        "which window (default: the last 500 samples at the model's rate, as the original programs take them)"
    )
    either = group.add_mutually_exclusive_group()
    either.add_argument("--at", type=float, metavar="SECONDS", help="the window that begins there, counted from the recording's start")
    either.add_argument("--window", type=int, metavar="N", help="window N, counted from 1 as classify lays them: end to end")


def window_of(prepared: Prepared, kind: str, given: argparse.Namespace) -> Window:
    """The window that was asked for. Refuses one that does not lie in what can be used of the recording, and a flat one."""
    rate_hz = KINDS[kind].rate_hz
    if given.at is not None:
        window = _window_at(prepared, rate_hz, given.at)
    elif given.window is not None:
        laid = [
            (signal[first : first + CONTEXT], start_s + first / rate_hz)
            for signal, start_s in prepared.stretches
            for first in range(0, len(signal) - CONTEXT + 1, CONTEXT)
        ]
        if not 1 <= given.window <= len(laid):
            raise Refusal(f"--window is {given.window}; {prepared.name} has the windows 1 to {len(laid)}")
        samples, start_s = laid[given.window - 1]
        window = Window(samples, start_s, f"window {given.window} of {len(laid)} laid end to end")
    else:
        signal, start_s = prepared.stretches[-1]
        window = Window(signal[-CONTEXT:], start_s + (len(signal) - CONTEXT) / rate_hz, f"the last {CONTEXT} samples that can be used")
    if np.ptp(window.samples) == 0:
        raise Refusal(f"{prepared.name}: the window at {window.start_s:g} s is flat; name another with --at or --window")
    return window


def _window_at(prepared: Prepared, rate_hz: float, at_s: float) -> Window:
    ends = []
    for signal, start_s in prepared.stretches:
        first = round((at_s - start_s) * rate_hz) if np.isfinite(at_s) else -1
        if 0 <= first <= len(signal) - CONTEXT:
            return Window(signal[first : first + CONTEXT], start_s + first / rate_hz, f"the window at {start_s + first / rate_hz:g} s")
        ends.append(f"{start_s:g} to {start_s + (len(signal) - CONTEXT) / rate_hz:g} s")
    raise Refusal(f"--at is {at_s:g} s; in {prepared.name} a window of {CONTEXT / rate_hz:g} s can begin at {', or '.join(ends[:4])}")


def marked_window(given: argparse.Namespace, kind: str, start_s: float) -> Windows:
    """The window that begins there, with its beats and waves, as edits need it."""
    from heartlens.signals.windowing import Choice

    files = files_of(given, kind)
    recording = files.recording(files.names()[0])
    return strip_of(recording, kind, Choice(bandpass=given.bandpass, polarity=files.polarity)).window_at(start_s)


def window_as_edited(windows: Windows, edits: Sequence[str]) -> Window:
    """An edited window of one recording; `chosen` names the edits."""
    start_s = float(windows.start_s[0])
    chosen = ", ".join([f"the window at {start_s:g} s", *([f"edited: {', '.join(edits)}"] if edits else [])])
    return Window(amplitude(windows.tokens, windows.low, windows.high)[0].astype(np.float32), start_s, chosen)


def inventory_of_recordings(recordings: Iterable[Prepared], kind: str, n_windows: int) -> Inventory:
    """What was read, for the provenance of a result: its digest is of the recordings that were used, whatever their order."""
    recordings = list(recordings)
    used = [each for each in recordings if not each.reason]
    digest = sum(int.from_bytes(hashlib.sha256(each.content.encode()).digest(), "big") for each in used) % 2**256
    skipped = ((NOT_USED, len(recordings) - len(used)),) if len(used) < len(recordings) else ()
    notes = frozenset(f"{each.name}: {note}" for each in used for note in each.notes)
    return Inventory(kind, n_windows, False, digest, frozenset(each.source for each in used), skipped, notes)


def add_recordings(parser: Any) -> None:
    """The arguments that say what is read."""
    group = parser.add_argument_group("recordings")
    add_paths(parser, group)
    add_hints(group)
    add_persons(group)
    group.add_argument("--bandpass", action="store_true", help="filter to the paper's band (ECG 1-45 Hz, PPG 1-15 Hz) first")


def files_of(given: argparse.Namespace, kind: str, **windows: Any) -> Files:
    """The recordings that a command line names, with options of their windows; tables of labels and persons are none. Refuses none."""
    if not given.data:
        raise Refusal("no recordings are given; name files, folders or patterns after the checkpoint")
    files = Files(
        tuple(given.data), kind=kind, bandpass=given.bandpass, persons=given.persons, person=given.person, **hints_of(given), **windows
    )
    tables = {Path(table).resolve() for table in (given.persons, getattr(given, "labels", None)) if table}
    return files.without(frozenset(name for name, file in files.found.items() if not file.named and file.path.resolve() in tables))
