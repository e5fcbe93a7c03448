"""The sums of an ablation, by record: each readout with nothing taken away, with each part alone, and with more and more parts.

What is taken away is replaced by activations of several batches of windows in turn, the axis `reference`, so that what another draw of
these windows changes can be told. Of `zero`, which takes none, every batch has the same sums.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.gather import CHUNK
from heartlens.tally import by_record
from heartlens.windows import Windows

ENDS = ("first", "last")
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # how many heads are taken away at once
Arrays = dict[str, np.ndarray]

AXES_OF = {  # every sum is kept by record; the other axes of each
    "intact": ("readout",),
    "bottom": ("readout",),
    "heads": ("reference", "how", "readout", "layer", "head"),
    "mlp": ("reference", "how", "readout", "layer"),
    "layer": ("reference", "how", "readout", "layer"),
    "cumulative_layers": ("reference", "readout", "end", "n_layers_removed"),
    "cumulative_heads": ("reference", "readout", "n_heads_removed"),
    "norm": ("layer", "head"),
    "n_windows": (),
}
NAMED = {"heads": "ablated", "mlp": "mlp_ablated", "layer": "layer_ablated"}  # what the sums of each part are called


@dataclass(frozen=True)
class Removal:
    """What is taken away: `parts` alone, in each way of `hows`; with `cumulative` layers too, and heads by `ranking`, in the last way.

    `references` are the activations that means and resamples are taken from, a batch each; none: `zero` alone.
    """

    hows: tuple[str, ...]
    parts: tuple[str, ...]
    references: tuple[Any, ...]
    cumulative: bool
    ranking: tuple[tuple[int, int], ...]


def sums_of(removal: Removal, subject: Any, windows: Windows) -> xr.Dataset:
    """The sums over `windows`, by record."""
    from heartlens.models.interventions.ablations import added_norms, intact_readings, single_readings, values_of
    from heartlens.models.readouts import readouts_of

    intact, bottom = intact_readings(subject, windows)
    references = removal.references or (None,)
    alone, curves = [], []
    for how in removal.hows:
        made = []
        for reference in references[:1] if how == "zero" else references:
            values = values_of(subject, how, reference, windows)
            made.append(single_readings(subject, windows, values, removal.parts))
            if removal.cumulative and how == removal.hows[-1]:
                curves.append(_cumulative(removal, subject, windows, values))
        alone.append(_by_reference(made, len(references)))
    arrays = {part: np.stack([made[part] for made in alone], axis=2) for part in removal.parts}
    arrays |= {"intact": intact, "bottom": bottom, "norm": added_norms(subject, windows), "n_windows": np.ones(len(windows))}
    arrays |= _by_reference(curves, len(references)) if curves else {}
    places = {
        "readout": list(readouts_of(subject, windows)),
        "reference": np.arange(len(references)),
        "how": list(removal.hows),
        "layer": np.arange(subject.sizes.n_layers),
        "head": np.arange(subject.sizes.n_heads),
        "record": windows.records,
    } | _steps_of(removal, subject)
    named = {
        NAMED.get(name, name): (("record", *AXES_OF[name]), by_record(arrays[name], windows.record)) for name in AXES_OF if name in arrays
    }
    return xr.Dataset(named, coords=places, attrs={"kind": windows.kind, "answers": subject.answers, "waves": ",".join(windows.waves)})


def _by_reference(made: list[Arrays], n_references: int) -> Arrays:
    """Arrays (window, reference, ...) of those of each reference; of a single one n times the same."""
    stacked = {name: np.stack([arrays[name] for arrays in made], axis=1) for name in made[0]}
    return {name: np.repeat(array, n_references // len(made), axis=1) for name, array in stacked.items()}


def strongest_first(subject: Any, sample: Windows, how: str, reference: Any) -> tuple[tuple[int, int], ...]:
    """The heads (layer, head) by their absolute effect on the first readout over the sample; `reference`: None for `zero`."""
    from heartlens.engine.workers import on_chunks, workers_for
    from heartlens.models.interventions.ablations import intact_readings, single_readings, values_of

    def effect_on(windows: Windows) -> np.ndarray:
        values = values_of(subject, how, reference, windows)
        without = single_readings(subject, windows, values, ("heads",))["heads"][:, 0]
        return (without - intact_readings(subject, windows)[0][:, :1, None]).sum(axis=0)

    effect = np.abs(sum(on_chunks(effect_on, sample.chunks(CHUNK), workers_for(subject.engine))))
    order = np.argsort(-effect, axis=None, kind="stable")
    return tuple((int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, effect.shape), strict=True))


def _cumulative(removal: Removal, subject: Any, windows: Windows, values: Any) -> Arrays:
    from heartlens.models.interventions.ablations import cumulative_readings

    n_layers = subject.sizes.n_layers
    counts = range(1, n_layers + 1)
    layers = [((), tuple(range(n))) for n in counts] + [((), tuple(range(n_layers - n, n_layers))) for n in counts]
    readings = cumulative_readings(subject, windows, values, layers)
    arrays = {"cumulative_layers": readings.reshape(*readings.shape[:2], len(ENDS), n_layers)}
    if removal.ranking:
        heads = [(removal.ranking[:n], ()) for n in _steps(subject)]
        arrays["cumulative_heads"] = cumulative_readings(subject, windows, values, heads)
    return arrays


def _steps_of(removal: Removal, subject: Any) -> dict[str, Any]:
    if not removal.cumulative:
        return {}
    rank = [head_label(*head) for head in removal.ranking]  # an axis, so that only tallies of one ranking add up
    of_heads = {"n_heads_removed": np.array(_steps(subject)), "rank": rank} if rank else {}
    return {"end": list(ENDS), "n_layers_removed": np.arange(1, subject.sizes.n_layers + 1), **of_heads}


def _steps(subject: Any) -> list[int]:
    """How many heads are taken away at once, the last time all."""
    n_heads = subject.sizes.n_layers * subject.sizes.n_heads
    return [n for n in STEPS if n < n_heads] + [n_heads]
