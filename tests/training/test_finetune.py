"""Fine-tuning: only what is chosen changes, the frozen part is exact, no record is judged by a model that saw it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hearts import heart

from heartlens.measures.detection import auc
from heartlens.refusal import Refusal
from heartlens.training.beats import best_event_threshold, event_counts, event_figures
from heartlens.training.corpus import Corpus
from heartlens.training.evaluation import window_figures
from heartlens.training.examples import Examples, token_examples, window_examples
from heartlens.training.finetune import Finetune, fit, predict
from heartlens.training.frozen import frozen_part
from heartlens.training.judged import Trainer, cross_validated, n_folds
from heartlens.training.network import network_of
from heartlens.training.run_folder import RunFolder
from heartlens.training.tasks import class_weight, freeze, network_for_task, task_loss, trained_from

OPTIONS = Finetune(steps=4, batch=4, validate_every=2, learning_rate=1e-2, dropout=0.0, folds="2", patience=0)


def silent(progressed, loss):
    pass


def classified(labels):
    """A window of each of so many hearts, of the classes told."""
    corpus = Corpus("ecg", tuple(heart(i, 5.0) for i in range(len(labels))), tuple(f"r{i}" for i in range(len(labels))), "hearts")
    return window_examples(corpus, {f"r{i}": label for i, label in enumerate(labels)}, ("no", "yes"), 500)


@pytest.fixture
def trainer(base, tmp_path, device):
    def made(examples, **changed):
        options = replace(OPTIONS, **changed)
        network = network_of(base)
        entering = frozen_part(
            network, examples.tokens, trained_from(options.train, 2), examples.last_only, tmp_path / f"frozen-{options.train}.npy"
        )
        return Trainer(options, base, examples, entering, RunFolder(tmp_path), device)

    return made


@pytest.mark.parametrize(
    ("train", "frozen"),
    [("head", ["token", "position", "blocks.0", "blocks.1", "ln_f"]), ("last-block", ["token", "position", "blocks.0"]), ("all", [])],
)
def test_only_what_is_chosen_changes(train, frozen, base, trainer):
    made = trainer(classified([0, 1] * 4), train=train)
    tuned = made.tuned(made.examples.records, made.folder, silent)
    shared = [name for name in base if not name.startswith("lm_head")]
    same = {name for name in shared if torch.equal(base[name], tuned.state[name])}
    assert same == {name for name in shared if name.startswith(tuple(frozen))} if frozen else not same
    assert tuned.state["lm_head.linear1.0.weight"].shape == (1, 8)


@pytest.mark.parametrize("train", ["head", "last-block", "block:1.."])
def test_frozen_part_reused_is_the_whole_forward(train, base, trainer):
    made = trainer(classified([0, 1] * 4), train=train)
    tuned = made.tuned(made.examples.records, made.folder, silent)
    which = np.arange(len(made.examples))
    whole = predict(tuned.state, made.examples.tokens, which, 0, last_only=True)
    np.testing.assert_allclose(made.estimated(tuned, which), whole, atol=1e-6)


@pytest.mark.parametrize(("train", "message"), [("block:3..", "N from 1 to 2"), ("block:0..", "N from 1 to 2"), ("tail", "legal: head")])
def test_what_cannot_be_trained(train, message):
    with pytest.raises(Refusal, match=f"train is '{train}'.*{message}"):
        trained_from(train, 2)


def test_freezing_leaves_gradients_to_the_chosen(base):
    network = network_for_task(base, 2, 0.0, 0)
    freeze(network, "block:2..")
    trained = {name.split(".")[0] + "." + name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"blocks.1", "ln_f.weight", "ln_f.bias", "lm_head.linear1"}


def test_losses_are_those_of_arithmetic():
    logits = torch.tensor([[[0.0]], [[2.0]]])
    target = torch.tensor([[1], [0]])
    expected = (np.log(2) + np.log1p(np.exp(2))) / 2
    assert float(task_loss(logits, target, None)) == pytest.approx(expected, rel=1e-6)
    weighted = (3 * np.log(2) + 1 * np.log1p(np.exp(2))) / 2
    assert float(task_loss(logits, target, torch.tensor([1.0, 3.0]))) == pytest.approx(weighted, rel=1e-6)
    several = torch.tensor([[[0.0, 0.0, 0.0]]])
    assert float(task_loss(several, torch.tensor([[2]]), None)) == pytest.approx(np.log(3), rel=1e-6)


def test_class_weights_make_classes_count_the_same():
    weight = class_weight(torch.tensor([0, 0, 0, 1]), 2)
    assert (weight * torch.tensor([3, 1])).tolist() == pytest.approx([2, 2])


def test_no_record_is_judged_by_a_model_that_saw_it(trainer, monkeypatch):
    from heartlens.training import judged

    seen = []

    def noted(options, base, examples, entering, records, folder, accelerator, report):
        seen.append(set(records))
        return fit(options, base, examples, entering, records, folder, accelerator, report)

    monkeypatch.setattr(judged, "fit", noted)
    made = trainer(classified([0, 1] * 6), folds="3")
    verdict = cross_validated(made, silent)
    everyone = set(made.examples.records)
    assert len(seen) == 3
    assert set.union(*(everyone - records for records in seen)) == everyone
    assert all(len(everyone - records) == 4 for records in seen)
    assert np.isfinite(verdict.estimate).all()
    assert np.isfinite(verdict.threshold).all()


def test_labels_without_meaning_are_not_learnt(trainer):
    """The leak test: hearts that differ in nothing, labelled at random, are told apart no better than by chance."""
    labels = np.random.default_rng(5).permutation([0, 1] * 10).tolist()
    made = trainer(classified(labels), train="all", steps=30, folds="5")
    verdict = cross_validated(made, silent)
    assert auc(verdict.estimate[:, 0, 0].astype(float), made.examples.target[:, 0] == 1) < 0.8


@pytest.mark.parametrize(("folds", "n"), [("none", 0), ("records", 7), ("5", 5)])
def test_number_of_folds(folds, n):
    assert n_folds(replace(OPTIONS, folds=folds), 7) == n


def test_no_number_of_folds():
    with pytest.raises(Refusal, match="folds is 'many'; legal: a number from 2 to 7, records"):
        n_folds(replace(OPTIONS, folds="many"), 7)


def test_several_classes(base, trainer):
    examples = classified([0, 1] * 6)
    examples = replace(examples, classes=("a", "b", "c"), target=np.arange(12)[:, None] % 3)
    made = trainer(examples)
    verdict = cross_validated(made, silent)
    assert verdict.estimate.shape == (12, 1, 3)
    np.testing.assert_allclose(verdict.estimate.sum(-1), 1, atol=1e-6)
    assert np.isnan(verdict.threshold).all()
    figures = window_figures(verdict.estimate[:, 0], verdict.threshold, examples, 0)
    assert set(figures) == {"window AUC", "window f1", "window accuracy"}


def perfect():
    """Two windows of each of eight records, each said to be what it is, but one."""
    examples = classified([0, 1] * 4)
    twice = np.repeat(np.arange(8), 2)
    examples = examples.of(twice)
    said = np.where(examples.target == 1, 0.9, 0.2)
    said[0] = 0.95
    return examples, said


def test_figures_are_those_of_arithmetic():
    examples, said = perfect()
    figures = window_figures(said, np.full(16, 0.5), examples, 0)
    assert figures["window sensitivity"].estimate == 1
    assert figures["window specificity"].estimate == 7 / 8
    assert figures["window accuracy"].estimate == 15 / 16
    assert figures["window AUC"].estimate == pytest.approx((8 * 8 - 8) / 64)
    assert figures["window Brier"].estimate == pytest.approx((7 * 0.2**2 + 0.95**2 + 8 * 0.1**2) / 16)
    assert figures["record AUC"].estimate == 1  # (.95 + .2) / 2 is below .9
    assert figures["record specificity"].estimate == 3 / 4
    assert figures["window specificity"].low < 7 / 8 <= figures["window specificity"].high


def test_each_window_is_judged_at_the_threshold_of_its_fold():
    examples, said = perfect()
    threshold = np.full(16, 0.5)
    threshold[:2] = 0.97
    assert window_figures(said, threshold, examples, 0)["window specificity"].estimate == 1


def pulses(event_s, seconds=20.0):
    corpus = Corpus("ppg", (heart(0, seconds, 50.0), heart(1, seconds, 50.0)), ("a", "b"), "pulses", start_s=(0.0, 0.0))
    return token_examples(corpus, {"a": np.array(event_s), "b": np.array(event_s)}, "beat", 0.02, 250)


def test_events_that_are_all_found():
    examples = pulses([2.0, 3.0, 9.0, 15.5])
    score = np.where(examples.target == 1, 0.8, 0.01)
    assert event_counts(score, examples, {"a": 0.5, "b": 0.5}).tolist() == [[4, 0, 0], [4, 0, 0]]
    assert event_figures(score, examples, np.full(len(examples), 0.5), 0)["event f1"].estimate == 1
    assert 0.01 < best_event_threshold(score, examples) <= 0.8


def test_events_missed_and_invented():
    examples = pulses([2.0, 3.0, 9.0, 15.5])
    score = np.where(examples.target == 1, 0.8, 0.01)
    score[examples.where(["a"])] = 0.01
    token = np.round((6.0 - examples.start_s) * 50).astype(int)
    for row, place, record in zip(score, token, examples.record, strict=True):
        if record == "b" and 0 <= place < 500:
            row[place] = 0.9
    assert event_counts(score, examples, {"a": 0.5, "b": 0.5}).tolist() == [[0, 4, 0], [4, 0, 1]]
    figures = event_figures(score, examples, np.full(len(examples), 0.5), 0)
    assert figures["event sensitivity"].estimate == 0.5
    assert figures["event precision"].estimate == 0.8
    assert figures["event f1"].estimate == 8 / 13


def test_events_in_a_gap_are_not_asked_for():
    parts = (heart(0, 10.0, 50.0), heart(1, 10.0, 50.0))
    corpus = Corpus("ppg", parts, ("a", "a"), "pulses", start_s=(0.0, 30.0))
    examples = token_examples(corpus, {"a": np.array([2.0, 20.0, 33.0])}, "beat", 0.02, 500)
    score = np.where(examples.target == 1, 0.8, 0.01)
    assert event_counts(score, examples, {"a": 0.5}).tolist() == [[2, 0, 0]]


def test_the_kind_of_target_is_told_by_its_shape():
    assert classified([0, 1]).last_only
    assert not pulses([2.0]).last_only
    assert isinstance(pulses([2.0]), Examples)
