"""What the commands of all tasks share: which model, where the results go, and how tables are written."""

import argparse
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from heartlens.options import ENGINES
from heartlens.refusal import Refusal
from heartlens.store import write_text

Table = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]  # names of columns, rows


def add_output(parser: Any) -> None:
    """The arguments that say where results go and what runs the model."""
    group = parser.add_argument_group("output and machine")
    group.add_argument("--out", type=Path, metavar="FOLDER", help="where the tables and figures go (default: out/TASK-CHECKPOINT)")
    group.add_argument("--overwrite", action="store_true", help="replace tables of an earlier run in the folder")
    group.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto takes a CUDA device where there is one")
    group.add_argument("--engine", default="auto", choices=ENGINES, help="what runs the model: auto takes the fastest that is exact for it")


def opened_subject(given: argparse.Namespace, task: str) -> Any:
    """The model of the command line; `given.out` is set where it was not given. Refuses a folder that holds such tables already."""
    from heartlens.models.load import device_named, load
    from heartlens.models.subject import subject_of

    subject = subject_of(load(given.checkpoint, published_only=given.published_only, device=device_named(given.device)), given.engine)
    given.out = given.out or Path("out") / f"{task}-{Path(given.checkpoint).stem}"
    tables = sorted(path.name for path in given.out.glob("*.csv"))
    if tables and not given.overwrite:
        raise Refusal(f"{given.out} holds {tables[0]} already; give --overwrite, or another --out")
    return subject


def write_tables(folder: Path, tables: Mapping[str, Table]) -> None:
    """Write tables as CSV files, each whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (columns, rows) in tables.items():
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
        write_text(folder / name, text.getvalue())
    print(f"written: {', '.join(str(folder / name) for name in tables)}")
