"""Where windows come from, one recording after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from heartlens.refusal import Refusal
from heartlens.windows import Windows


@runtime_checkable
class Source(Protocol):
    """Recordings by name; `parts` gives one recording's windows in time order, in parts of bounded size. It can be pickled."""

    @property
    def kind(self) -> str | None: ...
    def names(self) -> list[str]: ...
    def parts(self, name: str) -> Iterator[Windows]: ...


@dataclass(frozen=True)
class Part:
    """A part of a recording: its windows, or the refusal of the recording."""

    name: str
    windows: Windows | None
    refusal: str
    is_last: bool


@dataclass(frozen=True)
class Given:
    """Windows in memory as a source."""

    windows: Windows

    @property
    def kind(self) -> str | None:
        return self.windows.kind

    def names(self) -> list[str]:
        return self.windows.records

    def parts(self, name: str) -> Iterator[Windows]:
        yield self.windows[np.flatnonzero(self.windows.record == name)]


def ahead(source: Source, names: list[str] | None = None, n_workers: int | None = None) -> Iterator[Part]:
    """The parts of all recordings, in order."""
    for name in source.names() if names is None else names:
        try:
            parts = list(source.parts(name))
        except Refusal as refusal:
            yield Part(name, None, str(refusal), True)
            continue
        for index, windows in enumerate(parts):
            yield Part(name, windows, "", index == len(parts) - 1)
