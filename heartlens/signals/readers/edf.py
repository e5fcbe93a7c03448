"""EDF, EDF+ and BDF: the header is read by edfio, the samples of the wanted signal a block at a time, so that days fit in little memory.

The formats: https://www.edfplus.info/specs/. A discontinuous file (EDF+D) tells when each of its data records begins; what lies between
is missing.
"""

import io
import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import Channel, library, recording_of
from heartlens.signals.recording import Recording, samples_for

MOST_SIGNALS = 2000
BLOCK = 2**22  # bytes of a block of data records
UNKNOWN = "-1"  # the number of data records in a file whose recording was broken off

Records = UInt8[np.ndarray, "record byte"]


def read(path: Path, hints: Hints) -> Recording:
    """The recording of a European data file in its physical unit. Refuses one that is cut short or contradicts itself."""
    n_bytes = 3 if path.suffix.lower() == ".bdf" else 2
    header = _header(path, n_bytes)
    per_record = [signal.samples_per_data_record * n_bytes for signal in header._signals]
    if not sum(per_record):
        raise Refusal(f"{path}: the file holds no signal")
    records, notes = _records(path, 256 * (len(per_record) + 1), sum(per_record))
    ends = np.cumsum(per_record).tolist()
    is_annotation = [signal.label.endswith("Annotations") for signal in header._signals]
    begin_s = None
    if header.reserved[3:5] == "+D":
        place = is_annotation.index(True) if any(is_annotation) else None
        if place is None:
            raise Refusal(f"{path}: discontinuous, but nothing tells when its data records begin")
        begin_s = _begin_s(records[:, ends[place] - per_record[place] : ends[place]], path)
    channels = [
        Channel(
            signal.label.strip(),
            signal.physical_dimension.strip(),
            signal.samples_per_data_record / header.data_record_duration,
            partial(_samples, path, records, slice(end - size, end), signal, n_bytes, begin_s, header.data_record_duration),
        )
        for signal, end, size, skipped in zip(header._signals, ends, per_record, is_annotation, strict=True)
        if not skipped and size
    ]
    code = header.local_patient_identification.split(" ")[0] if header.reserved[3:4] == "+" else "X"
    return recording_of(path, hints, channels, "" if code in ("X", "") else code, notes)


def _header(path: Path, n_bytes: int) -> Any:
    edfio = library("edfio", path)
    with path.open("rb") as file:
        start = file.read(256)
        if start[:8] not in (b"0       ", b"\xffBIOSEMI"):
            raise Refusal(f"{path}: not a European data file (it begins with {start[:8]!r})")
        n_signals = start[252:256].strip()
        if not n_signals.isdigit() or not 0 < int(n_signals) <= MOST_SIGNALS:
            raise Refusal(f"{path}: announces {n_signals.decode('latin-1')!r} signals; legal: 1 to {MOST_SIGNALS}")
        content = start + file.read(256 * int(n_signals))
    if len(content) < 256 * (int(n_signals) + 1):
        raise Refusal(f"{path}: cut short within its header")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no data records in what is given to it
        header = (edfio.read_bdf if n_bytes == 3 else edfio.read_edf)(io.BytesIO(content), header_encoding="latin-1")
    if not 0 < header.data_record_duration < math.inf:
        raise Refusal(f"{path}: a data record lasts {header.data_record_duration:g} s, which tells no rate")
    return header


def _records(path: Path, first: int, record_size: int) -> tuple[Records, tuple[str, ...]]:
    """The data records, on disk."""
    with path.open("rb") as file:
        announced = file.read(244)[236:].decode("latin-1").strip()
    held, rest = divmod(path.stat().st_size - first, record_size)
    notes: tuple[str, ...] = ()
    if announced == UNKNOWN:
        notes = (f"the header does not tell the length: {held} whole data records read",)
    elif not announced.isdigit() or int(announced) != held or rest:
        raise Refusal(f"{path}: announces {announced[:12]!r} data records, but holds {held}{' and a part' * bool(rest)}; it is cut short")
    if not held:
        raise Refusal(f"{path}: the file holds no data record")
    return np.memmap(path, np.uint8, "r", first, (held, record_size)), notes


def _begin_s(annotations: Records, path: Path) -> Float[np.ndarray, " record"]:
    """When each data record begins: the first time in its annotations, `+567.5` and a byte 20."""
    try:
        begin_s = np.array([float(bytes(record).split(b"\x14")[0]) for record in annotations])
    except ValueError as error:
        raise Refusal(f"{path}: a data record does not tell when it begins") from error
    if not np.isfinite(begin_s).all():
        raise Refusal(f"{path}: a data record does not tell when it begins")
    return begin_s - begin_s[0]


def _samples(
    path: Path, records: Records, place: slice, signal: Any, n_bytes: int, begin_s: Float[np.ndarray, " record"] | None, record_s: float
) -> Float[np.ndarray, " sample"]:
    (low, high), (bottom, top) = signal.digital_range, signal.physical_range
    if high <= low or not np.isfinite([bottom, top]).all() or bottom == top:
        raise Refusal(f"{path}: {signal.label} reaches from {low} to {high}, which is {bottom:g} to {top:g} {signal.physical_dimension}")
    per_unit = (high - low) / (top - bottom)
    offset = bottom - low / per_unit
    per_record = (place.stop - place.start) // n_bytes
    starts = np.arange(len(records)) * per_record
    if begin_s is not None:
        starts = np.round(begin_s * per_record / record_s).astype(np.int64)
        if (np.diff(starts) < per_record - 1).any():
            raise Refusal(f"{path}: its data records overlap in time")
    values = samples_for(int(starts[-1]) + per_record)
    values[:] = np.nan
    step = max(BLOCK // records.shape[1], 1)
    for first in range(0, len(records), step):
        block = _integers(np.ascontiguousarray(records[first : first + step, place]), n_bytes)
        for start, own in zip(starts[first : first + step].tolist(), block / per_unit + offset, strict=True):
            values[start : start + per_record] = own
    return values


def _integers(content: Records, n_bytes: int) -> Int[np.ndarray, "record sample"]:
    if n_bytes == 2:
        return content.view("<i2")
    parts = content.reshape(len(content), -1, 3)
    return parts[..., 0].astype(np.int32) | parts[..., 1].astype(np.int32) << 8 | parts[..., 2].view(np.int8).astype(np.int32) << 16
