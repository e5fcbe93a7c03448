"""A model's readouts, window by window, with each head, MLP and layer taken away, alone or more and more of them. Arrays out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from heartlens.models import hooks
from heartlens.models.interventions import cumulative, sweep
from heartlens.models.interventions.replacement import Reference, Value, activations_of_parts, replacements
from heartlens.models.readouts import Outputs, readings
from heartlens.models.subject import Subject
from heartlens.refusal import Refusal
from heartlens.windows import Windows

PARTS = (sweep.HEADS, sweep.MLP, sweep.LAYER)
MOST_OF_RECORD = 8  # windows of one record in a batch of references
Arrays = dict[str, np.ndarray]
Head = tuple[int, int]  # layer and head, from 0


def reference_of(subject: Subject, sample: Windows) -> Reference:
    """The activations on a sample, which `values_of` puts in; all are computed at once, so that threads only read them."""
    return Reference(subject.weights, sample, activations_of_parts(subject.engine, subject.tokens(sample.tokens)))


def reference_batches(windows: Windows, n_batches: int, n_windows: int, seed: int) -> list[Windows]:
    """Batches of windows to take activations from, drawn by `seed`; no two share a person, so that they are independent.

    Of each batch at most `n_windows`, evenly over its records and at most MOST_OF_RECORD of one. Fewer batches where there are not two
    persons for each (records where persons are not known), so that resampling finds another person in every batch.
    """
    drawn = np.random.default_rng((seed, 7)).permutation(windows.units)
    n_batches = max(1, min(n_batches, len(drawn) // 2))
    batches = [windows[np.isin(windows.unit, drawn[place::n_batches])] for place in range(n_batches)]
    return [batch.spread(min(n_windows, MOST_OF_RECORD * len(batch.records))) for batch in batches]


def values_of(subject: Subject, how: str, reference: Reference | None, windows: Windows) -> dict[str, Value]:
    """What replaces every head's, MLP's and attention's activations on `windows`. Refuses a missing reference, except for zero."""
    if how == "zero":
        return replacements(subject.weights, _names(subject), how)
    if reference is None:
        raise Refusal(f"how={how!r} takes a sample of all windows first: measure with heartlens.analysis.run, or call `prepared`")
    return {name: reference.value(name, how, windows) for name in _names(subject)}


def intact_readings(subject: Subject, windows: Windows) -> tuple[Float[np.ndarray, "window readout"], np.ndarray]:
    """Each readout's sums by window (top, bottom) with nothing replaced."""
    with torch.inference_mode():
        intact = readings(subject, sweep.intact(subject.engine, subject.tokens(windows.tokens), subject.reads_last)[None], windows)
    return intact.top[0], intact.bottom


def single_readings(subject: Subject, windows: Windows, values: Mapping[str, Value], parts: Sequence[str]) -> Arrays:
    """The sums on top with one part replaced: `heads` (window, readout, layer, head), `mlp` and `layer` (window, readout, layer)."""
    tops: dict[str, list[np.ndarray]] = {part: [] for part in parts}
    with torch.inference_mode():
        for layer in sweep.swept(subject.engine, subject.tokens(windows.tokens), values, parts, subject.reads_last):
            top = np.moveaxis(_top(subject, layer.outputs, windows), 0, -1)
            places: dict[str, Any] = {sweep.HEADS: slice(0, subject.sizes.n_heads), sweep.MLP: -1 - (sweep.LAYER in parts), sweep.LAYER: -1}
            for part in parts:
                tops[part].append(top[..., places[part]])
    return {part: np.stack(layers, axis=2) for part, layers in tops.items()}


def cumulative_readings(
    subject: Subject, windows: Windows, values: Mapping[str, Value], removed: Sequence[tuple[Sequence[Head], Sequence[int]]]
) -> Float[np.ndarray, "window readout step"]:
    """The sums on top with several heads and layers replaced at once, for each step of (heads, layers)."""
    tokens = subject.tokens(windows.tokens)
    with torch.inference_mode():
        steps = [cumulative.without(subject.engine, tokens, values, heads, layers, subject.reads_last) for heads, layers in removed]
        return np.moveaxis(_top(subject, torch.stack(steps), windows), 0, -1)


def added_norms(subject: Subject, windows: Windows) -> Float[np.ndarray, "window layer head"]:
    """The norm of what each head adds to the stream, mean over tokens."""
    with torch.inference_mode():
        return cumulative.head_norms(subject.engine, subject.tokens(windows.tokens)).double().cpu().numpy()


def _names(subject: Subject) -> list[str]:
    return [name(layer) for layer in range(subject.sizes.n_layers) for name in (hooks.z, hooks.mlp_out, hooks.attn_out)]


def _top(subject: Subject, outputs: Outputs, windows: Windows) -> Float[np.ndarray, "variant window readout"]:
    return readings(subject, outputs, windows).top
