"""`python -m heartlens.training.finetune`: from the command line to a checkpoint with its card, a summary, a figure and a report."""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from heartlens import __version__, figures
from heartlens.checkpoints.card import Card
from heartlens.checkpoints.head import Head, head_of
from heartlens.checkpoints.read import State
from heartlens.converters.sizes import sizes_of
from heartlens.exits import DONE, exit_code
from heartlens.file_key import is_file
from heartlens.findings import as_json
from heartlens.models.load import read, read_with_card
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
from heartlens.training.command import (
    accelerator,
    add_data,
    add_run,
    data_identity,
    options_of,
    refuse_too_large,
    reporter,
    stored_names,
)
from heartlens.training.evaluation import ONE_MODEL, Figures, Ranking, window_figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Estimate, Finetune, Tuned
from heartlens.training.finetune_report import Verdict, findings, plot, summary_of
from heartlens.training.folds import folds, held_out
from heartlens.training.frozen import frozen_part
from heartlens.training.given import examples_of
from heartlens.training.judged import Judged, Trainer, cross_validated, n_folds
from heartlens.training.network import network_of
from heartlens.training.number_result import number_result
from heartlens.training.result import OUT_OF_FOLD, VALIDATION, Result
from heartlens.training.run_folder import FROZEN, RunFolder, opened
from heartlens.training.tasks import LABELS, REGRESSION, TASKS, Task, scale_of, trained_from
from heartlens.whole import csv_text

WRITTEN = ("summary.nc", "finetune.pdf", "finetune.png", "predictions.csv", "report.html")


def run_finetune(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _finetune(_parser().strict(arguments)))


def _parser() -> Parser:
    about = finetune.__doc__
    parser = Parser(prog="heartlens finetune", description=about, allow_abbrev=False, formatter_class=_Raw)
    add_checkpoint(parser, "what is fine-tuned: a name, an alias (ecg, ppg, ...) or one's own file")
    add_data(parser)
    parser.add_argument(
        "--task",
        required=True,
        help=f"{', '.join(TASKS)}, {REGRESSION} (numbers: --targets), {LABELS} (several yes or no: --labels with --columns), or a name of "
        "one's own with --reads",
    )
    parser.add_argument("--reads", choices=("last", "every"), help="a target for each window (last token) or for every token")
    group = parser.add_argument_group("numbers")
    group.add_argument(
        "--targets",
        type=Path,
        metavar="TABLE",
        help="a CSV of record and numbers, each column called with its unit (hr_bpm); of the whole "
        "recording, or with start_s (the window begins there) or time_s (it ends there; of every token: the token there)",
    )
    group.add_argument(
        "--columns", type=Listed(), metavar="COLUMN,...", help="the numbers to learn (default: all columns), or the labels of --task labels"
    )
    group.add_argument(
        "--units", type=Listed(), metavar="UNIT,...", help="the numbers' units in order, where their names do not end with them"
    )
    group.add_argument(
        "--ranges", type=Listed(), default=[], metavar="COLUMN=LOW:HIGH,...", help="what numbers can be; outside they are refused"
    )
    group.add_argument(
        "--within-record", action="store_true", help="learn how numbers change within a recording: for uncalibrated ones; only r is given"
    )
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
        raise Refusal(
            f"nothing tells whether {given.checkpoint} reads ECG or PPG: its vocabulary fits neither, and it has no model card; write one "
            "into a .safetensors file (docs/adding_a_checkpoint.md)"
        )
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
        used = {"device": device.device.type} | ({} if is_file(given.checkpoint) else {"checkpoint": origin.checkpoint})
        command = {
            "command": command_of(_parser(), given, used, keep_names=given.keep_names),
            "data_options": json.dumps(identity, sort_keys=True),
        }
        head = examples.head(options.unmask_last_block, bool(given.bandpass))
        if examples.answers == "numbers":
            result = number_result(trainer, judged, tuned, origin.checkpoint, bool(given.within_record))
        else:
            result = _class_result(trainer, judged, tuned, task, origin.checkpoint, [(*rival, examples, options) for rival in rivals])
        result.summary.attrs |= command
        card = tuned_card(task, head, origin, options, examples, tuned, result.threshold, result.figures, folder.stored) | dict(result.card)
        place = folder.finish(lambda beside: _write(beside, tuned.state, card, result, folder.stored))
    written, findings = [place / name for name in (folder.checkpoint.name, *WRITTEN)], result.findings(result.summary)
    if given.json:
        print(json.dumps(as_json(findings, result.summary.attrs, written), indent=1))
    else:
        print("\n".join(findings.verdict))
        print(f"{result.last_line}: {written[0]}")
    if not given.quiet:
        print(f"written: {', '.join(map(str, written[1:]))}", file=sys.stderr)
    return DONE


