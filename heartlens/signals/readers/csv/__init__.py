"""Tables of text: one column or one row of samples, or several columns under a header, one of which may be the time.

What was taken for the lead, its unit, the header, the rate and the times is said in one note. `--rate` decides against the times and
against what the file says; `--lead rows` takes every row for a recording of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from heartlens.refusal import Refusal
from heartlens.signals.channels import choose_lead, columns_of, kind_of_lead
from heartlens.signals.column_names import KINDS, Column, shown, words_of
from heartlens.signals.hints import Hints
from heartlens.signals.readers.csv.body import Convert, columns_in, rows_in, samples_of
from heartlens.signals.readers.csv.cells import MOST_COLUMNS, too_wide
from heartlens.signals.readers.csv.facts import rate_in_name
from heartlens.signals.readers.csv.fields import is_clock, number
from heartlens.signals.readers.csv.grid import evenly, unwrapped
from heartlens.signals.readers.csv.header import counts
from heartlens.signals.readers.csv.layout import Layout, layout_of
from heartlens.signals.readers.csv.stamps import in_seconds, numbers_or_clock
from heartlens.signals.recording import Recording, agreed_rate, record_name
from heartlens.whole import sha256_of

ROWS = "rows"  # instead of a lead: each row is a recording
APART_S = 2.0  # missing samples between rows
STRAY_KINDS = ("acceleration", "skin", "number", "respiration", "pressure")
MARKS = {"\t": "tabs", " ": "blanks", ";": "semicolons", "|": "|", ",": "commas"}

Signal = Float64[np.ndarray, " sample"]
Even = Float64[np.ndarray, " even"]


def read(path: Path, hints: Hints) -> Recording:
    """The recording in a table of text. Refuses what is not numbers, a lead that is unknown or cannot be chosen, and a missing rate."""
    if hints.rate_hz is not None:
        agreed_rate(None, hints.rate_hz, path)
    of_rows = str(hints.lead).strip().lower() == ROWS
    layout = layout_of(path, of_rows)
    if of_rows and ROWS not in [name.lower() for name in layout.names]:
        return _of_rows(path, layout, hints)
    if hints.lead is None and not layout.has_names:
        _refuse_stray(path, layout)
    if len(layout.rows) == 1 and not layout.has_names and len(layout.rows[0]) > 1:
        rows = rows_in(path, layout)
        if len(rows) == 1:
            return _recording(path, Column("column 0", layout.facts.unit), rows[0], hints, layout, None, ("the samples are one row",))
        if len(layout.names) > MOST_COLUMNS:
            raise too_wide(path, len(layout.names))
    columns, leads, times = _columns(path, layout)
    index, lead_notes = _lead(path, columns, leads, hints)
    wanted: dict[int, Convert] = {index: samples_of(columns[index].name, path)}
    wanted |= {time: numbers_or_clock([row[time] for row in layout.rows]) for time in times}
    counter = next((each for each, column in enumerate(columns) if column.kind == "counter" and each != index), None)
    if counter is not None and not times:
        wanted[counter] = numbers_or_clock([])
    values, notes = columns_in(path, layout, wanted)
    signal, notes = values.pop(index), lead_notes + notes
    if times:
        signal, rate_hz, time_notes = _timed(path, layout, columns, signal, values, hints)
        return _recording(path, columns[index], signal, hints, layout, rate_hz, notes + time_notes)
    if counter is not None:
        signal, counter_notes = _counted(signal, values[counter], columns[counter].name)
        notes += counter_notes
    return _recording(path, columns[index], signal, hints, layout, None, notes)


def is_table(path: Path) -> bool:
    """Whether a file of another suffix plainly is a table of numbers."""
    try:
        layout_of(path)
    except (Refusal, OSError):
        return False
    return True


def _columns(path: Path, layout: Layout) -> tuple[list[Column], list[int], list[int]]:
    """The columns, and the indices of those that may be leads and of the times that can be used."""
    names = list(layout.names)
    if layout.is_band:
        names = [path.stem] if len(names) == 1 else [f"{path.stem} {number}" for number in range(len(names))]
    named = columns_of(names, layout.units)
    seen = {index: kind for index in range(len(names)) if (kind := _seen(layout, index, named[index]))}
    plain = {
        index: kind
        for index, kind in seen.items()
        if named[index].kind not in ("time", "counter") and (kind != "constant" or len(names) > 1)
    }
    columns = columns_of(names, layout.units, plain)
    is_index = [not name.strip() or (name.startswith("column ") and layout.has_names) for name in names]
    times = [index for index, column in enumerate(columns) if column.kind == "time" and seen.get(index) != "constant"]
    not_leads = [index for index, column in enumerate(columns) if column.kind == "time" or (is_index[index] and column.kind == "counter")]
    leads = [index for index in range(len(columns)) if index not in not_leads]
    if len(columns) == 1 and columns[0].kind == "time" and named[0].kind != "time":
        leads, times = [0], []  # and it is refused as a time by its values
    if not leads:
        raise Refusal(f"{path}: there is only a time column")
    return columns, leads, times


def _seen(layout: Layout, index: int, column: Column) -> str:
    """What the first values of a column show it to be: "constant" (a colour also if mostly dark or too bright), "counter", "time".

    A heart signal by its name that only rises is left to those who look at all of it, and what a name says to be something else is no time.
    Of a name that says nothing the steps must be alike to be those of time.
    """
    fields = [row[index] for row in layout.rows]
    values = np.array([number(field, layout.decimal) for field in fields])
    finite = values[np.isfinite(values)]
    steps = np.diff(finite)
    most_equal = 0.5 if column.kind == "ppg" and column.colour else 1 - 1e-9
    if len(finite) > 2 and np.mean(steps == 0) > most_equal:
        return "constant"
    rises = len(finite) > 10 and len(finite) == len(values) and bool((steps > 0).all())
    if rises and column.kind and column.kind not in ("time", "counter"):
        return ""
    if counts(values.tolist()) and (not rises or steps[0] == 1):
        return "counter"
    is_clock_text = not len(finite) and bool(fields) and is_clock(fields[0])
    says_nothing = layout.has_names and column.name.strip() and not column.kind
    return "time" if is_clock_text or (rises and np.ptp(steps) <= (0.5 if says_nothing else 1.5) * np.median(steps)) else ""


def _refuse_stray(path: Path, layout: Layout) -> None:
    """Files without names of columns, whose own name tells that they hold something else: ACC.csv, EDA.csv, RR.txt."""
    kind = Column(path.stem).kind
    is_stray = kind in STRAY_KINDS or (layout.is_band and kind in ("temperature", "time"))
    if is_stray and len(words_of(path.stem)) == 1:
        raise Refusal(f"{path}: by its name the file holds {kind}, no heart signal; to read it all the same give --lead 0")


def _lead(path: Path, columns: list[Column], leads: list[int], hints: Hints) -> tuple[int, tuple[str, ...]]:
    own = [columns[index] for index in leads]
    seen = {place: column.seen for place, column in enumerate(own) if column.seen}
    units = [column.given_unit for column in own]
    place, notes = choose_lead([column.name for column in own], hints.lead, hints.kind, path, units, seen)
    return leads[place], notes


def _timed(
    path: Path, layout: Layout, columns: list[Column], signal: Signal, times: dict[int, Any], hints: Hints
) -> tuple[Even, float | None, tuple[str, ...]]:
    """The signal on an even grid, its rate and notes, by the most even column of times. Times that contradict `--rate` are not used."""
    known_hz = hints.rate_hz or layout.facts.rate_hz
    grids, refusals = [], []
    for index, stamps in times.items():
        column, is_text = columns[index], any(is_clock(row[index]) for row in layout.rows[:20])
        try:
            time_s, what, is_certain = in_seconds(
                stamps if is_text else unwrapped(stamps), column, is_text, hints.time_unit, known_hz, path
            )
            even, rate_hz, notes = evenly(signal, time_s, shown(column.name), path)
            is_uneven = any("interpolated" in note or "spaced" in note for note in notes)
            grids.append(((not is_certain, is_uneven, bool(notes), not column.unit, index), even, rate_hz, (what, *notes)))
        except Refusal as refusal:
            refusals.append(refusal)
    if grids:
        order, even, rate_hz, notes = min(grids, key=lambda grid: grid[0])
        others = [grid for grid in grids if grid[0][0] == order[0] and abs(grid[2] / rate_hz - 1) > 0.1]
        if others and not hints.rate_hz:
            _, _, other_hz, other_notes = others[0]
            raise Refusal(f"{path}: {notes[0]} make {rate_hz:.6g} Hz, {other_notes[0]} make {other_hz:.6g} Hz; give --rate")
        if hints.rate_hz and abs(rate_hz / hints.rate_hz - 1) > 0.01:
            return (
                signal,
                None,
                (f"the {notes[0]} make {rate_hz:.6g} Hz, {hints.rate_hz:g} Hz was given and taken, and the times are not used",),
            )
        stated_hz = layout.facts.rate_hz
        if stated_hz and not hints.rate_hz and abs(rate_hz / stated_hz - 1) > 0.1:
            raise Refusal(f"{path}: the lines above say {stated_hz:g} Hz, the {notes[0]} make {rate_hz:.6g} Hz; give --rate or --time-unit")
        if hints.rate_hz and f"{hints.rate_hz:.6g}" != f"{rate_hz:.6g}":
            notes += (f"{hints.rate_hz:.6g} Hz was given and taken, the times make {rate_hz:.6g} Hz",)
        return even, rate_hz, notes
    if hints.rate_hz:
        return signal, None, (f"the times are not used ({str(refusals[0]).removeprefix(f'{path}: ')}), {hints.rate_hz:g} Hz was given",)
    raise refusals[0]


def _counted(signal: Signal, counter: Any, name: str) -> tuple[Even, tuple[str, ...]]:
    """The signal with the samples that a counter skips left missing; as it is where the counter does not count samples."""
    counter = np.asarray(counter, np.float64)
    steps = np.diff(counter)
    usual = float(np.median(steps)) if len(steps) else 0.0
    if usual <= 0 or not np.isfinite(counter).all() or np.mean(steps == usual) < 0.9:
        return signal, ()
    wrap = counter.max() - counter.min() + usual
    ahead = np.where(steps < 0, steps + wrap, steps) / usual
    is_reset = (steps < 0) & (counter[1:] == counter.min()) & (ahead > 0.1 * wrap / usual)
    lost = np.where(is_reset, 0, np.round(ahead) - 1)
    if not lost.any() or (lost < 0).any() or lost.sum() > len(signal):
        return signal, ()
    places = np.arange(len(signal)) + np.concatenate([[0], np.cumsum(lost)]).astype(np.int64)
    grid = np.full(int(places[-1]) + 1, np.nan)
    grid[places] = signal
    return grid, (f"{int(lost.sum())} samples that {shown(name)} skips are left missing",)


def _of_rows(path: Path, layout: Layout, hints: Hints) -> Recording:
    """Every row a stretch, missing samples between."""
    rows = rows_in(path, layout)
    rate_hz, _ = agreed_rate(None, layout.facts.rate_hz if hints.rate_hz is None else hints.rate_hz, path)
    apart = np.full(round(APART_S * rate_hz), np.nan)
    signal = np.concatenate([part for row in rows for part in (row, apart)][:-1])
    name = Column(path.stem if kind_of_lead(path.stem) else ROWS, layout.facts.unit)
    return _recording(path, name, signal, hints, layout, None, (f"each of {len(rows)} rows is a recording",))


def _recording(
    path: Path, column: Column, signal: Signal, hints: Hints, layout: Layout, rate_hz: float | None, notes: tuple[str, ...]
) -> Recording:
    """The recording, with one note of all that was taken for something."""
    facts = layout.facts
    stated_hz = facts.rate_hz or rate_in_name(column.name)
    if rate_hz is None and hints.rate_hz is None and len(facts.rates_hz) > 1:
        named = ", ".join(f"{rate:g}" for rate in facts.rates_hz)
        raise Refusal(f"{path}: the lines above name several rates ({named} Hz); give --rate")
    if hints.rate_hz and rate_hz is None and stated_hz and abs(stated_hz / hints.rate_hz - 1) > 0.01:
        notes += (f"{hints.rate_hz:g} Hz was given and taken, not the {stated_hz:g} Hz that the file says",)
    elif rate_hz is None and not hints.rate_hz and stated_hz:
        notes += (f"{stated_hz:g} Hz as the file says",)
    if not layout.has_names and facts.lead:
        column = Column(facts.lead, column.given_unit)
    unit = column.unit or facts.unit
    by_stem = kind_of_lead(path.stem) if any(kind in path.stem.lower() for kind in ("ecg", "ekg", "ppg", "pleth", "bvp")) else None
    kind = column.kind if column.kind in KINDS else None if layout.has_names else by_stem
    notes += tuple(f"unit {unit}" for _ in [0] if unit) + tuple(text for text in (layout.header, _marks(layout)) if text)
    rate_hz, _ = agreed_rate(None, next((rate for rate in (hints.rate_hz, rate_hz, stated_hz) if rate is not None), None), path)
    note = ("; ".join(notes),) if notes and notes != (layout.header,) else ()
    return Recording(record_name(path), kind, shown(column.name), rate_hz, signal, unit, None, str(path), sha256_of(path), note)


def _marks(layout: Layout) -> str:
    marks = f"fields between {MARKS.get(layout.delimiter, layout.delimiter)}" if layout.delimiter not in ("", ",") else ""
    return ", ".join(
        text for text in (marks, "decimal commas" * (layout.decimal == ","), layout.encoding * (layout.encoding != "utf-8-sig")) if text
    )
