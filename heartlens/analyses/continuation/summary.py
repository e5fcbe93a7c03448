"""The numbers of a continuation: effects of heads, MLPs and layers tested, and whether the intact model keeps the rhythm."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from heartlens.inference import paired
from heartlens.measures.resample import interval_over_records, over, q_values

if TYPE_CHECKING:
    from heartlens.analyses.continuation import Continuation

ALPHA = 0.05
PARTS = {"ablated": ("", ("layer", "head")), "mlp_ablated": ("mlp_", ("layer",)), "layer_ablated": ("layer_", ("layer",))}
SIDES = ("intact", "again", "others", "prompt", "real")  # the intact model, and what it is held against

Pair = Float[np.ndarray, "2 record ... readout"]  # top and count
Arrays = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, options: "Continuation") -> xr.Dataset:
    """The summary of the sums by record."""
    draws = paired.draws(np.zeros(sums.sizes["record"], int), seed=options.seed, n_permutations=options.n_permutations)
    intact = _pair(sums, "intact")
    summary = xr.Dataset(coords={name: sums[name] for name in ("readout", "layer", "head")})
    for side in SIDES:
        summary = summary.assign(_valued(side, _pair(sums, side), options.seed))
    null, _ = _changes(intact, _pair(sums, "again")[:, :, None], draws)
    beyond, _ = _changes(_pair(sums, "others"), intact[:, :, None], draws)
    for prefix, found in (("null_", null), ("beyond_others_", beyond)):
        summary = summary.assign({f"{prefix}{name}": ("readout", values[0]) for name, values in found.items()})
    for name, (prefix, axes) in PARTS.items():
        found, drawn = _changes(intact, _pair(sums, name), draws)
        found["q_value"] = q_values(found["p_value"])
        if name == "ablated":
            norm = (sums["norm"].sum("record") / sums["n_windows"].sum()).transpose(*axes)
            summary["norm"] = norm
            found |= _excess(found, drawn, paired.nearest(norm.values.ravel(), options.n_matched))
            found["matters"] = _matters(found, null)
        summary = summary.assign({f"{prefix}{one}": _placed(values, axes, sums) for one, values in found.items()})
    counted = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum())}
    return summary.assign_attrs(sums.attrs, **counted)


def _pair(sums: xr.Dataset, name: str) -> Pair:
    """Top and count, (2, record, variant if it has any, readout)."""
    both = np.stack([sums[one].transpose("record", ..., "readout").values for one in (name, f"{name}_count")])
    return both.reshape(*both.shape[:2], -1, both.shape[-1]) if both.ndim > 3 else both


def _valued(side: str, pair: Pair, seed: int) -> dict[str, Any]:
    """A side's ratio of sums with its interval over records, and how often each readout could be taken."""
    low, high = interval_over_records(*pair, seed=seed)
    named = {side: over(*pair.sum(axis=1)), f"{side}_low": low, f"{side}_high": high, f"{side}_count": pair[1].sum(axis=0)}
    return {name: ("readout", values) for name, values in named.items()}


def _changes(before: Pair, after: Pair, draws: paired.Draws) -> tuple[Arrays, Float[np.ndarray, "resample variant readout"]]:
    """Value, effect, interval and p of variants (variant, readout) against `before`, and the effects in the resamples."""
    n_variants, n_readouts = after.shape[2:]
    found = [
        [paired.change(paired.ratio(*np.stack([before[..., k], after[:, :, v, k]], axis=1)), draws) for k in range(n_readouts)]
        for v in range(n_variants)
    ]
    names = {"value": "after", "effect": "effect", "effect_low": "low", "effect_high": "high", "p_value": "p_value"}
    arrays = {name: np.array([[getattr(one, own) for one in row] for row in found]) for name, own in names.items()}
    arrays["effect"] = paired.settled(arrays["value"], arrays["value"] - arrays["effect"])
    return arrays, np.moveaxis(np.array([[one.drawn for one in row] for row in found]), -1, 0)


def _excess(found: Arrays, drawn: np.ndarray, control: Int[np.ndarray, "head control"]) -> Arrays:
    """The mean effect of each head's controls, and the effect beyond it with its interval (percentiles)."""
    effect = found["effect"]
    of_control = effect[control].mean(axis=1)
    beyond = drawn - drawn[:, control].mean(axis=2)
    known = np.isfinite(beyond).any(axis=0) & np.isfinite(found["effect_low"])
    tails = np.full((2, *effect.shape), np.nan)
    if known.any():
        tails[:, known] = np.nanquantile(beyond[:, known], (0.025, 0.975), axis=0)
    return {"control_effect": of_control, "excess": effect - of_control, "excess_low": tails[0], "excess_high": tails[1]}


def _matters(found: Arrays, null: Arrays) -> np.ndarray:
    up = (found["effect_low"] > 0) & (found["excess_low"] > 0) & (found["effect"] > null["effect_high"])
    down = (found["effect_high"] < 0) & (found["excess_high"] < 0) & (found["effect"] < null["effect_low"])
    return (found["q_value"] < ALPHA) & (up | down)


def _placed(values: np.ndarray, axes: tuple[str, ...], sums: xr.Dataset) -> tuple[tuple[str, ...], np.ndarray]:
    return ("readout", *axes), np.moveaxis(values, -1, 0).reshape(-1, *(sums.sizes[axis] for axis in axes))
