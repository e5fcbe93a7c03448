"""From files to windows: find the recordings, read each, cut it into labelled windows.

What the models were shown is not filtered by their tokeniser, so nothing is filtered here unless `bandpass` asks for the paper's band.
"""

import os
from collections import Counter
from dataclasses import replace
from typing import Any

from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal
from heartlens.signals.distinct import distinct
from heartlens.signals.files import Files
from heartlens.signals.search import Paths
from heartlens.signals.source import Part, Source, ahead
from heartlens.windows import Windows, concatenate


def read(
    paths: Paths,
    *,
    lead: str | int | None = None,
    rate_hz: float | None = None,
    kind: str | None = None,
    landmarks: str = "auto",
    bandpass: bool = False,
    stride: int = CONTEXT,
    max_windows: int | None = None,
    draw: int = 0,
    persons: str | os.PathLike[str] | None = None,
    person: str | None = None,
    time_unit: str | None = None,
    missing: tuple[float, ...] = (),
    polarity: str = "check",
    strict: bool = False,
) -> Windows:
    """The windows of all recordings in `paths`: files, folders (searched throughout), patterns.

    `lead`, `rate_hz` and `kind` are for files that leave them open; `stride` counts samples at the model's rate; of one recording at
    most `max_windows` are kept; another `draw` starts the windows elsewhere. `persons` is a CSV of record,person; `person` a regular
    expression whose one group is the part of a record's name that names the person, or "path" for the parent folder. `time_unit`,
    `missing` and `polarity` are those of `Hints`. Copies of a
    recording are read once, and a note names them. Refuses paths that are not there, a mixture of kinds, and
    paths without any usable window. A file that cannot be read, or a recording without a usable window, is counted and noted where
    others have some; with `strict` it is refused.
    """
    hints: dict[str, Any] = {"time_unit": time_unit, "missing": missing, "polarity": polarity}
    files = Files(paths, lead, rate_hz, kind, landmarks, bandpass, stride, max_windows, draw, persons, person, **hints)
    return read_all(files, strict)


def read_all(source: Source, strict: bool = False) -> Windows:
    """The windows of all recordings of a source; see `read`."""
    read: list[Windows] = []
    refused: list[Part] = []
    own: list[Windows] = []  # of the recording that is being read
    recordings = distinct(source)
    for part in ahead(recordings.source, recordings.names):
        if part.windows is not None:
            own.append(part.windows)
        elif strict:
            raise Refusal(part.refusal)
        else:
            refused.append(part)
            own = []
        if part.is_last:
            read, own = read + own, []
    if not read:
        raise _nothing_usable(refused)
    windows = with_refused(concatenate(read), refused)
    return replace(windows, notes=windows.notes + recordings.notes)


def with_refused(windows: Windows, refused: list[Part]) -> Windows:
    """The windows with those recordings that were refused beside them counted and noted."""
    skipped = Counter(dict(windows.skipped)) + Counter(part.reason for part in refused)
    return replace(windows, skipped=tuple(skipped.items()), notes=windows.notes + tuple(f"skipped {part.refusal}" for part in refused))


def _nothing_usable(refused: list[Part]) -> Refusal:
    others = f" (and {len(refused) - 1} more files without a usable window)" if len(refused) > 1 else ""
    return Refusal(f"{refused[0].refusal}{others}")
