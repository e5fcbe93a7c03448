"""Why a head looks where it looks: its score at a key, exactly, as a sum over what is in the residual stream.

score(i, j) = q_i . k_j / attn_scale, where q and k are linear in LN1 of the stream before the block. With the LayerNorm's scale of each
token as it is, the stream is a sum: the token's embedding, its position's, what each head and MLP upstream added, the attention's
biases; the LayerNorm's and the head's own biases are the rest. So the score is a sum over the parts of the key (each times the whole
query), as well as over those of the query (each times the whole key), and over pairs of them (as in Elhage 2021, "A mathematical
framework").
A softmax takes no notice of what all keys share: `above` is each part less its mean over the keys that the asking token may attend to.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from heartlens.axes import head_label
from heartlens.converters.lens import epsilon, parameters
from heartlens.engine import Engine
from heartlens.refusal import Refusal

TOLERANCE = 1e-4  # of an attention weight
TOKEN, POSITION, BIASES, REST = "token value", "position", "attention biases", "LayerNorm and head biases"


@dataclass(frozen=True)
class ScoreSplit:
    """The score of one head for an asking token and a key, by part of the stream before its block.

    `score` is the sum of `by_key`, of `by_query`, and of `pairs`. `above` sums to `score_above`: by how much the score lies above the mean
    over the keys that may be attended to. `weight` is the attention that follows.
    """

    parts: tuple[str, ...]
    score: float
    score_above: float
    weight: float
    by_key: Float[np.ndarray, " part"]
    by_query: Float[np.ndarray, " part"]
    above: Float[np.ndarray, " part"]
    pairs: Float[np.ndarray, "part part"]


def score_split(engine: Engine, tokens: UInt8[np.ndarray, " time"], layer: int, head: int, asking: int, key: int) -> ScoreSplit:
    """The parts of a head's score at `key` for the token that asks (all from 0). Refuses a key after it, and what is not there.

    Raises a RuntimeError if the attention that follows from the sums differs from the model's own by more than TOLERANCE.
    """
    sizes, n_time = engine.sizes, len(tokens)
    if not (0 <= layer < sizes.n_layers and 0 <= head < sizes.n_heads):
        raise Refusal(f"({layer}, {head}) is not there; legal: layers 0 to {sizes.n_layers - 1}, heads 0 to {sizes.n_heads - 1}")
    if not 0 <= key <= asking < n_time:
        raise Refusal(
            f"token {asking + 1} cannot attend to token {key + 1}; legal: a key from 1 to the asking token, that from 1 to {n_time}"
        )
    numbers = torch.from_numpy(tokens[None].astype(np.int64)).to(engine.device)
    with torch.inference_mode():
        names, stream = _parts_before(engine, numbers, layer)
        weights = parameters(engine.model)
        total = stream.sum(dim=0)
        scaled = (stream - stream.mean(dim=-1, keepdim=True)) / (
            total.var(dim=-1, correction=0, keepdim=True) + epsilon(engine.model)
        ).sqrt()
        rest = torch.zeros_like(scaled[:1])
        if f"blocks.{layer}.ln1.w" in weights:
            scaled = scaled * weights[f"blocks.{layer}.ln1.w"].double()
            rest = rest + weights[f"blocks.{layer}.ln1.b"].double()
        normed = torch.cat([scaled, rest])  # part, time, d_model
        query = _projected(normed[:, asking], weights, layer, head, "Q")
        keys = _projected(normed, weights, layer, head, "K")
        scale = float(engine.model.cfg.attn_scale)
        pairs = torch.einsum("ad,bd->ab", query, keys[:, key]) / scale
        on_keys = torch.einsum("d,btd->bt", query.sum(dim=0), keys[:, : asking + 1]) / scale
        weight = on_keys.sum(dim=0).softmax(dim=-1)
        own = _own_row(engine, numbers, layer, head, asking)
    off = float((weight.cpu() - own[: asking + 1]).abs().max())
    if not off <= TOLERANCE:
        raise RuntimeError(f"the parts of the score give an attention that is off the model's own by {off:.2g}; at most {TOLERANCE:g}")
    above = on_keys[:, key] - on_keys.mean(dim=1)
    by_key, by_query = pairs.sum(dim=0), pairs.sum(dim=1)
    arrays = (each.cpu().numpy() for each in (by_key, by_query, above, pairs))
    return ScoreSplit((*names, REST), float(pairs.sum()), float(above.sum()), float(weight[key]), *arrays)


def _parts_before(engine: Engine, tokens: Tensor, layer: int) -> tuple[list[str], Float[Tensor, "part time d_model"]]:
    """What the stream before a block is the sum of, in double precision."""
    model = engine.model
    names, parts = [TOKEN, POSITION], [model.W_E[tokens[0]].double(), model.W_pos[: tokens.shape[1]].double()]
    biases = torch.zeros_like(parts[0])
    x = engine.embed(tokens)
    for before in range(layer):
        block = engine.parts(x, before)
        parts += list(engine.added(block.z, before)[:, 0].double())
        names += [head_label(before, each) for each in range(engine.sizes.n_heads)]
        parts.append((block.post - block.mid)[0].double())
        names.append(f"L{before + 1} MLP")
        biases = biases + engine.attention_out(torch.zeros_like(block.z[:1, :1]), before)[0, 0].double()
        x = block.post
    return [*names, BIASES], torch.stack([*parts, biases])


def _projected(normed: Tensor, weights: dict[str, Tensor], layer: int, head: int, reader: str) -> Tensor:
    """The parts as a head's queries or keys; its own bias goes with the last part."""
    projected = normed @ weights[f"blocks.{layer}.attn.W_{reader}"][head].double()
    projected[-1] += weights[f"blocks.{layer}.attn.b_{reader}"][head].double()
    return projected


def _own_row(engine: Engine, tokens: Tensor, layer: int, head: int, asking: int) -> Float[Tensor, " key"]:
    """The attention that the engine itself gives."""
    n_rows = tokens.shape[1] - asking
    for own in engine.attention(tokens, n_rows=n_rows):
        if own.layer == layer:
            return torch.from_numpy(own.pattern[0, head, 0].astype(np.float64))
    raise AssertionError(layer)