def _class_result(trainer: Trainer, judged: Judged | None, tuned: Tuned, task: Task, checkpoint: str, rivals: list[Any]) -> Result:
    """What classes or labels came to."""
    examples = trainer.examples
    thresholds = trainer.thresholds(tuned)
    verdicts = _verdicts(judged, trainer, tuned.validation, tuned, thresholds) + [_judged_by(*rival) for rival in rivals]
    summary = summary_of(task.name, checkpoint, trainer.options, examples, verdicts, tuned.progressed)
    named = ", ".join(f"{name} {each:.3f}" for name, each in zip(examples.classes, thresholds, strict=False))
    is_one = examples.answers == "classes"
    return Result(
        summary,
        plot,
        findings,
        {verdict.source: {name: str(figure) for name, figure in verdict.figures.items()} for verdict in verdicts},
        lambda stored: _table(examples, verdicts[0].estimate, stored),
        f"threshold {thresholds[0]:.3f}" if is_one else f"thresholds {named}",
        float(thresholds[0]) if is_one else float("nan"),
        {} if is_one else {"thresholds": dict(zip(examples.classes, thresholds.tolist(), strict=True))},
    )


def _refuse_impossible(options: Finetune, base: State, examples: Examples) -> None:
    """Refuse before anything is written what would be refused later."""
    class_of = examples.class_of_unit(examples.records)
    trained_from(options.train, sizes_of(base).layers)
    n = n_folds(options, len(class_of))
    for number, left_out in enumerate([[], *(folds(class_of, n, options.seed) if n else [])]):
        rest = {name: label for name, label in class_of.items() if name not in left_out}
        sides = held_out(rest, options.validation_share, options.seed + number)
        for which in (examples.where(examples.records_of(units)) for units in sides):
            if examples.answers == "labels":
                _refuse_one_sided(examples, which)
        if examples.answers == "numbers":
            scale_of(examples, examples.where(examples.records_of(sides[0])))


def _refuse_one_sided(examples: Examples, which: np.ndarray) -> None:
    """Refuse windows, to train on or to validate with, that all have a label, or all lack it."""
    share = examples.target[which, 0].mean(axis=0)
    for name, each in zip(examples.classes, share, strict=True):
        if each in (0, 1):
            raise Refusal(
                f"label {name} is {'yes' if each else 'no'} in all that a fold trains on or validates with; give more recordings, "
                "fewer --folds, a larger --validation-share, or another --seed"
            )


def _task(given: argparse.Namespace) -> Task:
    ready_made = TASKS.get(given.task)
    if ready_made is None and given.reads is None and given.task not in (REGRESSION, LABELS):
        legal = ", ".join((*TASKS, REGRESSION, LABELS))
        raise Refusal(f"task {given.task!r} is new: say with --reads whether it reads the last token or every; known: {legal}")
    if ready_made is not None and given.reads not in (None, ready_made.reads):
        raise Refusal(f"task {given.task!r} reads {ready_made.reads}, not {given.reads}; leave --reads out, or name another task")
    if given.task in (REGRESSION, LABELS):
        return Task(given.task, given.task, given.reads or "last")
    return ready_made or Task(given.task, given.task, given.reads)


def _trainer(options: Finetune, base: State, examples: Examples, folder: RunFolder, device: Any) -> Trainer:
    network = network_of(base, unmasked=options.unmask_last_block).to(device.device)
    start = trained_from(options.train, len(network.blocks))
    entering = frozen_part(network, examples.tokens, start, examples.last_only, folder.path / FROZEN)
    return Trainer(options, base, examples, entering, folder, device)


