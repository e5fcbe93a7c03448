"""Every head, MLP and layer of a model replaced, one at a time: the outputs of each variant, without running what lies upstream again.

The stream before a layer is computed once; its heads differ in what they add, so a layer's variants go on as one batch. Exact: the same
numbers as one patched run a variant, up to rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.converters.lens import HookedTransformer
from heartlens.models import forward, hooks
from heartlens.models.replacement import Value

HEADS, MLP, LAYER = "heads", "mlp", "layer"
PARTS = (HEADS, MLP, LAYER)

Outputs = Float[Tensor, "variant window asked output"]  # asked: every token, or the last alone


@dataclass(frozen=True)
class Swept:
    """The outputs of the variants of one layer: each head's, then the MLP's, then the layer's, as far as they were asked for."""

    layer: int
    outputs: Outputs


def swept(
    model: HookedTransformer,
    tokens: Int[Tensor, "window time"],
    values: Mapping[str, Value],
    parts: Sequence[str] = PARTS,
    last_only: bool = False,
) -> Iterator[Swept]:
    """For each layer the outputs with each of its heads, its MLP and the whole layer replaced; `last_only`: of the last token alone.

    `values` names, as `replacements` does, what replaces z(layer), mlp_out(layer), and for whole layers attn_out(layer) too; a layer
    none of whose hook points is named is left out.
    """
    x = forward.embedded(model, tokens)
    for layer in range(model.cfg.n_layers):
        clean = forward.block_parts(model, x, layer)
        variants = [one for part in parts for one in VARIANTS[part](model, x, clean, layer, values)]
        if variants:
            yield Swept(layer, _finished(model, torch.stack(variants), layer + 1, last_only))
        x = clean.post


def intact(model: HookedTransformer, tokens: Int[Tensor, "window time"], last_only: bool = False) -> Float[Tensor, "window asked output"]:
    """The outputs with nothing replaced, computed as the variants' are."""
    return _finished(model, forward.embedded(model, tokens)[None], 0, last_only)[0]


def _heads(model: HookedTransformer, x: Tensor, clean: forward.Parts, layer: int, values: Mapping[str, Value]) -> list[Tensor]:
    if hooks.z(layer) not in values:
        return []
    change = _value(values[hooks.z(layer)], clean.z) - clean.z
    added = torch.einsum("bthd,hdm->hbtm", change, model.blocks[layer].attn.W_O)
    return [mid + forward.mlp_out(model, mid, layer) for mid in clean.mid + added]


def _mlp(model: HookedTransformer, x: Tensor, clean: forward.Parts, layer: int, values: Mapping[str, Value]) -> list[Tensor]:
    name = hooks.mlp_out(layer)
    return [clean.mid + _value(values[name], clean.post - clean.mid)] if name in values else []


def _layer(model: HookedTransformer, x: Tensor, clean: forward.Parts, layer: int, values: Mapping[str, Value]) -> list[Tensor]:
    attention, mlp = hooks.attn_out(layer), hooks.mlp_out(layer)
    if attention not in values or mlp not in values:
        return []
    return [x + _value(values[attention], clean.mid - x) + _value(values[mlp], clean.post - clean.mid)]


VARIANTS: dict[str, Callable[..., list[Tensor]]] = {HEADS: _heads, MLP: _mlp, LAYER: _layer}


def _value(value: Value, passing: Tensor) -> Tensor:
    return value(passing) if callable(value) else value


def _finished(model: HookedTransformer, x: Float[Tensor, "variant window time d_model"], start: int, last_only: bool) -> Outputs:
    """The outputs of streams before block `start`."""
    n_variants, n_layers = len(x), model.cfg.n_layers
    x = x.flatten(0, 1)
    if last_only:
        x = forward.run_blocks(model, x, start, n_layers - 1)
        x = last_token(model, x) if start < n_layers else x[:, -1:]
    else:
        x = forward.run_blocks(model, x, start)
    found = forward.outputs(model, x)
    return found.view(n_variants, -1, *found.shape[1:])


def last_token(model: HookedTransformer, x: Float[Tensor, "window time d_model"]) -> Float[Tensor, "window 1 d_model"]:
    """The stream after the last block at the last token, from what it is before that block."""
    layer = model.cfg.n_layers - 1
    query, key, value = forward.projected(model, x, layer)
    found = functional.scaled_dot_product_attention(query[:, :, -1:], key, value, scale=1 / model.cfg.attn_scale)
    z = found[..., : model.cfg.d_head].transpose(1, 2)
    return forward.after_attention(model, x[:, -1:], z, layer)
