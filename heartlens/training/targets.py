"""Numbers to learn, from a table that people keep: a line with record, perhaps a time, and a column for each number, as CSV.

Without a time a line's numbers hold for the whole recording. `start_s`: for the window that begins there. `time_s`: for the window that
ends there or, where every token is read, for the token there. Seconds from the recording's start. A number's unit is the end of its
column's name (hr_bpm, interval_s), or is given with --units.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.tables import named_in, table_of
from heartlens.training.labels import NO_COPIES, matched_in

PLACES = ("start_s", "time_s")
TIMES, SIZES = ("bpm", "hz", "s", "ms", "per_min", "years"), ("mmhg", "kpa", "mv", "uv", "percent", "degc", "ml", "l_min", "kg", "cm")
UNITS = (*TIMES, *SIZES, "au", "raw", "none")
UNCALIBRATED = ("au", "raw")
RANGES = (  # of a name and a unit: what such a number can be
    (r"(^|_)(hr|heart_?rate|pulse_?rate|pr|pulse)$", "bpm", (20.0, 300.0)),
    (r"(^|_)(hr|heart_?rate|pulse_?rate|pr|pulse)$", "hz", (0.3, 5.0)),
    (r"(^|_)(rr|ibi|ppi|nn|.*interval)$", "s", (0.2, 3.0)),
    (r"(^|_)(rr|ibi|ppi|nn|.*interval)$", "ms", (200.0, 3000.0)),
    (r"(^|_)(sbp|sys.*)$", "mmhg", (50.0, 300.0)),
    (r"(^|_)(dbp|dia.*)$", "mmhg", (20.0, 200.0)),
    (r"(^|_)(map|mean.*)$", "mmhg", (30.0, 250.0)),
    (r"(^|_)(sbp|dbp|map|sys.*|dia.*)$", "kpa", (2.5, 40.0)),
    (r"(^|_)(resp|respiration|rr|breath.*)$", "per_min", (2.0, 120.0)),
    (r".*", "percent", (0.0, 100.0)),
    (r".*", "bpm", (2.0, 400.0)),
    (r".*", "degc", (20.0, 45.0)),
    (r".*", "years", (0.0, 130.0)),
)
FAR_APART, FEW = 30.0, 0.02  # times as large as the next smaller number, with at least so large a share on either side: two units
Range = tuple[float, float]


@dataclass(frozen=True)
class Targets:
    """`value` (line, number) by record, NaN where a cell is empty, and each line's time; `place` says what the times are, "" for none."""

    names: tuple[str, ...]
    units: tuple[str, ...]  # "" for a number without
    place: str
    time_s: Mapping[str, Float[np.ndarray, " line"]]
    value: Mapping[str, Float[np.ndarray, "line number"]]
    notes: tuple[str, ...] = ()

    @property
    def is_uncalibrated(self) -> bool:
        """Whether a number is in units that mean something else in every recording."""
        return any(unit in UNCALIBRATED for unit in self.units)


