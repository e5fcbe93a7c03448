"""Labels as people keep them: a table of record and label, or of record and the time of each event, as CSV.

A record is named as the reader names it (folder/stem) or by its stem alone. What matches nothing is refused by name, unless `partial` is
asked for: then it is left out and counted.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal, unknown

Events = dict[str, Float[np.ndarray, " event"]]


@dataclass(frozen=True)
class RecordLabels:
    """The class of each record, an index into `classes`; `notes` say what was left out."""

    classes: tuple[str, ...]
    of: dict[str, int]
    notes: tuple[str, ...] = ()


def read_record_labels(
    path: Path, records: list[str], classes: tuple[str, ...], left_out: tuple[str, ...] = (), partial: bool = False
) -> RecordLabels:
    """The class of every record, from a table of record and label, with or without a header; records labelled as `left_out` are not there.

    Refuses a label outside `classes`, a record that is labelled twice, and a single class.
    """
    label_of: dict[str, str] = {}
    for line, (name, label) in _rows(path, "label"):
        if label_of.setdefault(name, label) != label:
            raise Refusal(f"{path}, line {line}: {name} is labelled {label} here and {label_of[name]} before; a record has one label")
        if label not in (*classes, *left_out):
            raise Refusal(f"{path}, line {line}: {name}: {unknown('label', label, classes)}; --leave-out {label} leaves such records out")
    matched, notes = _matched(path, list(label_of), records, partial)
    of = {record: classes.index(label_of[name]) for record, name in matched.items() if label_of[name] not in left_out}
    check_classes(str(path), classes, of.values())
    n_left_out = len(matched) - len(of)
    told = (f"left out {n_left_out} records labelled {', '.join(left_out)}",) if n_left_out else ()
    return RecordLabels(classes, of, notes + told)


def read_events(path: Path, records: list[str], partial: bool = False) -> tuple[Events, tuple[str, ...]]:
    """The times (s) of every record's events, from a table of record and time_s, and notes. Refuses what is no time."""
    times: dict[str, list[float]] = {}
    for line, (name, text) in _rows(path, "time_s"):
        try:
            times.setdefault(name, []).append(_time(text))
        except ValueError:
            raise Refusal(f"{path}, line {line}: {name}: {text!r} is no time; give seconds from the recording's start") from None
    matched, notes = _matched(path, list(times), records, partial)
    return {record: np.sort(np.array(times[name])) for record, name in matched.items()}, notes


def check_classes(source: str, classes: tuple[str, ...], found: Iterable[int]) -> None:
    """Refuse a class without any example: nothing could be told from it."""
    found = set(found)
    missing = [name for index, name in enumerate(classes) if index not in found]
    if missing:
        there = ", ".join(name for name in classes if name not in missing) or "none"
        raise Refusal(f"{source}: no record is labelled {', '.join(missing)} (only {there}); at least two classes are needed to learn from")


def _time(text: str) -> float:
    value = float(text)
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(text)
    return value


def _rows(path: Path, second: str) -> list[tuple[int, tuple[str, str]]]:
    """The first two cells of each line, with its number, below the header if there is one."""
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal(
            f"{path} is not a readable table ({getattr(error, 'strerror', None) or error}); give a CSV of record,{second}"
        ) from error
    rows = [(number, [cell.strip() for cell in line]) for number, line in enumerate(lines, 1) if any(cell.strip() for cell in line)]
    if rows and rows[0][1][0].lower() == "record":
        _refuse_other_header(path, rows.pop(0)[1], second)
    for number, line in rows:
        if len(line) < 2 or not line[0] or not line[1]:
            raise Refusal(f"{path}, line {number}: {','.join(line)!r}; a line is record,{second}")
    if not rows:
        raise Refusal(f"{path} holds no labels; give a CSV of record,{second}")
    return [(number, (line[0], line[1])) for number, line in rows]


def _refuse_other_header(path: Path, header: list[str], second: str) -> None:
    if len(header) < 2 or header[1].lower() != second:
        raise Refusal(f"{path} has the columns {', '.join(header)}; this task needs record,{second}")


def _matched(path: Path, labelled: list[str], records: list[str], partial: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """The labelled name of each record, and notes of what matches nothing."""
    by_stem: dict[str, list[str]] = {}
    for record in records:
        by_stem.setdefault(record.rsplit("/", 1)[-1], []).append(record)
    matched: dict[str, str] = {}
    stray: list[str] = []
    for name in labelled:
        meant = [name] if name in records else by_stem.get(name, [])
        if len(meant) > 1:
            raise Refusal(f"{path}: {name} may be {' or '.join(meant)}; write the folder before it")
        stray += [] if meant else [name]
        matched |= dict.fromkeys(meant, name)
    bare = [record for record in records if record not in matched]
    found = [f"{len(stray)} labels match no record ({_some(stray)})"] * bool(stray) + [
        f"{len(bare)} records have no label ({_some(bare)})"
    ] * bool(bare)
    if not matched or (found and not partial):
        raise Refusal(f"{path}: {' and '.join(found)}; records are called {_some(records)}; --partial leaves out what does not match")
    return matched, tuple(f"left out: {each}" for each in found)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
