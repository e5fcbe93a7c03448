"""The summary of attention over prior cycles: ratios of the sums, with intervals, nulls, twins, and what is concluded."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from heartlens.analysis import Beside
from heartlens.inference.intervals import mean_and_interval, mean_interval, ratio_interval
from heartlens.inference.nulls import STRICT
from heartlens.inference.verdict import Among, Claim, decide, reach
from heartlens.measures import cycles
from heartlens.measures.resample import ByRotation, q_values, rotation_p_values
from heartlens.tally import Tally

PER_HEAD = ("layer", "head")
SAME_PHASE = Claim(
    "same_phase",
    "the head looks at its own phase of earlier cycles more than rotated phases, the spread between persons and twins explain",
    unit="lift",
    null=1.0,
    smallest=0.25,
    family="all heads",
    twin_alpha=STRICT,
)
OF_LAYER = replace(SAME_PHASE, text=SAME_PHASE.text.replace("the head", "the layer, summed over its heads,"), family="all layers")
SLOPE = Claim(
    "slope",
    "effective tokens grow with depth, more than those of twins",
    unit="tokens a layer",
    smallest=1.0,
    family="one curve",
    twin_alpha=STRICT,
)
EVERY_STEP = Claim(
    "every_step",
    "effective tokens grow at every step from a layer to the next, the smallest step more than that of twins",
    unit="tokens",
    smallest=0.0,
    family="one curve",
    twin_alpha=STRICT,
)


def summary_of(sums: xr.Dataset, other: Beside, options: Any) -> xr.Dataset:
    """Everything but the example; `options` are those of AttentionCycles."""
    sums = _asked(sums)
    model, twins = _asked((other.model or Tally(sums)).sums), {name: _asked(twin.sums) for name, twin in other.twins.items()}
    summary = _shares(sums).assign(_same_phase(SAME_PHASE, sums, model, list(twins.values()), options).data_vars)
    layers = _same_phase(OF_LAYER, _of_layers(sums), _of_layers(model), [_of_layers(twin) for twin in twins.values()], options)
    layers = layers.isel(head=0, drop=True).drop_vars("twin_lift")
    summary = summary.assign({f"layer_{name}": values for name, values in layers.items()})
    summary = summary.assign(_breadth(sums, model, list(twins.values())).data_vars)
    summary = summary.assign_coords(twin=list(twins), step_to=np.arange(1, sums.sizes["layer"]))
    return summary.assign_attrs(sums.attrs, n_records=sums.sizes["record"], n_windows=int(sums["n_windows"].sum()))


def _asked(sums: xr.Dataset) -> xr.Dataset:
    """The sums of the records that have asking tokens."""
    return sums.isel(record=np.flatnonzero(sums["n_asked"] > 0))


def _shares(sums: xr.Dataset) -> xr.Dataset:
    """The means over records of what falls at each distance, lag and phase difference, and on the sink; the cycles that are looked back
    are those of all records' attention together.
    """
    share, even = (_per_token(sums, name) for name in ("share", "even_share"))
    lags = {name: _folded(each, cycles.by_lag, "lag") for name, each in (("share_by_lag", share), ("even_share_by_lag", even))}
    turned = {name: _folded(each, cycles.by_phase_difference, "difference") for name, each in (("share", share), ("even", even))}
    places = {"lag": np.arange(lags["even_share_by_lag"].sizes["lag"]), "difference": np.arange(cycles.N_PER_CYCLE) / cycles.N_PER_CYCLE}
    mean = {name: each.mean("record") for name, each in lags.items()}
    mean["lift_by_distance"] = _over(share.mean("record"), even.mean("record"))
    mean["lift_by_difference"] = _over(turned["share"].mean("record"), turned["even"].mean("record"))
    mean["cycles_looked_back"] = _over(sums["cycles_top"].sum("record"), sums["cycles_bottom"].sum("record"))
    mean["sink_share"] = _per_token(sums, "sink_share").mean("record")
    mean["effective_tokens"] = _per_token(sums, "effective_tokens").mean("record")
    return xr.Dataset(mean, coords=places)


def _same_phase(claim: Claim, sums: xr.Dataset, model: xr.Dataset, twins: list[xr.Dataset], options: Any) -> xr.Dataset:
    """The share of earlier cycles' attention that falls on the asking token's phase: effect, interval, null, verdict.

    `model` are the model's own sums on the twins' windows.
    """
    share, even = _bands(sums, options.half_width)
    low, high = ratio_interval(share[:, 0], even[:, 0])
    p_value = rotation_p_values(share, even, seed=options.seed, n_permutations=options.n_permutations)
    of_model, of_twins = _bands(model, options.half_width), [_bands(twin, options.half_width) for twin in twins]
    on_twin_windows = _low_of(*of_model)
    largest = np.array([np.fmax.reduce(_lift(*bands), axis=None) for bands in of_twins])
    arrays = {
        "same_phase_share": share[:, 0].mean(0),
        "same_phase_share_null": even[:, 0].mean(0),
        "same_phase_lift": _lift(share, even),
        "same_phase_lift_low": low,
        "same_phase_lift_high": high,
        "p_value": p_value,
        "q_value": q_values(p_value),
        "same_phase_lift_low_on_twin_windows": on_twin_windows,
    }
    lifts = xr.Dataset({name: (PER_HEAD, values) for name, values in arrays.items()} | {"twin_lift": (("twin",), largest)})
    n_units = xr.DataArray((even[:, 0] > 0).sum(axis=0), dims=PER_HEAD)
    reached = xr.DataArray([float(np.fmax.reduce(reach(claim, _low_of(*bands), np.inf), axis=None)) for bands in of_twins])
    n_twin_units = int((of_model[1][:, 0] > 0).any(axis=(1, 2)).sum())
    among = Among(xr.DataArray(reach(claim, on_twin_windows, np.inf), dims=PER_HEAD), reached, n_twin_units)
    effect = (lifts["same_phase_lift"], lifts["same_phase_lift_low"], lifts["same_phase_lift_high"])
    return lifts.assign(decide(claim, *effect, n_units=n_units, q_value=lifts["q_value"], twins=among).data_vars)


def _low_of(share: ByRotation, even: ByRotation) -> np.ndarray:
    """The lower bound of the same-phase lift, by layer and head."""
    return ratio_interval(share[:, 0], even[:, 0])[0]


def _of_layers(sums: xr.Dataset) -> xr.Dataset:
    """The sums of attention summed over a layer's heads, as the paper draws it, as if of one head."""
    share = sums["share"].drop_vars("head").reduce(np.sum, "head", keepdims=True)
    return xr.Dataset({"share": share, "even_share": sums["even_share"], "n_asked": sums["n_asked"]})


