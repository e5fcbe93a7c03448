"""Several heads and whole layers replaced at once, without hook points: the outputs of a model with more and more of its parts replaced."""

from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.engine import Engine, Tokens
from heartlens.models import hooks
from heartlens.models.interventions.replacement import Value
from heartlens.models.interventions.sweep import replaced


def without(
    engine: Engine,
    tokens: Tokens,
    values: Mapping[str, Value],
    heads: Collection[tuple[int, int]] = (),
    layers: Collection[int] = (),
    last_only: bool = False,
    mlps: Collection[int] = (),
) -> Float[Tensor, "window asked output"]:
    """The outputs with these heads (layer, head), MLPs and layers (attention and MLP) replaced, by `values` as for `sweep.swept`."""
    x = engine.embed(tokens)
    for layer in range(engine.sizes.n_layers):
        heads_replaced = [head for of_layer, head in heads if of_layer == layer]
        if layer in layers:
            attention, mlp = (replaced(values[name(layer)], x) for name in (hooks.attn_out, hooks.mlp_out))
            x = engine.after(x, layer, attention=attention, mlp=mlp)
        elif heads_replaced or layer in mlps:
            z = engine.mixed(x, layer).clone()
            if heads_replaced:
                z[:, :, heads_replaced] = replaced(values[hooks.z(layer)], z)[:, :, heads_replaced]
            x = engine.after(x, layer, z=z, mlp=replaced(values[hooks.mlp_out(layer)], x) if layer in mlps else None)
        else:
            x = engine.run_blocks(x, layer, layer + 1)
    return engine.outputs(x[:, -1:] if last_only else x)


def head_norms(engine: Engine, tokens: Tokens) -> Float[Tensor, "window layer head"]:
    """How much each head adds to the stream: the norm of z W_O, mean over a window's tokens."""
    x, norms = engine.embed(tokens), []
    for layer in range(engine.sizes.n_layers):
        parts = engine.parts(x, layer)
        norms.append(engine.added(parts.z, layer).norm(dim=-1).mean(dim=-1).T)
        x = parts.post
    return torch.stack(norms, dim=1)
