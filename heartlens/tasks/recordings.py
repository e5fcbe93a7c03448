"""Recordings as the tasks take them: whatever can be tokenised, one after the other, waves or not; what cannot be used, with its reason."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from heartlens.axes import CONTEXT, KINDS
from heartlens.parser import add_paths, add_persons
from heartlens.privacy import names_of
from heartlens.refusal import Refusal
from heartlens.signals.files import Files
from heartlens.signals.hints import add_hints, hints_of
from heartlens.signals.quality import usable
from heartlens.training.recordings import stretches_of

Signal = Float32[np.ndarray, " _"]


@dataclass(frozen=True)
class Prepared:
    """A recording: its usable stretches at the model's rate, each with its start in seconds; or why it cannot be used (`reason`)."""

    name: str
    person: str = ""
    stretches: tuple[tuple[Signal, float], ...] = ()
    duration_s: float = 0.0
    notes: tuple[str, ...] = ()
    reason: str = ""


def recordings_of(files: Files, kind: str, keep_names: bool = True, n_tokens: int = CONTEXT, bandpass: bool = False) -> Iterator[Prepared]:
    """Each recording of `files`, in stretches of at least `n_tokens`; a copy of one that came before is not used.

    Unless `keep_names`, with codes for folders and persons. `bandpass`: filtered to the paper's band first.
    """
    stored = names_of(files, keep_names)
    for prepared in _as_named(files, kind, n_tokens, bandpass):
        name, person = stored.record(prepared.name), stored.person(prepared.person)
        notes, (reason,) = stored.notes(prepared.notes, files.names()), stored.notes([prepared.reason], files.names())
        yield replace(prepared, name=name, person=person, notes=notes, reason=reason)


def _as_named(files: Files, kind: str, n_tokens: int, bandpass: bool) -> Iterator[Prepared]:
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
            yield Prepared(*about, reason=f"the same recording as {first}")
        else:
            try:
                clean = usable(recording, kind, files.polarity)
            except Refusal as refusal:
                yield Prepared(*about, reason=str(refusal))
                continue
            stretches = tuple(stretches_of(recording, kind, clean, bandpass, n_tokens))
            reason = "" if stretches else f"no {n_tokens / KINDS[kind].rate_hz:g} s that can be used"
            yield Prepared(*about, stretches, len(recording.signal) / recording.rate_hz, recording.notes + clean.notes, reason)


def add_recordings(parser: Any) -> None:
    """The arguments that say what is read."""
    group = parser.add_argument_group("recordings")
    add_paths(parser, group)
    add_hints(group)
    add_persons(group)


def files_of(given: argparse.Namespace, kind: str) -> Files:
    """The recordings that a command line names. Refuses none."""
    if not given.data:
        raise Refusal("no recordings are given; name files, folders or patterns after the checkpoint")
    return Files(tuple(given.data), kind=kind, persons=given.persons, person=given.person, **hints_of(given))
