"""The numbers of an attention shift: means over records, intervals, nulls, and what is concluded against null and twins."""

from dataclasses import replace

import numpy as np
import xarray as xr

from heartlens.analysis import Beside
from heartlens.inference.intervals import mean_interval
from heartlens.inference.verdict import Among, Claim, decide, reach
from heartlens.measures.resample import q_values
from heartlens.measures.shift import two_sided_p_values, without_recency
from heartlens.tally import Tally

RHYTHMS = ("regular", "irregular")
SHIFT = Claim(
    "shift",
    "the head's attention on the wave changed more than rotated waves, the spread between persons and random changes explain",
    unit="of a row",
    smallest=0.02,
    family="all waves and all heads that changed",
    either=True,
)
EFFECT = Claim(
    "effect",
    "the head's attention moved to (or from) cycles with the feature more than shuffled cycles, persons and random changes explain",
    unit="even shares",
    smallest=0.1,
    family="all features and all heads that changed",
    either=True,
)
Sides = tuple[np.ndarray, np.ndarray]  # (record, draw, what, layer, head): each record's value, and 1 where it has one, else both 0


def summarized(sums: xr.Dataset, other: Beside, seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record."""
    summary = _means(sums)
    is_changed = np.asarray((summary["gained"] + summary["lost"]).transpose("layer", "head").values > 0)
    layer_changed = np.asarray(is_changed.any(axis=1, keepdims=True))
    model = (other.model or Tally(sums)).sums
    for claim, axis, sides_of in ((SHIFT, "wave", _shifts), (EFFECT, "feature", _effects)):
        sides, on_twin_windows, of_twins = sides_of(sums), sides_of(model), [sides_of(twin.sums) for twin in other.twins.values()]
        tested = _tested(claim, axis, sides, on_twin_windows, of_twins, is_changed, seed, n_permutations)
        summary = summary.assign(tested.assign_coords({axis: sums[axis]}).data_vars)
        text, family = claim.text.replace("head's", "layer's mean"), f"all {axis}s and layers"
        of_layer = replace(claim, name=f"layer_{claim.name}", text=text, family=family)
        means, twin_means = (_over_heads(sides), _over_heads(on_twin_windows)), [_over_heads(twin) for twin in of_twins]
        layers = _tested(of_layer, axis, *means, twin_means, layer_changed, seed, n_permutations).isel(head=0)
        summary = summary.assign(layers.data_vars)
        summary[f"twin_{claim.name}"] = (("twin", axis), _largest_mean(of_twins, sides, is_changed))
    halves, (values, weight) = _halves(summary["record_irregularity"]), _effects(sums)
    summary["effect_by_rhythm"] = (
        ("rhythm", "feature", "layer", "head"),
        np.stack([_mean((values[half.values], weight[half.values])) for half in halves]),
    )
    summary["n_twin_records_with"] = (model["n_contrast"] > 0).sum("record") if other.twins else xr.zeros_like(summary["n_records_with"])
    summary["effect_with_recency"] = (("feature", "layer", "head"), _mean(_effects(sums, is_freed=False)))
    return summary.assign_coords(twin=list(other.twins))


def _means(sums: xr.Dataset) -> xr.Dataset:
    """The means over records of what was summed, every record counting alike."""
    per_row = sums / sums["n_rows"].where(sums["n_rows"] > 0)
    regular = per_row["total_irregularity"] / per_row["n_cycles"].where(per_row["n_cycles"] > 0)
    per_row = per_row.assign(shift=per_row["shift"].isel(rotation=0))
    summary = per_row[["base_share", "even_share", "gained", "lost", "sink_shift"]].mean("record")
    summary["tuned_share"] = summary["base_share"] + per_row["shift"].mean("record")
    for axis in ("irregularity", "lag"):
        on, even = (per_row[f"{what}_by_{axis}"].mean("record") for what in ("shift", "even"))
        summary = summary.assign({f"shift_by_{axis}": on, f"relative_shift_by_{axis}": on / even.where(even > 0)})
    summary["n_tokens"] = sums["n_tokens"].sum("record")
    summary["record_irregularity"] = regular
    summary["gained_by_rhythm"] = _by_rhythm(per_row["gained"], regular)
    summary["shift_by_rhythm"] = _by_rhythm(per_row["shift"], regular)
    n_windows = int(sums["n_windows"].sum())
    for name in ("weight_change", "tensor_change"):
        summary[name] = sums[name].sum("record", skipna=False) / n_windows
    summary["n_records_with"] = (sums["n_contrast"] > 0).sum("record")
    return summary.drop_vars(("rotation", "shuffle"), errors="ignore").assign_attrs(
        sums.attrs, n_records=sums.sizes["record"], n_windows=n_windows
    )


def _by_rhythm(values: xr.DataArray, irregularity: xr.DataArray) -> xr.DataArray:
    """The means over the records of each half, those at or below the median irregularity and those above it."""
    means = [values.where(half).mean("record") for half in _halves(irregularity)]
    return xr.concat(means, dim=xr.DataArray(list(RHYTHMS), dims="rhythm", name="rhythm"))


def _halves(irregularity: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Which records are of each of RHYTHMS."""
    above = irregularity > irregularity.median()
    return ~above & irregularity.notnull(), above


def _shifts(sums: xr.Dataset) -> Sides:
    """Each record's shift on each wave, for each rotation; records without the wave do not count."""
    per_row = 1 / sums["n_rows"].where(sums["n_rows"] > 0)
    shift = (sums["shift"] * per_row).transpose("record", "rotation", "wave", "layer", "head")
    return _weighted(shift.fillna(0).values, (sums["even_share"] > 0).transpose("record", "wave").values)


def _effects(sums: xr.Dataset, is_freed: bool = True) -> Sides:
    """Each record's effect of each feature, for each shuffle; records without a window that shows both kinds of cycle do not count."""
    n_layers, n_heads = sums.sizes["layer"], sums.sizes["head"]
    is_counted = (sums["n_contrast"] > 0).transpose("record", "feature").values
    per_window = 1 / sums["n_contrast"].where(sums["n_contrast"] > 0)
    contrast = (sums["contrast"] * per_window).fillna(0).transpose("record", "shuffle", "feature", "layer", "head").values
    flat = contrast.reshape(*contrast.shape[:3], -1)
    if is_freed:
        even = (sums["even_contrast"] * per_window).fillna(0).transpose("record", "shuffle", "feature", "lag").values
        per_row = 1 / sums["n_rows"].where(sums["n_rows"] > 0)
        on, even_on = ((sums[f"{what}_by_lag"] * per_row).fillna(0) for what in ("shift", "even"))
        by_lag = on.transpose("record", "lag", "layer", "head").values.reshape(len(flat), sums.sizes["lag"], -1)
        flat = without_recency(flat, even, by_lag, even_on.transpose("record", "lag").values)
    return _weighted(flat.reshape(*flat.shape[:3], n_layers, n_heads), is_counted)


def _weighted(values: np.ndarray, is_counted: np.ndarray) -> Sides:
    weight = np.broadcast_to(is_counted[:, None, :, None, None], values.shape).astype(float)
    return values * weight, weight


def _over_heads(sides: Sides) -> Sides:
    return sides[0].mean(axis=-1, keepdims=True), sides[1][..., :1]


def _mean(sides: Sides) -> np.ndarray:
    """The mean over the records that count, (what, layer, head); NaN without one."""
    top, bottom = (side[:, 0].sum(axis=0) for side in sides)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _tested(
    claim: Claim, axis: str, sides: Sides, model: Sides, twins: list[Sides], is_changed: np.ndarray, seed: int, n_permutations: int
) -> xr.Dataset:
    """Mean, interval, p, q and verdict, each (what, layer, head); only what changed is tested. `model` is on the twins' windows."""
    name, axes = claim.name, (axis, "layer", "head")
    top, bottom = (side[..., is_changed] for side in sides)
    p_value = np.full((top.shape[2], *is_changed.shape), np.nan)
    p_value[:, is_changed] = two_sided_p_values(top, bottom, seed=seed, n_permutations=n_permutations)
    low, high = _interval(sides, is_changed)
    arrays = {"": _mean(sides), "_low": low, "_high": high, "_p_value": p_value, "_q_value": q_values(p_value)}
    tested = xr.Dataset({f"{name}{end}": (axes, values) for end, values in arrays.items()})
    n_units = xr.DataArray(sides[1][:, 0].sum(axis=0), dims=axes)
    largest = [float(np.fmax.reduce(reach(claim, *_interval(twin, is_changed)), axis=None, initial=np.nan)) for twin in twins]
    among = Among(
        xr.DataArray(reach(claim, *_interval(model, is_changed)), dims=axes),
        xr.DataArray(np.array(largest, float), dims="twin"),
        xr.DataArray(model[1][:, 0].sum(axis=0), dims=axes),
    )
    effect = [tested[f"{name}{end}"] for end in ("", "_low", "_high")]
    return tested.assign(decide(claim, *effect, n_units=n_units, q_value=tested[f"{name}_q_value"], twins=among).data_vars)


def _interval(sides: Sides, is_changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the mean over the records that count, (what, layer, head); NaN for what did not change."""
    values = np.where((sides[1][:, 0] > 0) & is_changed, sides[0][:, 0], np.nan)
    return mean_interval(values)


def _largest_mean(twins: list[Sides], sides: Sides, is_changed: np.ndarray) -> np.ndarray:
    """The largest absolute mean any head of a twin has, (twin, what), among heads that changed in the model; NaN where none has one."""
    if not (twins and is_changed.any()):
        return np.full((len(twins), sides[0].shape[2]), np.nan)
    return np.stack([np.fmax.reduce(np.abs(_mean(twin))[:, is_changed], axis=-1) for twin in twins])
