"""The numbers of a patching: effects as parts of the whole difference, over records, and what holds against twins and control."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.inference.paired import p_values_of_change
from heartlens.measures.resample import interval_over_records, over, q_values, upper_quantile
from heartlens.refusal import Refusal

ALPHA = 0.05
WHOLE = "all"  # the place that is the whole window
EFFECTS: dict[str, tuple[str, ...]] = {  # and their axes
    "effect": ("layer", "head", "place"),
    "direct": ("layer", "head"),
    "stream": ("level", "place"),
    "stream_back": ("level", "lag"),
    "path": ("part", "layer", "head"),
}
ByRecord = Float[np.ndarray, "record ..."]


def summarized(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record. Refuses sums without a pair."""
    if not float(sums["n_pairs"].sum()):
        raise Refusal(f"no window has the landmarks that {sums.attrs['counterfactual']} and {sums.attrs['readout']} need; none was patched")
    paired = sums.isel(record=np.flatnonzero(sums["n_pairs"].values > 0))
    means = paired / paired["n_pairs"]
    whole = np.asarray((means["clean"] - means["corrupt"]).values)
    named = _difference(means, whole, seed, n_permutations)
    flipped = partial(p_values_of_change, seed=seed, n_permutations=n_permutations)
    for name, axes in EFFECTS.items():
        top = _towards(means[name].transpose("record", *axes).values, whole, sums.attrs["direction"])
        named |= _shares(name, axes, top, whole, seed)
        named[f"{name}_p_value"] = (axes, np.where(_tested(name, sums), flipped(_with_difference(top, whole)), np.nan))
    if "cross_model" in means:
        named |= _cross_model(means, seed, n_permutations)
    named |= _corrected(named) | _controlled(means, whole, sums.attrs["direction"], seed)
    largest = [_largest(twin, whole) for twin in twins.values()]
    named |= {"twin_effect": ("twin", np.array(largest, float)), "null_high": float(upper_quantile(np.array(largest, float)))}
    kept = {str(axis): place for axis, place in paired.coords.items() if axis != "side"}
    summary = xr.Dataset({**named, **_counts(sums)}, coords=kept).assign_coords(twin=list(twins))
    if "cross_model" in summary:
        summary = summary.assign_coords(side=["clean", "difference"])
    return _surviving(summary).assign_attrs(sums.attrs, **_said(sums))


def _difference(means: xr.Dataset, whole: ByRecord, seed: int, n_permutations: int) -> dict[str, Any]:
    """Mean readouts, and how much they differ, signed, clean minus counterfactual; of the control likewise."""
    named: dict[str, Any] = {f"{name}_readout": float(means[name].mean()) for name in ("clean", "corrupt", "control")}
    named["record_difference"] = ("record", whole)
    for name, values in (("difference", whole), ("control_difference", (means["clean"] - means["control"]).values)):
        low, high = interval_over_records(values, np.ones_like(values), seed=seed)
        p_value = p_values_of_change(values[:, None], seed=seed, n_permutations=n_permutations)[0]
        numbers = {"": values.mean(), "_low": low, "_high": high, "_p_value": p_value}
        named |= {f"{name}{key}": float(number) for key, number in numbers.items()}
    return named


def _towards(effect: ByRecord, whole: ByRecord, direction: str) -> ByRecord:
    """Effects by record, positive where they go from the run to the source as the record's whole difference does."""
    sign = np.sign(whole) * (1 if direction == "denoise" else -1)
    return effect * sign.reshape(-1, *(1 for _ in effect.shape[1:]))


def _below(whole: ByRecord, top: ByRecord) -> ByRecord:
    return np.broadcast_to(np.abs(whole).reshape(-1, *(1 for _ in top.shape[1:])), top.shape).copy()


def _shares(name: str, axes: tuple[str, ...], top: ByRecord, whole: ByRecord, seed: int) -> dict[str, Any]:
    """The ratio of sums over records, with its interval."""
    bottom = _below(whole, top)
    low, high = interval_over_records(top, bottom, seed=seed)
    return {name: (axes, over(top.sum(axis=0), bottom.sum(axis=0))), f"{name}_low": (axes, low), f"{name}_high": (axes, high)}


def _with_difference(top: ByRecord, whole: ByRecord) -> ByRecord:
    """NaN for records whose readout the counterfactual leaves as it is: they have no say."""
    return np.where((whole != 0).reshape(-1, *(1 for _ in top.shape[1:])), top, np.nan)


