"""Bridges of checkpoints: filled strictly, run through their own blocks with hooks acting, copied whole, refused where they cannot run."""

import gc

import numpy as np
import pytest
import torch
from hook_values import points_of
from originals import tiny_model, tiny_state, tiny_tokens
from safetensors.torch import save_file

from heartlens.converters import bridge, hooked
from heartlens.converters.lens import BRIDGED, copied, parameters
from heartlens.engine import Asked, engine_of
from heartlens.models.edit import patched
from heartlens.models.load import load
from heartlens.models.residual import residual_by_level
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal

pytestmark = pytest.mark.skipif(not BRIDGED, reason="needs transformer-lens>=4.3; `make test-bridge` installs it beside the default one")

STATE = tiny_state(3)
TOKENS = tiny_tokens(STATE)
BYTES = TOKENS.numpy().astype(np.uint8)


@pytest.fixture
def model():
    return tiny_model(3)


def output(model):
    with torch.inference_mode():
        return model(TOKENS)


@pytest.mark.parametrize("fold_ln", [False, True])
def test_load_gives_a_bridge_that_knows_its_origin_and_card(tmp_path, fold_ln):
    from transformer_lens.model_bridge import TransformerBridge

    path = tmp_path / "mine.safetensors"
    state = tiny_state(3, task_outputs=1)
    save_file(state, path)
    model = load(path, fold_ln=fold_ln, dtype=torch.float64)
    assert isinstance(model, TransformerBridge)
    assert not model.training
    assert (model.origin.checkpoint, model.origin.task, model.card) == ("mine.safetensors", "task head", {})
    assert model.origin.processing == ("fold_ln" if fold_ln else "none")
    assert (output(model) - points_of(state, TOKENS)["logits"]).abs().max() < 1e-9


def test_every_parameter_is_under_its_name_and_a_view(model):
    tensors = hooked.hooked_state(STATE, hooked.sizes_of(STATE))
    assert parameters(model).keys() == tensors.keys()
    for name, view in parameters(model).items():
        assert torch.equal(view, tensors[name].double()), name
        with torch.no_grad():
            view.zero_()
    assert all((tensor == 0).all() for tensor in model.state_dict().values())


def test_what_is_missing_or_left_over_is_named():
    config, tensors = hooked.prepared(STATE, torch.float32, False, False, "tiny")
    empty = bridge._empty_bridge(config)
    with pytest.raises(Refusal, match=r"other tensors than the model has: ln_final\.z;"):
        bridge._filled(empty, tensors | {"ln_final.z": torch.zeros(1)})
    del tensors["unembed.b_U"]
    with pytest.raises(Refusal, match=r"other tensors than the model has: unembed\.b_U;"):
        bridge._filled(empty, tensors)


def test_a_hooked_transformer_is_not_to_be_had():
    with pytest.raises(Refusal, match="bridge_model makes a TransformerBridge, or install transformer-lens<4"):
        hooked.hooked_model(STATE)


@pytest.mark.parametrize("unmasked", [False, True])
def test_attention_is_that_of_the_original_and_the_mask_comes_back(model, unmasked):
    expected = points_of(STATE, TOKENS, unmasked=1 if unmasked else None)
    weights = {layer: STATE[f"blocks.{layer}.sa.proj.weight"].double().T.reshape(3, 4, 12) for layer in (0, 1)}
    every_row = Asked(np.zeros(TOKENS.shape, np.int32), np.zeros(1, np.int32), rows=tuple(range(TOKENS.shape[1])), by_value=True)
    engine = engine_of(model)
    layers = engine.attention(TOKENS, last_block_unmasked=unmasked)
    for own, by_value in zip(layers, engine.sums(TOKENS, every_row, last_block_unmasked=unmasked), strict=True):
        block = f"blocks.{own.layer}.attn"
        rows, value = expected[f"{block}.hook_pattern"], expected[f"{block}.hook_v"]
        assert np.abs(own.pattern - rows.numpy()).max() < 1e-11
        weighted = rows * torch.einsum("bkhd,hdm->bhkm", value, weights[own.layer]).norm(dim=-1)[:, :, None]
        weighted = weighted / weighted.sum(-1, keepdim=True)
        assert np.abs(by_value.rows - weighted.numpy()).max() < 1e-11
        assert np.abs(by_value.entropy - torch.special.entr(weighted).sum(-1).numpy()).max() < 1e-11
    assert (output(model) - points_of(STATE, TOKENS)["logits"]).abs().max() < 1e-11


def test_an_abandoned_iteration_leaves_mask_and_hooks_as_they_were(model):
    clean = output(model)
    layers = engine_of(model).attention(TOKENS, last_block_unmasked=True)
    next(layers), next(layers)
    layers.close()
    assert torch.equal(output(model), clean)
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_hooks_act_on_attention_and_on_the_stream(model):
    def even(pattern, hook):
        return torch.ones_like(pattern).tril() / torch.arange(1, pattern.shape[-1] + 1, dtype=pattern.dtype)[:, None]

    name = "blocks.0.attn.hook_pattern"
    expected = points_of(STATE, TOKENS, name, lambda pattern: even(pattern, None))
    model.add_perma_hook(name, even)
    for found in engine_of(model).attention(TOKENS):
        assert np.abs(found.pattern - expected[f"blocks.{found.layer}.attn.hook_pattern"].numpy()).max() < 1e-6
        assert np.allclose(found.pattern.sum(-1), 1)
    found = residual_by_level(subject_of(model), BYTES)
    levels = [expected["blocks.0.hook_resid_pre"], *(expected[f"blocks.{layer}.hook_resid_post"] for layer in (0, 1))]
    assert np.allclose(found, np.stack([level.numpy() for level in levels]), rtol=1e-6, atol=1e-5)


def test_what_runs_without_hook_points_is_refused(model):
    assert engine_of(model).name == "hooked"
    for name in ("fused", "torch"):
        with pytest.raises(Refusal, match=r"it is a TransformerBridge, no HookedTransformer of TransformerLens 3; give --engine hooked"):
            engine_of(model, name)


def test_a_copy_lives_without_the_model_it_was_copied_from():
    """The bridge's own hooks point into the model they were set in; a plain deepcopy after a forward fails once that is gone."""
    model = tiny_model(3)
    clean = output(model)
    twin = copied(model)
    with torch.no_grad():
        parameters(model)["embed.W_E"].zero_()
    del model
    gc.collect()
    assert torch.equal(output(twin), clean)
    with patched(twin, {"blocks.1.hook_mlp_in": torch.zeros_like}):
        edited = output(twin)
    assert (edited - points_of(STATE, TOKENS, "blocks.1.hook_mlp_in", torch.zeros_like)["logits"]).abs().max() < 1e-11
