"""Each engine's forward and the sweep against the model itself, hooked one variant at a time."""

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.converters.hooked import hooked_model
from heartlens.engine import engine_of
from heartlens.models import hooks
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


PRECISION = {"torch": (torch.float64, 1e-9), "hooked": (torch.float64, 1e-9), "fused": (torch.float32, 1e-4)}
every_engine = pytest.mark.parametrize("name", PRECISION)


@every_engine
@pytest.mark.parametrize("folded", [False, True])
def test_the_engines_forward_is_the_models(tokens, name, folded):
    dtype, atol = PRECISION[name]
    model = hooked_model(STATE, dtype=dtype, fold_ln=folded, center_writing_weights=folded)
    engine = engine_of(model, name)
    with torch.inference_mode():
        assert torch.allclose(intact(engine, tokens), model(tokens), atol=atol)
        assert torch.allclose(intact(engine, tokens, last_only=True), model(tokens)[:, -1:], atol=atol)
        parts = engine.parts(engine.run_blocks(engine.embed(tokens), 0, 1), 1)
    known = hooks.activations(model, tokens, [hooks.z(1), hooks.resid_mid(1), hooks.resid_post(1)])
    for passed, part in zip(known.values(), (parts.z, parts.mid, parts.post), strict=True):
        assert torch.allclose(passed, part, atol=atol)


@every_engine
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("how", ["zero", "resample"])
def test_a_sweep_is_the_hooked_runs_one_by_one(windows, tokens, name, how, last_only):
    dtype, atol = PRECISION[name]
    model = model_of(STATE, dtype=dtype)
    reference = Reference(model, windows)
    values = replacements(model, NAMES, how, reference, windows)
    with torch.inference_mode():
        found = {one.layer: one.outputs for one in swept(engine_of(model, name), tokens, values, last_only=last_only)}
        for layer in range(N_LAYERS):
            variants = [{"heads": [(layer, head)]} for head in range(N_HEADS)] + [{"mlps": [layer]}, {"layers": [layer]}]
            for variant, output in zip(variants, found[layer], strict=True):
                with ablated(model, **variant, how=how, reference=reference, windows=windows):
                    expected = model(tokens)
                assert torch.allclose(output, expected[:, -1:] if last_only else expected, atol=atol)


@pytest.mark.parametrize("name", ["torch", "hooked"])
def test_gradients_pass_the_torch_and_the_hooked_engine(model, tokens, name):
    engine = engine_of(model, name)
    x = engine.embed(tokens).detach().requires_grad_()
    engine.outputs(engine.run_blocks(x, 0))[:, -1, 3].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_hooks_act_or_are_refused(model, tokens):
    """An engine that was made before the hooks and runs no hooks refuses; one that is picked for the model as it is now runs them."""
    before = engine_of(model)
    assert before.name == "torch"
    with torch.inference_mode(), ablated(model, heads=[(0, 0)]):
        with pytest.raises(Refusal, match="has hooks"):
            intact(before, tokens)
        with pytest.raises(Refusal, match="has hooks"):
            engine_of(model, "torch")
        assert torch.allclose(intact(engine_of(model), tokens), model(tokens), atol=1e-9)
