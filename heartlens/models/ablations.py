"""A model's readouts, window by window, with each head, MLP and layer taken away, alone or more and more of them. Arrays out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.converters.lens import HookedTransformer
from heartlens.models import cumulative, hooks, sweep
from heartlens.models.readouts import LAST, Outputs, answers, readings
from heartlens.models.replacement import Reference, Value, replacements
from heartlens.refusal import Refusal
from heartlens.windows import Windows

PARTS = (sweep.HEADS, sweep.MLP, sweep.LAYER)
Arrays = dict[str, np.ndarray]
Head = tuple[int, int]  # layer and head, from 0


def reference_of(model: HookedTransformer, sample: Windows) -> Reference:
    """The activations on a sample that `values_of` replaces by, all of them computed, so that threads only read."""
    reference = Reference(model, sample)
    for name in _names(model):
        reference.activation(name)
    return reference


def values_of(model: HookedTransformer, how: str, reference: Reference | None, windows: Windows) -> dict[str, Value]:
    """What replaces every head's, MLP's and attention's activations on `windows`. Refuses a missing reference, but for zero."""
    if how == "zero":
        return replacements(model, _names(model), how)
    if reference is None:
        raise Refusal(f"how={how!r} takes a sample of all windows first: measure with heartlens.analysis.run, or call `prepared`")
    return {name: reference.value(name, how, windows) for name in _names(model)}


def intact_readings(model: HookedTransformer, windows: Windows) -> tuple[Float[np.ndarray, "window readout"], np.ndarray]:
    """Each readout's sums by window (top, bottom) with nothing replaced."""
    with torch.inference_mode():
        found = readings(model, sweep.intact(model, _tokens(model, windows), _is_last(model))[None], windows)
    return found.top[0], found.bottom


def single_readings(model: HookedTransformer, windows: Windows, values: Mapping[str, Value], parts: Sequence[str]) -> Arrays:
    """The sums on top with one part replaced: `heads` (window, readout, layer, head), `mlp` and `layer` (window, readout, layer)."""
    found: dict[str, list[np.ndarray]] = {part: [] for part in parts}
    with torch.inference_mode():
        for one in sweep.swept(model, _tokens(model, windows), values, parts, _is_last(model)):
            top = np.moveaxis(_top(model, one.outputs, windows), 0, -1)
            places: dict[str, Any] = {sweep.HEADS: slice(0, model.cfg.n_heads), sweep.MLP: -1 - (sweep.LAYER in parts), sweep.LAYER: -1}
            for part in parts:
                found[part].append(top[..., places[part]])
    return {part: np.stack(layers, axis=2) for part, layers in found.items()}


def cumulative_readings(
    model: HookedTransformer, windows: Windows, values: Mapping[str, Value], removed: Sequence[tuple[Sequence[Head], Sequence[int]]]
) -> Float[np.ndarray, "window readout step"]:
    """The sums on top with several heads and layers replaced at once, for each step of (heads, layers)."""
    tokens = _tokens(model, windows)
    with torch.inference_mode():
        steps = [cumulative.without(model, tokens, values, heads, layers, _is_last(model)) for heads, layers in removed]
        return np.moveaxis(_top(model, torch.stack(steps), windows), 0, -1)


def added_norms(model: HookedTransformer, windows: Windows) -> Float[np.ndarray, "window layer head"]:
    """The norm of what each head adds to the stream, mean over tokens."""
    with torch.inference_mode():
        return cumulative.head_norms(model, _tokens(model, windows)).double().cpu().numpy()


def _names(model: HookedTransformer) -> list[str]:
    return [name(layer) for layer in range(model.cfg.n_layers) for name in (hooks.z, hooks.mlp_out, hooks.attn_out)]


def _tokens(model: HookedTransformer, windows: Windows) -> Tensor:
    return torch.from_numpy(windows.tokens.astype(np.int64)).to(model.W_E.device)


def _is_last(model: HookedTransformer) -> bool:
    return answers(model) == LAST


def _top(model: HookedTransformer, outputs: Outputs, windows: Windows) -> Float[np.ndarray, "variant window readout"]:
    return readings(model, outputs, windows).top
