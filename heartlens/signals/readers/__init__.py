"""The readers: which one reads a file, by its suffix. Each gives a `Recording`, and refuses in one line what it cannot read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartlens.refusal import Refusal, one_line
from heartlens.signals.hints import Hints
from heartlens.signals.missing import hinted
from heartlens.signals.readers import array, csv, edf, ishne, waveform_db, xml
from heartlens.signals.readers.apart import apart
from heartlens.signals.recording import Recording

Reader = Callable[[Path, Hints], Recording]

READERS: dict[str, Reader] = {
    ".csv": csv.read,
    ".tsv": csv.read,
    ".txt": csv.read,
    ".hea": waveform_db.read,
    ".npy": array.read_npy,
    ".npz": array.read_npz,
    ".edf": edf.read,
    ".bdf": edf.read,
    ".mat": apart("matlab"),
    ".h5": apart("hdf5"),
    ".hdf5": apart("hdf5"),
    ".parquet": apart("parquet"),
    ".xml": xml.read,
    ".dcm": apart("dicom"),
    ".ecg": ishne.read,
}


def recording_file(path: Path) -> Path:
    """The file that stands for a recording: the header of a WFDB record named by a file beside it or without suffix, else `path` itself.

    Refuses what is not there, what is no regular file, and a suffix that no reader knows, unless the file plainly is a table of text.
    """
    beside, added = path.with_suffix(".hea"), path.with_name(path.name + ".hea")
    if path.suffix not in (".csv", ".tsv", ".hea") and (beside if path.suffix else added).is_file():
        return beside if path.suffix else added
    if path.suffix.lower() not in READERS and added.is_file():
        return added
    if not path.exists():
        raise Refusal(f"{path}: no such file or folder")
    if not path.is_file():
        raise Refusal(f"{path}: not a regular file")
    if path.suffix.lower() not in READERS and not csv.is_table(path):
        raise Refusal(f"{path}: no reader for {path.suffix or 'a file without suffix'}; legal: {', '.join(READERS)}")
    return path


def read_recording(path: Path, lead: str | int | None = None, **hints: Any) -> Recording:
    """The recording in `path`; `hints` are the fields of `Hints`. Refuses what cannot be read: whatever a library raises is one line.

    Values that stand for a missing sample become NaN, and the signal is turned where `polarity` is "invert".
    """
    path = recording_file(path)
    its_hints = Hints(lead, **hints)
    try:
        return hinted(READERS.get(path.suffix.lower(), csv.read)(path, its_hints), its_hints)
    except Refusal as refusal:
        raise Refusal(one_line(str(refusal))) from refusal.__cause__
    except MemoryError:
        raise
    except OSError as error:
        raise Refusal(f"{error.filename or path}: cannot be read ({error.strerror or _first_line(error)})") from error
    except Exception as error:  # libraries raise whatever the damage happens to trip
        raise Refusal(f"{path}: damaged, or not what {path.suffix} says ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:120] or type(error).__name__
