"""How the lines of a table are cut into cells: the delimiter, the quotation mark and the decimal mark, judged by its last rows."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.readers.csv.facts import is_about
from heartlens.signals.readers.csv.fields import is_number
from heartlens.signals.readers.csv.head import Head

MOST_COLUMNS = 4096
EXAMPLES = 200  # rows by which the delimiter is judged


@dataclass(frozen=True)
class Cells:
    """The marks that lines are cut by, how many columns that makes, and the cells of each plain line by the line's index.

    `examples` are the last rows of so many columns, of each the first MOST_COLUMNS cells.
    """

    delimiter: str
    decimal: str
    quote: str
    n_columns: int
    of_line: dict[int, list[str]]
    examples: list[list[str]]


def cells_of(head: Head, path: Path, of_rows: bool) -> Cells:
    """The cells of a file's first lines. Refuses commas that may be read in two ways and, unless `of_rows`, too many columns."""
    lines = [head.lines[index] for index in head.plain]
    if not lines:
        raise Refusal(f"{path}: no rows of numbers")
    quote = next((mark for mark in "\"'" if any(mark in line for line in lines)), "")
    delimiter, decimal = (head.separator, "") if head.separator else _delimiter(lines[-EXAMPLES:], lines, quote)
    of_line = {index: split(line, delimiter, quote) for index, line in zip(head.plain, lines, strict=True)}
    last = [of_line[index] for index in head.plain[-EXAMPLES:]]
    n_columns = Counter(map(len, last)).most_common(1)[0][0]
    if n_columns > MOST_COLUMNS and len(lines) > 1 and not of_rows:
        raise too_wide(path, n_columns)
    examples = [row[:MOST_COLUMNS] for row in last if len(row) == n_columns]
    return Cells(delimiter, decimal or _decimal(examples, delimiter, path), quote, n_columns, of_line, examples)


def too_wide(path: Path, n_columns: int) -> Refusal:
    """The refusal of a table of more columns than MOST_COLUMNS."""
    return Refusal(f"{path}: {n_columns} columns; at most {MOST_COLUMNS} are read. If each row is a recording, give --lead rows")


def split(line: str, delimiter: str, quote: str) -> list[str]:
    """The cells of a line, without blanks and quotation marks around them."""
    if not delimiter:
        return [line.strip().strip(quote or '"').strip()]
    if quote and quote in line:
        try:
            line = line.strip() if delimiter == " " else line
            row = next(csv.reader([line], delimiter=delimiter, quotechar=quote, skipinitialspace=True), [])
        except csv.Error:
            row = line.split(delimiter)
        row = [cell for cell in row if cell] if delimiter == " " else row
    else:
        row = line.split() if delimiter == " " else line.split(delimiter)
    return [cell.strip().strip("\"'").strip() for cell in row]


def _delimiter(examples: list[str], lines: list[str], quote: str) -> tuple[str, str]:
    """The delimiter, and the decimal mark where finding the one has told the other."""
    masked = [re.sub(f"{quote}[^{quote}]*{quote}", "q", line) if quote else line for line in examples]
    for mark in "\t;|":
        if sum(mark in line for line in masked) >= 0.9 * len(masked):
            return mark, ""
    if sum("," in line for line in masked) >= 0.5 * len(masked):
        by_blank = [line.split() for line in masked]
        numbers = [row for row in by_blank if all(is_number(cell, ",") for cell in row)]
        if len(numbers) >= 0.9 * len(by_blank) and min(len(row) for row in numbers) > 1:
            return " ", ","
        return ("", ",") if _is_decimal_comma(lines) else (",", "")
    if sum(len(line.split()) > 1 for line in masked) >= 0.9 * len(masked):
        return " ", ""
    return "", "" if any("," in line for line in masked) else "."


def _is_decimal_comma(lines: list[str]) -> bool:
    """Whether lines like 12,05 are one number each, not two columns."""
    pattern = re.compile(r"([-+]?\d+)(?:,(\d+))?(?:[eE][-+]?\d+)?")
    matches = [pattern.fullmatch(line.strip()) for line in lines]
    n_last = next((number for number, match in enumerate(reversed(matches)) if match is None), len(matches))  # numbers at the end
    numbers = [match for match in matches[len(matches) - n_last :] if match]
    if len(numbers) < max(0.9 * min(len(lines), EXAMPLES), 1):
        return False
    header = lines[-n_last - 1] if n_last < len(lines) else ""
    if header and not is_about(header):
        return "," not in header
    whole = [int(match[1][:15]) for match in numbers]
    if len(whole) > 2 and len({after - before for before, after in pairwise(whole)}) == 1 and whole[0] != whole[1]:
        return False  # a counter, and a value
    return any(match[2] is None or match[1].startswith("-0") or (len(match[2]) > 1 and match[2].startswith("0")) for match in numbers)


def _decimal(rows: list[list[str]], delimiter: str, path: Path) -> str:
    """The decimal mark. Refuses commas that may be either, and numbers of both kinds."""
    fields = [cell for row in rows for cell in row]
    with_comma = [cell for cell in fields if is_number(cell, ",") and "," in cell]
    if not with_comma:
        return "."
    if delimiter != "," and any("." in cell and is_number(cell) for cell in fields):
        raise Refusal(f"{path}: some numbers have a decimal comma, others a decimal point; write all with one of them")
    for column in zip(*rows, strict=True):
        commas = [cell for cell in column if "," in cell]
        grouped = [cell for cell in commas if re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", cell)]
        if commas and len(grouped) == len(commas) and any("," not in cell and is_number(cell) for cell in column):
            raise Refusal(f"{path}: {grouped[0]} may be a decimal number or one of thousands; write the numbers without commas")
    return ","
