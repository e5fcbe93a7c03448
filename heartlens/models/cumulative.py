"""Several heads and whole layers replaced at once, without hook points: the outputs of a model that lost more and more of its parts."""

from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heartlens.converters.lens import HookedTransformer
from heartlens.models import forward, hooks
from heartlens.models.replacement import Value


def without(
    model: HookedTransformer,
    tokens: Int[Tensor, "window time"],
    values: Mapping[str, Value],
    heads: Collection[tuple[int, int]] = (),
    layers: Collection[int] = (),
    last_only: bool = False,
) -> Float[Tensor, "window asked output"]:
    """The outputs with these heads (layer, head) and these layers (attention and MLP) replaced, by `values` as for `sweep.swept`."""
    x = forward.embedded(model, tokens)
    for layer in range(model.cfg.n_layers):
        if layer in layers:
            x = x + replaced(values[hooks.attn_out(layer)], x) + replaced(values[hooks.mlp_out(layer)], x)
            continue
        z = forward.mixed(model, x, layer)
        own = [head for of_layer, head in heads if of_layer == layer]
        if own:
            z = z.clone()
            z[:, :, own] = replaced(values[hooks.z(layer)], z)[:, :, own]
        x = forward.after_attention(model, x, z, layer)
    return forward.outputs(model, x[:, -1:] if last_only else x)


def replaced(value: Value, passing: Tensor) -> Tensor:
    """What stands in the place of a tensor."""
    return value(passing) if callable(value) else value


def head_norms(model: HookedTransformer, tokens: Int[Tensor, "window time"]) -> Float[Tensor, "window layer head"]:
    """How much each head adds to the stream: the norm of z W_O, mean over a window's tokens."""
    x, found = forward.embedded(model, tokens), []
    for layer in range(model.cfg.n_layers):
        parts = forward.block_parts(model, x, layer)
        W_O = model.blocks[layer].attn.W_O
        squared = ((parts.z.transpose(1, 2) @ (W_O @ W_O.transpose(1, 2))).transpose(1, 2) * parts.z).sum(dim=-1)
        found.append(squared.clamp_min(0).sqrt().mean(dim=1))
        x = parts.post
    return torch.stack(found, dim=1)
