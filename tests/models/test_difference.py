"""The shares of the last block's parts: they sum to the change, and where one part was changed it has all of it."""

import numpy as np
import pytest
import torch
from planted import random_state

from heartlens.converters.hooked import hooked_model
from heartlens.engine import engine_of
from heartlens.models.interventions import difference
from heartlens.models.interventions.difference import OTHERS, _shapley, shares_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

N_HEADS, D_HEAD = 3, 8
WINDOWS = simulated("ecg", 2, 1)
ASKED = np.zeros(WINDOWS.tokens.shape, bool)
ASKED[:, [99, 499]] = True
ALIKE = {  # what was fine-tuned: its tensors, and the part that all of the change belongs to
    "attention_bias": ("blocks.1.sa.proj.bias",),
    "mlp": ("blocks.1.ln2.bias", "blocks.1.ffwd.net.0.weight", "blocks.1.ffwd.net.2.bias"),
    "final_norm": ("ln_f.weight", "ln_f.bias"),
}


def state(seed=0):
    """A task head's, of two layers and three heads."""
    found = random_state(layers=2, heads=N_HEADS, d_head=D_HEAD, seed=seed)
    output = next(name for name in found if name.startswith("lm_head") and name.endswith("weight"))
    bias = output.replace("weight", "bias")
    weights = {"lm_head.linear1.0.weight": found.pop(output)[:1], "lm_head.linear1.0.bias": found.pop(bias)[:1]}
    return found | weights


def changed(names, how=lambda tensor: tensor + torch.linspace(-0.5, 0.5, tensor.numel()).view_as(tensor)):
    return {name: how(tensor) if name in names else tensor for name, tensor in state().items()}


def shares(of_tuned, of_base):
    engines = (engine_of(hooked_model(each, dtype=torch.float64, name="planted")) for each in (of_tuned, of_base))
    return shares_of(*engines, WINDOWS.tokens, ASKED)


def last_block_of(seed):
    return {name: tensor for name, tensor in state(seed).items() if name.startswith(("blocks.1.", "ln_f"))}


def logits(weights):
    with torch.inference_mode():
        found = hooked_model(weights, dtype=torch.float64, name="planted")(torch.from_numpy(WINDOWS.tokens.astype(np.int64)))
    return found[:, [99, 499], 0].mean(dim=1).numpy()


def test_base_and_shares_sum_to_the_fine_tuned_output():
    of_tuned = state() | last_block_of(seed=1)
    found = shares(of_tuned, state())
    np.testing.assert_allclose(found.base, logits(state()), atol=1e-9)
    np.testing.assert_allclose(found.base + found.heads.sum(axis=1) + found.others.sum(axis=1), logits(of_tuned), atol=1e-9)
    assert np.abs(found.heads).min() > 1e-3


@pytest.mark.parametrize("part", OTHERS)
def test_the_part_that_was_fine_tuned_has_all_of_the_change(part):
    found = shares(changed(ALIKE[part]), state())
    expected = logits(changed(ALIKE[part])) - logits(state())
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(found.others[:, OTHERS.index(part)], expected, atol=1e-9)
    assert np.abs(np.delete(found.others, OTHERS.index(part), axis=1)).max() < 1e-12
    assert np.abs(found.heads).max() < 1e-12


def test_the_head_that_was_fine_tuned_has_all_of_the_change():
    names = [f"blocks.1.sa.heads.1.{name}.weight" for name in ("query", "value")]
    found = shares(changed(names), state())
    np.testing.assert_allclose(found.heads[:, 1], logits(changed(names)) - logits(state()), atol=1e-9)
    assert np.abs(found.heads[:, [0, 2]]).max() < 1e-12
    assert np.abs(found.others).max() < 1e-12


def test_shapley_values_are_those_of_the_text_books():
    """A glove game: one left glove, two right ones; a pair is worth 1. Shapley: 2/3, 1/6, 1/6. Beside it what only adds."""
    gloves, adds = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for left, one, two in np.ndindex(2, 2, 2):
        gloves[left, one, two] = left and (one or two)
        adds[left, one, two] = 5 * left + 3 * one - two
    np.testing.assert_allclose(_shapley(np.stack([gloves, adds], axis=-1)), [[2 / 3, 5], [1 / 6, 3], [1 / 6, -1]])


def test_models_that_differ_earlier_are_refused():
    with pytest.raises(Refusal, match=r"before the last block, in blocks\.0"):
        shares(changed(["blocks.0.sa.proj.bias"]), state())


def test_shares_that_are_off_are_told(monkeypatch):
    real = difference._shapley
    monkeypatch.setattr(difference, "_shapley", lambda value: 1.01 * real(value))
    with pytest.raises(RuntimeError, match="off the tuned model's output by"):
        shares(state() | last_block_of(seed=1), state())


def test_more_heads_than_mixtures_can_be_run_of_are_refused(monkeypatch):
    monkeypatch.setattr(difference, "MOST_HEADS", 2)
    with pytest.raises(Refusal, match="3 heads; legal: up to 2"):
        shares(state(), state())
