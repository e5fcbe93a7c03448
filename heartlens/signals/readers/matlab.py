"""MATLAB files: v4 to v7.2 with SciPy, v7.3 (which are HDF5) as HDF5. Structures are looked into."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers import hdf5
from heartlens.signals.readers.channels import recording_of
from heartlens.signals.readers.named_arrays import Array, channels_of
from heartlens.signals.recording import Recording

DEPTH = 8  # of structures in structures
MOST_VARIABLES = 10_000


def read(path: Path, hints: Hints) -> Recording:
    """The recording in a MATLAB file. Refuses one without a signal, and one that tells several rates."""
    with path.open("rb") as file:
        start = file.read(520)
    if start.startswith(b"MATLAB 7.3") or hdf5.MAGIC in (start[:8], start[512:]):
        return hdf5.read(path, hints)
    from scipy.io import loadmat

    content = {name: value for name, value in loadmat(path, simplify_cells=True).items() if not name.startswith("__")}
    arrays: dict[str, Array] = {}
    texts: dict[str, list[str]] = {}
    numbers: dict[str, Any] = {}
    _sort("", content, arrays, texts, numbers, 0)
    if len(arrays) + len(numbers) > MOST_VARIABLES:
        raise Refusal(f"{path}: holds {len(arrays)} arrays; at most {MOST_VARIABLES} are looked at")
    channels, notes = channels_of(arrays, texts, numbers, hints, path)
    return recording_of(path, hints, channels, notes=notes)


def _sort(name: str, value: Any, arrays: dict[str, Array], texts: dict[str, list[str]], numbers: dict[str, Any], depth: int) -> None:
    if isinstance(value, dict) and depth < DEPTH:
        for key, inner in value.items():
            _sort(f"{name}.{key}" if name else str(key), inner, arrays, texts, numbers, depth + 1)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size > 1:
        long_side = int(np.argmax(value.shape))
        rows = np.moveaxis(value, long_side, -1).reshape(-1, value.shape[long_side])
        arrays[name] = Array(value.shape, value.dtype.kind, partial(np.asarray, value), partial(rows.__getitem__))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "UO" and value.size < 10_000:
        words = [str(word).strip() for word in value.reshape(-1).tolist() if isinstance(word, str)]
        texts |= {name: words} if len(words) == value.size else {}
    elif isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        numbers[name] = value
