"""The rows of a table, read by pandas some at a time, of which only the wanted columns are kept.

A small table of nothing but numbers is read by NumPy, which is there: importing pandas takes longer than reading such a table.
"""

import csv
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.column_names import shown
from heartlens.signals.readers.csv.fields import BLANKS, is_number
from heartlens.signals.readers.csv.layout import Layout

CELLS = 2**21  # read together
SMALL = 2**20  # bytes of a table that NumPy may read
DIGITS = "0123456789+-.eE\n"
LARGEST = 2.0**53  # beyond it whole numbers must stay whole, which pandas sees to
MISSING = sorted({text for word in BLANKS for text in (word, word.upper(), word.capitalize())} - {"", "inf", "-inf", "+inf"})

Convert = Callable[[Shaped[np.ndarray, " row"], int], Shaped[np.ndarray, " row"]]


def columns_in(path: Path, layout: Layout, wanted: Mapping[int, Convert]) -> tuple[dict[int, Shaped[np.ndarray, " row"]], tuple[str, ...]]:
    """The wanted columns by their index, each chunk made by its `Convert` (values and the number of the first line), and notes.

    Blank lines inside are missing samples, for a line dropped would shift all that follow; blank lines at the end are not, nor is every
    second line where all of them are blank. Refuses rows of more fields than columns, and text that no table holds.
    """
    n_lines = _refuse_binary(path, layout)
    parts: dict[int, list[Any]] = {index: [] for index in wanted}
    n_rows = n_until_last = 0
    n_blank = [0, 0]  # blank rows at even and at odd places
    for filled, columns in _chunks(path, layout, list(wanted)):
        for odd in (0, 1):
            n_blank[odd] += int((~filled[(odd - n_rows) % 2 :: 2]).sum())
        for index, convert in wanted.items():
            parts[index].append(convert(columns[index], layout.first_line + n_rows))
        if filled.any():
            n_until_last = n_rows + int(filled.nonzero()[0][-1]) + 1
        n_rows += len(filled)
    if layout.is_quoted and not layout.comment and n_rows < n_lines - layout.first_line:
        raise Refusal(f"{path}: {n_lines - layout.first_line + 1} lines make {n_rows} rows; a quotation mark is not closed")
    if not n_until_last:
        raise Refusal(f"{path}: the table has no rows of numbers")
    whole = {index: np.concatenate(parts.pop(index))[:n_until_last] for index in list(parts)}
    if n_until_last > 20 and n_blank[1] >= n_until_last // 2 and n_blank[0] <= n_rows - n_until_last:
        return {index: column[::2] for index, column in whole.items()}, ("every second line is blank and left out",)
    return whole, ()


def samples_of(name: str, path: Path) -> Convert:
    """What makes samples of a chunk. Refuses text, with its line."""

    def convert(values: Shaped[np.ndarray, " row"], first_line: int) -> Float64[np.ndarray, " row"]:
        if values.dtype.kind in "fiu":
            return values.astype(np.float64)
        texts = [value.strip() if isinstance(value, str) else value for value in values.tolist()]
        for number, text in enumerate(texts):
            if isinstance(text, bool) or (isinstance(text, str) and text and not is_number(text)):
                cell = shown(str(text))[:40]
                raise Refusal(f"{path}: {shown(name)} holds {cell!r} in line {first_line + number}, which is not a number")
        return np.array([np.nan if text in ("", None) else float(text) for text in texts], np.float64)

    return convert


def rows_in(path: Path, layout: Layout) -> list[Float64[np.ndarray, " cell"]]:
    """Each row's numbers, of whatever length. Refuses text."""
    with _opened(path, layout) as file:
        lines = [line for line in file if line.strip()]
    rows = []
    for number, line in enumerate(lines):
        fields = [field for field in layout.split(line.rstrip("\r\n")) if field or layout.delimiter != " "]
        fields = fields[:-1] if fields and not fields[-1] else fields
        try:
            cells = [field.replace(",", ".") if layout.decimal == "," else field for field in fields]
            rows.append(np.array([np.nan if cell.lower() in BLANKS else float(cell) for cell in cells], np.float64))
        except ValueError as error:
            raise Refusal(f"{path}: line {layout.first_line + number} holds text, not only numbers ({str(error)[:60]})") from error
    return rows


def _opened(path: Path, layout: Layout) -> Any:
    """The file, open at its first row."""
    file = path.open(encoding=layout.encoding, errors="replace", newline="")
    file.read(layout.offset)
    return file


def _chunks(path: Path, layout: Layout, wanted: list[int]) -> Iterator[tuple[Bool[np.ndarray, " row"], dict[int, Any]]]:
    """Some rows at a time: which of them are not blank, and their cells by column."""
    numbers = _plain_numbers(path, layout)
    if numbers is not None:
        yield np.ones(len(numbers), bool), {index: numbers[:, index] for index in wanted}
        return
    for frame in _frames(path, layout):
        yield frame.notna().to_numpy().any(axis=1), {index: frame.iloc[:, index].to_numpy() for index in wanted}


def _plain_numbers(path: Path, layout: Layout) -> Float64[np.ndarray, "row column"] | None:
    """All cells of a small table that holds nothing but numbers, one in every cell; None of any other table."""
    if path.stat().st_size > SMALL or layout.decimal != "." or layout.is_quoted or layout.comment:
        return None
    with _opened(path, layout) as file:
        text = file.read().replace("\r\n", "\n")
    if not text.strip("\n") or "\n\n" in text or text.translate(dict.fromkeys(map(ord, DIGITS + layout.delimiter))):
        return None
    try:
        numbers = np.loadtxt(io.StringIO(text), np.float64, comments=None, delimiter=layout.delimiter or ",", ndmin=2)
    except ValueError:
        return None
    is_plain = numbers.shape[1] == len(layout.names) and len(numbers) and np.abs(numbers).max() < LARGEST
    return numbers if is_plain else None


def _frames(path: Path, layout: Layout) -> Any:
    import pandas as pd

    delimiter = {"": ";" if layout.decimal == "," else ",", " ": r"\s+"}.get(layout.delimiter, layout.delimiter)
    n_columns = len(layout.names)
    try:
        with warnings.catch_warnings(), _opened(path, layout) as file:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield from pd.read_csv(
                file,
                sep=delimiter,
                decimal=layout.decimal,
                header=None,
                names=range(n_columns),
                index_col=False,
                chunksize=max(CELLS // n_columns, 1),
                low_memory=False,
                skip_blank_lines=False,
                skipinitialspace=True,
                quotechar=layout.quote or '"',
                quoting=csv.QUOTE_MINIMAL if layout.is_quoted else csv.QUOTE_NONE,
                comment=layout.comment or None,
                na_values=MISSING,
                float_precision="round_trip",
            )
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning, OverflowError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path}: not a table of numbers ({shown(str(error).splitlines()[0])})") from error


def _refuse_binary(path: Path, layout: Layout) -> int:
    """How many lines the file has. Refuses zero bytes, where a device stopped writing: pandas takes them for the end of a field."""
    if layout.encoding.startswith("utf-16"):
        return 0
    n_lines = n_returns = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            if b"\0" in block:
                raise Refusal(f"{path}: damaged; it holds zero bytes after line {n_lines or n_returns}")
            n_lines += block.count(b"\n")
            n_returns += block.count(b"\r")
    return n_lines or n_returns
