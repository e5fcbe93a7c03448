"""Twins: the architecture with weights that learnt nothing, remade from a seed, the original left as it was."""

from dataclasses import dataclass

import pytest
import torch
from originals import tiny_model
from planted import random_state

from heartlens.analyses.previous_beat import PreviousBeat
from heartlens.analysis import measure
from heartlens.converters.lens import parameters
from heartlens.converters.weights import weights_of
from heartlens.models.nulls.twins import initial, twins
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

LATE = ("blocks.0.attn.W_O", "blocks.1.attn.W_K", "blocks.1.mlp.W_out", "unembed.W_U")
TWINS_OF_3_9 = {  # the second number of each of these, from TransformerLens 3.9
    "random 0": [0.03739568963646889, 0.005907712038606405, 0.007586869411170483, -0.023069094866514206],
    "shuffled 0": [-1.062947392463684, -0.466124951839447, -0.7226152420043945, 1.136103868484497],
}


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in parameters(model).items()}


def drawn(seed, n_twins=4, model=None):
    """Each twin's weights by its name."""
    return {name: weights(twin) for name, twin in twins(model or tiny_model(dtype=torch.float32), n_twins, seed)}


def drawn_anew(seed, n_models=2, model=None):
    """Each initial model's weights by its name."""
    return {name: weights(each) for name, each in initial(model or tiny_model(dtype=torch.float32), n_models, seed)}


def differ(one, other):
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_twins_are_shuffled_and_initial_models_random():
    assert list(drawn(0, 3)) == ["shuffled 0", "shuffled 1", "shuffled 2"]
    assert list(drawn_anew(0, 2)) == ["random 0", "random 1"]
    assert drawn(0, 0) == {}


def test_every_twin_is_a_model_of_its_own():
    """Several are measured at a time: a twin is not changed when the next one is made."""
    made = dict(twins(tiny_model(dtype=torch.float32), 3, 0))
    for name, expected in drawn(0, 3).items():
        assert not differ(weights(made[name]), expected)


def test_twins_that_share_one_model_are_refused():
    analysis, subject = OneTwin(n_twins=2, twin_windows=1), subject_of(weights_of(random_state()))
    with pytest.raises(Refusal, match="b is the same model as the twin before it"):
        measure(analysis, subject, simulated("ecg", 1, 1))


@dataclass(frozen=True)
class OneTwin(PreviousBeat):
    """An analysis whose twins are one model."""

    def twins(self, subject):
        return ((name, subject) for name in ("a", "b"))


def test_one_seed_gives_one_set_and_another_seed_another():
    for made in (drawn, drawn_anew):
        one, again, other = made(3), made(3), made(4)
        for name in one:
            assert not differ(one[name], again[name])
            assert differ(one[name], other[name])
        first, second, *_ = one
        assert differ(one[first], one[second])


def test_every_version_of_transformer_lens_draws_the_same_twins():
    """A twin's weights go by the seed, not by the order in which a version keeps its tensors."""
    everyone = {"random 0": drawn_anew(3, 1)["random 0"], "shuffled 0": drawn(3, 2)["shuffled 1"]}  # drawn second when these were noted
    for name, twin in everyone.items():
        assert [twin[tensor].flatten()[1].item() for tensor in LATE] == pytest.approx(TWINS_OF_3_9[name], rel=1e-6), name


def test_the_first_twins_do_not_depend_on_how_many_follow():
    assert not differ(drawn(3, 1)["shuffled 0"], drawn(3, 4)["shuffled 0"])


def test_the_original_is_untouched():
    model = tiny_model()
    before = weights(model)
    drawn(0, model=model)
    assert not differ(before, weights(model))


def test_shuffled_twins_keep_every_tensors_values_and_not_their_places():
    model = tiny_model(dtype=torch.float32)
    original, twin = weights(model), drawn(0, 2, model)["shuffled 0"]
    for name, tensor in twin.items():
        assert torch.equal(tensor.flatten().sort().values, original[name].flatten().sort().values)
        assert name.endswith(("b_Q", "b_K", "b_V")) or not torch.equal(tensor, original[name])


@pytest.mark.parametrize("fold_ln", [False, True])
def test_random_twins_are_drawn_as_the_original_is_initialised(fold_ln):
    twin = drawn_anew(0, 1, tiny_model(dtype=torch.float32, fold_ln=fold_ln))["random 0"]
    matrices = [tensor.flatten() for name, tensor in twin.items() if ".W_" in name]
    values = torch.cat(matrices)
    assert abs(values.std().item() - 0.02) < 4 * 0.02 / (2 * len(values)) ** 0.5
    assert abs(values.mean().item()) < 4 * 0.02 / len(values) ** 0.5
    for name, tensor in twin.items():
        if ".W_" not in name:
            assert torch.equal(tensor, torch.ones_like(tensor) if name.endswith(".w") else torch.zeros_like(tensor)), name
