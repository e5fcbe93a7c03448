"""What patching does to a readout: activations of one input put into the run of another, by head and token, or along one path only.

Of two inputs of the same length one runs, the other is the source of activations; an effect is `value(patched) - value(run)`, a number
for each window. `head_effects` and `stream_effects` let all that lies downstream react. `direct_effects` and `path_effects` do not: a
sender's change reaches the final norm, or one input of one receiver, alone, all else as in the run (path patching, Wang et al. 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from heartlens.engine import Engine, Mixed, Stream, Tokens
from heartlens.models import hooks
from heartlens.models.interventions.sweep import HEADS, finished, swept
from heartlens.refusal import Refusal

INPUTS = ("Q", "K", "V")
SAME = 1e-3  # of the readout, or of 1 where it is smaller: how far rounding may bring two ways to the same number apart

At = Bool[np.ndarray, "window time"]


@dataclass(frozen=True)
class Readout:
    """What is read off the outputs: a window's `weight`-ed sum over tokens of a logit, a probability, or the nats of a next token.

    `following` are the tokens whose nats are read; `name` is for people.
    """

    name: str
    reads: str
    weight: Float[np.ndarray, "window time"]
    following: Integer[np.ndarray, "window time"]

    @property
    def is_last(self) -> bool:
        """Whether only the last token is read."""
        return not self.weight[:, :-1].any()

    def value(self, outputs: Float[Tensor, "variant window asked output"]) -> Float[Tensor, "variant window"]:
        """The readout of each variant and window, float64, of all tokens' outputs or the last one's alone."""
        asked = slice(-outputs.shape[2], None)
        values = outputs[..., 0]
        if self.reads == "probability":
            values = values.sigmoid()
        elif self.reads == "nats":
            wanted = torch.from_numpy(self.following[:, asked].astype(np.int64)).to(outputs.device)
            values = -outputs.log_softmax(dim=-1).gather(-1, wanted.expand(outputs.shape[:-1])[..., None])[..., 0]
        return (values.double() * torch.from_numpy(self.weight[:, asked]).to(outputs.device)).sum(dim=-1)


@dataclass(frozen=True)
class Trace:
    """What a model computes on an input: the stream before each block and after the last, and what each block's heads mixed."""

    tokens: Tokens
    levels: list[Stream]
    z: list[Mixed]


def traced(engine: Engine, tokens: Integer[np.ndarray, "window time"]) -> Trace:
    """The trace of some windows' tokens. Refuses a model with hooks."""
    asked = torch.from_numpy(tokens.astype(np.int64)).to(engine.device)
    with torch.inference_mode():
        levels, z = [engine.embed(asked)], []
        for layer in range(engine.sizes.n_layers):
            parts = engine.parts(levels[-1], layer)
            levels.append(parts.post)
            z.append(parts.z)
    return Trace(asked, levels, z)


def values_of(engine: Engine, trace: Trace, readout: Readout) -> Float[np.ndarray, " window"]:
    """What is read of each window as it is."""
    return _values(engine, trace.levels[-1][None], engine.sizes.n_layers, readout)[0]


def head_effects(
    engine: Engine, run: Trace, source: Trace, readout: Readout, at: At | None = None
) -> Float[np.ndarray, "window layer head"]:
    """The effect of each head's output being the source's, at the tokens `at` (None: at all)."""
    where = torch.ones_like(run.tokens, dtype=torch.bool) if at is None else torch.from_numpy(at).to(run.tokens.device)
    with torch.inference_mode():
        pairs = enumerate(zip(run.z, source.z, strict=True))
        values = {hooks.z(layer): torch.where(where[..., None, None], of_source, of_run) for layer, (of_run, of_source) in pairs}
        outputs = [swept_layer.outputs for swept_layer in swept(engine, run.tokens, values, (HEADS,), readout.is_last)]
        by_layer = [readout.value(of_layer).cpu().numpy() for of_layer in outputs]
    return np.moveaxis(np.stack(by_layer) - values_of(engine, run, readout), -1, 0)


