"""Two results of one analysis, or two checkpoints, side by side: the difference of every effect with its 95 % interval, as CSV.

`heartlens compare out/A out/B` compares stored results, by persons where these are stored, paired where both have the same ones.
Of two fine-tunings the scores of their predictions on persons that they did not learn from are compared.
`heartlens compare ecg mine.pth recordings/` compares what two checkpoints make of the same recordings (simulated ones where none are
given), and how far their weights differ. The difference is that of the second less the first. Nothing here is a verdict: of many
intervals one in twenty leaves out 0 where nothing differs.
"""

import csv
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from heartlens.exits import DONE, exit_code
from heartlens.findings import LEAST_UNITS
from heartlens.parser import Parser, add_device, add_engine, add_offline, add_paths, add_persons, add_quiet
from heartlens.refusal import Refusal, unknown
from heartlens.results import TALLY, Result, analysis_of, finetunings, opened
from heartlens.results.table import Table
from heartlens.signals.hints import add_hints

N_SIMULATED = 24
VALUES = ("a", "b", "difference", "low", "high")
UNITS = ("units_a", "units_b", "paired")


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("a", metavar="A", help="the folder of a result, or a checkpoint")
    parser.add_argument("b", metavar="B", help="another one; differences are B less A")
    parser.add_argument("--of", metavar="EFFECT", help="only this effect (the first column)")
    recordings = parser.add_argument_group("recordings for two checkpoints (simulated ones where none are given)")
    add_paths(parser, recordings)
    add_hints(recordings)
    add_persons(recordings)
    recordings.add_argument("--max-windows", type=int, metavar="N", help="at most N windows of each recording, evenly spread")
    machine = parser.add_argument_group("output and machine")
    machine.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")
    add_device(machine)
    add_engine(machine)
    add_offline(machine)
    add_quiet(machine)
    given = parser.strict(arguments)
    are_results = [Path(name).is_dir() or Path(name).suffix == ".nc" for name in (given.a, given.b)]
    if are_results[0] != are_results[1]:
        folder, other = (given.a, given.b) if are_results[0] else (given.b, given.a)
        raise Refusal(f"{folder} is a folder and {other} is none; give the folders of two results, or two checkpoints")
    if are_results[0] and given.data:
        raise Refusal(f"two results are compared as they are stored; leave {given.data[0]} out")
    comparison = of_results(Path(given.a), Path(given.b), given.quiet) if are_results[0] else _of_checkpoints(given)
    effects = [name.removesuffix("_difference") for name in map(str, comparison) if name.endswith("_difference")]
    if given.of is not None and given.of not in effects:
        raise unknown("effect", given.of, effects)
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows_of(comparison, [given.of] if given.of else effects))
    if not given.quiet:
        print(about(comparison), file=sys.stderr)
    return DONE


def rows_of(comparison: xr.Dataset, effects: list[str]) -> list[list[Any]]:
    """The comparison as a tidy table: the effect, its place on every axis that any effect has, both values, difference and interval."""
    tables = []
    for effect in effects:
        columns = [f"{effect}_{column}" for column in VALUES if f"{effect}_{column}" in comparison]
        header, *rows = Table(effect, comparison[columns].reset_coords(drop=True)).rows()
        tables.append((effect, [name.removeprefix(f"{effect}_") if name in columns else name for name in header], rows))
    places = list(dict.fromkeys(name for _, header, _ in tables for name in header if name not in VALUES))
    table: list[list[Any]] = [["effect", *places, *VALUES]]
    for effect, header, rows in tables:
        table += [[effect, *(dict(zip(header, row, strict=True)).get(name, "") for name in (*places, *VALUES))] for row in rows]
    return table


def of_results(a: Path, b: Path, quiet: bool = True) -> xr.Dataset:
    """The effects of two stored results and their differences, b less a. Refuses results of different analyses."""
    from heartlens import comparison
    from heartlens.progress import shown
    from heartlens.store import read_measured

    results = [opened(path) for path in (a, b)]
    names = [result.name for result in results]
    if names[0] != names[1]:
        raise Refusal(f"{results[0].path} is of {names[0]} and {results[1].path} of {names[1]}; give two results of the same analysis")
    if not quiet:
        for line in unlike(*(result.summary.attrs for result in results)):
            print(line, file=sys.stderr)
    if names[0] == "finetune":
        return finetunings.compared(*results)
    if not all((result.path / TALLY).is_file() for result in results):
        return comparison.compared_records(*(_records(result) for result in results))
    measured = [read_measured(result.path / TALLY) for result in results]
    analyses = [analysis_of(each.attrs, str(result.path)) for each, result in zip(measured, results, strict=True)]
    return comparison.compared(analyses[0], measured[0], measured[1], shown(quiet), analyses[1])


