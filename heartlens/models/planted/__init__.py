"""Models whose heads do what was written into them by hand: the ground truth for every analysis.

The weights are of the published architecture and layout, for the regular windows they are planted on; MLPs and all other heads are 0. Where
row r of a head's W_Q has w on one fact and row r of its W_K 1 on another, the score has w factor^2 / sqrt(d_model) times both facts.

>>> from heartlens.signals.simulate.regular import regular
>>> planted({(1, 3): Wave("P", lag=1), (0, 2): FirstToken()}, regular("ecg")).origin.checkpoint
"planted: L1H3 FirstToken(), L2H4 Wave(wave='P', lag=1)"
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from heartlens.axes import CONTEXT, head_label
from heartlens.checkpoints.read import fingerprint
from heartlens.converters.bridge import converted_model
from heartlens.converters.lens import HookedTransformer
from heartlens.converters.sizes import Sizes, sizes_of
from heartlens.models.origin import Origin
from heartlens.models.planted.facts import Fact, Rhythm, Stream, rhythm_of
from heartlens.models.planted.heads import CopiesValue, Dead, FirstToken, Look, Plant, Raises, SamePhase, Wave, Write
from heartlens.refusal import Refusal
from heartlens.windows import Windows

__all__ = ["CopiesValue", "Dead", "FirstToken", "Plant", "Raises", "SamePhase", "Wave", "planted", "planted_state", "silenced"]

Head = tuple[int, int]  # layer and head, from 0
Weights = dict[str, np.ndarray]


def planted(
    plants: Mapping[Head, Plant],
    windows: Windows,
    *,
    layers: int = 2,
    heads: int = 8,
    d_model: int = 64,
    d_head: int = 8,
    dtype: torch.dtype = torch.float32,
) -> HookedTransformer:
    """The model whose heads do what their plants say on `windows`, with an origin as `load` gives it. Refuses what `planted_state` does."""
    state = planted_state(plants, windows, layers=layers, heads=heads, d_model=d_model, d_head=d_head)
    name = "planted: " + (", ".join(f"{head_label(*head)} {plants[head]}" for head in sorted(plants)) or "nothing")
    model = converted_model(state, dtype=dtype, name=name)
    task = "task head" if sizes_of(state).has_task_head else None
    model.origin = Origin(name, windows.kind, task, "", fingerprint(state), "", "", "none")
    return model


def planted_state(
    plants: Mapping[Head, Plant], windows: Windows, *, layers: int = 2, heads: int = 8, d_model: int = 64, d_head: int = 8
) -> dict[str, Tensor]:
    """The state dict, under the published names, of the model whose heads do what their plants say on `windows`.

    Refuses heads that are not there, irregular windows, waves and lags that the windows have not, plants that need more dimensions than
    there are, and plants for the next token beside those for a task head.
    """
    rhythm = rhythm_of(windows)
    n_outputs = _n_outputs(plants, rhythm)
    sizes = Sizes(layers, heads, d_model, d_head, d_head, rhythm.vocabulary, CONTEXT, n_outputs, n_outputs == 1)
    weights = {name: np.zeros(shape) + ("ln" in name and name.endswith("weight")) for name, shape in sizes.shapes().items()}
    for head in plants:
        _refuse_head(head, sizes)
    stream = _stream(plants, rhythm, d_model)
    weights["token_embedding_table.weight"] = stream.embedding({"token"}, rhythm.vocabulary)
    weights["position_embedding_table.weight"] = stream.embedding(stream.facts.keys() - {"token"}, CONTEXT)
    for head, plant in plants.items():
        _attend(weights, head, plant.looks(rhythm), stream)
        _write(weights, head, plant.writes(rhythm), stream)
    return {name: torch.from_numpy(array).float() for name, array in weights.items()}


def silenced(state: Mapping[str, Tensor], layer: int, head: int) -> dict[str, Tensor]:
    """The state dict of any model with one head dead. Refuses a head that is not there."""
    sizes = sizes_of(state)
    _refuse_head((layer, head), sizes)
    part, projection = _names((layer, head))
    quiet = {name: torch.zeros_like(tensor) if name.startswith(part) else tensor for name, tensor in state.items()}
    quiet[projection] = state[projection].clone()
    quiet[projection][:, head * sizes.d_head : (head + 1) * sizes.d_head] = 0.0
    return quiet


def _n_outputs(plants: Mapping[Head, Plant], rhythm: Rhythm) -> int:
    """As many outputs as the plants write logits for; the vocabulary if they write none."""
    numbers = {len(write.logits) for plant in plants.values() for write in plant.writes(rhythm)}
    if len(numbers) > 1:
        raise Refusal("CopiesValue predicts tokens, Raises is of a task head; a model has one of the two: plant them in two models")
    return numbers.pop() if numbers else rhythm.vocabulary


def _stream(plants: Mapping[Head, Plant], rhythm: Rhythm, d_model: int) -> Stream:
    """Every fact that is looked at, read or written."""
    names = [name for plant in plants.values() for look in plant.looks(rhythm) for name in (look.query, look.key)]
    names += [name for plant in plants.values() for write in plant.writes(rhythm) for name in write.reads]
    facts = {name: rhythm.fact(name) for name in names}
    for head, plant in plants.items():
        written: dict[str, Fact] = {
            _fact_name(head, n): np.tile(write.before, (CONTEXT, 1)) for n, write in enumerate(plant.writes(rhythm))
        }
        facts |= written
    return Stream(facts, d_model)


def _attend(weights: Weights, head: Head, looks: Sequence[Look], stream: Stream) -> None:
    """Fill a head's query and key."""
    part, _ = _names(head)
    query, key = weights[f"{part}query.weight"], weights[f"{part}key.weight"]
    scale = math.sqrt(stream.d_model) / stream.factor**2
    for look, rows in zip(looks, _rows([len(look.matrix) for look in looks], head, len(query)), strict=True):
        query[rows, stream.places[look.query][0]] = look.matrix * scale
        key[rows, stream.places[look.key][0]] = np.eye(len(look.matrix))


