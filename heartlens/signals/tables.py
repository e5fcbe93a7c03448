"""Tables that people keep of recordings, as CSV: a line for each record, named as the reader names it (folder/stem) or by its stem."""

import csv
from pathlib import Path

from heartlens.privacy import record_code
from heartlens.refusal import Refusal


def table_of(path: Path, needed: tuple[str, ...]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the cells of each line with its number.

    Refuses a file that is no table, a header that lacks a column of `needed` or has a name twice, and a line with more or fewer cells.
    """
    lines = _lines(path, ",".join(needed))
    if not lines:
        raise Refusal(f"{path} holds no lines; give a CSV of {','.join(needed)}")
    header = lines[0][1]
    missing = [name for name in needed if name not in header]
    if missing:
        raise Refusal(f"{path} has the columns {', '.join(header)}; {', '.join(missing)} is missing")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise Refusal(f"{path}: the column {twice[0]} is there twice; give each column its own name")
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise Refusal(f"{path}, line {number}: {len(line)} cells, and {len(header)} columns; is a decimal comma in it?")
    if len(lines) == 1:
        raise Refusal(f"{path} holds no lines below its header; give a CSV of {','.join(needed)}")
    return header, lines[1:]


def _lines(path: Path, wanted: str) -> list[tuple[int, list[str]]]:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"{path} is not a readable table ({getattr(error, 'strerror', None) or error}); give a CSV of {wanted}") from error
    return [(number, [cell.strip() for cell in line]) for number, line in enumerate(lines, 1) if any(cell.strip() for cell in line)]


def rows_of(path: Path, second: str) -> list[tuple[int, tuple[str, str]]]:
    """The cells record and `second` of each line, with its number. Other columns are ignored; without a header, the first two are taken.

    Refuses a file that is no table, a header without the two columns, a line that lacks a cell, and a table without lines.
    """
    rows = _lines(path, f"record,{second}")
    columns = (0, 1)
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    if "record" in header[:1] or {"record", second} <= set(header):
        if second not in header:
            raise Refusal(f"{path} has the columns {', '.join(rows[0][1])}; needed are record,{second}")
        columns = header.index("record"), header.index(second)
        rows = rows[1:]
    for number, line in rows:
        if len(line) <= max(columns) or not all(line[column] for column in columns):
            raise Refusal(f"{path}, line {number}: {','.join(line)!r}; a line is record,{second}")
    if not rows:
        raise Refusal(f"{path} holds no lines; give a CSV of record,{second}")
    return [(number, (line[columns[0]], line[columns[1]])) for number, line in rows]


def named_in(path: Path, given: list[str], records: list[str]) -> tuple[dict[str, str], list[str]]:
    """The name in the table of each record that it names, and the names that match no record. Refuses a stem of several records.

    A record may be called as it is stored, with a code in the place of its folder.
    """
    by_stem: dict[str, list[str]] = {}
    for record in records:
        by_stem.setdefault(record.rsplit("/", 1)[-1], []).append(record)
    is_record, name_of, stray = set(records), dict[str, str](), list[str]()
    for name in given:
        full = name if name in is_record else record_code(name)
        meant = [full] if full in is_record else by_stem.get(name, [])
        if len(meant) > 1:
            raise Refusal(f"{path}: {name} may be {' or '.join(meant)}; write the folder before it")
        stray += [] if meant else [name]
        name_of |= dict.fromkeys(meant, name)
    return name_of, stray


def some(names: list[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
