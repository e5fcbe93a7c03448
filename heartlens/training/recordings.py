"""A corpus read from recordings: files, folders and patterns as every command takes them, and arrays whose rows are records."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import prepare
from heartlens.signals.hints import Hints
from heartlens.signals.missing import bridged, hinted
from heartlens.signals.persons import given_persons, in_layout, note_of_unknown
from heartlens.signals.quality import Usable, usable
from heartlens.signals.readers import read_recording
from heartlens.signals.recording import Recording, agreed_rate
from heartlens.signals.search import Found, Paths, distinct_names, find
from heartlens.training.corpus import Corpus
from heartlens.whole import sha256_of


def read_corpus(
    paths: Paths,
    kind: str,
    bandpass: bool = False,
    persons: str | os.PathLike[str] | None = None,
    person: str | None = None,
    n_tokens: int = CONTEXT,
    **hints: Any,
) -> Corpus:
    """The signals of all recordings in `paths`, at the model's rate. A .npy file of two dimensions holds a record a row.

    `hints` are the fields of `signals.hints.Hints`. `persons` and `person` tell who was recorded, as for `heartlens.read`. Of equal
    recordings the first by name stays.

    Refuses a named file that cannot be read, and paths without a stretch as long as a window of `n_tokens`; what is left out is noted.
    """
    found = find(paths)
    signals, names, starts, notes = [], [], [], []
    file_of, person_in, first_of, copies = dict[str, Path](), dict[str, str](), dict[str, str](), dict[str, str]()
    for name, each in sorted(zip(distinct_names([each.path for each in found]), found, strict=True), key=lambda pair: pair[0]):
        its_hints = Hints(kind=kind, **hints)
        try:
            recordings = list(_recordings(each.path, name, kind, its_hints))
            clean, refused = _usable_of(recordings, kind, its_hints.polarity)
        except Refusal as refusal:
            if each.named:
                raise
            notes.append(f"left out {refusal}")
            continue
        notes += refused
        for recording in recordings:
            if recording.name not in clean:
                continue
            if (first := first_of.setdefault(recording.content, recording.name)) != recording.name:
                copies[recording.name] = first
                notes.append(f"left out {recording.name}: the same recording as {first}")
                continue
            file_of[recording.name] = each.path
            person_in[recording.name] = recording.person or in_layout(each.path.resolve())
            its_usable = clean[recording.name]
            stretches = stretches_of(recording, kind, its_usable, bandpass, n_tokens)
            notes += [f"{recording.name}: {note}" for note in (*its_usable.notes, *_left_out(its_usable, recording.rate_hz))]
            if not stretches:
                notes.append(f"left out {recording.name}: no {n_tokens / KINDS[kind].rate_hz:g} s that can be used")
            signals += [signal for signal, _ in stretches]
            starts += [start_s for _, start_s in stretches]
            names += [recording.name] * len(stretches)
    if not signals:
        raise Refusal(f"{_named(found)}: no recording that could be used; {'; '.join(notes[:3])}")
    of_all = {name: file_of[copies.get(name, name)] for name in [*file_of, *copies]}  # a table may name the copy
    told = {name: person for name, (person, _) in given_persons(of_all, persons, person).items()}
    told = {copies.get(name, name): told[name] for name in sorted(told, key=lambda name: name not in copies)}
    person_of = {name: told.get(name) or person_in[name] for name in dict.fromkeys(names)}
    notes += note_of_unknown(person_of)
    known = {name: who for name, who in person_of.items() if who}
    return Corpus(kind, tuple(signals), tuple(names), _named(found), tuple(notes), tuple(starts), known, copies)


def _recordings(path: Path, name: str, kind: str, hints: Hints) -> Iterator[Recording]:
    rows = _rows(path)
    if rows is None:
        recording = bridged(read_recording(path, **vars(hints)))
        if recording.kind not in (None, kind):
            raise Refusal(f"{path}: {recording.lead} is {str(recording.kind).upper()}, not {kind.upper()}; give --lead")
        yield replace(recording, name=name)
        return
    (rate_hz, _), sha256 = agreed_rate(None, hints.rate_hz, path), sha256_of(path)
    for number, row in enumerate(rows.astype(np.float64)):
        recording = Recording(f"{name}/{number:06d}", kind, str(number), rate_hz, row, "", None, str(path), sha256)
        yield bridged(hinted(recording, hints))


def _rows(path: Path) -> np.ndarray | None:
    """The rows of a .npy file of several signals, else None."""
    if path.suffix.lower() != ".npy":
        return None
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError):
        return None  # the reader says what is wrong
    several = isinstance(content, np.ndarray) and content.ndim == 2 and min(content.shape) > 1 and content.dtype.kind in "fiu"
    return content if several else None


def _usable_of(recordings: list[Recording], kind: str, polarity: str) -> tuple[dict[str, Usable], list[str]]:
    """What can be used of each recording of a file, and notes on those that are refused. Refuses a file of which all are."""
    clean, refusals = dict[str, Usable](), list[Refusal]()
    for recording in recordings:
        try:
            clean[recording.name] = usable(recording, kind, polarity)
        except Refusal as refusal:
            refusals.append(refusal)
    if refusals and not clean:
        raise refusals[0]
    return clean, [f"left out {refusal}" for refusal in refusals]


def _left_out(clean: Usable, rate_hz: float) -> list[str]:
    """How many seconds were left out of a recording, by reason, those before it already paid."""
    seconds = [sum(stretch.stop - stretch.start for stretch in stretches) / rate_hz for _, stretches in clean.left]
    lost = [(reason, before - after) for (reason, _), before, after in zip(clean.left[1:], seconds, seconds[1:], strict=False)]
    return [f"{length_s:.0f} s left out ({reason})" for reason, length_s in lost if length_s >= 0.5]


def stretches_of(
    recording: Recording, kind: str, clean: Usable, bandpass: bool = False, n_tokens: int = CONTEXT
) -> list[tuple[np.ndarray, float]]:
    """What is usable of a recording, at the model's rate: stretches of at least a window, each with its start in seconds."""
    stretches = []
    for stretch in clean.stretches:
        signal = recording.samples(stretch)
        if len(signal) * KINDS[kind].rate_hz < n_tokens * recording.rate_hz:
            continue
        signal = prepare.bandpass(signal, recording.rate_hz, kind) if bandpass else signal
        signal = prepare.resample(signal, recording.rate_hz, kind)
        if len(signal) >= n_tokens:
            stretches.append((signal.astype(np.float32), stretch.start / recording.rate_hz))
    return stretches


def _named(found: list[Found]) -> str:
    paths = [each.path.name for each in found]  # no folder: runs and cards keep this
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
