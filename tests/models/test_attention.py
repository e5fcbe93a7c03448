"""Attention by layer: the fast forward and the model's own blocks agree, hooks act, and nothing is left changed."""

import numpy as np
import pytest
import torch
from heartlens.models.attention import attention_by_layer, hooked_attention
from heartlens.models.fused import fused_attention, is_plain
from originals import tiny_model, tiny_state, tiny_tokens


def both(model, tokens, last_block_unmasked=False):
    """The largest gap in pattern, in entropy and in what is moved between the two forwards."""
    with torch.no_grad():
        pairs = zip(fused_attention(model, tokens, last_block_unmasked), hooked_attention(model, tokens, last_block_unmasked), strict=True)
        gaps = [[(left - right).abs().max().item() for left, right in zip(fast, own, strict=True)] for fast, own in pairs]
    return np.max(gaps, axis=0)


@pytest.mark.parametrize("unmasked", [False, True])
@pytest.mark.parametrize("fold_ln", [False, True])
def test_both_forwards_agree(unmasked, fold_ln):
    model = tiny_model(fold_ln=fold_ln)
    assert both(model, tiny_tokens(tiny_state()), unmasked).max() < 1e-10
    assert both(model, tiny_tokens(tiny_state(), n_time=7), unmasked).max() < 1e-10


def test_both_forwards_agree_in_single_precision():
    assert both(tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())).max() < 1e-4


def test_the_layers_are_those_of_the_cache_and_entropy_is_that_of_the_pattern():
    model, tokens = tiny_model(), tiny_tokens(tiny_state())
    _, cache = model.run_with_cache(tokens)
    layers = list(attention_by_layer(model, tokens.numpy().astype(np.uint8)))
    assert [found.layer for found in layers] == [0, 1]
    for found in layers:
        assert np.abs(found.pattern - cache["pattern", found.layer].numpy()).max() < 1e-6
        moved = torch.einsum("bkhd,hdm->bhkm", cache["v", found.layer], model.blocks[found.layer].attn.W_O)
        assert np.abs(found.moved_norm - moved.norm(dim=-1).detach().numpy()).max() < 1e-5
        assert np.abs(found.entropy - torch.distributions.Categorical(cache["pattern", found.layer]).entropy().numpy()).max() < 1e-5


def uniform(pattern, hook):
    """Every visible key alike."""
    return torch.ones_like(pattern).tril() / torch.arange(1, pattern.shape[-1] + 1, dtype=pattern.dtype)[:, None]


def test_a_hook_acts_on_its_own_block_and_on_those_that_follow():
    model, tokens = tiny_model(), tiny_tokens(tiny_state()).numpy().astype(np.uint8)
    free = list(attention_by_layer(model, tokens))
    model.add_perma_hook("blocks.0.attn.hook_pattern", uniform)
    assert not is_plain(model)
    first, second = attention_by_layer(model, tokens)
    assert np.allclose(first.pattern[..., 9, :10], 0.1)
    assert np.allclose(first.entropy[..., 9], np.log(10))
    assert np.abs(second.pattern - free[1].pattern).max() > 1e-2
    model.reset_hooks(including_permanent=True)
    assert is_plain(model)


@pytest.mark.parametrize("setting", ["use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "parallel_attn_mlp"])
def test_a_model_that_computes_in_another_way_is_not_plain(setting):
    model = tiny_model()
    assert is_plain(model)
    setattr(model.cfg, setting, True)
    assert not is_plain(model)


def test_neither_is_one_with_a_module_hook_or_a_turned_mask():
    model = tiny_model()
    handle = model.blocks[0].mlp.register_forward_pre_hook(lambda module, given: None)
    assert not is_plain(model)
    handle.remove()
    assert is_plain(model)
    model.blocks[0].attn._attention_dir_override = "bidirectional"
    assert not is_plain(model)


@pytest.mark.parametrize("hooked", [False, True])
def test_unmasked_only_the_last_block_attends_forward_and_the_model_is_unchanged(hooked):
    model, tokens = tiny_model(), tiny_tokens(tiny_state()).numpy().astype(np.uint8)
    if hooked:
        model.add_perma_hook("blocks.0.hook_resid_pre", lambda residual, hook: residual)
    before = list(attention_by_layer(model, tokens))
    first, last = attention_by_layer(model, tokens, last_block_unmasked=True)
    forward = np.triu_indices(40, 1)
    assert (first.pattern[..., *forward] == 0).all()
    assert (last.pattern[..., *forward] > 0).mean() > 0.9
    assert np.allclose(last.pattern.sum(-1), 1)
    again = list(attention_by_layer(model, tokens))
    assert all((one.pattern == two.pattern).all() for one, two in zip(before, again, strict=True))


def test_gradients_are_on_between_layers_and_an_abandoned_iteration_leaves_nothing():
    model, tokens = tiny_model(), tiny_tokens(tiny_state()).numpy().astype(np.uint8)
    model.add_perma_hook("blocks.0.hook_resid_pre", lambda residual, hook: residual)
    layers = attention_by_layer(model, tokens, last_block_unmasked=True)
    next(layers)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    next(layers)
    layers.close()
    assert model.blocks[1].attn._attention_dir_override is None
    assert not model.blocks[1].attn.hook_pattern._forward_hooks