def read_targets(
    path: Path,
    records: list[str],
    columns: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    ranges: Mapping[str, Range] | None = None,
    partial: bool = False,
    copies: Mapping[str, str] = NO_COPIES,
) -> Targets:
    """The numbers of every record. `columns`: those to learn, all but record and time where not given; `ranges`: what each can be.

    Refuses what is no number, a number outside the range that its name and unit allow, numbers of two units, and numbers that never differ.
    """
    header, lines = table_of(path, ("record",))
    place = _place(path, header)
    columns = list(columns or [name for name in header if name not in ("record", place)])
    _refuse_other_columns(path, header, columns, ranges or {})
    split = [_named(path, column, units[index] if units and len(units) == len(columns) else None) for index, column in enumerate(columns)]
    if units and len(units) != len(columns):
        raise Refusal(
            f"--units has {len(units)} units, and the numbers are {len(columns)} ({', '.join(columns)}); give one for each, in order"
        )
    times, values, first_line = dict[str, list[float]](), dict[str, list[list[float]]](), dict[tuple[str, str], int]()
    n_empty = 0
    for number, cells in lines:
        row = dict(zip(header, cells, strict=True))
        name = row["record"]
        if not name:
            raise Refusal(f"{path}, line {number}: the record is missing")
        if (before := first_line.setdefault((name, row[place] if place else ""), number)) != number:
            raise Refusal(
                f"{path}, line {number}: {name} {f'at {row[place]} s ' if place else ''}was in line {before} already; a line is one "
                f"number at one time{'' if place else ', and numbers that change within a recording need a column start_s or time_s'}"
            )
        times.setdefault(name, []).append(_time(path, number, row[place]) if place else 0.0)
        values.setdefault(name, []).append([_number(path, number, name, column, row[column]) for column in columns])
        n_empty += sum(not np.isfinite(value) for value in values[name][-1])
    for index, column in enumerate(columns):
        every = np.array([row[index] for rows in values.values() for row in rows])
        legal = (ranges or {}).get(column) or ((-np.inf, np.inf) if split[index][1] in UNCALIBRATED else _range_of(*split[index]))
        _refuse_impossible(path, column, every[np.isfinite(every)], legal, column in (ranges or {}))
    matched, notes = matched_in(path, list(values), records, partial, copies)
    for copy in named_in(path, list(values), list(copies))[0]:
        if copies[copy] in named_in(path, list(values), records)[0]:
            raise Refusal(f"{path}: {copy} and {copies[copy]} are the same recording, and both have numbers; leave one of them out")
    empty = (f"{n_empty} empty cells have no target",) if n_empty else ()
    return Targets(
        tuple(name for name, _ in split),
        tuple("" if unit == "none" else unit for _, unit in split),
        place,
        {record: np.array(times[name]) for record, name in matched.items()},
        {record: np.array(values[name], float) for record, name in matched.items()},
        notes + empty,
    )


def within_record(targets: Targets) -> Targets:
    """Each record's numbers, less its mean and in its standard deviations. Refuses a record whose numbers do not differ."""
    scaled = {}
    for record, value in targets.value.items():
        spread = np.nanstd(value, axis=0) if np.isfinite(value).any(axis=0).all() else np.zeros(1)
        if not (spread > 0).all():
            raise Refusal(
                f"{record}: its numbers do not change, so that nothing can be learnt within it; leave it out of the table, with --partial"
            )
        scaled[record] = (value - np.nanmean(value, axis=0)) / spread
    units = ("sd",) * len(targets.names)
    note = "each recording's numbers less its mean, in its standard deviations: what differs between recordings is not learnt"
    return Targets(targets.names, units, targets.place, targets.time_s, scaled, (*targets.notes, note))


def ranges_of(given: Sequence[str]) -> dict[str, Range]:
    """COLUMN=LOW:HIGH as a mapping. Refuses what does not look so."""
    ranges = {}
    for text in given:
        match = re.fullmatch(r"([^=]+)=([^:]+):([^:]+)", text)
        try:
            low, high = (float(match[2]), float(match[3])) if match else (1.0, 0.0)
        except ValueError:
            low, high = 1.0, 0.0
        if not match or not low < high:
            raise Refusal(f"--ranges has {text!r}; legal: COLUMN=LOW:HIGH, say hr_bpm=20:300")
        ranges[match[1]] = (low, high)
    return ranges


def _place(path: Path, header: list[str]) -> str:
    places = [name for name in header if name in PLACES]
    if len(places) > 1:
        raise Refusal(f"{path} has both start_s and time_s; leave one: start_s is where a window begins, time_s where it ends")
    vague = [name for name in header if name.lower() in ("time", "start", "t", "seconds", "time [s]", "start_time", "time_ms", "start_ms")]
    if vague and not places:
        raise Refusal(
            f"{path} has the column {vague[0]}; call it start_s (the window begins there) or time_s (the window ends there), in seconds "
            "from the recording's start"
        )
    return places[0] if places else ""


