"""NumPy files: one signal (a vector, a column or a row) in .npy, one or several named ones in .npz. They tell no rate: it must be given."""

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Real, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, digest, kind_of_lead, record_name

MAPPED = 2**24  # bytes; a longer .npy file stays on disk, and only what is computed with is read


def read_npy(path: Path, hints: Hints) -> Recording:
    """The one signal of a .npy file. Refuses more than one, what is not numbers, and a missing rate; `lead` only names it."""
    content = _load(path, mapped=path.stat().st_size > MAPPED)
    if not isinstance(content, np.ndarray):
        raise Refusal(f"{path}: not a .npy file (an archive of arrays; call it .npz)")
    return _recording(path, content, str(hints.lead) if hints.lead is not None else path.stem, hints.rate_hz, ())


def read_npz(path: Path, hints: Hints) -> Recording:
    """The array called `lead` of a .npz file, or its preferred one (`choose_lead`). Refuses as `read_npy` does, and an unknown lead."""
    content = _load(path)
    if isinstance(content, np.ndarray):
        raise Refusal(f"{path}: not a .npz file (a single array; call it .npy)")
    with content as arrays:
        names = list(arrays)
        if not names:
            raise Refusal(f"{path}: the file is empty")
        index, notes = choose_lead(names, hints.lead, hints.kind, path)
        return _recording(path, arrays[names[index]], names[index], hints.rate_hz, notes)


def _load(path: Path, mapped: bool = False) -> Shaped[np.ndarray, "..."] | np.lib.npyio.NpzFile:
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Refusal(f"{path}: not a NumPy file of numbers") from error


def _recording(path: Path, content: Shaped[np.ndarray, "..."], lead: str, rate_hz: float | None, notes: tuple[str, ...]) -> Recording:
    signal, rate_hz = _signal(path, content), agreed_rate(None, rate_hz, path)
    return Recording(record_name(path), kind_of_lead(lead), lead, rate_hz, signal, "", None, str(path), digest(path), notes)


def _signal(path: Path, content: Shaped[np.ndarray, "..."]) -> Real[np.ndarray, " sample"]:
    if content.size == 0:
        raise Refusal(f"{path}: the file is empty")
    if content.size != max(content.shape, default=0):
        raise Refusal(f"{path}: expected one signal, got an array of shape {content.shape}; give one column or one row")
    if content.dtype.kind not in "fiu":
        raise Refusal(f"{path}: the array holds {content.dtype}, not numbers")
    return content.reshape(-1) if isinstance(content, np.memmap) else content.reshape(-1).astype(np.float64)
