"""Labels that mean nothing: whatever the folds, the mean AUC is 0.5. Pooled scores of several models say otherwise."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heartlens.measures import detection
from heartlens.training.evaluation import auc_within, window_figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Finetune, Tuned
from heartlens.training.judged import Trainer, compared_pairs, cross_validated
from heartlens.training.run_folder import Progressed, RunFolder

PROGRESSED = Progressed()


def silent(progressed, loss):
    pass


@dataclass(frozen=True)
class Linear(Trainer):
    """A trainer of a linear model by least squares, in microseconds; `entering` are the features."""

    def tuned(self, records, folder, report):
        which = self.examples.where(records)
        target = self.examples.target[which, 0]
        x = self.entering[which]
        direction = (x * (target - target.mean())[:, None]).mean(axis=0)
        return Tuned({"base_rate": torch.tensor(target.mean()), "direction": torch.tensor(direction)}, PROGRESSED, [])

    def estimated(self, tuned, which):
        base_rate, direction = (tuned.state[name].numpy() for name in ("base_rate", "direction"))
        return np.clip(base_rate + 0.3 * self.entering[which] @ direction, 0.01, 0.99)[:, None, None].astype(np.float32)

    def threshold(self, tuned):
        return 0.5


def noise(seed, folds, n=20, n_windows=2):
    """Two windows of each of `n` records, 8 of 20 with the label, features that know nothing of it; a cross-validation of that."""
    rng = np.random.default_rng(seed)
    record = np.repeat([f"r{place:02d}" for place in range(n)], n_windows)
    label = rng.permutation(np.arange(n) % 5 < 2).astype(int)
    target = np.repeat(label, n_windows)[:, None]
    examples = Examples("ecg", ("no", "yes"), np.zeros((len(record), 1), np.uint8), record, np.zeros(len(record)), target, "noise")
    trainer = Linear(Finetune(folds=folds, seed=seed), {}, examples, rng.normal(size=(len(record), 3)), RunFolder(Path("unused")), None)
    return examples, cross_validated(trainer, silent)


def aucs(examples, judged):
    """By the ranking, by window; and of pooled scores."""
    _, first, place = np.unique(examples.record, return_index=True, return_inverse=True)
    scored = [(place[which], said[:, 0]) for which, said in judged.ranking.scored]
    everyone = np.arange(len(examples))
    positive = examples.target[:, 0] == 1
    return auc_within(scored, positive[first], examples.record)(everyone), detection.auc(judged.estimate[:, 0, 0], positive)


@pytest.mark.parametrize("folds", ["5", "10", "records"])
def test_noise_has_an_auc_of_a_half(folds):
    found = np.array([aucs(*noise(seed, folds)) for seed in range(200)])
    assert found[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    if folds == "records":
        assert found[:, 1].mean() < 0.4  # what pooling says


def test_so_has_the_mean_of_repeated_splits():
    """Ten divisions into five folds, one after the other, all in one ranking."""
    found = []
    for seed in range(60):
        examples, first = noise(seed, "5")
        others = [cross_validated(again(examples, seed, turn), silent).ranking.scored for turn in range(1, 10)]
        ranking = replace(first.ranking, scored=sum(others, first.ranking.scored))
        found.append(aucs(examples, replace(first, ranking=ranking))[0])
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def again(examples, seed, turn):
    features = np.random.default_rng((seed, 1)).normal(size=(len(examples), 3))
    return Linear(Finetune(folds="5", seed=1000 * turn + seed), {}, examples, features, RunFolder(Path("unused")), None)


def test_pairs_hold_every_record_and_two_classes():
    class_of = {f"r{place}": int(place < 4) for place in range(13)}
    pairs = compared_pairs(class_of, 0)
    assert {record for pair in pairs for record in pair} == set(class_of)
    assert all({class_of[record] for record in pair} == {0, 1} for pair in pairs)
    assert len(pairs) == len({frozenset(pair) for pair in pairs}) == 9
    few = compared_pairs(dict.fromkeys("abc", 0) | dict.fromkeys("xyz", 1), 0)
    assert len({frozenset(pair) for pair in few}) == 6


def test_pairs_of_three_classes():
    class_of = {f"r{place}": place % 3 for place in range(9)}
    pairs = compared_pairs(class_of, 0)
    assert {tuple(sorted(class_of[record] for record in pair)) for pair in pairs} == {(0, 1), (0, 2), (1, 2)}


def test_an_auc_within_models_is_the_weighted_mean_of_theirs():
    rng = np.random.default_rng(0)
    record = np.repeat(np.arange(12), 3)
    positive = np.arange(12) % 3 == 0
    score = np.round(rng.normal(size=36), 1)
    folds = [np.flatnonzero(record < 6), np.flatnonzero(record >= 6)]
    each = [(detection.auc(score[i], positive[record[i]]), positive[record[i]].sum() * (~positive[record[i]]).sum()) for i in folds]
    statistic = auc_within([(record[i], score[i]) for i in folds], positive, record)
    assert statistic(np.arange(36)) == pytest.approx(np.average([auc for auc, _ in each], weights=[n for _, n in each]))
    twice = np.concatenate([np.arange(36), np.flatnonzero(record == 0)])  # of one model it is the AUC, also in a resample
    one = auc_within([(record, score)], positive, record)
    assert one(twice) == pytest.approx(detection.auc(score[twice], positive[record[twice]]))


@pytest.mark.parametrize(("folds", "rule"), [("5", "within each fold"), ("records", "leave-pair-out")])
def test_of_several_models_no_calibration_is_told(folds, rule):
    examples, judged = noise(0, folds)
    figures = window_figures(judged.estimate[:, 0], judged.threshold, examples, 0, judged.ranking)
    assert "record AUC" in figures
    assert not any("calibration" in name for name in figures)
    assert rule in judged.ranking.rule
    assert np.isfinite(figures["record AUC"].low)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_an_offset_of_each_folds_model_changes_nothing(shift):
    examples, judged = noise(3, "5")
    moved = [(which, said + shift * number) for number, (which, said) in enumerate(judged.ranking.scored)]
    there = aucs(examples, replace(judged, ranking=replace(judged.ranking, scored=tuple(moved))))
    assert there[0] == aucs(examples, judged)[0]
