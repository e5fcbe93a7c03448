"""What a patching sums: the effects of one activation after the other, for each window and its counterfactual."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from heartlens.analyses.patching.cross import base_for, cross_model
from heartlens.analyses.patching.pairs import Pairs
from heartlens.analyses.patching.readouts import readout_of
from heartlens.measures.shift import lag_masks
from heartlens.refusal import Refusal
from heartlens.windows import Windows

if TYPE_CHECKING:
    from heartlens.analyses.patching import Patching
    from heartlens.models.interventions.patching import Readout, Trace

PARTS = ("Q", "K", "V")
SAME = 1e-6  # windows whose readout the counterfactual changes by less count as not changed
Arrays = dict[str, np.ndarray]


def effects(subject: Any, pairs: Pairs, options: "Patching") -> Arrays:
    """The effects by window, towards what the source's readout is."""
    from heartlens.models.interventions.patching import direct_effects, head_effects, path_effects, stream_effects, traced, values_of

    readout, clean = readout_of(subject, pairs.clean, options.readout), traced(subject.engine, pairs.clean.tokens)
    corrupt = traced(subject.engine, pairs.corrupt.tokens)
    both, at = _in_order(clean, corrupt, options), _places(pairs.clean, options.is_twin)
    value = {name: values_of(subject.engine, trace, readout) for name, trace in (("clean", clean), ("corrupt", corrupt))}
    found = {"effect": np.stack([head_effects(subject.engine, *both, readout, place) for place in at], axis=-1), **value}
    found["n_unchanged"] = (np.abs(value["clean"] - value["corrupt"]) < SAME).astype(float)
    if options.is_twin:
        return found
    back = np.swapaxes(lag_masks(pairs.clean.cycle.astype(int), options.n_lags) > 0, 0, 1)
    found |= {
        "stream": stream_effects(subject.engine, *both, readout, at),
        "stream_back": stream_effects(subject.engine, *both, readout, back),
    }
    found["direct"] = direct_effects(subject.engine, *both, readout)
    found["path"] = np.zeros((len(pairs.clean), len(PARTS), subject.sizes.n_layers, subject.sizes.n_heads))
    if options.receiver != "none":
        receiver = head_named(options.receiver)
        found["path"][:, :, : receiver[0]] = path_effects(subject.engine, *both, readout, receiver)
    base = base_for(subject, options.base)
    if base is not None:
        found |= cross_model(subject, base, pairs, readout.weight > 0)
    return found | _control(subject, pairs, clean, readout, options)


def _control(subject: Any, pairs: Pairs, clean: "Trace", readout: "Readout", options: "Patching") -> Arrays:
    """The heads' effects and the readout under the control; without one 0 and the clean readout."""
    from heartlens.models.interventions.patching import head_effects, traced, values_of

    control = clean if pairs.control is None else traced(subject.engine, pairs.control.tokens)
    heads = head_effects(subject.engine, *_in_order(clean, control, options), readout)
    return {"control_effect": heads, "control": values_of(subject.engine, control, readout)}


def _in_order(clean: "Trace", corrupt: "Trace", options: "Patching") -> tuple["Trace", "Trace"]:
    """What runs, and whose activations are put in."""
    return (corrupt, clean) if options.direction == "denoise" else (clean, corrupt)


def _places(clean: Windows, is_twin: bool) -> Bool[np.ndarray, "place window time"]:
    """The tokens of each wave of the recording, those of none, and all."""
    everywhere = np.ones((1, *clean.tokens.shape), bool)
    if is_twin:
        return everywhere
    waves = clean.wave == np.arange(len(clean.waves))[:, None, None]
    return np.concatenate([waves, ~waves.any(axis=0, keepdims=True), everywhere])


def head_named(label: str) -> tuple[int, int]:
    """Layer and head, from 0, of a head's name. Refuses what is none."""
    match = re.fullmatch(r"L([1-9]\d*)H([1-9]\d*)", label)
    if match is None:
        raise Refusal(f"receiver is {label!r}; legal: none, or a head by its name, such as L8H5 (both counted from 1)")
    return int(match[1]) - 1, int(match[2]) - 1


def example(pairs: Pairs) -> xr.Dataset:
    """The pair of smallest identity."""
    first = [int(np.argmin(pairs.clean.identity))]
    return xr.Dataset(
        {
            "token": (("example", "time"), pairs.clean.tokens[first]),
            "token_of_counterfactual": (("example", "time"), pairs.corrupt.tokens[first]),
            "token_wave": (("example", "time"), pairs.clean.wave[first]),
            "identity": (("example",), pairs.clean.identity[first]),
            "example_record": (("example",), pairs.clean.record[first]),
            "example_start_s": (("example",), pairs.clean.start_s[first]),
        }
    )