def _records(result: Result) -> xr.Dataset:
    """The numbers of records.csv by record; those of a record that could not be used are left out."""
    path = result.path / "records.csv"
    if not path.is_file():
        raise Refusal(f"{result.path} holds neither {TALLY} nor records.csv: there is nothing by person to compare")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row.get("reason")]
    columns = {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ()) if name not in ("record", "person")}
    known = {name: ("record", values) for name, values in columns.items() if not any(value is None for value in values)}
    return xr.Dataset(
        known, coords={"record": [row["record"] for row in rows], "person": ("record", [row.get("person", "") for row in rows])}
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _of_checkpoints(given: Namespace) -> xr.Dataset:
    from heartlens.comparison import compared_checkpoints
    from heartlens.models.load import load_subject
    from heartlens.signals.hints import hints_of
    from heartlens.signals.read import read
    from heartlens.signals.simulate import simulated

    options = {"published_only": given.published_only, "device": given.device, "engine": given.engine}
    first, second = (load_subject(name, **options) for name in (given.a, given.b))
    if given.data:
        who = {"persons": given.persons, "person": given.person, "max_windows": given.max_windows}
        windows = read(given.data, kind=first.kind, **hints_of(given), **who)
    elif first.kind is None:
        raise Refusal("this checkpoint's vocabulary does not tell ECG from PPG, so no signals can be simulated for it; give recordings")
    else:
        windows = simulated(first.kind, N_SIMULATED, 1)
    if not given.quiet:
        what = "recordings" if given.data else "SIMULATED signals"
        print(f"{len(windows)} windows of {len(windows.records)} records ({what})", file=sys.stderr)
    return compared_checkpoints(first, second, windows)


def unlike(first: Any, second: Any) -> list[str]:
    """What differs between two results that a reader of their difference must know."""
    lines = []
    for name in ("checkpoint", "edits", "options", "data_options", "data_sha256", "versions"):
        if first.get(name) != second.get(name):
            lines.append(f"{name.replace('_', ' ')}: {_difference(first.get(name), second.get(name))}")
    return lines


def _difference(first: Any, second: Any) -> str:
    try:
        before, now = json.loads(first), json.loads(second)
        return "; ".join(f"{key}: {before.get(key)} and {now.get(key)}" for key in {**before, **now} if before.get(key) != now.get(key))
    except (TypeError, ValueError, AttributeError):
        return f"{str(first)[:60]} and {str(second)[:60]}"


def about(comparison: xr.Dataset) -> str:
    """What a reader of the differences must know, in lines."""
    attrs = comparison.attrs
    lower = [name for name in map(str, comparison) if name.endswith("_low")]
    pairs = [(comparison[name].values, comparison[f"{name.removesuffix('_low')}_high"].values) for name in lower]
    n_known = sum(int(np.isfinite(low).sum()) for low, _ in pairs)
    if not pairs:
        return "b less a, relative to a; the two answer different questions, so only their weights are compared"
    counts = "{} and {} persons or records, {} of them in both (paired)".format(*(attrs[f"n_{name}"] for name in UNITS))
    lines = [f"b less a; 95 % intervals, each of one effect: no verdict. {counts}."]
    lines += [f"only places that both have are compared: {attrs['unlike']}"] if attrs.get("unlike") else []
    if n_known:
        n_without = sum(int(((low > 0) | (high < 0)).sum()) for low, high in pairs)
        lines.append(f"{n_without} of {n_known} intervals leave out 0; where nothing differs about {0.05 * n_known:.0f} do.")
    if min(attrs["n_units_a"], attrs["n_units_b"]) < LEAST_UNITS:
        lines.append(f"With fewer than {LEAST_UNITS} persons no interval was shown to cover; nothing is tested with so few.")
    return "\n".join(lines)
