"""Landmarks kept on disk, so that a signal that is read again is not delineated again.

An entry's name is the SHA-256 of all that its landmarks follow from: the samples, their rate and kind, the recording's habits, and the
code of the detectors with the versions of what they compute with. An entry begins with the hash of the rest, so that a damaged one is
made anew. The oldest are removed when all take more than MOST_BYTES. Nothing depends on the cache: where it cannot be read or
written, reading takes longer. HEARTLENS_NO_LANDMARK_CACHE switches it off.
"""

import hashlib
import io
import os
import pkgutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.axes import KINDS
from heartlens.cache import cache_folder, is_switched_on
from heartlens.signals.delineate import SOURCE, Habits, delineate
from heartlens.signals.landmarks import Landmarks
from heartlens.whole import write_whole

DETECTORS = ("signals/delineate", "signals/beats", "signals/peak_detectors", "signals/ecg_waves", "signals/pwave_gate", "signals/pulse")
CODE = (*DETECTORS, "signals/landmarks", "axes")
MOST_BYTES = 2**28
N_FOLDERS = 256  # each is kept below its share, so that keeping one entry looks at few others
ARRAYS = ("beat_s", "onset_s", "peak_s", "offset_s", "span_s")
HASH_BYTES = 32

Signal = Float[np.ndarray, " sample"]


def landmarks_of(signal: Signal, rate_hz: float, kind: str, habits: Habits | None = None) -> Landmarks:
    """What `delineate` gives, from the cache if it has it. Refuses as `delineate` does; a refusal is not kept."""
    version = detectors_version()
    if version is None or is_switched_on("HEARTLENS_NO_LANDMARK_CACHE"):
        return delineate(signal, rate_hz, kind, habits)
    path = _path(
        signal, f"{version} {rate_hz!r} {kind} {habits!r}", b"" if habits is None or habits.pulse is None else habits.pulse.tobytes()
    )
    landmarks = _read(path, kind)
    if landmarks is None:
        landmarks = delineate(signal, rate_hz, kind, habits)
        with suppress(OSError):
            write_whole(_content(landmarks), path, lasting=False)
            _shrink(path.parent)
    return landmarks


@cache
def detectors_version() -> str | None:
    """A hash of the detectors' code and of the versions of NumPy and SciPy; None where the code cannot be read."""
    import scipy

    digest = hashlib.sha256(f"{np.__version__} {scipy.__version__}".encode())
    for name in CODE:
        try:
            code = pkgutil.get_data("heartlens", f"{name}.py")
        except OSError:
            return None
        digest.update(code or b"")
    return digest.hexdigest()


def _path(signal: Signal, about: str, pulse: bytes) -> Path:
    digest = hashlib.sha256(about.encode())
    digest.update(pulse)
    digest.update(np.ascontiguousarray(signal).data)
    name = digest.hexdigest()
    return cache_folder() / "landmarks" / f"{int(name[:8], 16) % N_FOLDERS:02x}" / name


def _content(landmarks: Landmarks) -> bytes:
    waves = KINDS[landmarks.kind].waves
    numbers = np.array([waves.index(str(name)) for name in landmarks.wave], np.int8)
    arrays: dict[str, Any] = {name: np.asarray(getattr(landmarks, name)) for name in ARRAYS}
    file = io.BytesIO()
    np.savez_compressed(file, wave=numbers, **arrays)
    return hashlib.sha256(file.getvalue()).digest() + file.getvalue()


def _read(path: Path, kind: str) -> Landmarks | None:
    """The kept landmarks; None where there are none, or not those that were written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[HASH_BYTES:]).digest() != content[:HASH_BYTES]:
        return None
    with suppress(OSError):
        os.utime(path)  # the oldest entry is the one that was not used for longest
    with np.load(io.BytesIO(content[HASH_BYTES:])) as arrays:
        beat_s, onset_s, peak_s, offset_s, span_s = (arrays[name] for name in ARRAYS)
        wave = np.array(KINDS[kind].waves)[arrays["wave"]]
    return Landmarks(kind, beat_s, wave, onset_s, peak_s, offset_s, (float(span_s[0]), float(span_s[1])), SOURCE)


def _shrink(folder: Path) -> None:
    """Remove the entries of one folder that were not used for longest, until it is within its share."""
    entries = sorted((entry.stat().st_mtime, entry.stat().st_size, entry) for entry in folder.iterdir())
    excess = sum(size for _, size, _ in entries) - MOST_BYTES // N_FOLDERS
    for _, size, entry in entries[:-1]:
        if excess <= 0:
            return
        entry.unlink(missing_ok=True)
        excess -= size
