"""A task as a command: its options, the model, and its result in one folder, whole or not at all, stored as an analysis stores its own.

A task is a module with `TASK`. It makes a summary, further tables and files; figure, words and report come from the stored summary alone.
"""

import io
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import xarray as xr

from heartlens import __version__
from heartlens.exits import DONE, PARTIAL, exit_code, leave
from heartlens.file_key import is_file
from heartlens.findings import Findings, as_json, with_edits
from heartlens.folder import Folder
from heartlens.options_file import OPTIONS, options_file
from heartlens.parser import (
    Parser,
    add_ablate,
    add_checkpoint,
    add_device,
    add_engine,
    add_format,
    add_json,
    add_offline,
    add_quiet,
    path_given,
)
from heartlens.provenance import Inventory, data_options, of_program, of_subject
from heartlens.refusal import Refusal
from heartlens.remake import command_of
from heartlens.store import write_summary, write_text
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.recordings import add_recordings, files_of
from heartlens.whole import csv_text, write_whole

if TYPE_CHECKING:
    import matplotlib.figure

Table = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]  # names of columns, rows
MOST_LINES = 12  # of recordings, on the terminal


@dataclass(frozen=True)
class Made:
    """What a task made. `read` is what it read; `n_unusable` recordings could not be used. `tables` and `files` by their names.

    `lines` are further lines for stderr, such as why a recording was not used.
    """

    summary: xr.Dataset
    read: Inventory
    tables: Mapping[str, Table] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    n_unusable: int = 0


@dataclass(frozen=True)
class Task:
    """One task. `name` is that of its module, `about` its docstring, `checkpoint` the help of the argument that names the model.

    `add_arguments` adds the task's options, `made` does the work with the model (None where `has_model` is False), `plot` and `findings`
    take the stored summary.
    """

    name: str
    about: str
    checkpoint: str
    add_arguments: Callable[[Any], None]
    made: Callable[[Namespace, Any], Made]
    plot: Callable[[xr.Dataset], "matplotlib.figure.Figure"]
    findings: Callable[[xr.Dataset], Findings]
    has_model: bool = True

    def main(self) -> NoReturn:
        """Run the process' command line and leave with its exit code."""
        leave(lambda: self.run_command(sys.argv[1:]))

    def run_command(self, arguments: list[str]) -> int:
        """The exit code of the command with `arguments`."""
        return exit_code(lambda: self._run(arguments))

    def parser(self) -> Parser:
        """What reads the command line."""
        parser = Parser(prog=f"heartlens {self.name}", description=self.about.splitlines()[0], epilog=NOT_MEDICAL, allow_abbrev=False)
        add_checkpoint(parser, self.checkpoint)
        add_recordings(parser)
        self.add_arguments(parser)
        output = parser.add_argument_group("output and machine")
        _add_output(output)
        if self.has_model:
            add_ablate(output)
        return parser

    def _run(self, arguments: list[str]) -> int:
        parser = self.parser()
        given = parser.strict(arguments)
        out = given.out or Path("out") / f"{self.name}-{Path(given.checkpoint).stem}"
        with Folder(out) as folder:
            if folder.is_result and not given.overwrite:
                raise Refusal(f"{out} holds a result; give another --out, or --overwrite")
            folder.refuse_foreign()
            subject = _subject(given) if self.has_model else None
            made = self.made(given, subject)
            summary = made.summary.assign_attrs(made.summary.attrs | _provenance(self, parser, given, subject, made.read))
            written = _write(self, summary, made, folder, given.format)
        findings = with_edits(self.findings(summary), summary.attrs)
        print(json.dumps(as_json(findings, summary.attrs, written), indent=1) if given.json else "\n".join(findings.verdict))
        if not given.quiet:
            for line in made.lines:
                print(line, file=sys.stderr)
            print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
            print(NOT_MEDICAL, file=sys.stderr)
        return PARTIAL if made.n_unusable else DONE


