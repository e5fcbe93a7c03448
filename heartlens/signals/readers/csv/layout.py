"""How a table of text is laid out: its encoding, delimiter, decimal mark, preamble, header, units; found on its first lines.

Header and rows are cut by the same rules, so that a quoted delimiter shifts no column. What the rules are:

- the delimiter is the first of tab, `;`, `|`, `,` that is in nearly all rows, else blanks, else there is one column; a line `sep=` decides;
- one number with a comma a line is a decimal number where a line proves it: `12,05`, `-0,5`, a line without comma, a header of one name;
- the rows begin with the first line of numbers that is like those after it; the line above with a name for each column is the header,
  a line of units below it is that of the units; all others above are the preamble.
"""

import codecs
import csv
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.column_names import KINDS, UNITS, Column, canonical_unit, shown
from heartlens.signals.readers.csv.facts import Facts, facts_in, is_about
from heartlens.signals.readers.csv.fields import is_blank, is_clock, is_number, number

HEAD = 2**18  # bytes that are looked at
LONGEST_LINE = 2**26  # bytes of a table that is one line
MOST_COLUMNS = 4096
EXAMPLES = 200  # rows by which the delimiter is judged
COMMENT = re.compile(r"^\s*(#(?!N/A)|%|//)+")  # #N/A is a missing sample
SEP_LINE = re.compile(r"\s*[\"']?sep=(.)[\"']?\s*", re.IGNORECASE)
LINE_END = re.compile(r"\r\n|\n|\r")
NOT_NAMES = frozenset(["cal", "raw", "uncal", "calibrated", "uncalibrated", ""])
NO_SAMPLE = 2.0**31 - 1  # what recorders write for a missing sample, and no start time
EPOCH_S = (8e8, 3e9)  # between 1995 and 2065: a start time in a file of a wrist band


@dataclass(frozen=True)
class Layout:
    """`names` and `units` of the columns (`has_names`: they are the file's), the first `rows` cut into fields.

    `offset` is how many characters come before the first row, which is in line `first_line` (from 1). A `delimiter` of "" means one
    column, " " blanks. `header` says in words what was taken for the header.
    """

    encoding: str
    delimiter: str
    decimal: str
    quote: str
    offset: int
    first_line: int
    names: tuple[str, ...]
    units: tuple[str, ...]
    has_names: bool
    header: str
    facts: Facts
    comment: str
    is_quoted: bool
    rows: list[list[str]] = field(repr=False)
    is_band: bool = False  # start time, rate, samples, as a wrist band's files

    def split(self, line: str) -> list[str]:
        """The fields of a line."""
        return _split(line, self.delimiter, self.quote)


