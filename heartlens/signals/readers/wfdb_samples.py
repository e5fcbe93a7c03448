"""The samples of a WFDB record's signal files, as they are stored: decoded by `wfdb`, read a block at a time, verified by their checksums.

The files are opened here and not by `wfdb`, which would open whatever a header names, and only after their size is compared with what
the header announces.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from heartlens.refusal import Refusal, reason_of
from heartlens.signals.readers.beside import beside
from heartlens.signals.readers.wfdb_header import Header, Signal
from heartlens.signals.recording import samples_for

BLOCK = 2**21  # samples of all signals read together: 16 MB, and as much again for each step of the decoding
WHOLE = 6  # frames: the formats that pack samples pack two or three together
PACKED = {"16": (2, 1), "61": (2, 1), "160": (2, 1), "8": (1, 1), "80": (1, 1), "24": (3, 1), "32": (4, 1), "212": (3, 2)} | {
    "310": (4, 3),
    "311": (4, 3),
}  # bytes that hold so many samples
COMPRESSED = {"508": "PCM_S8", "516": "PCM_16", "524": "PCM_24"}  # FLAC, with the most bits that it may have
MOST_COMPRESSED = 64  # samples a byte: more is no recording, but a file made to fill the memory
MISSING = -(2**15)  # what the WFDB library counts for a missing sample, however it is stored


@dataclass(frozen=True)
class Group:
    """The signals of one file: their numbers in the header and their lines."""

    file: Path
    first: int
    signals: tuple[Signal, ...]

    @property
    def per_frame(self) -> int:
        return sum(signal.per_frame for signal in self.signals)


def physical(header: Header, index: int) -> tuple[Float[np.ndarray, " sample"], tuple[str, ...]]:
    """Signal `index` in its unit, missing samples NaN, without its skew; and a note where a checksum is missing.

    Refuses files that are shorter than the header announces, and any signal that does not add up to its checksum.
    """
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    groups = groups_of(header)
    n_frames = n_frames_of(header, groups)
    wanted = header.signals[index]
    values = samples_for(n_frames * wanted.per_frame)
    for group in groups:
        sums, first = np.zeros(len(group.signals), np.int64), 0
        for samples in _blocks(group, n_frames):
            sums += [own.sum(dtype=np.int64) for own in samples]
            if 0 <= index - group.first < len(samples):
                own = samples[index - group.first]
                values[first : first + len(own)] = (own - np.float64(wanted.baseline)) / wanted.gain
                is_missing = own == INVALID_SAMPLE_VALUE[wanted.storage]  # of nothing where the format has no such value
                if is_missing.any():
                    values[first : first + len(own)][is_missing] = np.nan
                first += len(own)
        _verify(header, group, n_frames, sums)
    notes: tuple[str, ...] = (
        () if all(signal.checksum for signal in header.signals) else ("no checksum in the header: the samples could not be verified",)
    )
    notes += () if wanted.is_calibrated else (f"the header gives no gain for {wanted.name}: {wanted.gain:g} a {wanted.unit} taken",)
    return _aligned(values, wanted.skew * wanted.per_frame), notes


def groups_of(header: Header) -> list[Group]:
    """The signals by their files. Refuses storage formats that are not known, and one file in two formats."""
    groups, first = list[Group](), 0
    for name, of_file in groupby(header.signals, key=lambda signal: signal.file):
        signals = tuple(of_file)
        if {signal.storage for signal in signals} - {*PACKED, *COMPRESSED}:
            legal = ", ".join(sorted({*PACKED, *COMPRESSED}, key=int))
            raise Refusal(f"{header.path}: {name} is stored in format {signals[0].storage}; legal: {legal}")
        if len({(signal.storage, signal.offset) for signal in signals}) > 1 or any(group.file.name == name for group in groups):
            raise Refusal(f"{header.path}: {name} is described in two ways; the signals of a file have one format and one offset, together")
        groups.append(Group(beside(header.path, name), first, signals))
        first += len(signals)
    return groups


def n_frames_of(header: Header, groups: list[Group]) -> int:
    """How many frames the record has; what the header announces must be in its files."""
    held = min(_n_frames_in(group) for group in groups)
    if header.n_frames is not None and held < header.n_frames:
        raise Refusal(f"{header.path}: announces {header.n_frames} samples, but its files hold {held}; they are cut short")
    if any(signal.skew >= (header.n_frames or held) for signal in header.signals):
        raise Refusal(f"{header.path}: a signal's skew is longer than the record")
    return header.n_frames or held


def _n_frames_in(group: Group) -> int:
    size, storage = group.file.stat().st_size, group.signals[0].storage
    if storage in COMPRESSED:
        with _flac(group) as flac:
            n_samples = (flac.frames - group.signals[0].offset) * len(group.signals)
        if n_samples > MOST_COMPRESSED * size:
            raise Refusal(f"{group.file}: announces {n_samples} samples in {size} bytes; no signal is compressed so much")
        return max(n_samples, 0) // group.per_frame
    n_bytes, n_together = PACKED[storage]
    return max(size - group.signals[0].offset, 0) * n_together // n_bytes // group.per_frame


def _blocks(group: Group, n_frames: int) -> Iterator[list[Int[np.ndarray, " sample"]]]:
    """The samples of each signal of a file, some frames at a time."""
    step = max(BLOCK // group.per_frame // WHOLE, 1) * WHOLE
    if group.signals[0].storage in COMPRESSED:
        yield from _uncompressed(group, n_frames, step)
        return
    first_values = [signal.first_value for signal in group.signals]
    for first in range(0, n_frames, step):
        n_some = min(step, n_frames - first)
        samples = _decoded(group, _stored(group, first, n_some), n_some, first_values)
        if group.signals[0].storage == "8":  # differences: counted on from block to block
            first_values = [int(own[-1]) for own in samples]
        yield samples


def _stored(group: Group, first: int, n_frames: int) -> Shaped[np.ndarray, " item"]:
    """What the file holds of some frames: bytes where samples are packed, else samples in the order of the file."""
    from wfdb.io._signal import DATA_LOAD_TYPES

    n_bytes, n_together = PACKED[group.signals[0].storage]
    size = ceil(n_frames * group.per_frame * n_bytes / n_together)
    with group.file.open("rb") as file:
        file.seek(group.signals[0].offset + first * group.per_frame * n_bytes // n_together)
        content = file.read(size)
    if n_together == 3:
        content += bytes(-len(content) % n_bytes)  # of the last three samples there may be a part
    return np.frombuffer(content, DATA_LOAD_TYPES[group.signals[0].storage])


def _decoded(group: Group, raw: Shaped[np.ndarray, " item"], n_frames: int, first_values: list[int]) -> list[Int[np.ndarray, " sample"]]:
    from wfdb.io._signal import _rd_dat_signals

    n_signals = len(group.signals)
    decoded: list[Any] = _rd_dat_signals(
        file_name=group.file.name,
        dir_name=None,
        pn_dir=None,
        fmt=group.signals[0].storage,
        n_sig=n_signals,
        sig_len=n_frames,
        byte_offset=0,
        samps_per_frame=[signal.per_frame for signal in group.signals],
        skew=[0] * n_signals,
        init_value=first_values,
        sampfrom=0,
        sampto=n_frames,
        no_file=True,
        sig_data=raw,
    )
    return decoded


@contextmanager
def _flac(group: Group) -> Iterator[Any]:
    """The open FLAC file. Refuses one that does not hold the signals that the header lists."""
    import soundfile

    storage = group.signals[0].storage
    with group.file.open("rb") as file:
        if file.read(4) != b"fLaC":
            raise Refusal(f"{group.file}: not a FLAC file, as format {storage} needs")
        file.seek(0)
        try:
            with soundfile.SoundFile(file) as flac:
                subtypes = list(COMPRESSED.values())[: list(COMPRESSED).index(storage) + 1]
                if flac.subtype not in subtypes or flac.channels != len(group.signals) or len({own.per_frame for own in group.signals}) > 1:
                    raise Refusal(f"{group.file}: holds {flac.channels} channels of {flac.subtype}, not the signals that the header lists")
                yield flac
        except soundfile.LibsndfileError as error:
            raise Refusal(f"{group.file}: a damaged FLAC file ({reason_of(error)})") from error


def _uncompressed(group: Group, n_frames: int, step: int) -> Iterator[list[Int[np.ndarray, " sample"]]]:
    per_frame = group.signals[0].per_frame
    with _flac(group) as flac:
        flac.seek(group.signals[0].offset)
        kind, shift = ("int16", 8 * (flac.subtype == "PCM_S8")) if flac.subtype != "PCM_24" else ("int32", 8)
        for first in range(0, n_frames, step):
            samples = flac.read(min(step, n_frames - first) * per_frame, kind, always_2d=True) >> shift
            if len(samples) != min(step, n_frames - first) * per_frame:
                raise Refusal(f"{group.file}: holds fewer samples than it announces")
            yield list(samples.T)


def _verify(header: Header, group: Group, n_frames: int, sums: Int[np.ndarray, " signal"]) -> None:
    """Refuse signals whose samples add up to another checksum, as stored and as the WFDB library counts those that are missing."""
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    if all(signal.checksum is None or int(total - signal.checksum) % 2**16 == 0 for signal, total in zip(group.signals, sums, strict=True)):
        return
    code = INVALID_SAMPLE_VALUE[group.signals[0].storage]  # None where the format has none
    as_counted = sums.copy()
    for samples in _blocks(group, n_frames) if code is not None else ():
        as_counted += [np.count_nonzero(own == code) * (MISSING - int(code)) for own in samples]
    for signal, *both in zip(group.signals, sums, as_counted, strict=True):
        if signal.checksum is not None and all(int(total - signal.checksum) % 2**16 for total in both):
            raise Refusal(f"{group.file}: damaged; the samples of {signal.name} do not add up to the checksum in {header.path.name}")


def _aligned(values: Float[np.ndarray, " sample"], skew: int) -> Float[np.ndarray, " sample"]:
    if skew:
        values[:-skew] = values[skew:].copy()
        values[-skew:] = np.nan
    return values
