"""The summary of attention over prior cycles: ratios of the sums, with intervals over records, nulls and twins."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from heartlens.measures import cycles
from heartlens.measures.resample import ByRotation, interval_over_records, q_values, rotation_p_values, upper_quantile

ALPHA = 0.05
PER_HEAD = ("layer", "head")


def summary_of(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], options: Any) -> xr.Dataset:
    """Everything but the example; `options` are those of AttentionCycles."""
    sums = sums.isel(record=np.flatnonzero(sums["n_asked"] > 0))
    summary = _shares(sums)
    summary = summary.assign(_same_phase(sums, twins, options))
    by_layer = _same_phase(_of_layers(sums), {name: _of_layers(twin) for name, twin in twins.items()}, options)
    summary = summary.assign({f"layer_{name}": ("layer", values[:, 0]) for name, (axes, values) in by_layer.items() if axes == PER_HEAD})
    summary = summary.assign(_breadth(sums, twins, options.seed))
    return summary.assign_attrs(sums.attrs, n_records=sums.sizes["record"], n_windows=int(sums["n_windows"].sum()))


def _shares(sums: xr.Dataset) -> xr.Dataset:
    """The means over records of what falls at each distance, lag and phase difference, and on the sink."""
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


def _same_phase(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], options: Any) -> dict[str, Any]:
    """The share of earlier cycles' attention that falls on the asking token's phase: effect, interval, null, twins."""
    share, even = _bands(sums, options.half_width)
    low, high = interval_over_records(share[:, 0], even[:, 0], seed=options.seed)
    p_value = rotation_p_values(share, even, seed=options.seed, n_permutations=options.n_permutations)
    q_value = q_values(p_value)
    largest = np.array([np.fmax.reduce(_lift(*_bands(twin, options.half_width)), axis=None) for twin in twins.values()])
    null_high = float(upper_quantile(largest))
    arrays = {
        "same_phase_share": share[:, 0].mean(0),
        "same_phase_share_null": even[:, 0].mean(0),
        "same_phase_lift": _lift(share, even),
        "same_phase_lift_low": low,
        "same_phase_lift_high": high,
        "p_value": p_value,
        "q_value": q_value,
        "null_high": np.full_like(p_value, null_high),
        "holds": (q_value < ALPHA) & (low > null_high),
    }
    return {name: (PER_HEAD, values) for name, values in arrays.items()} | {"twin_lift": (("twin",), largest)}


def _of_layers(sums: xr.Dataset) -> xr.Dataset:
    """The sums of attention summed over a layer's heads, as the paper draws it, as if of one head."""
    share = sums["share"].drop_vars("head").reduce(np.sum, "head", keepdims=True)
    return xr.Dataset({"share": share, "even_share": sums["even_share"], "n_asked": sums["n_asked"]})


def _bands(sums: xr.Dataset, half_width: int) -> tuple[ByRotation, ByRotation]:
    """What part of the attention to earlier cycles falls around each phase difference, and of even attention; 0 without earlier cycles."""
    share, even = (_per_token(sums, name) for name in ("share", "even_share"))
    parts = [_band(each.transpose("record", ..., "distance").values, half_width) for each in xr.broadcast(share, even)]
    known = (parts[0] > 0).any(axis=1, keepdims=True)
    return parts[0], parts[1] * known


def _band(share: np.ndarray, half_width: int) -> ByRotation:
    turned = cycles.by_phase_difference(share)
    whole = turned.sum(axis=-1)
    part = np.moveaxis(cycles.same_phase(turned, half_width), 0, 1)
    return np.divide(part, whole[:, None], out=np.zeros_like(part), where=whole[:, None] > 0)


def _lift(share: ByRotation, even: ByRotation) -> np.ndarray:
    top, bottom = share[:, 0].sum(0), even[:, 0].sum(0)
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _breadth(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int) -> dict[str, Any]:
    """Effective tokens by layer, their steps and their slope, each with an interval over records; the slope beside the twins'."""
    curve = _curves(sums)
    steps, slope = np.diff(curve, axis=1), _slopes(curve)
    found: dict[str, Any] = {}
    for name, values, axes in (
        ("layer_effective_tokens", curve, ("layer",)),
        ("step", steps, ("step_to",)),
        ("slope", slope, ()),
    ):
        low, high = interval_over_records(values, np.ones_like(values), seed=seed)
        found |= {name: (axes, values.mean(0)), f"{name}_low": (axes, low), f"{name}_high": (axes, high)}
    found["twin_slope"] = (("twin",), np.array([_slopes(_curves(twin)).mean() for twin in twins.values()]))
    return found | {"step_to": np.arange(1, curve.shape[1]), "twin": list(twins)}


def _curves(sums: xr.Dataset) -> np.ndarray:
    """Effective tokens by record and layer, mean over heads, of the records that were asked."""
    asked = sums.isel(record=np.flatnonzero(sums["n_asked"] > 0))
    return _per_token(asked, "effective_tokens").mean("head").transpose("record", "layer").values


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
