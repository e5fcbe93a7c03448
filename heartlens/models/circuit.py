"""A model of which only some parts are its own: every other head and MLP does what it does in another window (resample ablation).

The parts are called nodes: all heads, layer by layer, then the MLPs. The embedding, the biases and the final norm stay the window's own.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from heartlens.axes import head_label
from heartlens.converters.lens import HookedTransformer
from heartlens.models import forward
from heartlens.models.readouts import BEAT, answers, readings, readouts_of
from heartlens.windows import Windows

Kept = Bool[np.ndarray, "set node"]
AT_ONCE = 24  # sets of one window run together


def node_names(model: HookedTransformer) -> list[str]:
    """The nodes, in order: "L1H1" to the last head, then "MLP 1" to the last MLP."""
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    heads = [head_label(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    return heads + [f"MLP {layer + 1}" for layer in range(n_layers)]


def readout_name(model: HookedTransformer, windows: Windows) -> str:
    """The readout a circuit is to keep: the cross-entropy, the logit of the last token, or the probability at beats."""
    return "beat_probability" if answers(model) == BEAT else readouts_of(model, windows)[0]


@dataclass(frozen=True)
class Pair:
    """Windows' own embeddings, and what each part does in their partners."""

    x: forward.Stream
    z: list[forward.Mixed]
    mlp: list[forward.Stream]


def pair_of(model: HookedTransformer, tokens: Integer[np.ndarray, "window time"], partner: Integer[np.ndarray, "window time"]) -> Pair:
    """What is needed to run the windows with any set of parts."""
    own, other = (torch.from_numpy(each.astype(np.int64)).to(model.W_E.device) for each in (tokens, partner))
    with torch.inference_mode():
        stream, z, mlp = forward.embedded(model, other), [], []
        for layer in range(model.cfg.n_layers):
            parts = forward.block_parts(model, stream, layer)
            z.append(parts.z)
            mlp.append(parts.post - parts.mid)
            stream = parts.post
        return Pair(forward.embedded(model, own), z, mlp)


def kept_values(model: HookedTransformer, windows: Windows, pair: Pair, kept: Kept) -> Float[np.ndarray, "set window"]:
    """The readout of every window with every set of nodes kept; NaN for a window in which nothing is to be read."""
    rows = []
    for row in kept:
        rows.append(_value(model, windows, _run(model, pair, torch.from_numpy(row[None]).to(model.W_E.device))[None])[0])
    return np.stack(rows)


def kept_values_of_one(model: HookedTransformer, window: Windows, pair: Pair, kept: Kept) -> Float[np.ndarray, " set"]:
    """The same for one window, many sets at a time."""
    found = []
    for first in range(0, len(kept), AT_ONCE):
        logits = _run(model, pair, torch.from_numpy(kept[first : first + AT_ONCE]).to(model.W_E.device))
        found.append(_value(model, window, logits[:, None])[:, 0])
    return np.concatenate(found)


def _run(model: HookedTransformer, pair: Pair, kept: Bool[Tensor, "row node"]) -> Float[Tensor, "any time output"]:
    """The logits; rows are sets of one window, or one set of several windows."""
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    heads, mlps = kept[:, : n_layers * n_heads].reshape(-1, n_layers, n_heads), kept[:, n_layers * n_heads :]
    with torch.inference_mode():
        x = pair.x
        for layer in range(n_layers):
            z = torch.where(heads[:, layer, None, :, None], forward.mixed(model, x, layer), pair.z[layer])
            mid = x + forward.attention_out(model, z, layer)
            x = mid + torch.where(mlps[:, layer, None, None], forward.mlp_out(model, mid, layer), pair.mlp[layer])
        return forward.outputs(model, x)


def _value(model: HookedTransformer, windows: Windows, logits: Float[Tensor, "set window time output"]) -> Float[np.ndarray, "set window"]:
    top, bottom = readings(model, logits, windows).of(readout_name(model, windows))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=np.broadcast_to(bottom > 0, top.shape))
