"""The sums of a continuation, by record: each readout's top and count, of every variant and of what the intact model is held against."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8

from heartlens.axes import head_label
from heartlens.measures.rhythm import rhythms_of, slowest_bpm
from heartlens.tally import by_record
from heartlens.windows import Windows

READOUTS = ("period_kept", "rate_kept", "repeats", "period_s", "heart_rate_bpm", "period_error_s", "rate_error_bpm")
N_INTACT = 2  # continuations of the intact model: the second has other random numbers
NEAR = 0.1  # a rate or period is kept within this fraction of the real one

Made = UInt8[np.ndarray, "variant window draw step"]
Rhythms = Float[np.ndarray, "... 2"]  # rate and period; NaN where there is none
Read = tuple[Float[np.ndarray, "*stretch readout"], Float[np.ndarray, "*stretch readout"]]


def read(generated: Rhythms, real: Rhythms) -> Read:
    """Each readout's top and count, of found rhythms held against real ones."""
    generated, real = np.broadcast_arrays(generated, real)
    has_generated, has_real = np.isfinite(generated), np.isfinite(real)
    error = np.where(has_generated & has_real, np.abs(generated - real), 0.0)
    kept = has_generated & has_real & (error <= NEAR * np.nan_to_num(real))
    value = np.where(has_generated, generated, 0.0)
    top = (kept[..., 1], kept[..., 0], has_generated[..., 1], value[..., 1], value[..., 0], error[..., 1], error[..., 0])
    both = has_generated & has_real
    count = (
        has_real[..., 1],
        has_real[..., 0],
        np.ones_like(has_generated[..., 0]),
        has_generated[..., 1],
        has_generated[..., 0],
        both[..., 1],
        both[..., 0],
    )
    return np.stack(top, axis=-1).astype(float), np.stack(count, axis=-1).astype(float)


def sums_of(subject: Any, windows: Windows, made: Made, others: Windows | None, n_prompt: int) -> xr.Dataset:
    """The sums over `windows`, by record; `made` are the continuations of `n_prompt` tokens in the order of `variants_continued`."""
    from heartlens.models.interventions.ablations import added_norms

    n_layers, n_heads = subject.sizes.n_layers, subject.sizes.n_heads
    rhythms = rhythms_of(made, windows.kind)
    prompt, real = (rhythms_of(part, windows.kind) for part in np.split(windows.tokens, [n_prompt], axis=1))
    top, count = (values.sum(axis=2) for values in read(rhythms, real[:, None]))
    heads, mlps = N_INTACT + n_layers * n_heads, N_INTACT + n_layers * (n_heads + 1)
    pairs: dict[str, Any] = {
        "intact": (top[0], count[0]),
        "again": (top[1], count[1]),
        "others": _against_others(others, n_prompt, windows, rhythms[0]),
        "prompt": read(prompt, real),
        "real": read(real, real),
    }
    if len(made) > N_INTACT:
        pairs |= {
            "ablated": [
                np.moveaxis(values[N_INTACT:heads].reshape(n_layers, n_heads, *values.shape[1:]), (0, 1), (-2, -1))
                for values in (top, count)
            ],
            "mlp_ablated": [np.moveaxis(values[heads:mlps], 0, -1) for values in (top, count)],
            "layer_ablated": [np.moveaxis(values[mlps:], 0, -1) for values in (top, count)],
        }
    arrays = {f"{name}{end}": values for name, pair in pairs.items() for end, values in zip(("", "_count"), pair, strict=True)}
    named = {
        name: (("record", "readout", *("layer", "head")[: values.ndim - 2]), by_record(values, windows.record))
        for name, values in arrays.items()
    }
    named["norm"] = (("record", "layer", "head"), by_record(added_norms(subject, windows), windows.record))
    named["n_windows"] = (("record",), by_record(np.ones(len(windows)), windows.record))
    places = {"record": windows.records, "readout": list(READOUTS), "layer": np.arange(n_layers), "head": np.arange(n_heads)}
    slowest = slowest_bpm(windows.tokens.shape[1] - n_prompt, windows.kind)
    return xr.Dataset(named, coords=places, attrs={"kind": windows.kind, "n_prompt": n_prompt, "slowest_bpm": slowest})


def sample_of(subject: Any, windows: Windows, made: Made) -> xr.Dataset:
    """The window of smallest identity, and its first continuation by each variant."""
    first = [int(np.argmin(windows.identity))]
    layers = range(subject.sizes.n_layers)
    names = ["intact", "other random numbers", *(head_label(layer, head) for layer in layers for head in range(subject.sizes.n_heads))]
    names += [f"{part} {layer + 1}" for part in ("MLP", "layer") for layer in layers]
    kept = {
        "token": (("example", "time"), windows.tokens[first]),
        "continued": (("example", "variant", "step"), np.moveaxis(made[:, first, 0], 0, 1)),
        "identity": (("example",), windows.identity[first]),
        "example_record": (("example",), windows.record[first]),
    }
    return xr.Dataset(kept, coords={"variant": names[: len(made)]})


def _against_others(others: Windows | None, n_prompt: int, windows: Windows, intact: Float[np.ndarray, "window draw 2"]) -> Read:
    """What the intact continuations give against the real rests of other persons' records, in the mean over these."""
    top, count = np.zeros((2, len(windows), len(READOUTS)))
    if others is not None:
        rests = rhythms_of(others.tokens[:, n_prompt:], windows.kind)
        for place, unit in enumerate(windows.unit):
            elsewhere = rests[others.unit != unit]
            if len(elsewhere):
                top[place], count[place] = (values.mean(axis=1).sum(axis=0) for values in read(intact[place][:, None], elsewhere))
    return top, count
