"""Parquet tables, of which one column is read. The rate is told by even times (a column of numbers in seconds, or of time stamps)."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import library, recording_of
from heartlens.signals.readers.named_arrays import RATE, TIME, Array, channels_of
from heartlens.signals.recording import MOST_SAMPLES, Recording

MOST_COLUMNS = 5000
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def read(path: Path, hints: Hints) -> Recording:
    """The recording in a Parquet table. Refuses one without a column of numbers."""
    arrow = library("pyarrow", path)
    arrow.set_memory_pool(arrow.system_memory_pool())  # others reserve more than they use
    file = library("pyarrow.parquet", path).ParquetFile(path)
    schema, n_rows = file.schema_arrow, file.metadata.num_rows
    if len(schema.names) > MOST_COLUMNS or n_rows > MOST_SAMPLES:
        raise Refusal(f"{path}: {len(schema.names)} columns of {n_rows} rows; at most {MOST_COLUMNS} of {MOST_SAMPLES} are read")
    arrays = {
        field.name: Array((n_rows,), kind, partial(_column, file, field, hints.time_unit), partial(_column, file, field, hints.time_unit))
        for field in schema
        if (kind := _kind(field.type))
    }
    metadata = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}
    return recording_of(path, hints, channels_of(arrays, {}, {key: value for key, value in metadata.items() if RATE.fullmatch(key)}, path))


def _kind(kind: Any) -> str:
    import pyarrow.types as types

    if types.is_floating(kind):
        return "f"
    return "i" if types.is_integer(kind) or types.is_timestamp(kind) else ""


def _column(file: Any, field: Any, time_unit: str | None, row: int = 0) -> Shaped[np.ndarray, "..."]:
    """A column; time stamps in seconds, a blank as NaN."""
    import pyarrow as pa

    column = file.read(columns=[field.name], use_threads=False).column(0)
    if pa.types.is_timestamp(field.type):
        return np.asarray(column.cast(pa.int64()).to_numpy() * UNITS[field.type.unit], np.float64)
    scale = UNITS[time_unit or "s"] if TIME.fullmatch(field.name) else 1
    return np.asarray(column.to_numpy() * scale)
