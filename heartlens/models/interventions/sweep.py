"""Every head, MLP and layer of a model replaced, one at a time: the outputs of each variant, without running what lies upstream again.

The stream before a layer is computed once; its heads differ in what they add, so a layer's variants go on as one batch. Exact: the same
numbers as one patched run a variant, up to rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.engine import Engine, Parts, Stream, Tokens
from heartlens.models import hooks
from heartlens.models.interventions.replacement import Value

HEADS, MLP, LAYER = "heads", "mlp", "layer"
PARTS = (HEADS, MLP, LAYER)

Outputs = Float[Tensor, "variant window asked output"]  # asked: every token, or the last alone


@dataclass(frozen=True)
class Swept:
    """The outputs of the variants of one layer: each head's, then the MLP's, then the layer's, as far as they were asked for."""

    layer: int
    outputs: Outputs


def swept(
    engine: Engine,
    tokens: Tokens,
    values: Mapping[str, Value],
    parts: Sequence[str] = PARTS,
    last_only: bool = False,
) -> Iterator[Swept]:
    """For each layer the outputs with each of its heads, its MLP and the whole layer replaced; `last_only`: of the last token alone.

    `values` names, as `replacements` does, what replaces z(layer), mlp_out(layer), and for whole layers attn_out(layer) too; a layer
    none of whose hook points is named is left out.
    """
    x = engine.embed(tokens)
    for layer in range(engine.sizes.n_layers):
        clean = engine.parts(x, layer)
        variants = [stream for part in parts for stream in VARIANTS[part](engine, x, clean, layer, values)]
        if variants:
            yield Swept(layer, finished(engine, torch.stack(variants), layer + 1, last_only))
        x = clean.post


def intact(engine: Engine, tokens: Tokens, last_only: bool = False) -> Float[Tensor, "window asked output"]:
    """The outputs with nothing replaced, computed as the variants' are."""
    return finished(engine, engine.embed(tokens)[None], 0, last_only)[0]


def _heads(engine: Engine, x: Stream, clean: Parts, layer: int, values: Mapping[str, Value]) -> Iterator[Stream]:
    if hooks.z(layer) in values:
        value = replaced(values[hooks.z(layer)], clean.z)
        for head in range(engine.sizes.n_heads):
            z = clean.z.clone()
            z[:, :, head] = value[:, :, head]
            yield engine.after(x, layer, z=z)


def _mlp(engine: Engine, x: Stream, clean: Parts, layer: int, values: Mapping[str, Value]) -> Iterator[Stream]:
    name = hooks.mlp_out(layer)
    if name in values:
        yield engine.after(x, layer, z=clean.z, mlp=replaced(values[name], clean.post - clean.mid))


def _layer(engine: Engine, x: Stream, clean: Parts, layer: int, values: Mapping[str, Value]) -> Iterator[Stream]:
    attention, mlp = hooks.attn_out(layer), hooks.mlp_out(layer)
    if attention in values and mlp in values:
        added = replaced(values[attention], clean.mid - x), replaced(values[mlp], clean.post - clean.mid)
        yield engine.after(x, layer, attention=added[0], mlp=added[1])


VARIANTS: dict[str, Callable[..., Iterator[Stream]]] = {HEADS: _heads, MLP: _mlp, LAYER: _layer}


def replaced(value: Value, passing: Tensor) -> Tensor:
    """What stands in the place of a tensor."""
    return value(passing) if callable(value) else value


def finished(engine: Engine, x: Float[Tensor, "variant window time d_model"], start: int, last_only: bool) -> Outputs:
    """The outputs of streams before block `start`; `last_only`: of the last token, for which the last block runs on that token alone."""
    n_variants, n_layers = len(x), engine.sizes.n_layers
    x = x.flatten(0, 1)
    if last_only:
        x = engine.last_token(engine.run_blocks(x, start, n_layers - 1)) if start < n_layers else x[:, -1:]
    else:
        x = engine.run_blocks(x, start)
    outputs = engine.outputs(x)
    return outputs.view(n_variants, -1, *outputs.shape[1:])
