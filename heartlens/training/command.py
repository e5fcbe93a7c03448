"""The commands' common part: data from recordings or simulated people, a run folder, a device, and what is shown on the way."""

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from heartlens import __version__
from heartlens.axes import CONTEXT, KINDS
from heartlens.converters.sizes import Sizes
from heartlens.exits import DONE, exit_code
from heartlens.options_file import OPTIONS, options_file
from heartlens.parser import Parser, add_device, add_json, add_offline, add_options, add_paths, add_persons, add_quiet, path_given
from heartlens.privacy import Names, names_beside
from heartlens.refusal import Refusal
from heartlens.remake import command_of
from heartlens.signals.hints import add_hints, hints_of
from heartlens.store import write_text
from heartlens.training.loop import Report, Schedule
from heartlens.training.run_folder import Progressed, RunFolder, opened

WRITTEN = ("model.safetensors", "losses.csv", "losses.pdf", "losses.png", "command.txt", OPTIONS)  # by a pre-training


def run_pretrain(arguments: list[str]) -> int:
    """The exit code of `python -m heartlens.training.pretrain` with `arguments`."""
    return exit_code(lambda: _pretrain(_pretrain_parser().strict(arguments)))


def _pretrain_parser() -> Parser:
    from heartlens.training import pretrain

    parser = Parser(prog="heartlens pretrain", description=pretrain.__doc__, allow_abbrev=False)
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
    device = accelerator(given.device, options.precision)
    _refuse_too_large(options, given.kind, device)
    identity = {**asdict(options), **data_identity(given, corpus.source, corpus.sha256, corpus.person_of)}
    with ExitStack() as opening:
        folder = RunFolder(given.out)
        if device.is_main_process:
            folder = opening.enter_context(opened(given.out, identity, given.resume, given.overwrite, stored_names(given)))
        folder = _shared(folder, device)
        report = opening.enter_context(reporter(options.schedule(), given.quiet or not device.is_main_process))
        progressed = pretrain(options, corpus, folder, device, report)
        if device.is_main_process:
            command = command_of(_pretrain_parser(), given, {"device": device.device.type}, keep_names=given.keep_names)
            place = folder.finish(lambda beside: _draw(beside, progressed, command))
            best = {"validation_loss": progressed.best, "n_steps": progressed.step}
            title = f"Pre-training on {corpus.source}"
            print(
                json.dumps({"title": title, **best, "files": [str(place / name) for name in WRITTEN]}, indent=1)
                if given.json
                else f"best validation loss {progressed.best:.4f} after {progressed.step} steps: {place / folder.checkpoint.name}"
            )
    device.end_training()
    return DONE


def stored_names(given: argparse.Namespace) -> Names:
    """How the names of what was read are stored."""
    return names_beside(
        [*(given.data or []), given.persons, getattr(given, "labels", None), getattr(given, "targets", None)], given.keep_names
    )


def _shared(folder: RunFolder, device: Any) -> RunFolder:
    """The folder of the main process, in every process."""
    if device.num_processes == 1:
        return folder
    from accelerate.utils import broadcast_object_list

    paths = broadcast_object_list([str(folder.path)])
    return folder if device.is_main_process else RunFolder(Path(paths[0]))


def data_identity(given: argparse.Namespace, source: str, sha256: str, person_of: Mapping[str, str]) -> dict[str, Any]:
    """What a run's options say of its data: by which options they were read, what they are, and who is whom."""
    persons = hashlib.sha256(json.dumps(dict(person_of), sort_keys=True).encode()).hexdigest()
    hints = hints_of(given) if given.data else {}
    hints["keep_names"] = given.keep_names
    return {"data": source, "data_sha256": sha256, "persons_sha256": persons, "bandpass": bool(given.bandpass), **hints}


def _refuse_too_large(options: Any, kind: str, device: Any) -> None:
    refuse_too_large(options.sizes(kind), options.batch, options.validation_windows, device)


def refuse_too_large(sizes: Sizes, batch: int, n_windows: int, device: Any) -> None:
    """Refuse a training that this machine has no memory for: weights, their moments, what a step keeps of its windows, and all windows."""
    of_layer = 12 * sizes.d_model**2
    of_window = sizes.layers * sizes.context * (20 * sizes.d_model + 2 * sizes.heads * sizes.context)
    n_bytes = 4 * (4 * sizes.layers * of_layer + batch * of_window / device.num_processes) + 8 * CONTEXT * n_windows
    most = memory_bytes() if device.device.type == "cpu" else math.inf
    if n_bytes > most:
        raise Refusal(
            f"--batch {batch} of this model needs about {n_bytes / 2**30:.0f} GiB, and {most / 2**30:.0f} are here; give a smaller --batch"
        )


def memory_bytes() -> float:
    """The memory of this machine; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _draw(folder: Path, progressed: Progressed, command: str) -> None:
    """The losses as a figure beside their table, and the command that remakes the run."""
    from heartlens import figures

    steps = np.array(progressed.losses, float)
    with figures.style():
        page = figures.page(figures.COLUMN_MM, 60)
        named = {"train": steps[:, 2], "validation": steps[:, 3]}
        figures.curves(page.subplots(), steps[:, 0], named, "step", "cross-entropy (nats per token)")
    for suffix in ("pdf", "png"):
        figures.save(page, folder / f"losses.{suffix}")
    write_text(folder / "command.txt", command + "\n")
    write_text(folder / OPTIONS, options_file(command, __version__))


def options_of(given: argparse.Namespace, options: type) -> Any:
    """The dataclass of options, filled from the command line."""
    return options(**{field.name: getattr(given, field.name) for field in fields(options)})


def add_data(parser: Any) -> None:
    """The arguments that say what is read."""
    group = parser.add_argument_group("recordings (simulated people where none are given)")
    add_paths(parser, group)
    add_hints(group)
    add_persons(group)
    group.add_argument("--bandpass", action="store_true", help="filter to the paper's band (ECG 1-45 Hz, PPG 1-15 Hz) first")


def add_run(parser: Any) -> None:
    """The arguments that say where it goes and on what it runs."""
    group = parser.add_argument_group("output and machine")
    group.add_argument("--out", type=path_given, required=True, metavar="FOLDER", help="the folder of this run")
    group.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    group.add_argument("--overwrite", action="store_true", help="replace the run in the folder, once the new one is finished")
    add_json(group)
    add_device(group)
    add_offline(group)
    add_quiet(group)


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
