"""How a table of text is laid out: its encoding, delimiter, decimal mark, preamble, header, units; found on its first lines.

Header and rows are cut by the same rules, so that a quoted delimiter shifts no column. What the rules are:

- the delimiter is the first of tab, `;`, `|`, `,` that is in nearly all rows, else blanks, else there is one column; a line `sep=` decides;
- one number with a comma a line is a decimal number where a line proves it: `12,05`, `-0,5`, a line without comma, a header of one name;
- the rows begin with the first line of numbers that is like those after it; the line above with a name for each column is the header,
  a line of units below it is that of the units; all others above are the preamble.
"""

from dataclasses import dataclass, field
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.column_names import shown
from heartlens.signals.readers.csv.cells import Cells, cells_of, split
from heartlens.signals.readers.csv.facts import Facts
from heartlens.signals.readers.csv.fields import is_blank, is_clock, is_number, number
from heartlens.signals.readers.csv.head import head_of
from heartlens.signals.readers.csv.header import header_above, numbered_header, start_and_rate


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
        return split(line, self.delimiter, self.quote)


def layout_of(path: Path, of_rows: bool = False) -> Layout:
    """The layout of a table. Refuses what is no text, has no row of numbers or too many columns, or can be read in two ways.

    With `of_rows` any number of columns is right.
    """
    head = head_of(path)
    cells = cells_of(head, path, of_rows)
    first = _first_row(head.plain, cells)
    if first is None:
        raise _no_numbers(path, [cells.of_line[index] for index in head.plain])
    row_lines = [index for index in head.plain if index >= first]  # also those that have another number of cells
    rows = [cells.of_line[index] for index in row_lines if len(cells.of_line[index]) == cells.n_columns]
    header = header_above(head, cells, rows, first, path)
    names, words = header.names, header.words
    if not names and (names := numbered_header(rows, cells.decimal)):
        words, rows, row_lines = f"names in line {first + 1}", rows[1:], row_lines[1:]
    facts, n_taken = start_and_rate(rows, names, header.facts, cells.decimal)
    if n_taken:
        rows, row_lines = rows[n_taken:], row_lines[n_taken:]
        words = f"{words}, " * bool(words) + "start time and rate above the samples"
    elif not names and cells.n_columns == 1:
        _refuse_odd_first(rows, cells.decimal, path)
    return Layout(
        encoding=head.encoding,
        delimiter=cells.delimiter,
        decimal=cells.decimal,
        quote=cells.quote,
        offset=head.starts[row_lines[0]],
        first_line=row_lines[0] + 1,
        names=tuple(shown(name) or f"column {index}" for index, name in enumerate(names or [""] * cells.n_columns)),
        units=tuple(header.units or [""] * cells.n_columns),
        has_names=bool(names),
        header=words,
        facts=facts,
        comment=head.comment,
        is_quoted=bool(cells.quote) and any(cells.quote in head.lines[index] for index in row_lines),
        rows=rows,
        is_band=bool(n_taken),
    )


def _first_row(plain: list[int], cells: Cells) -> int | None:
    """The line in which the rows of numbers begin; None where there are none."""
    decimal, n_columns = cells.decimal, cells.n_columns
    numeric = []
    for number_, column in enumerate(zip(*cells.examples, strict=True)):
        filled = [cell for cell in column if not is_blank(cell)]
        if filled and sum(is_number(cell, decimal) or is_clock(cell) for cell in filled) >= min(0.9 * len(filled), max(len(filled) - 1, 1)):
            numeric.append(number_)
    if not numeric:
        return None

    def fits(row: list[str]) -> bool:
        own = [row[index] for index in numeric] if len(row) == n_columns else []
        good = [is_blank(cell) or is_number(cell, decimal) or is_clock(cell) for cell in own]
        return bool(good) and all(good) and not all(is_blank(cell) for cell in own)

    fitting = [fits(cells.of_line[index]) for index in plain]
    among_others = [
        place
        for place in range(len(plain))
        if fitting[place] and 2 * sum(fitting[place + 1 : place + 5]) >= len(fitting[place + 1 : place + 5])
    ]
    place = among_others[0] if among_others else next((place for place, fit in enumerate(fitting) if fit), None)
    if place is None:
        return None
    while place and len(cells.of_line[plain[place - 1]]) == n_columns and all(is_blank(cell) for cell in cells.of_line[plain[place - 1]]):
        place -= 1  # missing samples at the start are samples too
    return plain[place]


def _no_numbers(path: Path, cells: list[list[str]]) -> Refusal:
    words = [(place, cell) for row in cells[1:] for place, cell in enumerate(row) if not is_number(cell) and not is_blank(cell)]
    if not words:
        return Refusal(f"{path}: the table has no rows of numbers")
    place, word = words[0]
    name = shown(cells[0][place]) if place < len(cells[0]) else ""
    return Refusal(f"{path}: {name or f'column {place}'} holds {shown(word)[:40]!r}, which is not a number")


def _refuse_odd_first(rows: list[list[str]], decimal: str, path: Path) -> None:
    """A first number far from all others is no sample: a rate, perhaps, or a count."""
    values = [number(row[0], decimal) for row in rows]
    rest = [abs(value) for value in values[1:] if value == value]
    if len(rest) >= 100 and values[0] == values[0] and values[0] == round(values[0]) and abs(values[0]) > 20 * max(rest):
        raise Refusal(f"{path}: the first number, {values[0]:g}, is far from all others; if it is the rate, take it out and give --rate")
