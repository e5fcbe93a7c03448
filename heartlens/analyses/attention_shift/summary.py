"""The numbers of an attention shift: means over records, and what holds against its null and its twins."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from heartlens.measures.resample import interval_over_records, q_values, upper_quantile
from heartlens.measures.shift import two_sided_p_values, without_recency

ALPHA = 0.05
RHYTHMS = ("regular", "irregular")
Sides = tuple[np.ndarray, np.ndarray]  # (record, draw, what, layer, head): each record's value, and 1 where it has one, else both 0
Arrays = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record."""
    summary = _means(sums)
    changed = np.asarray((summary["gained"] + summary["lost"]).transpose("layer", "head").values > 0)
    layers = np.asarray(changed.any(axis=1, keepdims=True))
    for name, axis, sides_of in (("shift", "wave", _shifts), ("effect", "feature", _effects)):
        sides, of_twins = sides_of(sums), [sides_of(twin) for twin in twins.values()]
        found = _tested(sides, of_twins, changed, seed, n_permutations)
        means = _tested(_over_heads(sides), [_over_heads(twin) for twin in of_twins], layers, seed, n_permutations)
        summary = summary.assign({f"{name}{key}": ((axis, "layer", "head"), values) for key, values in found.items()})
        summary = summary.assign({f"layer_{name}{key}": ((axis, "layer"), values[..., 0]) for key, values in means.items()})
        summary[f"twin_{name}"] = (("twin", axis), _largest(of_twins, sides, changed))
    halves = _halves(summary["record_irregularity"])
    summary["effect_by_rhythm"] = (
        ("rhythm", "feature", "layer", "head"),
        np.stack([_mean(_only(_effects(sums), half)) for half in halves]),
    )
    few = [(twin["n_contrast"] > 0).sum("record") for twin in twins.values()][:1]  # every twin is measured on the same windows
    summary["n_twin_records_with"] = few[0] if few else xr.zeros_like(summary["n_records_with"])
    summary["effect_with_recency"] = (("feature", "layer", "head"), _mean(_effects(sums, is_freed=False)))
    return summary.assign_coords(twin=list(twins))


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


def _only(sides: Sides, records: xr.DataArray) -> Sides:
    return sides[0][records.values], sides[1][records.values]


def _shifts(sums: xr.Dataset) -> Sides:
    """Each record's shift on each wave, for each rotation; no say for records without the wave."""
    per_row = 1 / sums["n_rows"].where(sums["n_rows"] > 0)
    shift = (sums["shift"] * per_row).transpose("record", "rotation", "wave", "layer", "head")
    return _said(shift.fillna(0).values, (sums["even_share"] > 0).transpose("record", "wave").values)


def _effects(sums: xr.Dataset, is_freed: bool = True) -> Sides:
    """Each record's effect of each feature, for each shuffle; no say for records without a window that shows both kinds of cycle."""
    n_layers, n_heads = sums.sizes["layer"], sums.sizes["head"]
    say = (sums["n_contrast"] > 0).transpose("record", "feature").values
    per_window = 1 / sums["n_contrast"].where(sums["n_contrast"] > 0)
    contrast = (sums["contrast"] * per_window).fillna(0).transpose("record", "shuffle", "feature", "layer", "head").values
    flat = contrast.reshape(*contrast.shape[:3], -1)
    if is_freed:
        even = (sums["even_contrast"] * per_window).fillna(0).transpose("record", "shuffle", "feature", "lag").values
        per_row = 1 / sums["n_rows"].where(sums["n_rows"] > 0)
        on, even_on = ((sums[f"{what}_by_lag"] * per_row).fillna(0) for what in ("shift", "even"))
        by_lag = on.transpose("record", "lag", "layer", "head").values.reshape(len(flat), sums.sizes["lag"], -1)
        flat = without_recency(flat, even, by_lag, even_on.transpose("record", "lag").values)
    return _said(flat.reshape(*flat.shape[:3], n_layers, n_heads), say)


def _said(values: np.ndarray, say: np.ndarray) -> Sides:
    weight = np.broadcast_to(say[:, None, :, None, None], values.shape).astype(float)
    return values * weight, weight


def _over_heads(sides: Sides) -> Sides:
    return sides[0].mean(axis=-1, keepdims=True), sides[1][..., :1]


def _mean(sides: Sides) -> np.ndarray:
    """The mean over the records that have a say, (what, layer, head); NaN without one."""
    top, bottom = (side[:, 0].sum(axis=0) for side in sides)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _tested(sides: Sides, twins: list[Sides], changed: np.ndarray, seed: int, n_permutations: int) -> Arrays:
    """Mean, interval, p, q, the twins' limit and what survives, each (what, layer, head); only heads that changed are tested, else NaN."""
    top, bottom = (side[..., changed] for side in sides)
    low, high = interval_over_records(top[:, 0], bottom[:, 0], seed=seed)
    p_value = two_sided_p_values(top, bottom, seed=seed, n_permutations=n_permutations)
    q_value = q_values(p_value)
    limit = upper_quantile(_largest(twins, sides, changed))
    survives = (q_value < ALPHA) & ((low > limit[:, None]) | (high < -limit[:, None]))
    placed = {name: np.full((len(limit), *changed.shape), np.nan) for name in ("_low", "_high", "_p_value", "_q_value")}
    for values, found in zip(placed.values(), (low, high, p_value, q_value), strict=True):
        values[:, changed] = found
    placed |= {
        "_null_high": np.broadcast_to(limit[:, None, None], placed["_low"].shape).copy(),
        "_survives": np.zeros_like(placed["_low"], bool),
    }
    placed["_survives"][:, changed] = survives
    return {"": _mean(sides), **placed}


def _largest(twins: list[Sides], sides: Sides, changed: np.ndarray) -> np.ndarray:
    """The largest absolute value any head of a twin has, (twin, what), among heads that changed in the model; NaN where none has one."""
    if not (twins and changed.any()):
        return np.full((len(twins), sides[0].shape[2]), np.nan)
    values = np.stack([np.abs(_mean(twin))[:, changed] for twin in twins])
    return np.where(np.isnan(values).all(axis=-1), np.nan, np.nan_to_num(values).max(axis=-1))
