"""`python -m heartlens.training.finetune`: from the command line to a checkpoint with its card, a summary, a figure and a report."""

import argparse
import csv
import io
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from heartlens import __version__, figures
from heartlens.checkpoints.card import Card, read_card
from heartlens.checkpoints.read import State
from heartlens.converters.sizes import sizes_of
from heartlens.exits import DONE, exit_code
from heartlens.models.load import read
from heartlens.models.origin import Origin
from heartlens.options_file import OPTIONS, options_file
from heartlens.parser import Listed, Parser, add_checkpoint, add_options
from heartlens.privacy import Names
from heartlens.refusal import Refusal
from heartlens.remake import command_of
from heartlens.report import inline
from heartlens.report import report as page_of
from heartlens.store import write_summary, write_text
from heartlens.training import finetune
from heartlens.training.beats import event_figures
from heartlens.training.card import tuned_card
from heartlens.training.command import accelerator, add_data, add_run, data_identity, options_of, refuse_too_large, reporter, stored_names
from heartlens.training.evaluation import ONE_MODEL, Figures, Ranking, window_figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Finetune, Probability
from heartlens.training.finetune_report import Verdict, findings, plot, summary_of
from heartlens.training.folds import folds, held_out
from heartlens.training.frozen import frozen_part
from heartlens.training.given import examples_of
from heartlens.training.judged import Judged, Trainer, cross_validated, n_folds
from heartlens.training.network import network_of
from heartlens.training.run_folder import FROZEN, RunFolder, opened
from heartlens.training.tasks import TASKS, Task, trained_from

OUT_OF_FOLD = "cross-validated"
WRITTEN = ("summary.nc", "finetune.pdf", "finetune.png", "predictions.csv", "report.html")


def run_finetune(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _finetune(_parser().strict(arguments)))


def _parser() -> Parser:
    about = finetune.__doc__
    parser = Parser(prog="heartlens finetune", description=about, allow_abbrev=False, formatter_class=_Raw)
    add_checkpoint(parser, "what is fine-tuned: a name, an alias (ecg, ppg, ...) or one's own file")
    parser.add_argument("--task", required=True, help=f"{', '.join(TASKS)}, or a name of one's own with --reads")
    parser.add_argument("--reads", choices=("last", "every"), help="a target for each window (last token) or for every token")
    add_data(parser)
    group = parser.add_argument_group("labels")
    group.add_argument("--labels", type=Path, metavar="TABLE", help="a CSV of record,label, or of record,time_s where every token counts")
    group.add_argument("--classes", type=Listed(), metavar="LABEL,...", help="the labels to tell apart; of two, the second is detected")
    group.add_argument("--leave-out", type=Listed(), default=[], metavar="LABEL,...", help="records labelled so are not used")
    group.add_argument("--partial", action="store_true", help="leave out labels without a record and records without a label")
    group.add_argument("--people", type=int, default=200, metavar="N", help="simulated people, where no --data is given (default: 200)")
    rivals = "fine-tuned checkpoints to judge on the same windows, with commas between"
    group.add_argument("--compare", type=Listed(), default=[], metavar="CHECKPOINT,...", help=rivals)
    add_run(parser)
    add_options(parser.add_argument_group("options of the training"), Finetune)
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _finetune(given: argparse.Namespace) -> int:
    options, task = options_of(given, Finetune), _task(given)
    base, origin = read(given.checkpoint, published_only=given.published_only)
    if origin.kind is None:
        raise Refusal(f"{given.checkpoint}: its vocabulary does not tell ECG from PPG; only such checkpoints can be fine-tuned")
    examples = examples_of(given, origin.kind, task, options)
    _refuse_impossible(options, base, examples)
    device = accelerator(given.device, options.precision)
    if device.num_processes > 1:
        raise Refusal(f"fine-tuning runs in one process, not in {device.num_processes}; start it without a launcher")
    refuse_too_large(sizes_of(base), options.batch, len(examples), device)
    rivals = [_rival(name, origin.kind, examples) for name in given.compare]
    identity = {"checkpoint": origin.fingerprint, "task": task.name, "classes": list(examples.classes)}
    identity |= data_identity(given, examples.source, examples.sha256, examples.person_of)
    with ExitStack() as opening:
        folder = opening.enter_context(
            opened(given.out, {**asdict(options), **identity}, given.resume, given.overwrite, stored_names(given))
        )
        opening.callback((folder.path / FROZEN).unlink, missing_ok=True)
        report = opening.enter_context(reporter(options.schedule(), given.quiet))
        trainer = _trainer(options, base, examples, folder, device)
        judged = cross_validated(trainer, report) if n_folds(options, len(examples.records)) else None
        tuned = trainer.tuned(examples.records, folder, report)
        threshold = trainer.threshold(tuned)
        verdicts = _verdicts(judged, trainer, tuned.validation, tuned, threshold)
        verdicts += [_judged_by(*rival, examples, options) for rival in rivals]
        summary = summary_of(task.name, origin.checkpoint, options, examples, verdicts, tuned.progressed)
        used = {"device": device.device.type} | ({} if Path(given.checkpoint).is_file() else {"checkpoint": origin.checkpoint})
        summary = summary.assign_attrs(
            command=command_of(_parser(), given, used, keep_names=given.keep_names), data_options=json.dumps(identity, sort_keys=True)
        )
        card = tuned_card(task, origin, options, examples, tuned, threshold, verdicts, folder.stored)
        place = folder.finish(
            lambda beside: _write(beside, tuned.state, card, summary, _table(examples, verdicts[0].probability, folder.stored))
        )
    print("written: " + ", ".join(str(place / name) for name in WRITTEN), file=sys.stderr)
    print("\n".join(findings(summary).verdict))
    print(f"threshold {threshold:.3f}: {place / folder.checkpoint.name}")
    return DONE


