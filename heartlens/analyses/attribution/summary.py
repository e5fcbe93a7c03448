"""The numbers of an attribution: means over records, what survives sign flips and twins, the lens by level, and both kinds of patching."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from heartlens.inference.paired import p_values_of_change
from heartlens.measures.resample import interval_over_records, over, q_values, upper_quantile
from heartlens.refusal import Refusal

ALPHA = 0.05
DIRECT: dict[str, tuple[str, ...]] = {  # the terms of the sum, and their axes
    "direct": ("layer", "head"),
    "direct_mlp": ("layer",),
    "direct_attention_bias": ("layer",),
    "direct_embedding": (),
    "direct_position": (),
    "direct_constant": (),
}
PATCHED: dict[str, tuple[str, ...]] = {"_patching": ("layer", "head"), "_patching_mlp": ("layer",)}
ESTIMATES = ("attribution", "gradient")
CONTRAST = ("beat", "elsewhere")
ByRecord = Float[np.ndarray, "record ..."]
Numbers = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record. Refuses sums without a single token that an output is read at."""
    if not float(sums["n_tokens"].sum()):
        raise Refusal("no token is known at which the output is read; give records with landmarks, or --landmarks detected")
    means = _per_record(sums)
    summary = _direct(means, [_per_record(twin) for twin in twins.values()], seed, n_permutations)
    summary = summary.assign(_lens(means, sums, seed)).assign(_patching(sums, seed, n_permutations))
    summary = summary.assign_coords(level=sums["level"], record=sums["record"])
    counts = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum()), "n_twins": len(twins)}
    return summary.assign_attrs(sums.attrs, n_pairs=int(sums["n_pairs"].sum()), **counts)


def _per_record(sums: xr.Dataset) -> xr.Dataset:
    """Each record's means over the tokens of each output, NaN where it has none; beats less elsewhere as an output of its own."""
    means = sums[[*DIRECT, "lens_logit"]] / sums["n_tokens"].where(sums["n_tokens"] > 0)
    if not set(CONTRAST) <= set(means["output"].values):
        return means
    beat, elsewhere = (means.sel(output=name, drop=True) for name in CONTRAST)
    difference = (beat - elsewhere).expand_dims(output=["difference"])
    return xr.concat([difference, means], dim="output", join="exact").transpose("record", "output", ...)


def _direct(means: xr.Dataset, twins: list[xr.Dataset], seed: int, n_permutations: int) -> xr.Dataset:
    """Every term's mean with its test, and its part of the variation between records; the whole."""
    flat = _flat(means)
    mean, (low, high) = _mean(flat), _interval(flat, seed)
    p_value = p_values_of_change(flat, seed=seed, n_permutations=n_permutations)
    found = {"": mean, "_low": low, "_high": high, "_p_value": p_value, "_q_value": q_values(p_value), **_variation(flat, seed)}
    summary = xr.Dataset({f"{name}{key}": each for key, values in found.items() for name, each in _split(values, means).items()})
    of_twins = [_split(_mean(_flat(twin)), twin) for twin in twins]
    for name in DIRECT:
        largest = np.array([_largest(twin[name]) for twin in of_twins]).reshape(len(twins), means.sizes["output"])
        summary[f"{name}_null_high"] = ("output", upper_quantile(largest))
        beyond = _beyond(summary, name, summary[f"{name}_null_high"])
        summary[f"{name}_survives"] = (summary[f"{name}_q_value"] < ALPHA) & beyond
    logit = flat.sum(axis=-1)
    of_logit = dict(zip(("logit_low", "logit_high"), _interval(logit, seed), strict=True))
    summary = summary.assign({name: ("output", values) for name, values in {"logit": _mean(logit), **of_logit}.items()})
    return summary.assign(n_records_with=("output", np.isfinite(logit).sum(axis=0)))


def _beyond(summary: xr.Dataset, name: str, limit: xr.DataArray) -> xr.DataArray:
    return (summary[f"{name}_low"] > limit) | (summary[f"{name}_high"] < -limit)


def _largest(values: xr.DataArray) -> np.ndarray:
    """Of each output the largest absolute value of any part."""
    return np.abs(values.values).reshape(values.sizes["output"], -1).max(axis=-1)


def _flat(means: xr.Dataset) -> Float[np.ndarray, "record output part"]:
    shape = (means.sizes["record"], means.sizes["output"], -1)
    return np.concatenate(
        [means[name].transpose("record", "output", *axes).values.reshape(shape) for name, axes in DIRECT.items()], axis=-1
    )