def _bands(sums: xr.Dataset, half_width: int) -> tuple[ByRotation, ByRotation]:
    """What part of the attention to earlier cycles falls around each phase difference, and of even attention; 0 without earlier cycles."""
    share, even = (_per_token(sums, name) for name in ("share", "even_share"))
    parts = [_band(each.transpose("record", ..., "distance").values, half_width) for each in xr.broadcast(share, even)]
    has_earlier_cycles = (parts[0] > 0).any(axis=1, keepdims=True)
    return parts[0], parts[1] * has_earlier_cycles


def _band(share: np.ndarray, half_width: int) -> ByRotation:
    turned = cycles.by_phase_difference(share)
    whole = turned.sum(axis=-1)
    part = np.moveaxis(cycles.same_phase(turned, half_width), 0, 1)
    return np.divide(part, whole[:, None], out=np.zeros_like(part), where=whole[:, None] > 0)


def _lift(share: ByRotation, even: ByRotation) -> np.ndarray:
    top, bottom = share[:, 0].sum(0), even[:, 0].sum(0)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _breadth(sums: xr.Dataset, model: xr.Dataset, twins: list[xr.Dataset]) -> xr.Dataset:
    """Effective tokens by layer, their steps and their slope, with intervals; whether they grow, and at every step."""
    curve = _curves(sums)
    measured: dict[str, Any] = {}
    for name, values, axes in (
        ("layer_effective_tokens", curve, ("layer",)),
        ("step", np.diff(curve, axis=1), ("step_to",)),
        ("slope", _slopes(curve), ()),
    ):
        measured |= mean_and_interval(name, axes, values)
    measured["twin_slope"] = (("twin",), np.array([_slopes(_curves(twin)).mean() for twin in twins]))
    measured["twin_effective_tokens"] = (("twin", "layer"), np.array([_curves(twin).mean(0) for twin in twins]).reshape(-1, curve.shape[1]))
    breadth = xr.Dataset(measured)
    if curve.shape[1] < 2:
        return breadth
    smallest = {f"smallest_step{end}": breadth[f"step{end}"].min("step_to", skipna=False) for end in ("", "_low", "_high")}
    breadth, n_model = breadth.assign(smallest), model.sizes["record"]
    for claim, effect, low_of in (
        (SLOPE, "slope", lambda curves: mean_interval(_slopes(curves))[0]),
        (EVERY_STEP, "smallest_step", lambda curves: mean_interval(np.diff(curves, axis=1))[0].min()),
    ):
        largest = xr.DataArray([float(low_of(_curves(twin))) for twin in twins], dims="twin")
        among = Among(xr.DataArray(float(low_of(_curves(model)))), largest, n_model)
        interval = [breadth[f"{effect}{end}"] for end in ("", "_low", "_high")]
        breadth = breadth.assign(decide(claim, *interval, n_units=len(curve), twins=among).data_vars)
    return breadth


def _curves(sums: xr.Dataset) -> np.ndarray:
    """Effective tokens by record and layer, mean over heads."""
    return _per_token(sums, "effective_tokens").mean("head").transpose("record", "layer").values


def _slopes(curve: np.ndarray) -> np.ndarray:
    """The least-squares slope of each record's curve, in tokens per layer; 0 of a single layer."""
    place = np.arange(curve.shape[1]) - (curve.shape[1] - 1) / 2
    return curve @ place / max((place**2).sum(), 1.0)


def _per_token(sums: xr.Dataset, name: str) -> xr.DataArray:
    return sums[name] / sums["n_asked"].where(sums["n_asked"] > 0)


def _folded(values: xr.DataArray, fold: Any, axis: str) -> xr.DataArray:
    return xr.apply_ufunc(fold, values, input_core_dims=[["distance"]], output_core_dims=[[axis]])


def _over(top: xr.DataArray, bottom: xr.DataArray) -> xr.DataArray:
    return top / bottom.where(bottom > 0)
