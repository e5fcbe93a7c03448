"""A fine-tuned model finds its base, or says that it does not know it."""

import pytest
from originals import tiny_model, tiny_state
from safetensors.torch import save_file

from heartlens.checkpoints.read import fingerprint
from heartlens.converters.bridge import converted_model
from heartlens.models import pairs
from heartlens.models.origin import Origin, origin_of
from heartlens.models.pairs import base_of
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal


def called(checkpoint, card=None, file=None):
    """A tiny model under a checkpoint's name, with a model card."""
    model = tiny_model()
    model.origin = Origin(checkpoint, "ecg", "a task", "", "", "", "", "none")
    model.card, model.file = card or {}, file
    return subject_of(model, "torch")


@pytest.mark.parametrize(
    ("checkpoint", "base"),
    [("ecgpt-af-1k", "ecgpt-560k"), ("ppgpt-beat-5k", "ppgpt-500k"), ("ecg-sim-af", "ecg-sim"), ("ppg-sim-beat", "ppg-sim")],
)
def test_the_registry_knows_the_bases(checkpoint, base):
    assert pairs._known_base(called(checkpoint)) == base


@pytest.mark.parametrize("checkpoint", ["ecgpt-560k", "ecg-sim", "mine.pth"])
def test_a_base_that_is_not_known_is_asked_for(checkpoint):
    with pytest.raises(pairs.UnknownBase, match=f"{checkpoint} was fine-tuned from; name its base checkpoint with --base"):
        pairs._known_base(called(checkpoint))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The file of a model that was fine-tuned from `out/mine/model.safetensors`, beside other files of that name; and its subject."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("aa", 3), ("mine", 0)):
        (tmp_path / "out" / name).mkdir(parents=True)
        save_file(tiny_state(seed), tmp_path / "out" / name / "model.safetensors")
    tuned = tmp_path / "out/af/model.safetensors"
    tuned.parent.mkdir()
    save_file(tiny_state(1, task_outputs=1), tuned)
    card = {"base": {"checkpoint": "model.safetensors", "fingerprint": fingerprint(tiny_state(0))}}
    return called("model.safetensors", card, tuned)


def test_the_card_tells_the_base_and_its_fingerprint_which_file(run, tmp_path):
    assert pairs._known_base(run) == str(tmp_path / "out/mine/model.safetensors")
    assert origin_of(base_of(run)).fingerprint == fingerprint(tiny_state(0))


def test_a_base_whose_file_is_gone(run, tmp_path):
    (tmp_path / "out/mine/model.safetensors").unlink()
    with pytest.raises(Refusal, match=r"was fine-tuned from model.safetensors .* no such file is beside it.*give it with --base FILE"):
        base_of(run)


def test_a_base_of_another_fingerprint_is_refused(run, tmp_path):
    with pytest.raises(Refusal, match=r"is not what model.safetensors was fine-tuned from: by its model card"):
        base_of(run, str(tmp_path / "out/aa/model.safetensors"))


def test_twins_have_the_card(run):
    from heartlens.models.nulls.perturbed import perturbed

    (_, twin), *_ = perturbed(run.model, base_of(run), 1, 0)
    assert base_of(subject_of(twin, "torch")) is base_of(run)


def test_a_base_of_another_size_is_refused(monkeypatch):
    other = tiny_model()
    other.cfg.n_layers = 5
    monkeypatch.setattr(pairs, "_loaded", lambda name: other)
    with pytest.raises(Refusal, match="they differ in n_layers 2 and 5"):
        base_of(subject_of(tiny_model()), "other")


def test_a_model_and_its_twins_name_the_same_tensors(run):
    """A twin has its base's outputs, the model another one: their sums are stored side by side."""
    from heartlens.analyses.attention_shift import AttentionShift
    from heartlens.models.nulls.perturbed import perturbed
    from heartlens.signals.simulate import simulated

    state = tiny_state(1, vocabulary=101, context=500, task_outputs=1)
    base = converted_model(tiny_state(0, vocabulary=101, context=500))
    model = converted_model(state)
    model.origin, model.card = Origin("mine", "ecg", "a task (last token)", "", "", "", "", "none"), {}
    save_file(tiny_state(0, vocabulary=101, context=500), "base.safetensors")
    shift = AttentionShift(base="base.safetensors").for_twins()
    (_, twin), *_ = perturbed(model, base, 1, 0)
    windows = simulated("ecg", 1, 1)
    of_model, of_twin = (shift.measure(subject_of(each, "torch"), windows).sums for each in (model, twin))
    assert of_model["tensor"].equals(of_twin["tensor"])
