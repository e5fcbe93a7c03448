"""NumPy files: one signal (a vector, a column or a row) in .npy, one or several named ones in .npz.

Of .npy the rate must be given, .npz may tell it. What a header claims is compared with the file before
anything is read, and nothing is unpickled.
"""

import math
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Real, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.column_names import Column, shown
from heartlens.signals.hints import Hints
from heartlens.signals.readers.told_rate import Times, is_time, may_tell_rate, told_rate
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, kind_of_lead, record_name
from heartlens.whole import sha256_of

MAPPED = 2**24  # bytes; a longer .npy file stays on disk, and only what is computed with is read
PACKED = 2**26, 100  # bytes that an array in .npz may unpack to, or so many times its packed size
MOST_ARRAYS = 4096
SMALL = 1000  # bytes of an array that may be a single number


def read_npy(path: Path, hints: Hints) -> Recording:
    """The one signal of a .npy file. Refuses more than one, what is not numbers, and a missing rate; `lead` only names it."""
    with path.open("rb") as file:
        if file.read(4) in (b"PK\3\4", b"PK\5\6"):
            raise Refusal(f"{path}: not a .npy file (an archive of arrays; call it .npz)")
        file.seek(0)
        _checked(path, lambda: _header(file, path.stat().st_size - file.tell()))
    is_long = path.stat().st_size > MAPPED
    content = _checked(path, lambda: np.load(path, allow_pickle=False, mmap_mode="r" if is_long else None))
    return _recording(path, content, str(hints.lead) if hints.lead is not None else path.stem, hints.rate_hz, ())


def read_npz(path: Path, hints: Hints) -> Recording:
    """The array called `lead` of a .npz file, or its preferred one (`choose_lead`). Refuses as `read_npy` does, and an unknown lead.

    Single numbers called fs, rate or the like and even times tell the rate, see `told_rate`.
    """
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise Refusal(f"{path}: not a .npz file (a single array; call it .npy)")
    with _checked(path, lambda: zipfile.ZipFile(path)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if not members:
            raise Refusal(f"{path}: the file is empty")
        if len(members) > MOST_ARRAYS:
            raise Refusal(f"{path}: {len(members)} arrays; at most {MOST_ARRAYS} are read")
        small = [name for name, info in members.items() if may_tell_rate(name) and info.file_size < SMALL]
        numbers = {name: value.reshape(-1)[0] for name in small if _is_number(value := _member(path, archive, members[name]))}
        signals = [name for name in members if name not in numbers]
        names = [name for name in signals if not is_time(name)] or signals or list(members)
        index, notes = choose_lead(names, hints.lead, hints.kind, path)
        content = _member(path, archive, members[names[index]])
        times = {
            name: Times(partial(_member, path, archive, members[name]))
            for name in signals
            if name not in names and content.size > 1 and _has_numbers(archive, members[name], content.size)
        }
        found_hz, told_notes = told_rate(numbers, times, names, hints, path)
    rate_hz, rate_notes = agreed_rate(found_hz, hints.rate_hz, path)
    return _recording(path, content, names[index], rate_hz, (*notes, *rate_notes, *told_notes))


def _is_number(value: Shaped[np.ndarray, "..."]) -> bool:
    return value.size == 1 and value.dtype.kind in "fiu"


def _has_numbers(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bool:
    """Whether an array is one of so many numbers; one of objects (dates, say) or damaged is not."""
    try:
        with archive.open(info) as file:
            shape, _, dtype, _ = _header(file, info.file_size)
    except Exception:  # damage trips whatever it happens to
        return False
    return dtype.kind in "fiu" and max(shape, default=0) == size == math.prod(shape)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Shaped[np.ndarray, "..."]:
    """One array of an archive. Refuses one that unpacks to far more than it takes."""
    if info.file_size > max(PACKED[0], PACKED[1] * info.compress_size):
        size = f"{info.file_size / 2**20:.0f} MB from {info.compress_size / 2**20:.2f} MB"
        raise Refusal(f"{path}: {shown(info.filename)} unpacks to {size}; save it as .npy")

    def unpacked() -> Any:
        with archive.open(info) as file:
            shape, in_columns, dtype, n_bytes = _header(file, info.file_size)
            values = np.frombuffer(file.read(n_bytes), dtype)
            return values.reshape(shape, order="F" if in_columns else "C")

    return _checked(path, unpacked)


def _header(file: Any, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What the header of an array claims: shape, order, type and size, which is not more than there is. Refuses what is not numbers."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= length
    if not 0 <= n_bytes <= size:
        raise ValueError("it claims more than there is")
    return shape, in_columns, dtype, n_bytes


def _checked(path: Path, read: Callable[[], Any]) -> Any:
    """What `read` gives; whatever the damage happens to trip is a refusal."""
    try:
        return read()
    except (Refusal, PermissionError, FileNotFoundError, IsADirectoryError):
        raise
    except Exception as error:
        raise Refusal(f"{path}: not a NumPy file of numbers ({shown(str(error)) or type(error).__name__})") from error


def _recording(path: Path, content: Shaped[np.ndarray, "..."], lead: str, rate_hz: float | None, notes: tuple[str, ...]) -> Recording:
    signal, (rate_hz, _) = _signal(path, content), agreed_rate(None, rate_hz, path)
    column = Column(shown(lead))
    about = (column.unit, None, str(path), sha256_of(path), notes)
    return Recording(record_name(path), kind_of_lead(lead), column.name, rate_hz, signal, *about)


def _signal(path: Path, content: Shaped[np.ndarray, "..."]) -> Real[np.ndarray, " sample"]:
    if content.size == 0:
        raise Refusal(f"{path}: the file is empty")
    if content.size != max(content.shape, default=0):
        raise Refusal(f"{path}: expected one signal, got an array of shape {content.shape}; give one column or one row")
    if content.dtype.kind not in "fiu":
        raise Refusal(f"{path}: the array holds {shown(str(content.dtype))}, not numbers")
    return content.reshape(-1) if isinstance(content, np.memmap) else content.reshape(-1).astype(np.float64)