def stream_effects(
    engine: Engine, run: Trace, source: Trace, readout: Readout, at: Bool[np.ndarray, "place window time"]
) -> Float[np.ndarray, "window level place"]:
    """The effect of the whole stream being the source's at the tokens of each place, at each level of the stream.

    Raises a RuntimeError if, for a place that is all tokens, the result is not the source's readout.
    """
    before = values_of(engine, run, readout)
    where = torch.from_numpy(at).to(run.tokens.device)[..., None]
    by_level = []
    for level, (of_run, of_source) in enumerate(zip(run.levels, source.levels, strict=True)):
        by_level.append(_values(engine, torch.where(where, of_source, of_run), level, readout))
    _compare(np.stack(by_level)[:, at.all(axis=(1, 2))], values_of(engine, source, readout))
    return np.moveaxis(np.stack(by_level) - before, -1, 0)


def direct_effects(engine: Engine, run: Trace, source: Trace, readout: Readout) -> Float[np.ndarray, "window layer head"]:
    """The effect of each head's change on the output by the direct path: through the final norm and nothing else."""
    n_layers, end = engine.sizes.n_layers, run.levels[-1]
    with torch.inference_mode():
        by_layer = [_values(engine, end + added, n_layers, readout) for added in _added(engine, run, source, n_layers)]
    return np.moveaxis(np.stack(by_layer) - values_of(engine, run, readout), -1, 0)


def path_effects(
    engine: Engine, run: Trace, source: Trace, readout: Readout, receiver: tuple[int, int]
) -> Float[np.ndarray, "window part layer head"]:
    """The effect of each earlier layer's head by the direct path into the query, key or value input of one receiving head (layer, head).

    What the receiver then mixes goes on through the model. Refuses a receiver that is not there or has no head upstream.
    """
    layer, head = receiver
    if not (1 <= layer < engine.sizes.n_layers and 0 <= head < engine.sizes.n_heads):
        legal = f"layers 1 to {engine.sizes.n_layers - 1} (0 has none upstream), heads 0 to {engine.sizes.n_heads - 1}"
        raise Refusal(f"no head receives at layer {layer}, head {head}; legal: {legal}")
    before = values_of(engine, run, readout)
    by_layer = []
    with torch.inference_mode():
        for added in _added(engine, run, source, layer):
            streams = _received(engine, run, added, layer, head)
            by_layer.append(_values(engine, streams, layer + 1, readout).reshape(len(INPUTS), -1, len(before)) - before)
    return np.stack(by_layer).transpose(3, 1, 0, 2)


def _added(engine: Engine, run: Trace, source: Trace, stop: int) -> Iterator[Float[Tensor, "head window time d_model"]]:
    """By how much what each head adds to the stream differs, layer by layer up to `stop`."""
    for layer in range(stop):
        yield engine.added(source.z[layer] - run.z[layer], layer)


def _received(
    engine: Engine, run: Trace, added: Float[Tensor, "head window time d_model"], layer: int, head: int
) -> Float[Tensor, "variant window time d_model"]:
    """The stream after the receiver's layer, with each sender's change in its query, then in its key, then in its value."""
    x, z, n_senders = run.levels[layer], run.z[layer], len(added)
    many, changed = x.repeat(n_senders, 1, 1), (x + added).flatten(0, 1)
    streams = []
    for reader in INPUTS:
        new = z.repeat(n_senders, 1, 1, 1)
        new[:, :, head] = engine.attended(many, layer, changed, reader, head)
        streams.append(engine.after(many, layer, z=new).view(n_senders, *x.shape))
    return torch.cat(streams)


def _values(
    engine: Engine, x: Float[Tensor, "variant window time d_model"], start: int, readout: Readout
) -> Float[np.ndarray, "variant window"]:
    """What is read, from streams before block `start`."""
    with torch.inference_mode():
        return np.asarray(readout.value(finished(engine, x, start, readout.is_last)).cpu().numpy())


def _compare(patched: Float[np.ndarray, "level place window"], source: Float[np.ndarray, " window"]) -> None:
    off = float(np.max(np.abs(patched - source) / np.maximum(np.abs(source), 1), initial=0))
    if not off <= SAME:
        raise RuntimeError(f"with the source's stream at every token the readout is off the source's own by {off:.2g} of it")
