"""Recordings in files, as a source of windows."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.hints import Hints
from heartlens.signals.missing import bridged
from heartlens.signals.persons import given_persons, in_layout
from heartlens.signals.readers import read_recording
from heartlens.signals.recording import Recording, agreed_rate
from heartlens.signals.search import Found, Paths, Search, distinct_names, search
from heartlens.signals.source import Look, Unreadable
from heartlens.signals.windowing import Choice, windows_of
from heartlens.windows import Windows

FILE_S, BYTES_PER_S = 0.03, 2e6  # what reading takes of a processor: LUDB, MIT-BIH and a day of one lead, landmarks included


@dataclass(frozen=True)
class Files:
    """Recordings in files: `paths` are files, folders (searched throughout) and patterns; the other fields are the options of `read`."""

    paths: Paths
    lead: str | int | None = None
    rate_hz: float | None = None
    kind: str | None = None
    landmarks: str = "auto"
    bandpass: bool = False
    stride: int = CONTEXT
    max_windows: int | None = None
    draw: int = 0
    persons: str | os.PathLike[str] | None = None
    person: str | None = None
    time_unit: str | None = None
    missing: tuple[float, ...] = ()
    polarity: str = "check"
    left_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        paths = (self.paths,) if isinstance(self.paths, str | os.PathLike) else tuple(self.paths)
        object.__setattr__(self, "paths", paths)
        if self.kind is not None and self.kind not in KINDS:
            raise unknown("kind", self.kind, KINDS)
        if self.rate_hz is not None:
            agreed_rate(None, self.rate_hz, Path("--rate"))
        assert self._choice
        assert self._hints

    def names(self) -> list[str]:
        assert self.given_persons is not None  # what cannot be used is refused before anything is read
        return [name for name in self.found if name not in self.left_out]

    def parts(self, name: str) -> Iterator[Windows]:
        """The windows of one recording; `Unreadable` where the file is no recording."""
        recording = self.recording(name)
        yield from windows_of(recording, recording.kind or self.kind or "", self._choice)

    def look(self, name: str) -> Look:
        recording = self.recording(name)
        of_file = "their files" if recording.person else ""
        told_by = self.given_persons[name][1] if name in self.given_persons else of_file
        return Look(name, recording.content, recording.person, told_by, recording.landmarks is not None, recording.sketch)

    def without(self, names: frozenset[str]) -> "Files":
        rest = replace(self, left_out=self.left_out | names)
        rest.__dict__.update(searched=self.searched, found=self.found, given_persons=self.given_persons)  # searched for once
        return rest

    def reading_s(self, names: list[str]) -> float:
        return sum(FILE_S + _n_bytes(self.found[name].path) / BYTES_PER_S for name in names)

    def recording(self, name: str) -> Recording:
        """One recording with its kind and person."""
        path, is_named = self.found[name].path, self.found[name].named
        try:
            recording = bridged(read_recording(path, **vars(self._hints)))
            if recording.kind is None and self.kind is None:
                raise Refusal(f"{path}: cannot tell ECG from PPG by the name {recording.lead!r}; give the kind, or another lead")
        except Refusal as refusal:
            raise Unreadable(str(refusal), is_named) from refusal
        given, _ = self.given_persons.get(name, ("", ""))
        return replace(recording, name=name, person=given or recording.person or in_layout(path.resolve()))

    @cached_property
    def given_persons(self) -> dict[str, tuple[str, str]]:
        """The persons that the table or the pattern tells, and which of them does, by the names of their recordings."""
        return given_persons({name: file.path for name, file in self.found.items()}, self.persons, self.person)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was seen beside the recordings."""
        return self.searched.notes

    @cached_property
    def searched(self) -> Search:
        """What the paths mean."""
        return search(self.paths)

    @cached_property
    def found(self) -> dict[str, Found]:
        """The files by the names of their recordings. Searched for once: a copy on another process has the same."""
        files = self.searched.files
        return dict(zip(distinct_names([file.path for file in files]), files, strict=True))

    @property
    def _hints(self) -> Hints:
        return Hints(self.lead, self.rate_hz, self.kind, self.time_unit, self.missing, self.polarity)

    @property
    def _choice(self) -> Choice:
        return Choice(self.landmarks, self.bandpass, self.stride, self.max_windows, self.draw, self.polarity)


def _n_bytes(path: Path) -> int:
    """The size of a file; of a WFDB header, that of the signals beside it."""
    signals = path.with_suffix(".dat")
    file = signals if path.suffix == ".hea" and signals.is_file() else path
    return file.stat().st_size if file.is_file() else 0
