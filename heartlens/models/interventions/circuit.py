"""A model that keeps only some parts: every other head and MLP does what it does in another window (resample ablation).

The parts are called nodes: all heads, layer by layer, then the MLPs. The embedding, the biases and the final norm stay the window's own.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from heartlens.axes import head_label
from heartlens.engine import Mixed, Stream
from heartlens.models.readouts import readings, readouts_of
from heartlens.models.subject import BEAT, Subject
from heartlens.windows import Windows

Kept = Bool[np.ndarray, "set node"]
AT_ONCE = 24  # sets of one window run together


def node_names(subject: Subject) -> list[str]:
    """The nodes, in order: "L1H1" to the last head, then "MLP 1" to the last MLP."""
    n_layers, n_heads = subject.sizes.n_layers, subject.sizes.n_heads
    heads = [head_label(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    return heads + [f"MLP {layer + 1}" for layer in range(n_layers)]


def readout_name(subject: Subject, windows: Windows) -> str:
    """The readout a circuit is to keep: the caller's, else cross-entropy, the logit of the last token, or the probability at beats."""
    if subject.readouts:
        return str(subject.readouts[0].name)
    return "beat_probability" if subject.answers == BEAT else readouts_of(subject, windows)[0]


@dataclass(frozen=True)
class Pair:
    """Windows' own embeddings, and what each part does in their partners."""

    x: Stream
    z: list[Mixed]
    mlp: list[Stream]


def pair_of(subject: Subject, tokens: Integer[np.ndarray, "window time"], partner: Integer[np.ndarray, "window time"]) -> Pair:
    """What is needed to run the windows with any set of parts."""
    own_tokens, partner_tokens = (torch.from_numpy(each.astype(np.int64)).to(subject.engine.device) for each in (tokens, partner))
    with torch.inference_mode():
        engine = subject.engine
        stream, z, mlp = engine.embed(partner_tokens), [], []
        for layer in range(subject.sizes.n_layers):
            parts = engine.parts(stream, layer)
            z.append(parts.z)
            mlp.append(parts.post - parts.mid)
            stream = parts.post
        return Pair(engine.embed(own_tokens), z, mlp)


def kept_values(subject: Subject, windows: Windows, pair: Pair, kept: Kept) -> Float[np.ndarray, "set window"]:
    """The readout of every window with every set of nodes kept; NaN for a window in which nothing is to be read."""
    rows = []
    for row in kept:
        rows.append(_value(subject, windows, _run(subject, pair, torch.from_numpy(row[None]).to(subject.engine.device))[None])[0])
    return np.stack(rows)


def kept_values_of_one(subject: Subject, window: Windows, pair: Pair, kept: Kept) -> Float[np.ndarray, " set"]:
    """The same for one window, many sets at a time."""
    values = []
    for first in range(0, len(kept), AT_ONCE):
        logits = _run(subject, pair, torch.from_numpy(kept[first : first + AT_ONCE]).to(subject.engine.device))
        values.append(_value(subject, window, logits[:, None])[:, 0])
    return np.concatenate(values)


def _run(subject: Subject, pair: Pair, kept: Bool[Tensor, "row node"]) -> Float[Tensor, "any time output"]:
    """The logits; rows are sets of one window, or one set of several windows."""
    n_layers, n_heads = subject.sizes.n_layers, subject.sizes.n_heads
    heads, mlps = kept[:, : n_layers * n_heads].reshape(-1, n_layers, n_heads), kept[:, n_layers * n_heads :]
    engine = subject.engine
    with torch.inference_mode():
        x = pair.x.expand(max(len(pair.x), len(kept)), -1, -1)
        for layer in range(n_layers):
            z = torch.where(heads[:, layer, None, :, None], engine.mixed(x, layer), pair.z[layer])
            mid = x + engine.attention_out(z, layer)
            mlp = torch.where(mlps[:, layer, None, None], engine.mlp_out(mid, layer), pair.mlp[layer])
            x = engine.after(x, layer, z=z, mlp=mlp)
        return engine.outputs(x)


def _value(subject: Subject, windows: Windows, logits: Float[Tensor, "set window time output"]) -> Float[np.ndarray, "set window"]:
    top, bottom = readings(subject, logits, windows).of(readout_name(subject, windows))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=np.broadcast_to(bottom > 0, top.shape))
