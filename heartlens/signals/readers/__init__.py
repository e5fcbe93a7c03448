"""The readers: which one reads a file, by its suffix. Each gives a `Recording`, and refuses in one line what it cannot read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.missing import hinted
from heartlens.signals.readers import array, csv, waveform_db
from heartlens.signals.recording import Recording

Reader = Callable[[Path, Hints], Recording]

READERS: dict[str, Reader] = {
    ".csv": csv.read,
    ".tsv": csv.read,
    ".txt": csv.read,
    ".hea": waveform_db.read,
    ".npy": array.read_npy,
    ".npz": array.read_npz,
}


def recording_file(path: Path) -> Path:
    """The file that stands for a recording: the header of a WFDB record named by its .dat or without suffix, else `path` itself.

    Refuses what is not there and a suffix that no reader knows, unless the file plainly is a table of text.
    """
    header = path.with_suffix(".hea") if path.suffix == ".dat" else path.with_name(path.name + ".hea")
    if path.suffix not in READERS and header.is_file():
        return header
    if not path.is_file():
        raise Refusal(f"{path}: no such file or folder")
    if path.suffix.lower() not in READERS and not csv.is_table(path):
        raise Refusal(f"{path}: no reader for {path.suffix or 'a file without suffix'}; legal: {', '.join(READERS)}")
    return path


def read_recording(path: Path, lead: str | int | None = None, **hints: Any) -> Recording:
    """The recording in `path`; `hints` are the fields of `Hints`. Refuses what cannot be read.

    Values that stand for a missing sample become NaN, and the signal is turned where `polarity` is "invert".
    """
    path = recording_file(path)
    its_hints = Hints(lead, **hints)
    try:
        recording = READERS.get(path.suffix.lower(), csv.read)(path, its_hints)
    except OSError as error:
        raise Refusal(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    return hinted(recording, its_hints)
