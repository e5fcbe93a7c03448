"""What stands above the samples of a table: names and units of the columns, a preamble, in some files a start time and a rate."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.column_names import KINDS, UNITS, Column, canonical_unit
from heartlens.signals.readers.csv.cells import Cells, split
from heartlens.signals.readers.csv.facts import Facts, facts_in, is_about
from heartlens.signals.readers.csv.fields import EPOCH_S, is_blank, is_clock, is_number, number
from heartlens.signals.readers.csv.head import COMMENT, Head

NOT_NAMES = frozenset(["cal", "raw", "uncal", "calibrated", "uncalibrated", ""])
NO_SAMPLE = 2.0**31 - 1  # what recorders write for a missing sample, and no start time


@dataclass(frozen=True)
class Header:
    """Names and units of the columns, empty where there are none, what the preamble says, and in `words` where the names were found."""

    names: list[str]
    units: list[str]
    facts: Facts
    words: str


def header_above(head: Head, cells: Cells, rows: list[list[str]], first: int, path: Path) -> Header:
    """The header above the rows, which begin in line `first`. Refuses names that are not as many as the columns."""
    above = [index for index in head.filled if index < first]
    names, units, named_by = _named_above(head, cells, rows, first, path)
    facts = facts_in([COMMENT.sub("", head.lines[index]) for index in above if index not in named_by], cells.decimal)
    if not named_by:
        return Header(names, units, facts, "")
    words = f"names in line {named_by[0] + 1}"
    n_damaged = sum(index > max(named_by) for index in above if not COMMENT.match(head.lines[index]))
    words += f"; {n_damaged} sample{'s' * (n_damaged > 1)} with damaged fields below left out" if n_damaged else ""
    return Header(names, units, facts, words)


def _named_above(head: Head, cells: Cells, rows: list[list[str]], first: int, path: Path) -> tuple[list[str], list[str], list[int]]:
    """The names and units above the rows, and the lines they stand in; names are empty where there is no header."""
    above = [index for index in head.filled if index < first]
    lines, n_columns = head.lines, cells.n_columns
    units: list[str] = []
    for place, index in enumerate(reversed(above)):
        line = COMMENT.sub("", lines[index], count=1)
        row = _header_cells(line, cells)
        if all(cell.lower() in NOT_NAMES for cell in row):
            continue
        are_units = len(row) == n_columns and all(canonical_unit(cell) in UNITS or not cell or cell.lower() in NOT_NAMES for cell in row)
        if are_units and not units and place + 1 < len(above) and (n_columns > 1 or not is_about(lines[above[-place - 2]])):
            units, unit_line = [canonical_unit(cell) for cell in row], index
            continue
        if place + 1 < len(above) and _is_damaged_row(row, _header_cells(lines[above[-place - 2]], cells)):
            continue
        is_near = n_columns > 1 or Column(row[0]).kind in KINDS or all(lines[between].strip() for between in range(index, first))
        if not is_near or (n_columns < 3 and is_about(line)) or all(is_number(cell) or is_blank(cell) for cell in row):
            break
        names = _fitted(row, n_columns, rows)
        if names:
            return names, units, [index] + ([unit_line] if units else [])
        if (
            n_columns > 1
            and any(Column(cell).kind in (*KINDS, "time") for cell in row)
            and not is_about(line)
            and not COMMENT.match(lines[index])
        ):
            raise Refusal(f"{path}: line {index + 1} holds {len(row)} names, the rows below have {n_columns} columns")
        break
    return [], [], []


def _is_damaged_row(row: list[str], row_above: list[str]) -> bool:
    """Whether a row with a number in it stands under a row of names."""
    have_numbers = [any(is_number(cell) for cell in cells) for cells in (row, row_above)]
    return len(row) == len(row_above) > 1 and have_numbers == [True, False] and any(Column(cell).kind for cell in row_above)


def _header_cells(line: str, cells: Cells) -> list[str]:
    """The cells of a line above the rows, by the rows' delimiter, or by another that gives as many."""
    delimiter, n_columns = cells.delimiter, cells.n_columns
    if delimiter == " ":
        line = re.sub(r"\s+(?=[\[(])", "_", line.strip())  # a unit belongs to the name before it
    row = split(line, delimiter, cells.quote)
    if len(row) == n_columns or n_columns == 1:
        return row
    others = [re.split(r"\s{2,}|\t", line.strip())] if delimiter == " " else []
    others += [split(line, mark, cells.quote) for mark in ",;\t| " if mark != delimiter]
    same = [[cell.strip().strip("\"'").strip() for cell in other] for other in others if len(other) == n_columns]
    return same[0] if same else row


