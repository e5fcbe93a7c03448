"""Attention by layer: the engines agree with the model's own blocks and its cache, hooks act, and nothing is left changed."""

import numpy as np
import pytest
import torch
from originals import tiny_model, tiny_state, tiny_tokens

from heartlens.engine import Asked, engine_of
from heartlens.engine.plain import why_not_plain
from heartlens.refusal import Refusal

PRECISE = {"torch": (torch.float64, 1e-10), "fused": (torch.float32, 1e-4)}  # each engine's precision, and how far rounding may bring it
every_engine = pytest.mark.parametrize("name", ["fused", "torch", "hooked"])


def asked(tokens, by_value=False):
    """Every row whole; two groups of asking tokens, in turn, a column each, and the first token in none."""
    n_windows, n_time = tokens.shape
    group = np.tile(np.arange(n_time) % 2, (n_windows, 1)).astype(np.int32)
    group[:, 0] = -1
    return Asked(group, np.arange(2, dtype=np.int32), rows=tuple(range(n_time)), by_value=by_value)


def attention(engine, tokens, last_block_unmasked=False):
    """Pattern and, weighted by what the values move, entropy, rows and columns of each layer."""
    layers = engine.attention(tokens, last_block_unmasked=last_block_unmasked)
    moved = engine.sums(tokens, asked(tokens, by_value=True), last_block_unmasked=last_block_unmasked)
    return [(own.pattern, weighted.entropy, weighted.rows, weighted.columns) for own, weighted in zip(layers, moved, strict=True)]


def gap(name, tokens, last_block_unmasked=False, **options):
    """The largest gap between an engine and the model's own blocks."""
    model = tiny_model(dtype=PRECISE[name][0], **options)
    pairs = zip(*(attention(engine_of(model, each), tokens, last_block_unmasked) for each in (name, "hooked")), strict=True)
    return max(np.abs(left - right).max() for fast, own in pairs for left, right in zip(fast, own, strict=True))


@pytest.mark.parametrize("name", PRECISE)
@pytest.mark.parametrize("unmasked", [False, True])
@pytest.mark.parametrize("fold_ln", [False, True])
def test_engines_agree_with_the_models_own_blocks(name, unmasked, fold_ln):
    for n_time in (40, 7):
        assert gap(name, tiny_tokens(tiny_state(), n_time=n_time), unmasked, fold_ln=fold_ln) < PRECISE[name][1]


@every_engine
def test_the_layers_are_those_of_the_cache_and_entropy_is_that_of_the_weighted_pattern(name):
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())
    _, cache = model.run_with_cache(tokens)
    engine = engine_of(model, name)
    layers = list(engine.attention(tokens))
    assert [own.layer for own in layers] == [0, 1]
    for own, (_, entropy, rows, columns) in zip(layers, attention(engine, tokens), strict=True):
        pattern = cache["pattern", own.layer]
        assert np.abs(own.pattern - pattern.numpy()).max() < 1e-5
        moved = torch.einsum("bkhd,hdm->bhkm", cache["v", own.layer], model.blocks[own.layer].attn.W_O).norm(dim=-1).detach()
        weighted = pattern * moved[:, :, None]
        weighted = weighted / weighted.sum(dim=-1, keepdim=True)
        assert np.abs(entropy - torch.distributions.Categorical(weighted).entropy().numpy()).max() < 1e-4
        weighted = weighted.numpy()
        assert np.abs(rows - weighted).max() < 1e-5
        for group in (0, 1):
            askers = [query for query in range(1, 40) if query % 2 == group]
            assert np.abs(columns[:, :, group] - weighted[:, :, askers].sum(axis=2)).max() < 1e-4


@every_engine
def test_the_last_rows_alone_are_those_of_all(name):
    engine, tokens = engine_of(tiny_model(dtype=torch.float32), name), tiny_tokens(tiny_state())
    for whole, last in zip(engine.attention(tokens), engine.attention(tokens, n_rows=1), strict=True):
        assert last.pattern.shape[2] == 1
        assert np.abs(last.pattern - whole.pattern[:, :, -1:]).max() < 1e-6


@every_engine
@pytest.mark.parametrize("unmasked", [False, True])
def test_what_is_begun_at_a_block_is_the_rest_of_the_whole(name, unmasked):
    engine, tokens = engine_of(tiny_model(dtype=torch.float32), name), tiny_tokens(tiny_state())
    _, second = engine.attention(tokens, last_block_unmasked=unmasked)
    stream = engine.run_blocks(engine.embed(tokens), 0, 1)
    before = stream.clone()
    (alone,) = engine.attention(tokens, last_block_unmasked=unmasked, start=(1, stream))
    assert alone.layer == 1
    assert np.abs(alone.pattern - second.pattern).max() < 1e-5
    assert torch.equal(stream, before)


