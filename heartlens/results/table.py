"""A stored result as a tidy CSV: every head, every record, every window, a row each.

`heartlens table out/X` prints the table that the verdicts are in, `--of NAME` another one, `--list` says which there are. A table holds all
numbers that lie on the same axes (layer and head, wave, record, ...), a column each. `layer` and `head` count from 0, as in Python; `part`
is the same place as reports and `--ablate` call it (L4H5). `--of records` gives the effects that the verdicts are about for each record
alone (for each person, where persons are known), under the names that tables of labels take.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.exits import DONE, exit_code
from heartlens.inference.verdict import VERDICT
from heartlens.parser import Parser, path_given
from heartlens.refusal import Refusal, unknown
from heartlens.results import TALLY, Result, analysis_of, opened

RECORDS = "records"
MOST_ROWS = 5_000_000


@dataclass(frozen=True)
class Table:
    """One table of a result: `dataset` has variables that share all their axes; `axes` is empty for single numbers."""

    name: str
    dataset: xr.Dataset

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes, the slowest first."""
        return tuple(map(str, next(iter(self.dataset.values())).dims))

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return int(np.prod([self.dataset.sizes[axis] for axis in self.axes], dtype=int))

    def rows(self) -> Iterator[list[Any]]:
        """The header, then a row for each place."""
        has_part = "layer" in self.axes
        yield [*(["part"] if has_part else []), *self.axes, *map(str, self.dataset.data_vars)]
        columns = [self.dataset[name].transpose(*self.axes).values.ravel() for name in self.dataset.data_vars]
        sizes = [self.dataset.sizes[axis] for axis in self.axes]
        coords = {axis: self.dataset[axis].values if axis in self.dataset.coords else range(self.dataset.sizes[axis]) for axis in self.axes}
        for row, index in enumerate(np.ndindex(*sizes)):
            at = {axis: coords[axis][place] for axis, place in zip(self.axes, index, strict=True)}
            yield [*([_part(at)] if has_part else []), *map(_cell, at.values()), *(_cell(column[row]) for column in columns)]


def tables_of(result: Result) -> dict[str, Table]:
    """The tables of a result's summary by their names: the axes, with commas."""
    summary = result.summary
    by_axes: dict[tuple[str, ...], list[str]] = {}
    for name, values in summary.items():
        by_axes.setdefault(tuple(map(str, values.dims)), []).append(str(name))
    return {",".join(axes) or "single": Table(",".join(axes) or "single", summary[names]) for axes, names in by_axes.items()}


def chosen(result: Result, wanted: str | None) -> Table:
    """The table with this name or with a variable of this name; without one, that of the verdicts, else the one with most heads or rows."""
    if wanted == RECORDS and (result.path / TALLY).is_file():
        return Table(RECORDS, _by_record(result))
    tables = tables_of(result)
    if wanted is None:
        of_verdicts = [table for table in tables.values() if any(str(name).endswith(VERDICT) for name in table.dataset)]
        return max(of_verdicts or tables.values(), key=lambda table: ("head" in table.axes, len(table.axes), table.n_rows))
    if wanted in tables:
        return tables[wanted]
    holders = [table for table in tables.values() if wanted in table.dataset]
    if not holders:
        records = [RECORDS] if (result.path / TALLY).is_file() else []
        names = [*tables, *records, *result.tables, *(str(name) for table in tables.values() for name in table.dataset)]
        raise Refusal(f"{result.path}: {unknown('table', wanted, names)}")
    return holders[0]


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens table", description=__doc__, allow_abbrev=False)
    parser.add_argument("result", type=path_given, metavar="FOLDER", help="the folder of a result")
    parser.add_argument("--of", metavar="NAME", help="a table by its axes or one of its columns, records, or a CSV file of the folder")
    parser.add_argument("--list", action="store_true", help="list the tables instead")
    given = parser.strict(arguments)
    result = opened(given.result)
    if given.list:
        return _list(result)
    file = _file(result, given.of)
    if file is not None:
        sys.stdout.write(file.read_text(encoding="utf-8"))
        return DONE
    table = chosen(result, given.of)
    if table.n_rows > MOST_ROWS:
        raise Refusal(f"the table {table.name} has {table.n_rows} rows; at most {MOST_ROWS} are printed: read {result.path} in Python")
    csv.writer(sys.stdout, lineterminator="\n").writerows(table.rows())
    return DONE


def _file(result: Result, wanted: str | None) -> Path | None:
    """The CSV file that is asked for; without a name, that of the records where there is one."""
    names = [f"{wanted}.csv", wanted] if wanted else ["records.csv", *(result.tables if not (result.path / "summary.nc").is_file() else [])]
    return next((result.path / name for name in names if name in result.tables), None)


def _list(result: Result) -> int:
    for name in result.tables:
        print(f"{name.removesuffix('.csv')}: a file of the result")
    for table in tables_of(result).values() if (result.path / "summary.nc").is_file() or not result.tables else ():
        print(f"{table.name}: {table.n_rows} rows; columns {', '.join(map(str, table.dataset))}")
    return DONE


def _by_record(result: Result) -> xr.Dataset:
    """The effects that the verdicts are about, of each unit alone: a person where persons are known, else a record; or a group of them."""
    from heartlens.comparison import effects_of, without_draws
    from heartlens.store import read_measured
    from heartlens.tally import Tally

    measured = read_measured(result.path / TALLY)
    analysis, whole = without_draws(analysis_of(measured.attrs, str(result.path))), measured.tally.whole
    units = [str(name) for name in whole.sums["record"].values]
    alone = [effects_of(analysis.summarize(Tally(whole.sums.isel(record=[row]), whole.sample), {})) for row in range(len(units))]
    by_axes: dict[tuple[str, ...], list[str]] = {}
    for name, values in alone[0].items():
        by_axes.setdefault(tuple(map(str, values.dims)), []).append(str(name))
    names = max(by_axes.items(), key=lambda pair: ("head" in pair[0], len(pair[0])))[1]
    unit = "group" if measured.tally.is_grouped else "person" if any(measured.tally.persons) else "record"
    return xr.concat([each[names] for each in alone], dim=xr.Variable(unit, units), join="outer")


def _part(at: dict[str, Any]) -> str:
    """The head or layer as reports call it."""
    if "head" in at:
        return head_label(int(at["layer"]), int(at["head"]))
    return f"L{int(at['layer']) + 1}" if isinstance(at["layer"], int | np.integer) else str(at["layer"])


def _cell(value: Any) -> Any:
    """A value as text: numbers with the digits they have, what is not known empty."""
    value = value.item() if isinstance(value, np.generic) else value
    return ("" if value != value else repr(value)) if isinstance(value, float) else value