def _split(values: Float[np.ndarray, "output part"], means: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """The parts under their names and axes again."""
    found: dict[Hashable, xr.DataArray] = {}
    first = 0
    for name, axes in DIRECT.items():
        like = means[name].transpose("record", "output", *axes).isel(record=0, drop=True)
        n_parts = like.size // like.sizes["output"]
        found[name] = like.copy(data=values[:, first : first + n_parts].reshape(like.shape))
        first += n_parts
    return found


def _mean(values: ByRecord) -> np.ndarray:
    known = np.isfinite(values)
    return over(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _interval(values: ByRecord, seed: int) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(values)
    return interval_over_records(np.where(known, values, 0.0), known.astype(float), seed=seed)


def _variation(values: Float[np.ndarray, "record output part"], seed: int) -> Numbers:
    """The covariance of each term with the whole, over the whole's variance; NaN with fewer than three records."""
    whole = values.sum(axis=-1, keepdims=True)
    known = np.isfinite(whole)
    apart, whole_apart = (np.where(known, each - _mean(each), 0.0) for each in (values, whole))
    top, bottom = apart * whole_apart, np.broadcast_to(whole_apart**2, values.shape)
    enough = np.broadcast_to(known.sum(axis=0) >= 3, values.shape[1:])
    found = (over(top.sum(axis=0), bottom.sum(axis=0)), *interval_over_records(top, bottom.copy(), seed=seed))
    return dict(zip(("_variation", "_variation_low", "_variation_high"), (np.where(enough, each, np.nan) for each in found), strict=True))


def _lens(means: xr.Dataset, sums: xr.Dataset, seed: int) -> dict[str, Any]:
    """What the lens reads at each level, with its interval; and the cross-entropy there, of models that predict tokens."""
    found = {"lens_logit": means["lens_logit"].transpose("record", "output", "level")}
    if sums.attrs["reads"] == "next token":
        found["lens_cross_entropy"] = (sums["lens_cross_entropy"] / sums["n_windows"]).transpose("record", "level")
    named: dict[str, Any] = {}
    for name, values in found.items():
        low, high = _interval(values.values, seed)
        axes = values.dims[1:]
        named |= {name: (axes, _mean(values.values)), f"{name}_low": (axes, low), f"{name}_high": (axes, high)}
    return named


def _patching(sums: xr.Dataset, seed: int, n_permutations: int) -> dict[str, Any]:
    """Both kinds of patching as parts of the whole change, exact ones with a test, and how far they rank the heads alike."""
    whole = np.asarray(sums["patched_difference"].values)
    named: dict[str, Any] = {}
    known, exact = whole > 0, {}
    for name in ("activation", *ESTIMATES):
        for part, axes in PATCHED.items():
            top = sums[f"{name}{part}"].transpose("record", *axes).values
            bottom = np.broadcast_to(whole.reshape(-1, *(1 for _ in axes)), top.shape)
            low, high = interval_over_records(top, bottom.copy(), seed=seed)
            named |= {f"{name}{part}": (axes, over(top.sum(axis=0), bottom.sum(axis=0)))}
            named |= {f"{name}{part}_low": (axes, low), f"{name}{part}_high": (axes, high)}
            if name == "activation":
                changed = np.where(known.reshape(-1, *(1 for _ in axes)), top, np.nan)
                exact[part] = p_values_of_change(changed, seed=seed, n_permutations=n_permutations)
    q_value = q_values(np.concatenate([p.ravel() for p in exact.values()]))
    for (part, axes), q in zip(PATCHED.items(), np.split(q_value, [exact["_patching"].size]), strict=True):
        named |= {f"activation{part}_p_value": (axes, exact[part]), f"activation{part}_q_value": (axes, q.reshape(exact[part].shape))}
    named["record_change"] = ("record", np.where(known, over(whole, sums["n_pairs"].values), np.nan))
    of_known = sums.isel(record=np.flatnonzero(known))
    return named | _agreement(of_known, "attribution", "", seed) | _agreement(of_known, "gradient", "_gradient", seed)


def _agreement(sums: xr.Dataset, estimate: str, ending: str, seed: int) -> dict[str, Any]:
    """The rank correlation over heads between estimated and exact effects: of each record, their mean; and of the sums over records."""
    estimated, exact = (sums[f"{name}_patching"].transpose("record", ...).values for name in (estimate, "activation"))
    by_record = np.array([_spearman(*both) for both in zip(estimated, exact, strict=True)]).reshape(-1, 1)
    low, high = _interval(by_record, seed) if len(by_record) else (np.full(1, np.nan),) * 2
    found = {"": _mean(by_record)[0], "_low": low[0], "_high": high[0], "_of_sums": _spearman(estimated.sum(axis=0), exact.sum(axis=0))}
    return {f"rank_agreement{ending}{key}": float(number) for key, number in found.items()}


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where either side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)