def _verdicts(judged: Judged | None, trainer: Trainer, validation: list[str], tuned: Tuned, threshold: np.ndarray) -> list[Verdict]:
    """Of all windows out of fold; without folds, of the final model on all windows, its figures those of the validation records."""
    examples, seed = trainer.examples, trainer.options.seed
    if judged is not None:
        figures = figures_of(judged.estimate, judged.threshold, examples, seed, judged.ranking)
        return [Verdict(OUT_OF_FOLD, figures, judged.estimate, judged.ranking)]
    estimate, which = trainer.estimated(tuned, np.arange(len(examples))), examples.where(validation)
    of_each = np.tile(
        threshold if examples.answers == "labels" else threshold[0], (len(which), *threshold.shape)[: examples.target.ndim - 1]
    )
    return [Verdict(VALIDATION, figures_of(estimate[which], of_each, examples.of(which), seed), estimate)]


def figures_of(estimate: Estimate, threshold: np.ndarray, examples: Examples, seed: int, ranking: Ranking = ONE_MODEL) -> Figures:
    """The figures that fit the task; of several labels those of each, with its name before them."""
    if examples.answers == "labels":
        by_label: Figures = {}
        for place, name in enumerate(examples.classes):
            of_label = replace(ranking, scored=tuple((which, score[:, [place]]) for which, score in ranking.scored))
            figures = window_figures(estimate[:, 0, [place]], threshold[:, place], examples.label(place), seed, of_label)
            by_label |= {f"{name}: {each}": figure for each, figure in figures.items()}
        return by_label
    if examples.last_only:
        return window_figures(estimate[:, 0], threshold, examples, seed, ranking)
    return event_figures(estimate[..., 0], threshold=threshold, examples=examples, seed=seed)


def _rival(name: str, kind: str, examples: Examples) -> tuple[State, Origin, float, Head | None]:
    loaded = read_with_card(name)
    state, origin, card = loaded.state, loaded.origin, loaded.card
    outputs = len(state["lm_head.linear1.0.weight"]) if "lm_head.linear1.0.weight" in state else 0
    wanted = examples.head()
    if origin.kind != kind or outputs != wanted.n_outputs:
        raise Refusal(f"{name} reads {origin.kind} and has a task head of {outputs} outputs; needed: {kind}, {wanted.n_outputs}")
    head = head_of(card)
    if head and (head.answers, head.reads, head.n_tokens) != ("classes", wanted.reads, wanted.n_tokens):
        raise Refusal(
            f"{name} answers {head.answers} of {head.reads} token from {head.n_tokens} tokens; "
            f"needed: classes, {wanted.reads}, {wanted.n_tokens}"
        )
    threshold = card.get("threshold")
    return state, origin, 0.5 if threshold is None else float(threshold), head


def _judged_by(state: State, origin: Origin, threshold: float, head: Head | None, examples: Examples, options: Finetune) -> Verdict:
    estimate = finetune.predict(state, examples.tokens, np.arange(len(examples)), 0, examples.last_only, head)
    source = f"{origin.checkpoint} (threshold {threshold:g})"
    return Verdict(source, figures_of(estimate, np.full(len(examples), threshold), examples, options.seed), estimate)


def _write(folder: Path, state: State, card: Card, result: Result, stored: Names) -> None:
    """The checkpoint with its card, and WRITTEN."""
    RunFolder(folder).keep(state, card)
    write_summary(result.summary, folder / "summary.nc")
    figure = result.plot(result.summary)
    for suffix in ("pdf", "png"):
        figures.save(figure, folder / f"finetune.{suffix}")
    write_text(folder / "predictions.csv", result.predictions(stored))
    write_text(folder / OPTIONS, options_file(str(result.summary.attrs["command"]), __version__))
    write_text(folder / "report.html", page_of(result.findings(result.summary), inline(figure), result.summary))


def _table(examples: Examples, probability: Estimate, stored: Names) -> str:
    """A line for each window: record, start, class or labels, probabilities (of its last token where every token has one)."""
    columns = examples.classes if probability.shape[-1] > 1 else examples.classes[1:]
    is_one = examples.answers == "classes"
    header = ["record", "person", "start_s", *(["label"] if is_one else [f"label {name}" for name in examples.classes])]
    rows = [[*header, *(f"probability {name}" for name in columns)]]
    for record, start_s, target, of_window in zip(
        examples.record, examples.start_s, examples.target[:, -1], probability[:, -1], strict=True
    ):
        labels = [examples.classes[target]] if is_one else ["yes" if each else "no" for each in target]
        person = stored.person(examples.person_of.get(str(record), ""))
        rows.append([stored.record(str(record)), person, f"{start_s:.3f}", *labels, *(f"{value:.6f}" for value in of_window)])
    return csv_text(rows)
