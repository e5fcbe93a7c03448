"""Direct attribution adds up to the model's own output; patching is TransformerLens' own; its estimates are what calculus says."""

from functools import cache

import numpy as np
import pytest
import torch
from planted import random_state

from heartlens.axes import CONTEXT
from heartlens.converters.hooked import hooked_model
from heartlens.converters.sizes import Sizes
from heartlens.engine import engine_of
from heartlens.models.interventions import attribution
from heartlens.models.interventions.attribution import direct_terms, estimated_effects, exact_effects, lens, read, value_of, whole_effect

LOADS = {"as it is": {}, "folded": {"fold_ln": True, "center_writing_weights": True}}
CLEAN, CORRUPT = torch.randint(0, 101, (2, 2, CONTEXT), generator=torch.Generator().manual_seed(3))
NEXT = CLEAN.roll(-1, dims=1)
WEIGHT = np.linspace(0, 1, 2 * CONTEXT).reshape(2, CONTEXT) / CONTEXT


def state(n_outputs=101):
    """A small model in which nothing is trivial: every norm has weights and biases of its own."""
    drawn = random_state(scale=0.4)
    generator = torch.Generator().manual_seed(1)
    drawn = {
        name: tensor + 0.5 * torch.randn(tensor.shape, generator=generator) if "ln" in name else tensor for name, tensor in drawn.items()
    }
    if n_outputs == 1:
        shapes = Sizes(2, 2, 8, 4, 16, 101, CONTEXT, 1, True).shapes()
        drawn = {name: drawn.get(name, torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    return drawn


def model(n_outputs=101, **load):
    return hooked_model(state(n_outputs), **load).requires_grad_(False)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("n_outputs", [101, 1])
def test_the_terms_add_up_to_the_output(n_outputs, load):
    hooked, token = model(n_outputs, **load), NEXT if n_outputs > 1 else None
    terms = direct_terms(engine_of(hooked), CLEAN, token)
    total = sum(term.flatten(2).sum(-1) if term.ndim > 2 else term for term in terms.values())
    logits = hooked(CLEAN)
    expected = logits[..., 0] if token is None else logits.gather(-1, NEXT[..., None])[..., 0] - logits.mean(-1)
    assert total.dtype == torch.float64
    assert float((total - expected).abs().max()) < 1e-4


def test_loads_agree_on_what_heads_add_to_a_task_heads_logit():
    """What centring moves between parts, the norm takes off: a head adds the same however the model was loaded."""
    plain, folded = (direct_terms(engine_of(model(1, **load)), CLEAN, None) for load in LOADS.values())
    for name in ("direct", "direct_embedding", "direct_position"):  # the norms' biases go into the other terms' biases
        assert float((plain[name] - folded[name]).abs().max()) < 1e-4, name


def test_transformer_lens_own_attribution_is_off_on_this_model():
    hooked = model()
    _, known = hooked.run_with_cache(CLEAN[:1])
    stack = known.decompose_resid(-1, apply_ln=False, mode="all")
    theirs = known.logit_attrs(stack, tokens=NEXT[:1], incorrect_tokens=None).sum(0)[0]
    logit = hooked(CLEAN[:1]).gather(-1, NEXT[:1, :, None])[0, :, 0]
    assert float((theirs - logit).abs().max()) > 0.5


def test_a_term_is_what_leaves_the_logit_with_it():
    """Taken off the stream, with the norm's scale held, a head, MLP or the position takes its term off the logit."""
    hooked = model(1)
    terms = direct_terms(engine_of(hooked), CLEAN, None)
    logits, known = hooked.run_with_cache(CLEAN)
    taken = {
        "direct": (terms["direct"][:, :, 0, 1], known["blocks.0.attn.hook_z"][:, :, 1] @ hooked.W_O[0, 1]),
        "direct_mlp": (terms["direct_mlp"][:, :, 1], known["blocks.1.hook_mlp_out"]),
        "direct_attention_bias": (terms["direct_attention_bias"][:, :, 1], hooked.blocks[1].attn.b_O),
        "direct_position": (terms["direct_position"], hooked.W_pos[:CONTEXT]),
        "direct_embedding": (terms["direct_embedding"], hooked.W_E[CLEAN]),
    }
    for name, (term, added) in taken.items():
        without = hooked.run_with_hooks(
            CLEAN,
            fwd_hooks=[
                ("blocks.1.hook_resid_post", lambda x, hook, added=added: x - added),
                ("ln_final.hook_scale", lambda x, hook: known["ln_final.hook_scale"]),
            ],
        )
        assert torch.allclose((logits - without)[..., 0].double(), term, atol=1e-4), name


def test_a_sum_that_is_off_is_told(monkeypatch):
    real = attribution._onto
    monkeypatch.setattr(attribution, "_onto", lambda *given: 1.001 * real(*given))
    with pytest.raises(RuntimeError, match="off the model's output by"):
        direct_terms(engine_of(model()), CLEAN, NEXT)


def test_the_lens_ends_with_the_output_and_begins_with_the_embedding():
    hooked = model()
    seen = lens(engine_of(hooked), CLEAN, NEXT)
    logits = hooked(CLEAN)
    assert torch.allclose(seen.logit[:, -1], read(logits, NEXT), atol=1e-5)
    assert torch.allclose(seen.line[:, -1], (logits.softmax(-1) * torch.arange(101)).sum(-1), atol=1e-3)
    assert float(seen.nats[:, -1].mean()) == pytest.approx(float(hooked(CLEAN, return_type="loss")), rel=1e-5)
    first = hooked.unembed(hooked.ln_final(hooked.W_E[CLEAN] + hooked.W_pos[:CONTEXT]))
    assert torch.allclose(seen.logit[:, 0], read(first, NEXT), atol=1e-5)


@pytest.fixture(scope="module")
def precise():
    return model(dtype=torch.float64), value_of(NEXT, WEIGHT)


@cache
def caches():
    with torch.inference_mode():
        return [model(dtype=torch.float64).run_with_cache(tokens)[1] for tokens in (CLEAN, CORRUPT)]


@torch.inference_mode()
def patched(hooked, names, heads=slice(None), part=1.0):
    """The value where the corrupt activations (or a part of the way to them) replace the clean ones, by TransformerLens' hooks."""

    def replaced(x, hook):
        a, b = (known[hook.name] for known in caches())
        if x.ndim == 4:
            x[:, :, heads] = (a + part * (b - a))[:, :, heads]
            return x
        return a + part * (b - a)

    logits = hooked.run_with_hooks(CLEAN, fwd_hooks=[(name, replaced) for name in names])
    own = logits.gather(-1, NEXT[..., None])[..., 0] - logits.mean(-1)
    return (own * torch.from_numpy(WEIGHT)).sum(-1)


def test_exact_effects_are_those_of_patching_one_after_the_other(precise):
    hooked, value = precise
    found, clean = exact_effects(engine_of(hooked), CLEAN, CORRUPT, value), patched(hooked, [])
    for layer in range(2):
        for head in range(2):
            expected = patched(hooked, [f"blocks.{layer}.attn.hook_z"], head) - clean
            assert torch.allclose(found.heads[:, layer, head], expected, atol=1e-10)
        assert torch.allclose(found.mlps[:, layer], patched(hooked, [f"blocks.{layer}.hook_mlp_out"]) - clean, atol=1e-10)
    embedding = ["hook_embed"]
    assert torch.allclose(whole_effect(engine_of(hooked), CLEAN, CORRUPT, value), patched(hooked, embedding) - clean, atol=1e-10)


def test_integrated_effects_of_a_layers_heads_add_up_to_that_of_all(precise):
    hooked, value = precise
    found, _ = estimated_effects(engine_of(hooked), CLEAN, CORRUPT, value, n_steps=24)
    clean = patched(hooked, [])
    for layer in range(2):
        for estimated, name in ((found.heads[:, layer].sum(-1), "attn.hook_z"), (found.mlps[:, layer], "hook_mlp_out")):
            exact = patched(hooked, [f"blocks.{layer}.{name}"]) - clean
            assert torch.allclose(estimated, exact, rtol=0.02, atol=0.01 * float(exact.abs().max())), (layer, name)


def test_the_gradient_is_the_first_step_of_the_way(precise):
    hooked, value = precise
    _, found = estimated_effects(engine_of(hooked), CLEAN, CORRUPT, value, n_steps=1)
    clean, step = patched(hooked, []), 1e-6
    for layer in range(2):
        moved = (patched(hooked, [f"blocks.{layer}.attn.hook_z"], 1, step) - clean) / step
        assert torch.allclose(found.heads[:, layer, 1], moved, rtol=1e-3, atol=1e-5)
        moved = (patched(hooked, [f"blocks.{layer}.hook_mlp_out"], part=step) - clean) / step
        assert torch.allclose(found.mlps[:, layer], moved, rtol=1e-3, atol=1e-5)