def _write(weights: Weights, head: Head, writes: Sequence[Write], stream: Stream) -> None:
    """Fill a head's value and projection, and what the outputs read of it: before it has written they are 0."""
    part, projection = _names(head)
    value = weights[f"{part}value.weight"]
    output = next(name for name in weights if name.startswith("lm_head") and name.endswith("weight"))
    for n, rows in enumerate(_rows([len(write.before) for write in writes], head, len(value))):
        positive, negative = stream.places[_fact_name(head, n)]
        for name, matrix in writes[n].reads.items():
            value[rows, stream.places[name][0]] = matrix / stream.factor
        columns = slice(head[1] * len(value) + rows.start, head[1] * len(value) + rows.stop)
        weights[projection][positive, columns] = np.eye(len(writes[n].before))
        weights[projection][negative, columns] = -np.eye(len(writes[n].before))
        weights[output][:, positive] = writes[n].logits / stream.factor
        weights[output.replace("weight", "bias")] -= writes[n].logits @ writes[n].before


def _rows(lengths: list[int], head: Head, d_head: int) -> list[slice]:
    """The rows of a head's weights, in turn. Refuses more than it has."""
    if sum(lengths) > d_head:
        raise Refusal(f"the plant of layer {head[0]}, head {head[1]} needs d_head {sum(lengths)}, given is {d_head}; give a larger one")
    return [slice(first, last) for first, last in pairwise(accumulate(lengths, initial=0))]


def _refuse_head(head: Head, sizes: Sizes) -> None:
    if not (0 <= head[0] < sizes.layers and 0 <= head[1] < sizes.heads):
        raise Refusal(f"no layer {head[0]}, head {head[1]} here; legal: layers 0 to {sizes.layers - 1}, heads 0 to {sizes.heads - 1}")


def _names(head: Head) -> tuple[str, str]:
    """How the names of a head's query, key and value begin, and the name of its layer's projection."""
    return f"blocks.{head[0]}.sa.heads.{head[1]}.", f"blocks.{head[0]}.sa.proj.weight"


def _fact_name(head: Head, n: int) -> str:
    """The name of the n-th fact that a head writes."""
    return f"written by {head_label(*head)} ({n})"
