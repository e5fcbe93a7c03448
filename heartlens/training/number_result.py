"""What a fine-tuning for numbers came to: figures beside those of the training mean, and the intervals it can promise."""

from dataclasses import asdict
from functools import partial

import numpy as np

from heartlens.privacy import Names
from heartlens.training.evaluation import Figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Estimate, Tuned
from heartlens.training.judged import Judged, Trainer
from heartlens.training.number_report import MEAN, findings, plot, summary_of
from heartlens.training.numbers import Intervals, Observed, intervals, number_figures, observed, within_figures
from heartlens.training.result import OUT_OF_FOLD, VALIDATION, Result
from heartlens.training.tasks import scale_of
from heartlens.whole import csv_text


def number_result(trainer: Trainer, judged: Judged | None, tuned: Tuned, checkpoint: str, within_record: bool) -> Result:
    """Of all windows out of fold; without folds, of the final model on the validation records, which chose when it stopped."""
    examples, options = trainer.examples, trainer.options
    every = np.arange(len(examples))
    if judged is not None and judged.usual is not None:
        which, estimate, usual, source = every, judged.estimate, judged.usual, OUT_OF_FOLD
    else:
        which, estimate, source = examples.where(tuned.validation), trainer.estimated(tuned, every), VALIDATION
        usual = np.tile(scale_of(examples, np.setdiff1d(every, which)).middle, (len(every), 1))
    by_number = [observed(examples.of(which), estimate[which], usual[which], each) for each in range(len(examples.classes))]
    by_source = {source: [_figures(of, options.coverage, options.seed, within_record) for of in by_number]}
    if not within_record:
        by_source[MEAN] = [number_figures(_as_usual(of), options.coverage, options.seed, is_model=False) for of in by_number]
    reach = [Intervals(*[float("inf")] * 3) if within_record else intervals(of, options.coverage) for of in by_number]
    columns = examples.head().columns
    words = {
        source: {f"{column} {name}": str(figure) for column, of in zip(columns, numbers, strict=True) for name, figure in of.items()}
        for source, numbers in by_source.items()
    }
    half_widths = [{of: width if np.isfinite(width) else None for of, width in asdict(each).items()} for each in reach]
    return Result(
        summary_of(checkpoint, options, examples, by_source, by_number, tuned.progressed),
        plot,
        findings,
        words,
        partial(_table, examples, estimate, reach),
        "numbers " + ", ".join(columns),
        card={"intervals": {"coverage": options.coverage, "half_width": half_widths, "judged_by": source}},
    )


def _figures(of: Observed, coverage: float, seed: int, within_record: bool) -> Figures:
    return within_figures(of, seed) if within_record else number_figures(of, coverage, seed)


def _as_usual(of: Observed) -> Observed:
    """The same, where the training mean is what is said."""
    return Observed(of.record, of.unit, of.usual, of.true, of.usual)


def _table(examples: Examples, estimate: Estimate, reach: list[Intervals], stored: Names) -> str:
    """A line for each window, or each token that has a number: record, time, and of each number truth, estimate and interval."""
    columns = examples.head().columns
    time = "start_s" if examples.last_only else "time_s"
    rows: list[list[str]] = [
        ["record", "person", time, *(f"{column}{end}" for column in columns for end in ("_true", "", "_low", "_high"))]
    ]
    from heartlens.axes import KINDS

    for window, token in zip(*np.nonzero(np.isfinite(examples.target).any(axis=2)), strict=True):
        time_s = examples.start_s[window] + (0 if examples.last_only else token / KINDS[examples.kind].rate_hz)
        record = str(examples.record[window])
        cells = [stored.record(record), stored.person(examples.person_of.get(record, "")), f"{time_s:.3f}"]
        for place, width in enumerate(reach):
            true, value = float(examples.target[window, token, place]), float(estimate[window, token, place])
            cells += [number_text(each) for each in (true, value, value - width.window, value + width.window)]
        rows.append(cells)
    return csv_text(rows)


def number_text(value: float) -> str:
    """A number for a table; nothing where there is none."""
    return f"{value:.6g}" if np.isfinite(value) else ""