def _refuse_impossible(options: Finetune, base: State, examples: Examples) -> None:
    """Refuse before anything is written what would be refused later."""
    class_of = examples.class_of_unit(examples.records)
    trained_from(options.train, sizes_of(base).layers)
    n = n_folds(options, len(class_of))
    for left_out in folds(class_of, n, options.seed) if n else [[]]:
        held_out({name: label for name, label in class_of.items() if name not in left_out}, options.validation_share, options.seed)


def _task(given: argparse.Namespace) -> Task:
    known = TASKS.get(given.task)
    if known is None and given.reads is None:
        raise Refusal(f"task {given.task!r} is new: say with --reads whether it reads the last token or every; known: {', '.join(TASKS)}")
    if known is not None and given.reads not in (None, known.reads):
        raise Refusal(f"task {given.task!r} reads {known.reads}, not {given.reads}; leave --reads out, or name another task")
    return known or Task(given.task, given.task, given.reads)


def _trainer(options: Finetune, base: State, examples: Examples, folder: RunFolder, device: Any) -> Trainer:
    network = network_of(base).to(device.device)
    start = trained_from(options.train, len(network.blocks))
    entering = frozen_part(network, examples.tokens, start, examples.last_only, folder.path / FROZEN)
    return Trainer(options, base, examples, entering, folder, device)


def _verdicts(judged: Judged | None, trainer: Trainer, validation: list[str], tuned: Any, threshold: float) -> list[Verdict]:
    """Of all windows out of fold; without folds, of the final model on all windows, its figures those of the validation records."""
    examples, seed = trainer.examples, trainer.options.seed
    if judged is not None:
        return [
            Verdict(
                OUT_OF_FOLD,
                figures_of(judged.probability, judged.threshold, examples, seed, judged.ranking),
                judged.probability,
                judged.ranking,
            )
        ]
    said, held = trainer.said(tuned, np.arange(len(examples))), examples.where(validation)
    of_held = figures_of(said[held], np.full(len(held), threshold), examples.of(held), seed)
    return [Verdict("validation records (they chose stop and threshold)", of_held, said)]


def figures_of(probability: Probability, threshold: np.ndarray, examples: Examples, seed: int, ranking: Ranking = ONE_MODEL) -> Figures:
    """The figures that fit the task."""
    if examples.last_only:
        return window_figures(probability[:, 0], threshold, examples, seed, ranking)
    return event_figures(probability[..., 0], threshold=threshold, examples=examples, seed=seed)


def _rival(name: str, kind: str, examples: Examples) -> tuple[State, Origin, float]:
    state, origin = read(name)
    outputs = len(state["lm_head.linear1.0.weight"]) if "lm_head.linear1.0.weight" in state else 0
    wanted = 1 if len(examples.classes) == 2 else len(examples.classes)
    if origin.kind != kind or outputs != wanted:
        raise Refusal(f"{name} reads {origin.kind} and has a task head of {outputs} outputs; needed: {kind}, {wanted}")
    return state, origin, _threshold(name)


def _threshold(name: str) -> float:
    """The threshold a checkpoint's card tells, else a half."""
    known = read_card(Path(name)).get("threshold") if Path(name).is_file() else None
    return 0.5 if known is None else float(known)


def _judged_by(state: State, origin: Origin, threshold: float, examples: Examples, options: Finetune) -> Verdict:
    said = finetune.predict(state, examples.tokens, np.arange(len(examples)), 0, examples.last_only)
    source = f"{origin.checkpoint} (threshold {threshold:g})"
    return Verdict(source, figures_of(said, np.full(len(examples), threshold), examples, options.seed), said)


def _write(folder: Path, state: State, card: Card, summary: Any, predictions: str) -> None:
    """The checkpoint with its card, and WRITTEN."""
    RunFolder(folder).keep(state, card)
    write_summary(summary, folder / "summary.nc")
    figure = plot(summary)
    for suffix in ("pdf", "png"):
        figures.save(figure, folder / f"finetune.{suffix}")
    write_text(folder / "predictions.csv", predictions)
    write_text(folder / OPTIONS, options_file(str(summary.attrs["command"]), __version__))
    write_text(folder / "report.html", page_of(findings(summary), inline(figure), summary))


def _table(examples: Examples, probability: Probability, stored: Names) -> str:
    """A line for each window: record, start, class, probability (of its last token where every token has one)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = examples.classes if probability.shape[-1] > 1 else examples.classes[1:]
    writer.writerow(["record", "start_s", "label", *(f"probability {name}" for name in columns)])
    for record, start_s, target, said in zip(examples.record, examples.start_s, examples.target[:, -1], probability[:, -1], strict=True):
        writer.writerow([stored.record(str(record)), f"{start_s:.3f}", examples.classes[target], *(f"{value:.6f}" for value in said)])
    return text.getvalue()
