"""The sums of an ablation, by record: each readout with nothing taken away, with each part alone, and with more and more parts."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.gather import CHUNK
from heartlens.tally import by_record
from heartlens.windows import Windows

if TYPE_CHECKING:
    from heartlens.analyses.ablation import Ablation

ENDS = ("first", "last")
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # how many heads are taken away at once
Arrays = dict[str, np.ndarray]

AXES_OF = {  # every sum is kept by record; the other axes of each
    "intact": ("readout",),
    "bottom": ("readout",),
    "heads": ("how", "readout", "layer", "head"),
    "mlp": ("how", "readout", "layer"),
    "layer": ("how", "readout", "layer"),
    "cumulative_layers": ("readout", "end", "n_layers_removed"),
    "cumulative_heads": ("readout", "n_heads_removed"),
    "norm": ("layer", "head"),
    "n_windows": (),
}
NAMED = {"heads": "ablated", "mlp": "mlp_ablated", "layer": "layer_ablated"}  # what the sums of each part are called


def sums_of(ablation: "Ablation", subject: Any, windows: Windows) -> xr.Dataset:
    """The sums over `windows`, by record."""
    from heartlens.models.interventions.ablations import added_norms, intact_readings, single_readings, values_of
    from heartlens.models.readouts import readouts_of

    intact, bottom = intact_readings(subject, windows)
    values = {how: values_of(subject, how, ablation.reference, windows) for how in ablation.hows}
    single = [single_readings(subject, windows, values[how], ablation.parts) for how in ablation.hows]
    arrays = {part: np.stack([one[part] for one in single], axis=1) for part in ablation.parts}
    arrays |= {"intact": intact, "bottom": bottom, "norm": added_norms(subject, windows), "n_windows": np.ones(len(windows))}
    arrays |= _cumulative(ablation, subject, windows, values[ablation.hows[-1]]) if ablation.cumulative else {}
    places = {
        "readout": list(readouts_of(subject, windows)),
        "how": list(ablation.hows),
        "layer": np.arange(subject.sizes.n_layers),
        "head": np.arange(subject.sizes.n_heads),
        "record": windows.records,
    } | _steps_of(ablation, subject)
    named = {
        NAMED.get(name, name): (("record", *AXES_OF[name]), by_record(arrays[name], windows.record)) for name in AXES_OF if name in arrays
    }
    return xr.Dataset(named, coords=places, attrs={"kind": windows.kind, "answers": subject.answers, "waves": ",".join(windows.waves)})


def strongest_first(ablation: "Ablation", subject: Any, sample: Windows) -> tuple[tuple[int, int], ...]:
    """The heads (layer, head) by their absolute effect on the first readout over the sample, in the last way of taking away."""
    from heartlens.engine.workers import on_chunks, workers_for
    from heartlens.models.interventions.ablations import intact_readings, single_readings, values_of

    def effect_on(windows: Windows) -> np.ndarray:
        values = values_of(subject, ablation.hows[-1], ablation.reference, windows)
        without = single_readings(subject, windows, values, ("heads",))["heads"][:, 0]
        return (without - intact_readings(subject, windows)[0][:, :1, None]).sum(axis=0)

    effect = np.abs(sum(on_chunks(effect_on, sample.chunks(CHUNK), workers_for(subject.engine))))
    order = np.argsort(-effect, axis=None, kind="stable")
    return tuple((int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, effect.shape), strict=True))


def _cumulative(ablation: "Ablation", subject: Any, windows: Windows, values: Any) -> Arrays:
    from heartlens.models.interventions.ablations import cumulative_readings

    n_layers = subject.sizes.n_layers
    counts = range(1, n_layers + 1)
    layers = [((), tuple(range(n))) for n in counts] + [((), tuple(range(n_layers - n, n_layers))) for n in counts]
    found = cumulative_readings(subject, windows, values, layers)
    arrays = {"cumulative_layers": found.reshape(*found.shape[:2], len(ENDS), n_layers)}
    if ablation.ranking:
        heads = [(ablation.ranking[:n], ()) for n in _steps(subject)]
        arrays["cumulative_heads"] = cumulative_readings(subject, windows, values, heads)
    return arrays


def _steps_of(ablation: "Ablation", subject: Any) -> dict[str, Any]:
    if not ablation.cumulative:
        return {}
    rank = [head_label(*head) for head in ablation.ranking]  # an axis, so that only tallies of one ranking add up
    of_heads = {"n_heads_removed": np.array(_steps(subject)), "rank": rank} if rank else {}
    return {"end": list(ENDS), "n_layers_removed": np.arange(1, subject.sizes.n_layers + 1), **of_heads}


def _steps(subject: Any) -> list[int]:
    """How many heads are taken away at once, the last time all."""
    n_heads = subject.sizes.n_layers * subject.sizes.n_heads
    return [n for n in STEPS if n < n_heads] + [n_heads]
