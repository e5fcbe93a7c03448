"""Labels as people keep them: a table of record and label, or of record and the time of each event, as CSV.

A record is named as the reader names it (folder/stem) or by its stem alone. What matches nothing is refused by name, unless `partial` is
asked for: then it is left out and counted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal, unknown
from heartlens.signals.tables import named_in, rows_of, some, table_of

NO_COPIES: Mapping[str, str] = {}
MOST_NAMED = 12  # labels in a message
YES_NO = {"yes": True, "no": False, "1": True, "0": False, "true": True, "false": False}
Events = dict[str, Float[np.ndarray, " event"]]


@dataclass(frozen=True)
class RecordLabels:
    """The class of each record, an index into `classes`; `notes` say what was left out."""

    classes: tuple[str, ...]
    of: dict[str, int]
    notes: tuple[str, ...] = ()


def read_record_labels(
    path: Path,
    records: list[str],
    classes: tuple[str, ...],
    left_out: tuple[str, ...] = (),
    partial: bool = False,
    copies: Mapping[str, str] = NO_COPIES,
) -> RecordLabels:
    """The class of every record, from a table of record and label, with or without a header; records labelled as `left_out` are not there.

    `copies` are names of copies that were left out, with those of the records that stay: their labels are the record's. Refuses a label
    outside `classes`, a record that is labelled twice, and a single class.
    """
    label_of: dict[str, str] = {}
    rows = list(rows_of(path, "label"))
    others = ",".join(list(dict.fromkeys(label for _, (_, label) in rows if label not in (*classes, *left_out)))[:MOST_NAMED])
    for line, (name, label) in rows:
        if label_of.setdefault(name, label) != label:
            raise Refusal(f"{path}, line {line}: {name} is labelled {label} here and {label_of[name]} before; a record has one label")
        if label not in (*classes, *left_out):
            raise Refusal(
                f"{path}, line {line}: {name}: {unknown('label', label, classes)}; --leave-out '{others}' leaves such records out"
            )
    matched, notes = matched_in(path, list(label_of), records, partial, copies)
    for copy, name in named_in(path, list(label_of), list(copies))[0].items():
        own = label_of[matched[copies[copy]]]
        if label_of[name] != own:
            raise Refusal(f"{path}: {copy} is labelled {label_of[name]} and {copies[copy]} {own}, and both are the same recording")
    of = {record: classes.index(label_of[name]) for record, name in matched.items() if label_of[name] not in left_out}
    check_classes(str(path), classes, of.values())
    n_left_out = len(matched) - len(of)
    told = (f"left out {n_left_out} records labelled {', '.join(left_out)}",) if n_left_out else ()
    return RecordLabels(classes, of, notes + told)


def label_counts(path: Path) -> dict[str, int]:
    """How many records of a table have each label, in the order of the table."""
    counts: dict[str, int] = {}
    for _, (_, label) in rows_of(path, "label"):
        counts[label] = counts.get(label, 0) + 1
    return counts


def read_events(
    path: Path, records: list[str], partial: bool = False, copies: Mapping[str, str] = NO_COPIES
) -> tuple[Events, tuple[str, ...]]:
    """The times (s) of every record's events, from a table of record and time_s, and notes. Refuses what is no time."""
    times: dict[str, list[float]] = {}
    for line, (name, text) in rows_of(path, "time_s"):
        try:
            times.setdefault(name, []).append(_time(text))
        except ValueError:
            raise Refusal(f"{path}, line {line}: {name}: {text!r} is no time; give seconds from the recording's start") from None
    matched, notes = matched_in(path, list(times), records, partial, copies)
    return {record: np.sort(np.array(times[name])) for record, name in matched.items()}, notes


def read_label_columns(
    path: Path, records: list[str], columns: tuple[str, ...], partial: bool = False, copies: Mapping[str, str] = NO_COPIES
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Whether each of the labels `columns` holds (1) or not (0), by record, from a table with a column of yes and no for each; and notes.

    Refuses a cell that says neither, a record that is there twice, and a label that no record, or every one, has.
    """
    header, lines = table_of(path, ("record", *columns))
    of: dict[str, list[int]] = {}
    for number, cells in lines:
        row = dict(zip(header, cells, strict=True))
        if row["record"] in of:
            raise Refusal(f"{path}, line {number}: {row['record']} is there for a second time; a record has one line")
        for column in columns:
            if row[column].lower() not in YES_NO:
                raise Refusal(f"{path}, line {number}: {row['record']}: {column} is {row[column]!r}; legal: {', '.join(YES_NO)}")
        of[row["record"]] = [int(YES_NO[row[column].lower()]) for column in columns]
    matched, notes = matched_in(path, list(of), records, partial, copies)
    by_record = {record: of[name] for record, name in matched.items()}
    for place, column in enumerate(columns):
        if len({values[place] for values in by_record.values()}) < 2:
            says = "yes" if next(iter(by_record.values()))[place] else "no"
            raise Refusal(f"{path}: {column} is {says} for every record; there is nothing to tell apart: leave it out of --columns")
    return by_record, notes


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


def matched_in(
    path: Path, labelled: list[str], records: list[str], partial: bool, copies: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The labelled name of each record, its own or else that of its copy, and notes of what matches nothing."""
    of_copies, stray = named_in(path, labelled, list(copies)) if copies else ({}, labelled)
    of_records, stray_of_records = named_in(path, labelled, records)
    stray = [name for name in stray_of_records if name in set(stray)]
    matched = {copies[copy]: name for copy, name in of_copies.items()} | of_records
    bare = [record for record in records if record not in matched]
    unmatched = [f"{len(stray)} labels match no record ({some(stray)})"] * bool(stray) + [
        f"{len(bare)} records have no label ({some(bare)})"
    ] * bool(bare)
    if not matched or (unmatched and not partial):
        way_out = "" if partial else "; --partial leaves out what does not match"
        raise Refusal(f"{path}: {' and '.join(unmatched)}; records are called {some(records)}{way_out}")
    return matched, tuple(f"left out: {each}" for each in unmatched)
