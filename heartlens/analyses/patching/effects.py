"""What a patching sums: the effects of one activation after the other, for each window and its counterfactual."""

import re
from typing import Any

import numpy as np
from jaxtyping import Bool

from heartlens.analyses.patching.cross import cross_model
from heartlens.analyses.patching.pairs import Pairs
from heartlens.measures.shift import lag_masks
from heartlens.refusal import Refusal
from heartlens.windows import Windows

PARTS = ("Q", "K", "V")
AXES_OF: dict[str, tuple[str, ...]] = {  # of the effects
    "effect": ("layer", "head", "place"),
    "direct": ("layer", "head"),
    "stream": ("level", "place"),
    "stream_back": ("level", "lag"),
    "path": ("part", "layer", "head"),
    "control_effect": ("layer", "head"),
}
SAME = 1e-6  # windows whose readout the counterfactual changes by less count as not changed
Head = tuple[int, int]
Arrays = dict[str, np.ndarray]


def effects(
    subject: Any, pairs: Pairs, readout: Any, *, direction: str, is_twin: bool, n_lags: int, receiver: Head | None, base: Any
) -> Arrays:
    """The effects by window; of a twin only those of whole heads, by which models are compared.

    Left out are the control's effects where pairs have no control, paths without a receiver, and swapped parts without a base.
    """
    from heartlens.models.interventions.patching import direct_effects, head_effects, path_effects, stream_effects, traced, values_of

    engine = subject.engine
    clean, corrupt = (traced(engine, side.tokens) for side in (pairs.clean, pairs.corrupt))
    run, source = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    value = {name: values_of(engine, trace, readout) for name, trace in (("clean", clean), ("corrupt", corrupt))}
    everywhere = np.ones((1, *pairs.clean.tokens.shape), bool)
    places = everywhere if is_twin else np.concatenate([_waves(pairs.clean), everywhere])
    effect = {
        **value,
        "n_unchanged": (np.abs(value["clean"] - value["corrupt"]) < SAME).astype(float),
        "effect": np.stack([head_effects(engine, run, source, readout, place) for place in places], axis=-1),
    }
    if is_twin:
        return effect
    lags = np.swapaxes(lag_masks(pairs.clean.cycle.astype(int), n_lags) > 0, 0, 1)
    effect["stream"] = stream_effects(engine, run, source, readout, places)
    effect["stream_back"] = stream_effects(engine, run, source, readout, lags)
    effect["direct"] = direct_effects(engine, run, source, readout)
    if receiver is not None:
        effect["path"] = np.zeros((len(pairs.clean), len(PARTS), subject.sizes.n_layers, subject.sizes.n_heads))
        effect["path"][:, :, : receiver[0]] = path_effects(engine, run, source, readout, receiver)
    if base is not None:
        effect |= cross_model(subject, base, pairs, readout.weight > 0)
    if pairs.control is not None:
        control = traced(engine, pairs.control.tokens)
        control_run, control_source = (control, clean) if direction == "denoise" else (clean, control)
        effect["control_effect"] = head_effects(engine, control_run, control_source, readout)
        effect["control"] = values_of(engine, control, readout)
        effect["n_controls"] = np.ones(len(pairs.clean))
    return effect


def _waves(clean: Windows) -> Bool[np.ndarray, "place window time"]:
    """The tokens of each wave of the recording, and those in no wave."""
    waves = clean.wave == np.arange(len(clean.waves))[:, None, None]
    return np.concatenate([waves, ~waves.any(axis=0, keepdims=True)])


def head_named(label: str) -> Head:
    """Layer and head, from 0, of a head's name. Refuses what is not the name of a head."""
    match = re.fullmatch(r"L([1-9]\d*)H([1-9]\d*)", label)
    if match is None:
        raise Refusal(f"receiver is {label!r}; legal: none, or a head by its name, such as L8H5 (both counted from 1)")
    return int(match[1]) - 1, int(match[2]) - 1
