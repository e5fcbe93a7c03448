"""Generation step by step against the full forward; random numbers that no batch decides."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.engine.steps import INTACT, Variant
from heartlens.models.edit import ablated
from heartlens.models.interventions.ablations import values_of
from heartlens.models.interventions.continuation import continued, sampled, started, uniforms
from heartlens.models.interventions.replacement import Reference
from heartlens.models.planted import Raises, planted
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

N_PROMPT, N_NEW, N_DRAWS = 7, 5, 2
WINDOWS = simulated("ecg", 2, 1, seed=0)
EDITS = {INTACT: {}, Variant("heads", 1, 0): {"heads": [(1, 0)]}, Variant("mlp", 0): {"mlps": [0]}, Variant("layer", 1): {"layers": [1]}}


@pytest.fixture(scope="module")
def model():
    return model_of(random_state(scale=0.5))


@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_step_by_step_is_the_full_forward(model, how):
    """After the prompt and after every given token, intact and with a head, an MLP and a layer replaced."""
    subject, reference = subject_of(model), Reference(model, WINDOWS)
    tokens = torch.from_numpy(WINDOWS.tokens.astype(np.int64))
    with torch.inference_mode():
        going = started(subject, tokens[:, :N_PROMPT], list(EDITS), values_of(subject, how, reference, WINDOWS), N_DRAWS, N_NEW)
        found = [going.logits]
        for place in range(N_PROMPT, N_PROMPT + N_NEW - 1):
            found.append(going.advance(tokens[None, :, place, None].expand(len(EDITS), -1, N_DRAWS)))
        for place, edit in enumerate(EDITS.values()):
            with ablated(model, **edit, how=how, reference=reference, windows=WINDOWS) if edit else nullcontext():
                expected = model(tokens)[:, None, N_PROMPT - 1 :].softmax(dim=-1)
            for step, logits in enumerate(found):
                assert torch.allclose(logits[place].softmax(dim=-1), expected[:, :, step].expand(-1, N_DRAWS, -1), atol=1e-5)


def test_no_batch_decides_what_comes(model):
    """The same seed, the same tokens: with other windows, variants and draws or without."""
    drawn = uniforms(WINDOWS.identity, N_DRAWS, N_NEW, seed=3)
    prompts, values = WINDOWS.tokens[:, :N_PROMPT], values_of(subject_of(model), "zero", None, WINDOWS)
    together = continued(subject_of(model), prompts, drawn, list(EDITS), values)
    for place, variant in enumerate(EDITS):
        for window, draw in np.ndindex(len(WINDOWS), N_DRAWS):
            alone = continued(subject_of(model), prompts[[window]], drawn[[window], draw : draw + 1], [variant], values)
            assert np.array_equal(alone[0, 0, 0], together[place, window, draw])
    assert np.array_equal(uniforms(WINDOWS.identity[1:], 1, 2, seed=3)[0, 0], drawn[1, 0, :2])
    assert (uniforms(WINDOWS.identity, N_DRAWS, N_NEW, seed=4) != drawn).all()


def test_a_token_is_drawn_with_its_probability(model):
    even = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    logits = torch.tensor([0.2, 0.0, 0.5, 0.3]).log().expand(1, 1, len(even), -1)
    assert torch.bincount(sampled(logits, even[None]).flatten()).tolist() == [2000, 0, 5000, 3000]
    assert sampled(logits[:, :, :1], torch.ones(1, 1)).item() == 3


def test_refusals(model):
    drawn = uniforms(WINDOWS.identity, 1, N_NEW, seed=0)
    with pytest.raises(Refusal, match="generates nothing"):
        continued(subject_of(planted({(1, 3): Raises(6.0, "P")}, regular("ecg", 2))), WINDOWS.tokens[:, :9], drawn)
    for n_prompt in (0, 496):
        with pytest.raises(Refusal, match=f"{n_prompt} tokens and 5 new ones do not fit; legal: .* 500 at most"):
            continued(subject_of(model), WINDOWS.tokens[:, :n_prompt], drawn)
    with ablated(model, heads=[(0, 0)]):
        with pytest.raises(Refusal, match="has hooks"):
            continued(subject_of(model), WINDOWS.tokens[:, :9], drawn)
        model(torch.zeros(1, 3, dtype=torch.long))
