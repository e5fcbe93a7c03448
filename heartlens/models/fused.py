"""The fast forward: the same attention and residual stream as HookedTransformer's blocks, without its hook points and guards.

For models that nobody hooks into; `attention.py` falls back to the model's own blocks for all others. One projection for query, key and
value, the mask added by the matrix product itself, softmax in place, and entropy from the scores instead of a logarithm of every weight:
H = log sum exp(s) - sum p s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.converters.hooked import ARCHITECTURE
from heartlens.converters.lens import BRIDGED, HookedTransformer

MASKED = -1e9  # finite, so that 0 x MASKED is 0


def is_plain(model: HookedTransformer) -> bool:
    """Whether nobody hooks into the model and it computes what `fused_attention` does. Never of a bridge, which has hooks of its own."""
    if BRIDGED:
        return False
    cfg = model.cfg
    is_ours = cfg.normalization_type in ("LN", "LNPre") and all(getattr(cfg, name) == value for name, value in ARCHITECTURE.items())
    is_special = cfg.use_attn_result or cfg.use_split_qkv_input or cfg.use_hook_mlp_in or cfg.use_attn_in
    is_turned = any(block.attn._attention_dir_override for block in model.blocks)
    is_hooked = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return is_ours and not (is_special or is_turned or is_hooked)


def fused_attention(
    model: HookedTransformer, tokens: Int[Tensor, "window time"], last_block_unmasked: bool = False
) -> Iterator[tuple[Float[Tensor, "window head query key"], Float[Tensor, "window head query"], Float[Tensor, "window head key"]]]:
    """Each layer's attention patterns, their rows' entropy (nats) and the norm each key's value moves into the stream, in turn."""
    shape = (len(tokens), model.cfg.n_heads, tokens.shape[1])
    for block, layer in zip(model.blocks, _layers(model, tokens, last_block_unmasked), strict=True):
        moved_norm = (layer.value.view(*shape, -1) @ block.attn.W_O).norm(dim=-1)
        yield layer.pattern.view(*shape, -1), _entropy(layer.scores, layer.pattern).view(shape), moved_norm


def fused_residual(model: HookedTransformer, tokens: Int[Tensor, "window time"]) -> Iterator[Float[Tensor, "window time d_model"]]:
    """The residual stream after the embedding, then after each block."""
    yield model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    yield from (layer.residual for layer in _layers(model, tokens, False))


@dataclass
class _Layer:
    """What a block has computed: scores, pattern and value by window x head, and the residual stream after it."""

    scores: Tensor
    pattern: Tensor
    value: Tensor
    residual: Tensor


def _layers(model: HookedTransformer, tokens: Int[Tensor, "window time"], last_block_unmasked: bool) -> Iterator[_Layer]:
    cfg = model.cfg
    n_time = tokens.shape[1]
    x = model.W_E[tokens] + model.W_pos[:n_time]
    causal = torch.full((n_time, n_time), MASKED, dtype=x.dtype, device=x.device).triu(1)
    for layer, block in enumerate(model.blocks):
        mask = torch.zeros_like(causal) if last_block_unmasked and layer == cfg.n_layers - 1 else causal
        query, key, value = _projected(block.attn, norm(block.ln1, x), cfg.attn_scale)
        scores = torch.baddbmm(mask, query, key.transpose(1, 2))
        pattern = scores.softmax(dim=-1)
        moved = torch.bmm(pattern, value).view(len(tokens), cfg.n_heads, n_time, -1).transpose(1, 2).reshape(len(tokens), n_time, -1)
        x = x + moved @ block.attn.W_O.reshape(-1, cfg.d_model) + block.attn.b_O
        hidden = functional.relu(norm(block.ln2, x) @ block.mlp.W_in + block.mlp.b_in)
        x = x + hidden @ block.mlp.W_out + block.mlp.b_out
        yield _Layer(scores, pattern, value, x)


def _projected(attention: Any, x: Tensor, scale: float) -> list[Tensor]:
    """Query (already divided by the scale), key and value, each (window x head, time, d_head)."""
    found = []
    for letter, divisor in (("Q", scale), ("K", 1.0), ("V", 1.0)):
        weight, bias = getattr(attention, f"W_{letter}") / divisor, getattr(attention, f"b_{letter}") / divisor
        projected = torch.einsum("btd,hde->bhte", x, weight) + bias[:, None]
        found.append(projected.flatten(0, 1))
    return found


def norm(layer_norm: Any, x: Tensor) -> Tensor:
    """What a LayerNorm makes of the stream, folded (without weights) or not."""
    return functional.layer_norm(x, x.shape[-1:], getattr(layer_norm, "w", None), getattr(layer_norm, "b", None), layer_norm.cfg.eps)


def _entropy(scores: Tensor, pattern: Tensor) -> Tensor:
    log_total = scores.amax(dim=-1) - pattern.amax(dim=-1).log()
    return (log_total - torch.einsum("bqk,bqk->bq", pattern, scores)).clamp_min(0.0)