def _add_output(group: Any) -> None:
    group.add_argument("--out", type=path_given, metavar="FOLDER", help="where the results go (default: out/TASK-CHECKPOINT)")
    group.add_argument("--overwrite", action="store_true", help="replace the result in the output folder")
    add_format(group)
    add_json(group)
    add_quiet(group)
    add_offline(group)
    add_device(group)
    add_engine(group)


def _subject(given: Namespace) -> Any:
    from heartlens.models.load import load_subject

    chosen = {name: getattr(given, name) for name in ("published_only", "device", "engine", "ablate")}
    subject = load_subject(given.checkpoint, **chosen)
    if subject.kind is None:
        raise Refusal(
            f"nothing tells whether {given.checkpoint} reads ECG or PPG: its vocabulary fits neither, and it has no model card; write one "
            "into a .safetensors file (docs/adding_a_checkpoint.md)"
        )
    return subject


def _provenance(task: Task, parser: Parser, given: Namespace, subject: Any, read: Inventory) -> dict[str, Any]:
    """The attributes of a result, as those of an analysis' result: what made it, of what, and the command that remakes it."""
    own = Parser(add_help=False)
    task.add_arguments(own)
    options = {action.dest: getattr(given, action.dest) for action in own._actions}
    options = {name: Path(value).name if isinstance(value, Path) else value for name, value in options.items()}
    used = {} if subject is None else {"engine": subject.engine.name, "device": subject.engine.device.type}
    if subject is not None and not is_file(given.checkpoint):
        used["checkpoint"] = subject.origin.checkpoint
    return {
        "analysis": task.name,
        "options": json.dumps(options, sort_keys=True),
        "seed": int(options.get("seed") or 0),
        **({} if subject is None else of_subject(subject)),
        **read.attrs,
        "data_options": data_options(files_of(given, read.kind)),
        "names": "kept" if given.keep_names else "coded",
        "command": command_of(parser, given, used, keep_names=given.keep_names),
        **of_program(),
    }


def _write(task: Task, summary: xr.Dataset, made: Made, folder: Folder, formats: list[str]) -> list[Path]:
    """Put summary, tables, figure, report and further files into the folder, all at once; the paths written."""
    from heartlens import figures
    from heartlens.report import inline, report

    figure = task.plot(summary)
    svg = inline(figure)
    texts = {name: csv_text([columns, *rows]) for name, (columns, rows) in made.tables.items()}
    texts["report.html"] = report(task.findings(summary), svg, summary)
    texts[OPTIONS] = options_file(str(summary.attrs["command"]), __version__)
    drawings = [f"{task.name}.{suffix}" for suffix in dict.fromkeys(formats)]

    def fill(beside: Path) -> None:
        write_summary(summary, beside / "summary.nc")
        for name, text in texts.items():
            write_text(beside / name, text)
        for drawing in drawings:
            write_text(beside / drawing, svg) if drawing.endswith(".svg") else figures.save(figure, beside / drawing)
        for name, content in made.files.items():
            write_whole(content, beside / name)

    folder.claim()
    try:
        folder.give(fill)
    except OSError as error:
        raise Refusal(f"{folder.path} cannot be written ({error.strerror or error}); name another folder with --out") from error
    return [folder.path / name for name in ("summary.nc", *texts, *drawings, *made.files)]


def mat(**arrays: Any) -> bytes:
    """A MATLAB file of named arrays."""
    from scipy.io import savemat

    content = io.BytesIO()
    savemat(content, arrays, do_compression=True)
    return content.getvalue()


def npz(**arrays: Any) -> bytes:
    """A compressed NumPy archive of named arrays."""
    import numpy as np

    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def first_lines(lines: list[str], rest: str) -> tuple[str, ...]:
    """The first of many lines, and where the others stand."""
    more = len(lines) - MOST_LINES
    return tuple(lines[:MOST_LINES]) + ((f"... and {more} more in {rest}",) if more > 0 else ())