def layout_of(path: Path, of_rows: bool = False) -> Layout:
    """The layout of a table. Refuses what is no text, has no row of numbers or too many columns, or can be read in two ways.

    With `of_rows` any number of columns is right.
    """
    encoding, text = _head(path)
    ends = [match.span() for match in LINE_END.finditer(text)]
    starts = [0, *(end for _, end in ends)]
    lines = [text[start:end] for start, (end, _) in zip(starts, [*ends, (len(text), 0)], strict=True)]
    filled = [index for index, line in enumerate(lines) if line.strip()]
    if not filled:
        raise Refusal(f"{path}: the file is empty")
    separator = SEP_LINE.fullmatch(lines[filled[0]])
    if separator:
        filled = filled[1:]
    comments = Counter(match[1] for index in filled if (match := COMMENT.match(lines[index])))
    plain = [index for index in filled if not COMMENT.match(lines[index])]
    quote = '"' if any('"' in lines[index] for index in plain) else "'" if any("'" in lines[index] for index in plain) else ""
    examples = [lines[index] for index in plain[-EXAMPLES:]]
    if not examples:
        raise Refusal(f"{path}: no rows of numbers")
    delimiter, decimal = (separator[1], "") if separator else _delimiter(examples, [lines[index] for index in plain], quote)
    cells = {index: _split(lines[index], delimiter, quote) for index in plain}
    n_columns = Counter(len(cells[index]) for index in plain[-EXAMPLES:]).most_common(1)[0][0]
    if n_columns > MOST_COLUMNS and len(plain) > 1 and not of_rows:
        raise too_wide(path, n_columns)
    example_cells = [cells[index][:MOST_COLUMNS] for index in plain[-EXAMPLES:] if len(cells[index]) == n_columns]
    decimal = decimal or _decimal(example_cells, delimiter, path)
    first = _first_row(plain, cells, example_cells, n_columns, decimal)
    if first is None:
        raise _no_numbers(path, plain, cells)
    above = [index for index in filled if index < first]
    rows = [cells[index] for index in plain if index >= first and len(cells[index]) == n_columns]
    names, units, named_by = _names(above, lines, cells, n_columns, delimiter, quote, rows, first, path)
    preamble = [COMMENT.sub("", lines[index]) for index in above if index not in named_by]
    facts = facts_in(preamble, decimal)
    header = f"names in line {named_by[0] + 1}" if named_by else ""
    n_damaged = sum(index > max(named_by) for index in above if not COMMENT.match(lines[index])) if named_by else 0
    header += f"; {n_damaged} sample{'s' * (n_damaged > 1)} with damaged fields below left out" if n_damaged else ""
    if not names and (numbered := _numbered_header(rows, decimal)):
        names, header, rows = numbered, f"names in line {first + 1}", rows[1:]
        first = next(index for index in plain if index > first)
    facts, n_taken = _start_and_rate(rows, names, facts, decimal)
    if n_taken:
        rows = rows[n_taken:]
        first = [index for index in plain if index >= first][n_taken]
        header = f"{header}, " * bool(header) + "start time and rate above the samples"
    elif not names and n_columns == 1:
        _refuse_odd_first(rows, decimal, path)
    return Layout(
        encoding,
        delimiter,
        decimal,
        quote,
        starts[first],
        first + 1,
        tuple(shown(name) or f"column {index}" for index, name in enumerate(names or [""] * n_columns)),
        tuple(units or [""] * n_columns),
        bool(names),
        header,
        facts,
        next((mark for mark in "#%" if comments[mark]), ""),
        bool(quote) and any(quote in lines[index] for index in plain if index >= first),
        rows,
        bool(n_taken),
    )


def too_wide(path: Path, n_columns: int) -> Refusal:
    """The refusal of a table of more columns than MOST_COLUMNS."""
    return Refusal(f"{path}: {n_columns} columns; at most {MOST_COLUMNS} are read. If each row is a recording, give --lead rows")


def _no_numbers(path: Path, plain: list[int], cells: dict[int, list[str]]) -> Refusal:
    words = [cell for index in plain[1:] for cell in cells[index] if not is_number(cell) and not is_blank(cell)]
    if not words:
        return Refusal(f"{path}: the table has no rows of numbers")
    return Refusal(f"{path}: {shown(cells[plain[0]][0])} holds {shown(words[0])[:40]!r}, which is not a number")


