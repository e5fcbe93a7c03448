"""Twins: the architecture with weights that learnt nothing, remade from a seed, the original left as it was."""

import pytest
import torch
from originals import tiny_model

from heartlens.models.nulls.twins import twins


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def drawn(seed, n_twins=4, model=None):
    """Each twin's weights by its name; taken while the twin is the current one."""
    return {name: weights(twin) for name, twin in twins(model or tiny_model(dtype=torch.float32), n_twins, seed)}


def differ(one, other):
    return any(not torch.equal(one[name], other[name]) for name in one)


def test_they_are_random_and_shuffled_in_turn():
    assert list(drawn(0, 5)) == ["random 0", "shuffled 0", "random 1", "shuffled 1", "random 2"]
    assert drawn(0, 0) == {}


def test_one_seed_gives_one_set_and_another_seed_another():
    one, again, other = drawn(3), drawn(3), drawn(4)
    for name in one:
        assert not differ(one[name], again[name])
        assert differ(one[name], other[name])
    assert differ(one["random 0"], one["random 1"])
    assert differ(one["shuffled 0"], one["shuffled 1"])


def test_the_first_twins_do_not_depend_on_how_many_follow():
    assert not differ(drawn(3, 1)["random 0"], drawn(3, 4)["random 0"])


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
    twin = drawn(0, 1, tiny_model(dtype=torch.float32, fold_ln=fold_ln))["random 0"]
    matrices = [tensor.flatten() for name, tensor in twin.items() if ".W_" in name]
    values = torch.cat(matrices)
    assert abs(values.std().item() - 0.02) < 4 * 0.02 / (2 * len(values)) ** 0.5
    assert abs(values.mean().item()) < 4 * 0.02 / len(values) ** 0.5
    for name, tensor in twin.items():
        if ".W_" not in name:
            assert torch.equal(tensor, torch.ones_like(tensor) if name.endswith(".w") else torch.zeros_like(tensor)), name
