"""Cross-validation: what is said of every window by a model that never saw its person, and the threshold its validation records chose.


AUCs compare scores of one model only (`evaluation.Ranking`): those of one fold. Where no fold has two classes (each record left out alone)
further models are trained, each without a pair of records of two classes (leave-pair-out, Airola et al. 2011): every record of the larger
class is compared with at least one of the smaller, and with as many as about one further training a record allows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.checkpoints.read import State
from heartlens.converters.sizes import sizes_of
from heartlens.measures.detection import best_threshold
from heartlens.refusal import Refusal
from heartlens.training.beats import best_event_threshold
from heartlens.training.evaluation import FOLDS, ONE_MODEL, PAIRS, Ranking
from heartlens.training.examples import Examples
from heartlens.training.finetune import Estimate, Finetune, Tuned, fit, predict
from heartlens.training.folds import folds
from heartlens.training.loop import Report
from heartlens.training.run_folder import RunFolder
from heartlens.training.tasks import scale_of, trained_from

Thresholds = Float[np.ndarray, "window *threshold"]


@dataclass(frozen=True)
class Judged:
    """The estimates of all windows, the threshold of each (of each label; NaN with several classes), and what AUCs compare.

    `usual` is the mean of the numbers of the persons that were not left out with each window: what its model must beat.
    """

    estimate: Estimate
    threshold: Thresholds
    ranking: Ranking
    usual: Float[np.ndarray, "window number"] | None = None


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

    def estimated(self, tuned: Tuned, which: np.ndarray) -> Estimate:
        """What it says of the chosen windows."""
        start = trained_from(self.options.train, sizes_of(self.base).layers)
        head = self.examples.head(self.options.unmask_last_block)
        return predict(tuned.state, self.entering, which, start, self.examples.last_only, head)

    def thresholds(self, tuned: Tuned) -> Float[np.ndarray, " label"]:
        """The threshold that serves the validation records best, of each label; NaN with more than two classes, and of numbers."""
        if self.examples.answers != "labels":
            return np.array([self.threshold(tuned)])
        held = self.examples.where(tuned.validation)
        score, target = self.estimated(tuned, held)[:, 0], self.examples.target[held, 0]
        return np.array([best_threshold(score[:, each], target[:, each] == 1) for each in range(len(self.examples.classes))])

    def threshold(self, tuned: Tuned) -> float:
        """The threshold of two classes; see `thresholds`."""
        held = self.examples.where(tuned.validation)
        if self.examples.answers == "numbers" or len(self.examples.classes) > 2:
            return float("nan")
        score = self.estimated(tuned, held)[..., 0]
        if self.examples.last_only:
            return best_threshold(score[:, 0], self.examples.target[held, 0] == 1)
        return best_event_threshold(score, self.examples.of(held))


def n_folds(options: Finetune, n_records: int) -> int:
    """The number of folds asked for; 0 for none. Refuses what is no number of folds."""
    if options.folds in ("none", "records"):
        return {"none": 0, "records": n_records}[options.folds]
    if not options.folds.isdecimal():
        raise Refusal(f"--folds is {options.folds!r}; legal: a number from 2 to {n_records}, records (leave one out), or none")
    return int(options.folds)


def cross_validated(trainer: Trainer, report: Report) -> Judged:
    """Every window judged by the model of the fold that left its person (or record) out."""
    examples = trainer.examples
    class_of = examples.class_of_unit(examples.records)
    head = examples.head()
    estimate = np.full((len(examples), examples.target.shape[1], head.n_outputs), np.nan, np.float32)
    threshold = np.full((len(examples), head.n_outputs if head.answers == "labels" else 1), np.nan)
    usual = np.full((len(examples), head.n_outputs), np.nan)
    by_fold, by_pair = [], []
    left_out = folds(class_of, n_folds(trainer.options, len(class_of)), trainer.options.seed)
    for which, made, tuned in _each_without(trainer, "folds", left_out, report):
        estimate[which], threshold[which] = made.estimated(tuned, which), made.thresholds(tuned)
        if head.answers == "numbers":
            usual[which] = scale_of(examples, np.setdiff1d(np.arange(len(examples)), which)).middle
        by_fold.append((which, estimate[which, 0]))
    if head.answers == "numbers":
        return Judged(estimate, threshold[:, 0], ONE_MODEL, usual)
    if head.answers == "labels":
        return Judged(estimate, threshold, Ranking(FOLDS, tuple(by_fold)))
    if not examples.last_only or any(len({class_of[unit] for unit in fold}) > 1 for fold in left_out):
        return Judged(estimate, threshold[:, 0], Ranking(FOLDS, tuple(by_fold)))
    for which, made, tuned in _each_without(trainer, "pairs", compared_pairs(class_of, trainer.options.seed), report):
        by_pair.append((which, made.estimated(tuned, which)[:, 0]))
    return Judged(estimate, threshold[:, 0], Ranking(PAIRS, tuple(by_pair)))


def compared_pairs(class_of: Mapping[str, int], seed: int) -> list[list[str]]:
    """Pairs of persons (or records) of two classes. Each of either class's larger side is in one at least; about as many pairs as these."""
    rng = np.random.default_rng((seed, 5))
    labels = sorted(set(class_of.values()))
    by_label = [rng.permutation([record for record in class_of if class_of[record] == label]).tolist() for label in labels]
    sides = [sorted(both, key=len) for both in combinations(by_label, 2)]
    n_rounds = max(1, len(class_of) // sum(len(larger) for _, larger in sides))
    return [
        [smaller[(place + turn) % len(smaller)], record]
        for smaller, larger in sides
        for turn in range(min(n_rounds, len(smaller)))
        for place, record in enumerate(larger)
    ]


def _each_without(trainer: Trainer, name: str, left_out: list[list[str]], report: Report) -> Iterator[tuple[np.ndarray, Trainer, Tuned]]:
    """For each set of persons (or records) left out: their windows, and a trainer with its own seed and what it trained without them."""
    examples = trainer.examples
    for number, units in enumerate(left_out, 1):
        folder = RunFolder(trainer.folder.path / name / str(number))
        seeded = replace(trainer, options=replace(trainer.options, seed=trainer.options.seed + number))
        rest = examples.records_of(unit for unit in examples.class_of_unit(examples.records) if unit not in set(units))
        yield examples.where(examples.records_of(units)), seeded, seeded.tuned(rest, folder, report)
