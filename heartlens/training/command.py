"""The commands' common part: data from recordings or simulated people, a run folder, a device, and what is shown on the way."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.axes import KINDS
from heartlens.exits import DONE, exit_code
from heartlens.parser import Parser, add_options
from heartlens.signals.hints import add_hints, hints_of
from heartlens.training.loop import Report, Schedule
from heartlens.training.run_folder import Progressed, RunFolder, opened


def run_pretrain(arguments: list[str]) -> int:
    """The exit code of `python -m heartlens.training.pretrain` with `arguments`."""
    return exit_code(lambda: _pretrain(_pretrain_parser().strict(arguments)))


def _pretrain_parser() -> Parser:
    from heartlens.training import pretrain

    parser = Parser(prog="python -m heartlens.training.pretrain", description=pretrain.__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=tuple(KINDS), help="kind of signal")
    add_data(parser)
    parser.add_argument("--people", type=int, default=1200, metavar="N", help="simulated people, where no --data is given (default: 1200)")
    add_run(parser)
    add_options(parser.add_argument_group("options of the training"), pretrain.Pretrain)
    return parser


def _pretrain(given: argparse.Namespace) -> int:
    from heartlens.training.pretrain import Pretrain, pretrain
    from heartlens.training.recordings import read_corpus
    from heartlens.training.simulation import corpus_of, simulated_people

    options = options_of(given, Pretrain)
    if given.data:
        corpus = read_corpus(given.data, given.kind, given.bandpass, given.persons, given.person, **hints_of(given))
    else:
        corpus = corpus_of(given.kind, simulated_people(given.kind, given.people, options.seed), options.seed)
    device, folder = accelerator(given.device, options.precision), RunFolder(given.out)
    if device.is_main_process:
        opened(given.out, {**asdict(options), "data": corpus.source, "data_sha256": corpus.sha256}, given.resume, given.overwrite)
    device.wait_for_everyone()
    with reporter(options.schedule(), given.quiet or not device.is_main_process) as report:
        progressed = pretrain(options, corpus, folder, device, report)
    if device.is_main_process:
        _draw(folder, progressed)
        print(f"best validation loss {progressed.best:.4f} after {progressed.step} steps: {folder.checkpoint}")
    device.end_training()
    return DONE


def _draw(folder: RunFolder, progressed: Progressed) -> None:
    """The losses as a figure beside their table."""
    from heartlens import figures

    steps = np.array(progressed.losses, float)
    with figures.style():
        page = figures.page(figures.COLUMN_MM, 60)
        named = {"train": steps[:, 2], "validation": steps[:, 3]}
        figures.curves(page.subplots(), steps[:, 0], named, "step", "cross-entropy (nats per token)")
    for suffix in ("pdf", "png"):
        figures.save(page, folder.path / f"losses.{suffix}")


def options_of(given: argparse.Namespace, options: type) -> Any:
    """The dataclass of options, filled from the command line."""
    return options(**{field.name: getattr(given, field.name) for field in fields(options)})


def add_data(parser: Any) -> None:
    """The arguments that say what is read."""
    group = parser.add_argument_group("recordings")
    group.add_argument("--data", nargs="+", action="extend", metavar="PATH", help="files, folders or patterns, any number")
    add_hints(group)
    group.add_argument("--persons", metavar="TABLE", help="who was recorded: a CSV of record,person; no person is on two sides")
    group.add_argument("--person", metavar="PATTERN", help="who was recorded: a regular expression with one group, or path (the folder)")
    group.add_argument("--bandpass", action="store_true", help="filter to the paper's band (ECG 1-45 Hz, PPG 1-15 Hz) first")


def add_run(parser: Any) -> None:
    """The arguments that say where it goes and on what it runs."""
    group = parser.add_argument_group("output and machine")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder of this run")
    group.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    group.add_argument("--overwrite", action="store_true", help="remove the run in the folder")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto takes CUDA devices where there are some")
    group.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors")


def accelerator(device: str, precision: str) -> Any:
    """The device or devices as `accelerate` sees them."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from heartlens.models.load import device_named

    AcceleratorState._reset_state()  # one process may train in one precision and then in another
    return Accelerator(cpu=device_named(device) == "cpu", mixed_precision={"float32": "no", "bfloat16": "bf16"}[precision])


@contextmanager
def reporter(schedule: Schedule, quiet: bool) -> Iterator[Report]:
    """A bar with loss and time left on a terminal, else a line each validation; nothing where `quiet`."""
    if quiet:
        yield lambda progressed, loss: None
    elif sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task("training", total=schedule.steps, loss=float("nan"))
            yield lambda progressed, loss: bar.update(task, completed=progressed.step, loss=loss)
    else:
        yield _line_each_validation


def _line_each_validation(progressed: Progressed, loss: float) -> None:
    if progressed.losses and progressed.losses[-1][0] == progressed.step:
        step, _, train_loss, validation_loss = progressed.losses[-1]
        print(f"step {step}: train loss {train_loss:.4f}, validation loss {validation_loss:.4f}", file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    loss = TextColumn("loss {task.fields[loss]:.4f}")
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), loss, TimeRemainingColumn(), console=Console(stderr=True)
    )