def _refuse_other_columns(path: Path, header: list[str], columns: list[str], ranges: Mapping[str, Range]) -> None:
    legal = [name for name in header if name not in ("record", *PLACES)]
    if not columns:
        raise Refusal(f"{path} has the columns {', '.join(header)}; needed is one with numbers, called with its unit, say hr_bpm")
    for name in (*columns, *ranges):
        if name not in legal:
            raise Refusal(f"{path} has no column {name!r} of numbers; legal: {', '.join(legal)}")


def _named(path: Path, column: str, unit: str | None) -> tuple[str, str]:
    """Name and unit of a column."""
    ends = [each for each in UNITS if column.lower().endswith(f"_{each}")]
    told = max(ends, key=len) if ends else None
    if unit is not None and unit.lower() not in UNITS:
        raise Refusal(f"unit {unit!r} of {column} is not known; legal: {', '.join(UNITS)}")
    if unit is not None and told not in (None, unit.lower()):
        raise Refusal(f"{path}: the column {column} is in {told} by its name, and in {unit} by --units; make them agree")
    if unit is None and told is None:
        raise Refusal(
            f"{path}: the unit of {column!r} is not known; end its name with one (say hr_bpm) or give --units; legal: {', '.join(UNITS)}"
        )
    return (column[: -len(told) - 1] if told else column), (told or str(unit).lower())


def _time(path: Path, number: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value >= 0):
        raise Refusal(f"{path}, line {number}: {text!r} is no time; give seconds from the recording's start")
    return value


def _number(path: Path, number: int, name: str, column: str, text: str) -> float:
    """A cell's number; NaN of an empty one."""
    if text == "" or text.lower() == "nan":
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        with_unit = re.fullmatch(r"([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([^\d\s].*)", text, re.IGNORECASE)
        what = (
            f"holds a unit ({with_unit[2]}); write {with_unit[1]}, all in one unit, and the unit at the end of the column's name"
            if with_unit
            else "is no number; write numbers alone with a decimal point, leave cells without one empty, or the column out (--columns)"
        )
        raise Refusal(f"{path}, line {number}: {name}: {column} is {text!r}, which {what}") from None
    if not np.isfinite(value):
        raise Refusal(f"{path}, line {number}: {name}: {column} is {text}; leave the cell empty where there is no number")
    return value


def _range_of(name: str, unit: str) -> Range | None:
    return next((legal for pattern, of_unit, legal in RANGES if of_unit == unit and re.search(pattern, name.lower())), None)


def _refuse_impossible(path: Path, column: str, value: np.ndarray, legal: Range | None, is_given: bool) -> None:
    if not len(value):
        raise Refusal(f"{path}: {column} has no number at all; leave it out with --columns")
    if legal and not (legal[0] <= value.min() and value.max() <= legal[1]):
        wrong = value[(value < legal[0]) | (value > legal[1])]
        raise Refusal(
            f"{path}: {column} is {wrong[0]:g} in {len(wrong)} of {len(value)} lines; legal: {legal[0]:g} to {legal[1]:g}; another unit? "
            + ("" if is_given else f"If the numbers are right, give --ranges {column}=LOW:HIGH")
        )
    if value.min() == value.max():
        raise Refusal(f"{path}: {column} is {value[0]:g} in all {len(value)} lines; there is nothing to learn: leave it out with --columns")
    size = np.sort(np.abs(value[value != 0]))
    if legal or len(size) < 2:
        return
    place = int(np.argmax(size[1:] / size[:-1])) + 1
    if size[place] / size[place - 1] >= FAR_APART and min(place, len(size) - place) >= max(2, FEW * len(size)):
        raise Refusal(
            f"{path}: the numbers of {column} are of two sizes, {size[0]:g} to {size[place - 1]:g} and {size[place]:g} to {size[-1]:g}: "
            f"are they in two units? Write all in one; if they are right, give --ranges {column}=LOW:HIGH"
        )
