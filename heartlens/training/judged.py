"""Cross-validation: what is said of every window by a model that never saw its person, and the threshold its validation records chose."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.checkpoints.read import State
from heartlens.converters.sizes import sizes_of
from heartlens.measures.detection import best_threshold
from heartlens.refusal import Refusal
from heartlens.training.beats import best_event_threshold
from heartlens.training.examples import Examples
from heartlens.training.finetune import Finetune, Probability, Tuned, fit, predict
from heartlens.training.folds import folds
from heartlens.training.loop import Report
from heartlens.training.run_folder import Progressed, RunFolder
from heartlens.training.tasks import trained_from


@dataclass(frozen=True)
class Judged:
    """Probabilities of all windows, the threshold of each (NaN with several classes), and how each fold's training went."""

    probability: Probability
    threshold: Float[np.ndarray, " window"]
    trainings: tuple[Progressed, ...]


@dataclass(frozen=True)
class Trainer:
    """Everything a fit needs but the records: options, checkpoint, examples, what enters the trained part, folder and device."""

    options: Finetune
    base: State
    examples: Examples
    entering: np.ndarray
    folder: RunFolder
    accelerator: Any

    def tuned(self, records: list[str], folder: RunFolder, report: Report) -> Tuned:
        """The checkpoint trained on `records`."""
        return fit(self.options, self.base, self.examples, self.entering, records, folder, self.accelerator, report)

    def said(self, tuned: Tuned, which: np.ndarray) -> Probability:
        """What it says of the chosen windows."""
        start = trained_from(self.options.train, sizes_of(self.base).layers)
        return predict(tuned.state, self.entering, which, start, self.examples.last_only)

    def threshold(self, tuned: Tuned) -> float:
        """The threshold that serves the validation records best; NaN with more than two classes."""
        held = self.examples.where(tuned.validation)
        if len(self.examples.classes) > 2:
            return float("nan")
        score = self.said(tuned, held)[..., 0]
        if self.examples.last_only:
            return best_threshold(score[:, 0], self.examples.target[held, 0] == 1)
        return best_event_threshold(score, self.examples.of(held))


def n_folds(options: Finetune, n_records: int) -> int:
    """The number of folds asked for; 0 for none. Refuses what is no number of folds."""
    if options.folds in ("none", "records"):
        return {"none": 0, "records": n_records}[options.folds]
    if not options.folds.isdecimal():
        raise Refusal(f"folds is {options.folds!r}; legal: a number from 2 to {n_records}, records (leave one out), or none")
    return int(options.folds)


def cross_validated(trainer: Trainer, report: Report) -> Judged:
    """Every window judged by the model of the fold that left its person (or record) out."""
    examples = trainer.examples
    outputs = 1 if len(examples.classes) == 2 else len(examples.classes)
    probability = np.full((len(examples), examples.target.shape[1], outputs), np.nan, np.float32)
    threshold = np.full(len(examples), np.nan)
    trainings = []
    for which, tuned in _each_fold(trainer, report):
        probability[which], threshold[which] = trainer.said(tuned, which), trainer.threshold(tuned)
        trainings.append(tuned.progressed)
    return Judged(probability, threshold, tuple(trainings))


def _each_fold(trainer: Trainer, report: Report) -> Iterator[tuple[np.ndarray, Tuned]]:
    class_of = trainer.examples.class_of_unit(trainer.examples.records)
    dealt = folds(class_of, n_folds(trainer.options, len(class_of)), trainer.options.seed)
    for number, left_out in enumerate(dealt, 1):
        folder = RunFolder(trainer.folder.path / "folds" / str(number))
        seeded = replace(trainer, options=replace(trainer.options, seed=trainer.options.seed + number))
        rest = trainer.examples.records_of(unit for unit in class_of if unit not in set(left_out))
        yield trainer.examples.where(trainer.examples.records_of(left_out)), seeded.tuned(rest, folder, report)
