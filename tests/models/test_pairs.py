"""A fine-tuned model finds its base, or says that it does not know it."""

import pytest
from originals import tiny_model

from heartlens.models import pairs
from heartlens.models.pairs import base_of
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal


@pytest.mark.parametrize(
    ("checkpoint", "base"),
    [("ecgpt-af-1k", "ecgpt-560k"), ("ppgpt-beat-5k", "ppgpt-500k"), ("ecg-sim-af", "ecg-sim"), ("ppg-sim-beat", "ppg-sim")],
)
def test_the_registry_knows_the_bases(checkpoint, base):
    assert pairs._known_base(checkpoint) == base


@pytest.mark.parametrize("checkpoint", ["ecgpt-560k", "ecg-sim", "mine.pth"])
def test_a_base_that_is_not_known_is_asked_for(checkpoint):
    with pytest.raises(Refusal, match=f"{checkpoint} was fine-tuned from; name its base"):
        pairs._known_base(checkpoint)


def test_a_base_of_another_size_is_refused(monkeypatch):
    other = tiny_model()
    other.cfg.n_layers = 5
    monkeypatch.setattr(pairs, "_loaded", lambda name: other)
    with pytest.raises(Refusal, match="they differ in n_layers 2 and 5"):
        base_of(subject_of(tiny_model()), "other")
