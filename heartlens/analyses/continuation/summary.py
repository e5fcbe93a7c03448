"""The numbers of a continuation: effects of heads, MLPs and layers, what is concluded of each, and whether the model keeps the rhythm."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.continuation import claims
from heartlens.inference import paired
from heartlens.inference.intervals import change_interval
from heartlens.inference.peers import excess_over_peers
from heartlens.inference.verdict import concatenated, decide
from heartlens.measures.resample import over, q_values

DECIDING = "period_kept"  # the readout that the findings are about: it counts every continuation, also one without any rhythm
PARTS = {"ablated": ("", ("layer", "head")), "mlp_ablated": ("mlp_", ("layer",)), "layer_ablated": ("layer_", ("layer",))}
SIDES = ("intact", "again", "others", "prompt", "real")  # the intact model, and what it is held against

Pair = Float[np.ndarray, "2 record ... readout"]  # top and count
Arrays = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record."""
    everyone = np.zeros(sums.sizes["record"], int)
    draws, untested = (paired.draws(everyone, seed=seed, n_permutations=n) for n in (n_permutations, 1))
    intact, again, others = (_pair(sums, side) for side in ("intact", "again", "others"))
    smallest, units = zip(*(claims.SMALLEST[str(readout)] for readout in sums["readout"].values), strict=True)
    summary = xr.Dataset({"smallest": ("readout", list(smallest)), "unit": ("readout", list(units))})
    summary = summary.assign_coords({name: sums[name] for name in ("readout", "layer", "head")})
    for side in SIDES:
        summary = summary.assign(_valued(side, _pair(sums, side)))
    summary["n_records_with"] = ("readout", (intact[1] > 0).sum(axis=0))
    for prefix, tests in (
        ("null_", _changes(intact, again[:, :, None], draws)),
        ("beyond_others_", _changes(others, intact[:, :, None], draws)),
    ):
        summary = summary.assign({f"{prefix}{name}": ("readout", values[0]) for name, values in tests.items()})
    n_compared = ((intact[1] > 0) & (others[1] > 0)).sum(axis=0)[list(sums["readout"].values).index(DECIDING)]
    kept = [summary[f"beyond_others_effect{end}"].sel(readout=DECIDING, drop=True) for end in ("", "_low", "_high")]
    summary = summary.assign(decide(claims.KEEPS, *kept, n_units=n_compared))
    for name, (prefix, axes) in ((name, part) for name, part in PARTS.items() if name in sums):
        pair = _pair(sums, name)
        tests = _changes(intact, pair, draws)
        beyond_null = _changes(again, pair, untested)
        tests |= {f"beyond_null_{end}": beyond_null[f"effect_{end}"] for end in ("low", "high")}
        tests["q_value"] = np.stack([q_values(family) for family in tests["p_value"].T], axis=1)
        if name == "ablated":
            norm = (sums["norm"].sum("record") / sums["n_windows"].sum()).transpose(*axes)
            excess = excess_over_peers(tests["effect"], tests["error"], norm.values.ravel())
            tests |= {"expected": excess.expected, "excess_low": excess.low, "excess_high": excess.high}
            summary["norm"] = norm
        shape = (-1, *(sums.sizes[axis] for axis in axes))
        placed = {f"{prefix}{key}": (("readout", *axes), np.moveaxis(values, -1, 0).reshape(shape)) for key, values in tests.items()}
        summary = summary.assign(placed)
        summary = summary.assign(_answers(summary, prefix))
    counted = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum())}
    return summary.assign_attrs(sums.attrs, **counted)


def has_parts(summary: xr.Dataset) -> bool:
    """Whether parts were replaced, and not only the intact model asked."""
    return "effect" in summary


def _answers(summary: xr.Dataset, prefix: str) -> xr.Dataset:
    """Which parts change each readout, and which heads matter to it."""
    changing, mattering = [], []
    for readout in map(str, summary["readout"].values):
        at = summary.sel(readout=readout)
        effect, low, high = (at[f"{prefix}effect{end}"] for end in ("", "_low", "_high"))
        beyond_null = (at[f"{prefix}beyond_null_low"], at[f"{prefix}beyond_null_high"])
        asked: dict[str, Any] = {"n_units": at["n_records_with"], "q_value": at[f"{prefix}q_value"]}
        changing.append(decide(claims.changes(readout, prefix), effect, low, high, controls=[beyond_null], **asked))
        if not prefix:
            controls = [beyond_null, (at["excess_low"], at["excess_high"])]
            mattering.append(decide(claims.matters(readout), effect, low, high, controls=controls, **asked))
    answers = concatenated(changing, "readout")
    return answers.assign(concatenated(mattering, "readout")) if mattering else answers


def _pair(sums: xr.Dataset, name: str) -> Pair:
    """Top and count, (2, record, variant if it has any, readout)."""
    both = np.stack([sums[each].transpose("record", ..., "readout").values for each in (name, f"{name}_count")])
    return both.reshape(*both.shape[:2], -1, both.shape[-1]) if both.ndim > 3 else both


def _valued(side: str, pair: Pair) -> dict[str, Any]:
    """A side's ratio of sums with its interval over records, and how often each readout could be taken."""
    low, high = change_interval(*pair)
    named = {side: over(*pair.sum(axis=1)), f"{side}_low": low, f"{side}_high": high, f"{side}_count": pair[1].sum(axis=0)}
    return {name: ("readout", values) for name, values in named.items()}


def _changes(before: Pair, after: Pair, draws: paired.Draws) -> Arrays:
    """Value, effect with its standard error and interval, and p of variants (variant, readout) against `before`."""
    n_variants, n_readouts = after.shape[2:]
    changes = [
        [paired.change(paired.ratio(*np.stack([before[..., k], after[:, :, v, k]], axis=1)), draws) for k in range(n_readouts)]
        for v in range(n_variants)
    ]
    names = {"value": "after", "effect": "effect", "error": "error", "effect_low": "low", "effect_high": "high", "p_value": "p_value"}
    arrays = {name: np.array([[getattr(change, attribute) for change in row] for row in changes]) for name, attribute in names.items()}
    arrays["effect"] = paired.settled(arrays["value"], arrays["value"] - arrays["effect"])
    return arrays