def _fitted(names: list[str], n_columns: int, rows: list[list[str]]) -> list[str]:
    """A name for each column, where their number differs by one for a reason that shows; else nothing."""
    if len(names) == n_columns + 1 and not names[-1]:
        return names[:-1]
    if len(names) == n_columns - 1 and names:
        if all(not row[-1] for row in rows):
            return [*names, ""]
        if counts([number(row[0]) for row in rows], at_least=3):
            return ["index", *names]
    return names if len(names) == n_columns else []


def counts(values: list[float], at_least: int = 20) -> bool:
    """Whether values, `at_least` so many, are those of a counter: whole numbers that rise by the same step, but where it begins anew."""
    if len(values) < at_least or not all(math.isfinite(value) and value == round(value) for value in values):
        return False
    steps = [after - before for before, after in pairwise(values)]
    step, n_usual = Counter(steps).most_common(1)[0]
    return step > 0 and n_usual >= 0.9 * len(steps) and n_usual >= 2


def numbered_header(rows: list[list[str]], decimal: str) -> list[str]:
    """The header 0, 1, 2, ... that pandas writes where columns have no names; a first cell without name is an index."""
    if len(rows) < 4:
        return []
    first, rest = rows[0], rows[1:]
    own = first[1:] if first[0] in ("", "Unnamed: 0") else first
    if own != [str(index) for index in range(len(own))]:
        return []
    if len(own) > 2 or len(own) < len(first):
        return first
    for index, cell in enumerate(first):
        values = [number(row[index], decimal) for row in rest]
        values = [value for value in values if value == value]
        has_fractions = sum(decimal in row[index] or is_blank(row[index]) for row in rest) >= 0.99 * len(rest)
        is_far = bool(values) and min(abs(value - float(cell)) for value in values) > 3 * (max(values) - min(values))
        if not (has_fractions or is_far):
            return []
    return first


def start_and_rate(rows: list[list[str]], names: list[str], facts: Facts, decimal: str) -> tuple[Facts, int]:
    """The rate in files that begin with a start time and a rate, the same in each column; and how many rows those are."""
    if len(rows) < 4:
        return facts, 0
    starts, rates, samples = ([number(cell, decimal) for cell in rows[place]] for place in (0, 1, 2))
    rate_hz = rates[0]
    are_rates = all(rate == rate_hz for rate in rates) and 0 < rate_hz <= 20000
    is_start = all(EPOCH_S[0] < start < EPOCH_S[1] and start != NO_SAMPLE for start in starts)
    if is_start and are_rates and all(abs(value) < starts[0] / 100 for value in samples if value == value):
        return Facts((rate_hz,), facts.unit, facts.lead), 2
    is_dated = not names and all(is_clock(cell) for cell in rows[0]) and all(value == value for value in samples)
    if is_dated and are_rates and rate_hz == round(rate_hz):
        return Facts((rate_hz,), facts.unit, facts.lead), 2
    text_start = len(names) in (0, len(rows[0])) and bool(names) and all(is_clock(name) for name in names)
    if text_start and all(rate == starts[0] for rate in starts) and 0 < starts[0] <= 20000 and starts[0] == round(starts[0]):
        return Facts((starts[0],), facts.unit, facts.lead), 1
    return facts, 0
