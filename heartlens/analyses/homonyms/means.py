"""From a tally of homonyms to its numbers: each record's ratios, their means with intervals and nulls, the test, the growth with depth."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.inference.intervals import mean_interval
from heartlens.measures.homonyms import COUNTED_BY
from heartlens.measures.resample import rotation_p_values


def per_record(sums: xr.Dataset) -> xr.Dataset:
    """Each record's ratios, NaN where it has none of what is counted.

    `effect`: cosine within less cosine between, less the mean of the same under shuffled labels. That mean is not 0: values that one
    label has almost to itself give many pairs within and few between, and their vectors may be alike for another reason.
    """
    counts = COUNTED_BY | {"cosine_random": "n_random"}
    ratios = xr.Dataset({name: sums[name] / sums[count].where(sums[count] > 0) for name, count in counts.items() if name in sums})
    apart = ratios["cosine_within"] - ratios["cosine_between"]
    ratios["effect"] = apart - apart.isel(shuffle=slice(1, None)).mean("shuffle", skipna=False)
    return ratios.assign({f"pairs_{name}": sums[f"n_{name}"].isel(shuffle=0, drop=True) for name in ("within", "between")})


def means(ratios: xr.Dataset) -> xr.Dataset:
    """Each statistic's mean over records with its interval, its mean under shuffled labels, and what it was taken over."""
    observed, drawn = ratios.isel(shuffle=0, drop=True), ratios.isel(shuffle=slice(1, None))
    summary = xr.Dataset({"cosine_random": observed["cosine_random"].mean("record")})
    for name in COUNTED_BY:
        summary = summary.assign(with_interval(name, observed[name]))
        summary[f"{name}_null"] = drawn[name].mean("record").mean("shuffle")
    summary = summary.assign(with_interval("effect", observed["effect"]))
    summary = summary.assign({name: observed[name].sum("record") for name in ("pairs_within", "pairs_between")})
    summary["records_with_pairs"] = observed["effect"].isel(level=0, drop=True).notnull().sum("record")
    return summary.transpose("level", "label", ...)


def with_interval(name: str, values: xr.DataArray) -> dict[Hashable, Any]:
    """The mean over the records that have a value, with the ends of its interval as `_low` and `_high`."""
    axes = ("record", *(str(axis) for axis in values.dims if axis != "record"))
    values = values.transpose(*axes)
    mean = values.mean("record")
    low, high = mean_interval(values.values)
    return {name: mean, f"{name}_low": mean.copy(data=low), f"{name}_high": mean.copy(data=high)}


def shuffle_p_values(effect: xr.DataArray, seed: int, n_permutations: int) -> Float[np.ndarray, "level label"]:
    """How often shuffled labels reach the effect; 2 is added to it, since the test takes ratios above 0 and an effect may be negative."""
    effect = effect.transpose("record", "shuffle", "level", "label")
    has_effect = effect.notnull().all("shuffle").expand_dims(shuffle=effect["shuffle"], axis=1)
    top = (effect + 2).where(has_effect, 0).values
    return rotation_p_values(top, has_effect.astype(float).values, seed=seed, n_permutations=n_permutations)


def growth(effect: xr.DataArray) -> dict[Hashable, Any]:
    """How much the effect grows from the embedding to the last block, by how much a level (least squares), and in the last block."""
    effect = effect.transpose("record", "label", "level")
    change = effect.diff("level")
    step = np.arange(effect.sizes["level"]) - (effect.sizes["level"] - 1) / 2
    trend = (effect * step).sum("level", skipna=False) / (step**2).sum()
    whole, last = change.sum("level", skipna=False), change.isel(level=-1, drop=True)
    return with_interval("growth", whole) | with_interval("trend", trend) | with_interval("last_step", last)
