"""A model's attention, one layer at a time: what a scan of any number of windows needs and no more.

A full cache of patterns is 64 MB a window; here each layer's is given away as soon as its block has run. A model with hooks runs through
its own blocks, so that the hooks act; any other through `fused.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from heartlens.converters import lens
from heartlens.converters.lens import HookedTransformer
from heartlens.models.fused import fused_attention, is_plain


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention patterns, the entropy of each row in nats, and the norm of what each key's value moves into the stream."""

    layer: int
    pattern: Float[np.ndarray, "window head query key"]
    entropy: Float[np.ndarray, "window head query"]
    moved_norm: Float[np.ndarray, "window head key"]


def attention_by_layer(
    model: HookedTransformer, tokens: UInt8[np.ndarray, "window time"], *, last_block_unmasked: bool = False
) -> Iterator[LayerAttention]:
    """Each layer's attention in turn. `last_block_unmasked` lets the last block attend forward, as in the paper's head figures."""
    forward = fused_attention if is_plain(model) else hooked_attention
    asked = torch.from_numpy(tokens.astype(np.int64)).to(model.W_E.device)
    layers = forward(model, asked, last_block_unmasked)
    for layer in range(model.cfg.n_layers):
        with torch.inference_mode():  # left before each yield: who iterates must not find gradients switched off
            found = next(layers)
        yield LayerAttention(layer, *(each.float().cpu().numpy() for each in found))


def hooked_attention(
    model: HookedTransformer, tokens: Int[Tensor, "window time"], last_block_unmasked: bool = False
) -> Iterator[tuple[Float[Tensor, "window head query key"], Float[Tensor, "window head query"], Float[Tensor, "window head key"]]]:
    """Each layer's attention patterns, their rows' entropy (nats) and the norm each key's value moves, through the model's own blocks."""
    residual, output_weights = lens.embedding(model, tokens), model.W_O
    for layer, block in enumerate(model.blocks):
        mask = lens.unmasked(block) if last_block_unmasked and layer == model.cfg.n_layers - 1 else nullcontext()
        with mask, _caught(block.attn.hook_pattern) as patterns, _caught(block.attn.hook_v) as values:
            residual = lens.stream_after(block, residual)
        pattern, value = patterns.pop(), values.pop().transpose(1, 2)
        yield pattern, -torch.xlogy(pattern, pattern).sum(dim=-1), (value @ output_weights[layer]).norm(dim=-1)


@contextmanager
def _caught(hook_point: Any) -> Iterator[list[Tensor]]:
    """What passes the hook point, as it is after every hook that was set before."""
    passed: list[Tensor] = []
    with lens.acting(hook_point, passed.append):
        yield passed