def _head(path: Path) -> tuple[str, str]:
    """The encoding, and the file's first lines (the last one whole). Refuses what is no text."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        while len(head) < LONGEST_LINE and not re.search(rb"[\r\n]", head) and (more := file.read(2**22)):
            head += more
        is_all = not file.read(1)
    encoding = _encoding(head)
    if encoding is None:
        raise Refusal(f"{path}: not a text file")
    text = head.decode(encoding, errors="replace")
    if not is_all:
        end = max(text.rfind("\n"), text.rfind("\r"))
        if end < 0:
            raise Refusal(f"{path}: its first line is longer than {LONGEST_LINE // 2**20} MB; not a table")
        text = text[:end]
    return encoding, text


def _encoding(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head[:64].count(0) >= len(head[:64]) // 3 > 0:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    if b"\0" in head or sum(head.count(bytes([code])) for code in (*range(1, 9), *range(14, 27), 127)) > 0:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # whose last character may be cut
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "cp1252" if not set(head) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"


def _split(line: str, delimiter: str, quote: str) -> list[str]:
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


def _first_row(plain: list[int], cells: dict[int, list[str]], examples: list[list[str]], n_columns: int, decimal: str) -> int | None:
    """The line in which the rows of numbers begin."""
    numeric = []
    for number_, column in enumerate(zip(*examples, strict=True)):
        filled = [cell for cell in column if not is_blank(cell)]
        if filled and sum(is_number(cell, decimal) or is_clock(cell) for cell in filled) >= min(0.9 * len(filled), max(len(filled) - 1, 1)):
            numeric.append(number_)
    if not numeric:
        return None

    def fits(row: list[str]) -> bool:
        own = [row[index] for index in numeric] if len(row) == n_columns else []
        good = [is_blank(cell) or is_number(cell, decimal) or is_clock(cell) for cell in own]
        return bool(good) and all(good) and not all(is_blank(cell) for cell in own)

    fitting = [fits(cells[index]) for index in plain]
    among_others = [
        place
        for place in range(len(plain))
        if fitting[place] and 2 * sum(fitting[place + 1 : place + 5]) >= len(fitting[place + 1 : place + 5])
    ]
    place = among_others[0] if among_others else next((place for place, fit in enumerate(fitting) if fit), None)
    if place is None:
        return None
    while place and len(cells[plain[place - 1]]) == n_columns and all(is_blank(cell) for cell in cells[plain[place - 1]]):
        place -= 1  # missing samples at the start are samples too
    return plain[place]


def _names(
    above: list[int],
    lines: list[str],
    cells: dict[int, list[str]],
    n_columns: int,
    delimiter: str,
    quote: str,
    rows: list[list[str]],
    first: int,
    path: Path,
) -> tuple[list[str], list[str], list[int]]:
    """The names and units above the rows, and the lines they stand in; names are empty where there is no header."""
    units: list[str] = []
    for place, index in enumerate(reversed(above)):
        line = COMMENT.sub("", lines[index], count=1)
        row = _header_cells(line, n_columns, delimiter, quote)
        if all(cell.lower() in NOT_NAMES for cell in row):
            continue
        are_units = len(row) == n_columns and all(canonical_unit(cell) in UNITS or not cell or cell.lower() in NOT_NAMES for cell in row)
        if are_units and not units and place + 1 < len(above) and (n_columns > 1 or not is_about(lines[above[-place - 2]])):
            units, unit_line = [canonical_unit(cell) for cell in row], index
            continue
        if place + 1 < len(above) and _is_damaged_row(row, _header_cells(lines[above[-place - 2]], n_columns, delimiter, quote)):
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


def _header_cells(line: str, n_columns: int, delimiter: str, quote: str) -> list[str]:
    """The cells of a line above the rows, by the rows' delimiter, or by another that gives as many."""
    if delimiter == " ":
        line = re.sub(r"\s+(?=[\[(])", "_", line.strip())  # a unit belongs to the name before it
    row = _split(line, delimiter, quote)
    if len(row) == n_columns or n_columns == 1:
        return row
    others = [re.split(r"\s{2,}|\t", line.strip())] if delimiter == " " else []
    others += [_split(line, mark, quote) for mark in ",;\t| " if mark != delimiter]
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


def _numbered_header(rows: list[list[str]], decimal: str) -> list[str]:
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


def _start_and_rate(rows: list[list[str]], names: list[str], facts: Facts, decimal: str) -> tuple[Facts, int]:
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


def _refuse_odd_first(rows: list[list[str]], decimal: str, path: Path) -> None:
    """A first number far from all others is no sample: a rate, perhaps, or a count."""
    values = [number(row[0], decimal) for row in rows]
    rest = [abs(value) for value in values[1:] if value == value]
    if len(rest) >= 100 and values[0] == values[0] and values[0] == round(values[0]) and abs(values[0]) > 20 * max(rest):
        raise Refusal(f"{path}: the first number, {values[0]:g}, is far from all others; if it is the rate, take it out and give --rate")
