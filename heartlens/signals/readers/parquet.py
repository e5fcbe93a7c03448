"""Parquet tables, of which one column is read. The rate is told by even times (a column of numbers in seconds, or of time stamps).

Columns have their whole names, with dots. Decimals are numbers; a column of text that is called as a signal is refused if taken.
"""

from functools import partial
from pathlib import Path
from typing import Any, Never

import numpy as np
from jaxtyping import Shaped

from heartlens.refusal import Refusal
from heartlens.signals.channels import kind_of_lead
from heartlens.signals.column_names import shown
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import library, recording_of
from heartlens.signals.readers.named_arrays import NAMES, Array, channels_of
from heartlens.signals.recording import MOST_SAMPLES, Recording
from heartlens.signals.tables import some

MOST_COLUMNS = 5000
PER_STAMP_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def read(path: Path, hints: Hints) -> Recording:
    """The recording in a Parquet table. Refuses one without a column of numbers, and a signal that is written as text."""
    arrow = library("pyarrow", path)
    arrow.set_memory_pool(arrow.system_memory_pool())  # others reserve more than they use
    file = library("pyarrow.parquet", path).ParquetFile(path)
    schema, n_rows = file.schema_arrow, file.metadata.num_rows
    if len(schema.names) > MOST_COLUMNS or n_rows > MOST_SAMPLES:
        raise Refusal(f"{path}: {len(schema.names)} columns of {n_rows} rows; at most {MOST_COLUMNS} of {MOST_SAMPLES} are read")
    arrays = {field.name: array for field in schema if (array := _array(file, field, n_rows, hints, path))}
    left_out = [shown(name) for name in schema.names if name not in arrays]
    left_notes = (f"columns that are no numbers are left out: {some(left_out)}",) if left_out else ()
    metadata = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}
    channels, notes = channels_of(arrays, {}, metadata, hints, path)
    return recording_of(path, hints, channels, notes=notes + left_notes)


def _array(file: Any, field: Any, n_rows: int, hints: Hints, path: Path) -> Array | None:
    """A column as an array, None for what is no signal and no time. Of columns of text those that are called or asked for as one."""
    import pyarrow.types as types

    kind, name = _kind(field.type), field.name
    if kind:
        read = partial(_column, file, field)
        return Array((n_rows,), kind, read, read, "s" if kind == "t" else "", name)
    is_asked = name.strip().lower() == str(hints.lead).strip().lower()
    if _is_text(types, field.type) and (is_asked or (kind_of_lead(name) and not NAMES.fullmatch(name))):
        refuse = partial(_refuse_text, file, name, path)
        return Array((n_rows,), "f", refuse, refuse, label=name)
    return None


def _is_text(types: Any, kind: Any) -> bool:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _kind(kind: Any) -> str:
    import pyarrow.types as types

    if types.is_floating(kind) or types.is_decimal(kind):
        return "f"
    return "i" if types.is_integer(kind) else "t" if types.is_timestamp(kind) else ""


def _column(file: Any, field: Any, row: int = 0) -> Shaped[np.ndarray, "..."]:
    """A column; time stamps in seconds, a blank as NaN. By its name, for others whose names go on after a dot come with it."""
    import pyarrow as pa

    column = file.read(columns=[field.name], use_threads=False).column(field.name)
    if pa.types.is_timestamp(field.type):
        return np.asarray(column.cast(pa.int64()).to_numpy() * PER_STAMP_S[field.type.unit], np.float64)
    return np.asarray((column.cast(pa.float64()) if pa.types.is_decimal(field.type) else column).to_numpy())


def _refuse_text(file: Any, name: str, path: Path, row: int = 0) -> Never:
    first = next(file.iter_batches(1000, columns=[name], use_threads=False)).column(name).drop_null()
    text = shown(str(first[0]))[:40] if len(first) else ""
    raise Refusal(f"{path}: {shown(name)} holds text ({text!r}), not numbers; write the column as numbers, or give another with --lead")
