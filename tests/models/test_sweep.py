"""The fast forward and the sweep against the model itself, hooked one variant at a time."""

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.converters.hooked import hooked_model
from heartlens.models import forward, hooks
from heartlens.models.edit import ablated
from heartlens.models.interventions.replacement import Reference, replacements
from heartlens.models.interventions.sweep import intact, swept
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

N_LAYERS, N_HEADS = 3, 2
STATE = random_state(layers=N_LAYERS, heads=N_HEADS, d_head=6, scale=0.4)  # of a width that no default scale is right for
NAMES = [name(layer) for layer in range(N_LAYERS) for name in (hooks.z, hooks.mlp_out, hooks.attn_out)]


@pytest.fixture(scope="module")
def model():
    return model_of(STATE, dtype=torch.float64)


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", 2, 1, seed=0)


@pytest.fixture(scope="module")
def tokens(windows):
    return torch.from_numpy(windows.tokens.astype(np.int64))


@pytest.mark.parametrize("folded", [False, True])
def test_the_fast_forward_is_the_models(tokens, folded):
    model = hooked_model(STATE, dtype=torch.float64, fold_ln=folded, center_writing_weights=folded)
    with torch.inference_mode():
        assert torch.allclose(intact(model, tokens), model(tokens), atol=1e-9)
        assert torch.allclose(intact(model, tokens, last_only=True), model(tokens)[:, -1:], atol=1e-9)
        parts = forward.block_parts(model, forward.run_blocks(model, forward.embedded(model, tokens), 0, 1), 1)
    known = hooks.activations(model, tokens, [hooks.z(1), hooks.resid_mid(1), hooks.resid_post(1)])
    for name, part in zip(known, (parts.z, parts.mid, parts.post), strict=True):
        assert torch.allclose(known[name], part, atol=1e-9)


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("how", ["zero", "resample"])
def test_a_sweep_is_the_hooked_runs_one_by_one(model, windows, tokens, how, last_only):
    reference = Reference(model, windows)
    values = replacements(model, NAMES, how, reference, windows)
    with torch.inference_mode():
        found = {one.layer: one.outputs for one in swept(model, tokens, values, last_only=last_only)}
        for layer in range(N_LAYERS):
            variants = [{"heads": [(layer, head)]} for head in range(N_HEADS)] + [{"mlps": [layer]}, {"layers": [layer]}]
            for variant, output in zip(variants, found[layer], strict=True):
                with ablated(model, **variant, how=how, reference=reference, windows=windows):
                    expected = model(tokens)
                assert torch.allclose(output, expected[:, -1:] if last_only else expected, atol=1e-9)


def test_gradients_pass_the_fast_forward(model, tokens):
    x = forward.embedded(model, tokens).detach().requires_grad_()
    forward.outputs(model, forward.run_blocks(model, x, 0))[:, -1, 3].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_a_hooked_model_is_refused(model, tokens):
    with ablated(model, heads=[(0, 0)]):
        with pytest.raises(Refusal, match="has hooks"):
            intact(model, tokens)
        model(tokens)