def uniform(pattern, hook):
    """Every visible key alike."""
    return torch.ones_like(pattern).tril() / torch.arange(1, pattern.shape[-1] + 1, dtype=pattern.dtype)[:, None]


def test_a_hook_acts_on_its_own_block_and_on_those_that_follow():
    model, tokens = tiny_model(), tiny_tokens(tiny_state())
    free = list(engine_of(model).attention(tokens))
    model.add_perma_hook("blocks.0.attn.hook_pattern", uniform)
    assert engine_of(model).name == "hooked"
    first, second = engine_of(model).attention(tokens)
    assert np.allclose(first.pattern[..., 9, :10], 0.1)
    assert np.allclose(next(engine_of(model).sums(tokens, asked(tokens))).entropy[..., 9], np.log(10))
    assert np.abs(second.pattern - free[1].pattern).max() > 1e-2
    model.reset_hooks(including_permanent=True)
    assert engine_of(model).name == "torch"  # float64


@pytest.mark.parametrize("setting", ["use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "parallel_attn_mlp"])
def test_a_model_that_computes_in_another_way_is_not_plain(setting):
    model = tiny_model()
    assert not why_not_plain(model)
    setattr(model.cfg, setting, True)
    assert setting in why_not_plain(model)


def test_neither_is_one_with_a_module_hook_or_a_turned_mask():
    model = tiny_model()
    handle = model.blocks[0].mlp.register_forward_pre_hook(lambda module, given: None)
    assert why_not_plain(model) == "it has hooks (at blocks.0.mlp)"
    handle.remove()
    assert not why_not_plain(model)
    model.blocks[0].attn._attention_dir_override = "bidirectional"
    assert why_not_plain(model) == "its attention mask is overridden"


@pytest.mark.parametrize("name", PRECISE)
def test_an_engine_refuses_hooks_that_came_after_it_was_made(name):
    model, tokens = tiny_model(dtype=PRECISE[name][0]), tiny_tokens(tiny_state())
    engine = engine_of(model, name)
    model.add_perma_hook("blocks.0.attn.hook_pattern", uniform)
    for ask in (engine.attention(tokens), engine.sums(tokens, asked(tokens))):
        with pytest.raises(Refusal, match=r"it has hooks \(at blocks.0.attn.hook_pattern\); give --engine hooked"):
            next(ask)


@every_engine
def test_unmasked_only_the_last_block_attends_forward_and_the_model_is_unchanged(name):
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())
    if name == "hooked":
        model.add_perma_hook("blocks.0.hook_resid_pre", lambda residual, hook: residual)
    engine = engine_of(model, name)
    before = list(engine.attention(tokens))
    first, last = engine.attention(tokens, last_block_unmasked=True)
    forward = np.triu_indices(40, 1)
    assert (first.pattern[..., *forward] == 0).all()
    assert (last.pattern[..., *forward] > 0).mean() > 0.9
    assert np.allclose(last.pattern.sum(-1), 1)
    again = list(engine.attention(tokens))
    assert all((one.pattern == two.pattern).all() for one, two in zip(before, again, strict=True))


@every_engine
def test_gradients_are_on_between_layers_and_an_abandoned_iteration_leaves_nothing(name):
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())
    if name == "hooked":
        model.add_perma_hook("blocks.0.hook_resid_pre", lambda residual, hook: residual)
    layers = engine_of(model, name).attention(tokens, last_block_unmasked=True)
    next(layers)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    next(layers)
    layers.close()
    assert model.blocks[1].attn._attention_dir_override is None
    assert not model.blocks[1].attn.hook_pattern._forward_hooks


@every_engine
def test_a_head_whose_values_move_nothing_gives_nothing_by_value(name):
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())
    with torch.no_grad():
        model.blocks[0].attn.W_V[1] = 0
        model.blocks[0].attn.b_V[1] = 0
    first, _ = engine_of(model, name).sums(tokens, asked(tokens, by_value=True))
    for given in (first.rows, first.columns):
        assert (given[:, 1] == 0).all()
        assert np.isfinite(given).all()
    assert np.allclose(first.rows[:, [0, 2]].sum(axis=-1), 1, atol=1e-5)
