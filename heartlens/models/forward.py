"""The forward in parts, without hook points: from any residual stream on, and with any head's output in the place of its own.

The same numbers as HookedTransformer's blocks, with the CPU's fused attention: for what runs many times from the middle of a model, and
for gradients. A model that somebody hooks into is refused, since no hook would act here.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.converters.lens import BRIDGED, HookedTransformer
from heartlens.models.fused import is_plain, norm
from heartlens.refusal import Refusal

FAST = 16  # narrower heads are padded with zeros to this: the CPU's attention kernel then takes two thirds of the time

NOT_PLAIN = (
    "TransformerLens 4's models run through their own blocks only, and this needs transformer-lens<4"
    if BRIDGED
    else "this model has hooks, or is of another architecture than HeartGPT's; remove them, or run the model itself"
)

Stream = Float[Tensor, "window time d_model"]
Mixed = Float[Tensor, "window time head d_head"]


@dataclass(frozen=True)
class Parts:
    """What a block computes: what its heads mixed, and the stream after its attention and after its MLP."""

    z: Mixed
    mid: Stream
    post: Stream


def embedded(model: HookedTransformer, tokens: Int[Tensor, "window time"]) -> Stream:
    """The stream before the first block. Refuses a model with hooks or an architecture of another kind."""
    if not is_plain(model):
        raise Refusal(NOT_PLAIN)
    return model.W_E[tokens] + model.W_pos[: tokens.shape[1]]


def block_parts(model: HookedTransformer, x: Stream, layer: int) -> Parts:
    """The parts of block `layer` on the stream `x` before it."""
    z = mixed(model, x, layer)
    mid = x + attention_out(model, z, layer)
    return Parts(z, mid, mid + mlp_out(model, mid, layer))


def after_attention(model: HookedTransformer, x: Stream, z: Mixed, layer: int) -> Stream:
    """The stream after block `layer`, were `z` what its heads mixed."""
    mid = x + attention_out(model, z, layer)
    return mid + mlp_out(model, mid, layer)


def mixed(model: HookedTransformer, x: Stream, layer: int) -> Mixed:
    """What each head of block `layer` takes from the stream `x`, before its output weights."""
    query, key, value = projected(model, x, layer)
    found = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1 / model.cfg.attn_scale)
    return found[..., : model.cfg.d_head].transpose(1, 2)


def projected(model: HookedTransformer, x: Stream, layer: int) -> list[Float[Tensor, "window head time d"]]:
    """Query, key and value of the heads of block `layer`; narrow ones are padded with zeros."""
    read = norm(model.blocks[layer].ln1, x)
    return [_projected(model.blocks[layer].attn, read, letter) for letter in "QKV"]


def attention_out(model: HookedTransformer, z: Mixed, layer: int) -> Stream:
    """What the heads of block `layer` add to the stream, their bias with them."""
    attention = model.blocks[layer].attn
    return z.flatten(2) @ attention.W_O.reshape(-1, model.cfg.d_model) + attention.b_O


def mlp_out(model: HookedTransformer, mid: Stream, layer: int) -> Stream:
    """What the MLP of block `layer` adds to the stream `mid`."""
    block = model.blocks[layer]
    return functional.relu(norm(block.ln2, mid) @ block.mlp.W_in + block.mlp.b_in) @ block.mlp.W_out + block.mlp.b_out


def run_blocks(model: HookedTransformer, x: Stream, start: int, stop: int | None = None) -> Stream:
    """The stream before block `stop` (None: after the last), from what it is before block `start`."""
    for layer in range(start, model.cfg.n_layers if stop is None else stop):
        x = block_parts(model, x, layer).post
    return x


def outputs(model: HookedTransformer, x: Stream) -> Float[Tensor, "window time output"]:
    """The logits, from the stream after the last block."""
    return norm(model.ln_final, x) @ model.W_U + model.b_U


def _projected(attention: Any, x: Tensor, letter: str) -> Float[Tensor, "window head time d"]:
    weight, bias = getattr(attention, f"W_{letter}"), getattr(attention, f"b_{letter}")
    n_heads, d_model, d_head = weight.shape
    flat = x @ weight.transpose(0, 1).reshape(d_model, -1) + bias.flatten()
    return functional.pad(flat.view(*x.shape[:2], n_heads, d_head).transpose(1, 2), (0, max(0, FAST - d_head)))
