"""HDF5 files with h5py, MATLAB's v7.3 among them. Links to other places, external storage and virtual data sets are never followed."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import recording_of
from heartlens.signals.readers.named_arrays import NAMES, Array, channels_of
from heartlens.signals.readers.told_rate import may_tell_rate
from heartlens.signals.recording import MOST_SAMPLES, Recording

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_OBJECTS, DEPTH = 10_000, 20
MOST_PACKED = 2000  # times: gzip makes of zeros about a thousandth
MOST_WORDS = 1000
UNITS = ("unit", "units")


def read(path: Path, hints: Hints) -> Recording:
    """The recording in an HDF5 file. Refuses one without a signal, one that tells several rates, and data that lie outside the file."""
    import h5py

    arrays: dict[str, Array] = {}
    texts: dict[str, list[str]] = {}
    numbers: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        for name, item in _objects(file):
            for key, value in list(item.attrs.items())[:MOST_WORDS] if len(item.attrs) < MOST_OBJECTS else []:
                _attribute(f"{name}/{key}" if name else key, value, texts, numbers)
            if isinstance(item, h5py.Dataset):
                _dataset(file, name, item, arrays, texts, numbers, path)
        channels, notes = channels_of(arrays, texts, numbers, hints, path)
        return recording_of(path, hints, channels, notes=notes)


def _objects(file: Any) -> Iterator[tuple[str, Any]]:
    """Every group and data set that lies in the file, once, by its path; those that MATLAB hides are left out."""
    import h5py

    seen, waiting = set[tuple[int, int]](), [("", file, 0)]
    while waiting:
        name, item, depth = waiting.pop()
        info = h5py.h5o.get_info(item.id)
        if (info.fileno, info.addr) in seen:
            continue
        seen.add((info.fileno, info.addr))
        if len(seen) > MOST_OBJECTS:
            raise Refusal(f"{file.filename}: holds more than {MOST_OBJECTS} objects")
        yield name, item
        if isinstance(item, h5py.Group) and depth < DEPTH:
            if len(item) > MOST_OBJECTS:
                raise Refusal(f"{file.filename}: holds more than {MOST_OBJECTS} objects")
            for key in item:
                if isinstance(item.get(key, getlink=True), h5py.HardLink) and not key.startswith("#"):
                    waiting.append((f"{name}/{key}" if name else key, item[key], depth + 1))


def _attribute(name: str, value: Any, texts: dict[str, list[str]], numbers: dict[str, Any]) -> None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "SUO" and value.size <= MOST_WORDS:
        texts[name] = [_text(word) for word in value.reshape(-1).tolist()]
    elif may_tell_rate(name) and np.size(value) == 1 and not isinstance(value, str | bytes):
        numbers[name] = np.asarray(value).reshape(-1)[0]


def _dataset(
    file: Any, name: str, item: Any, arrays: dict[str, Array], texts: dict[str, list[str]], numbers: dict[str, Any], path: Path
) -> None:
    import h5py

    if item.shape is None:
        return
    if NAMES.fullmatch(name) and item.dtype.kind in "SO" and item.size <= MOST_WORDS:
        _refuse_outside(item, name, path)
        words = item[()].reshape(-1).tolist() if item.shape else [item[()]]
        texts[name] = [_referred(file, word) if isinstance(word, h5py.Reference) else _text(word) for word in words]
    elif item.dtype.kind in "fiu" and item.size == 1:
        if may_tell_rate(name):
            _refuse_outside(item, name, path)
            numbers[name] = item[()].reshape(-1)[0] if item.shape else item[()]
    elif item.dtype.kind in "fiu":
        unit = next((_text(item.attrs[key]) for key in UNITS if key in item.attrs), "")
        reads = partial(_values, item, name, path), partial(_row, item, name, path)
        arrays[name] = Array(tuple(item.shape), item.dtype.kind, *reads, unit, name.rsplit("/", 1)[-1])


def _values(item: Any, name: str, path: Path) -> Shaped[np.ndarray, "..."]:
    _refuse_outside(item, name, path)
    if item.size > MOST_SAMPLES:
        raise Refusal(f"{path}: {name} has {item.size} samples; at most {MOST_SAMPLES} are read")
    return np.asarray(item[()])


def _row(item: Any, name: str, path: Path, number: int) -> Shaped[np.ndarray, "..."]:
    """A row along the longest side of a matrix, which may have sides of 1 too."""
    _refuse_outside(item, name, path)
    longest = int(np.argmax(item.shape))
    if item.shape[longest] > MOST_SAMPLES:
        raise Refusal(f"{path}: {name} has {item.shape[longest]} samples; at most {MOST_SAMPLES} are read")
    return np.asarray(item[tuple(slice(None) if side == longest else 0 if size == 1 else number for side, size in enumerate(item.shape))])


def _refuse_outside(item: Any, name: str, path: Path) -> None:
    """Data in other files, and more of it than the file can hold."""
    if item.is_virtual or item.external:
        raise Refusal(f"{path}: {name} lies in another file, which is not opened; copy the data into this one")
    if item.size * item.dtype.itemsize > MOST_PACKED * max(item.id.get_storage_size(), 1):
        raise Refusal(f"{path}: {name} claims {item.shape}, more than the file holds")


def _referred(file: Any, reference: Any) -> str:
    """A word of MATLAB's cells: numbers of letters, elsewhere in the file."""
    letters = file[reference]
    if letters.size > MOST_WORDS or letters.dtype.kind != "u":
        return ""
    return "".join(map(chr, letters[()].reshape(-1).tolist()))


def _text(value: Any) -> str:
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()