def _tested(name: str, sums: xr.Dataset) -> np.ndarray:
    """What is tested: not the whole stream, which is 1 by construction, and no path that was not asked for or is none."""
    if name == "stream":
        return np.broadcast_to(sums["place"].values != WHOLE, (sums.sizes["level"], sums.sizes["place"]))
    shape = tuple(sums.sizes[axis] for axis in EFFECTS[name])
    return (sums["path"] != 0).any("record").transpose(*EFFECTS[name]).values if name == "path" else np.ones(shape, bool)


def _cross_model(means: xr.Dataset, seed: int, n_permutations: int) -> dict[str, Any]:
    """Means over records of each part's share of the fine-tuned logit, and of its difference between clean and corrupt; in logits."""
    shares, base = (means[name].transpose("record", "side", ...).values for name in ("cross_model", "base_logit"))
    values = np.stack([shares[:, 0], shares[:, 0] - shares[:, 1]], axis=1)
    ones, axes = np.ones_like(values), ("side", "swapped")
    low, high = interval_over_records(values, ones, seed=seed)
    p_value = p_values_of_change(values, seed=seed, n_permutations=n_permutations)
    numbers = {"": values.mean(axis=0), "_low": low, "_high": high, "_p_value": p_value}
    told = {"base_logit": ("side", np.array([base[:, 0].mean(), (base[:, 0] - base[:, 1]).mean()]))}
    return {f"cross_model{key}": (axes, number) for key, number in numbers.items()} | told


def _corrected(named: Mapping[str, Any]) -> dict[str, Any]:
    """q-values over everything that was tested."""
    p_values = {name: named[f"{name}_p_value"] for name in (*EFFECTS, "cross_model") if f"{name}_p_value" in named}
    q_value = q_values(np.concatenate([p.ravel() for _, p in p_values.values()]))
    cut = np.cumsum([p.size for _, p in p_values.values()])[:-1]
    parts = zip(p_values.items(), np.split(q_value, cut), strict=True)
    return {f"{name}_q_value": (axes, part.reshape(p.shape)) for (name, (axes, p)), part in parts}


def _controlled(means: xr.Dataset, whole: ByRecord, direction: str, seed: int) -> dict[str, Any]:
    """The heads' effects under the control as parts of the same whole, and the interval of what is beyond it."""
    axes = ("layer", "head")
    control = _towards(means["control_effect"].transpose("record", *axes).values, whole, direction)
    effect = _towards(means["effect"].sel(place=WHOLE).transpose("record", *axes).values, whole, direction)
    beyond = _shares("beyond_control", axes, effect - control, whole, seed)
    return {"control_effect": _shares("control_effect", axes, control, whole, seed)["control_effect"]} | beyond


def _largest(twin: xr.Dataset, whole: ByRecord) -> float:
    """The largest effect of any head of a twin, either way, over the mean size of the model's whole difference; NaN without a pair."""
    paired = twin.isel(record=np.flatnonzero(twin["n_pairs"].values > 0))
    means = paired / paired["n_pairs"]
    own = np.asarray((means["clean"] - means["corrupt"]).values)
    top = _towards(means["effect"].sel(place=WHOLE).transpose("record", "layer", "head").values, own, twin.attrs["direction"])
    size = np.abs(whole).mean()
    return float(np.abs(top.mean(axis=0)).max() / size) if len(own) and size > 0 else float("nan")


def _surviving(summary: xr.Dataset) -> xr.Dataset:
    """What holds: of whole heads also against the control."""
    limit = summary["null_high"]
    for name in EFFECTS:
        low, high = summary[f"{name}_low"], summary[f"{name}_high"]
        summary[f"{name}_survives"] = (summary[f"{name}_q_value"] < ALPHA) & ((low > limit) | (high < -limit))
    if "cross_model" in summary:
        summary["cross_model_survives"] = summary["cross_model_q_value"] < ALPHA
    beyond = (summary["beyond_control_low"] > 0) | (summary["beyond_control_high"] < 0)
    summary["effect_survives"] = summary["effect_survives"] & (beyond | (summary["place"] != WHOLE))
    return summary


def _counts(sums: xr.Dataset) -> dict[str, Any]:
    return {f"n_{what}": int(sums[f"n_{what}"].sum()) for what in ("pairs", "unchanged")}


def _said(sums: xr.Dataset) -> dict[str, Any]:
    """How much was patched, and which records were not."""
    lacking = sums["record"].values[sums["n_pairs"].values == 0]
    counts = {"n_records": int(sums.sizes["record"] - len(lacking)), "n_windows": int(sums["n_pairs"].sum())}
    return counts | {"n_windows_given": int(sums["n_windows"].sum()), "records_without_pairs": "\n".join(map(str, lacking))}
