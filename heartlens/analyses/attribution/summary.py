"""The numbers of an attribution: means over records and what is concluded of each part, the lens by level, and both kinds of patching."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from heartlens.analysis import Beside
from heartlens.inference.intervals import change_interval, mean_interval
from heartlens.inference.nulls import in_spreads
from heartlens.inference.paired import p_values_of_change
from heartlens.inference.verdict import Among, Claim, concatenated, decide, reach
from heartlens.measures.resample import known_mean, over, q_values
from heartlens.refusal import Refusal

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
CALLED = {"": "heads", "_mlp": "MLPs"}
CHANGE = Claim(
    "change",
    "a window of another person changes the output",
    unit="logits",
    null=0.25,
    smallest=0.0,
    family="the whole change alone",
)


def adds(name: str) -> Claim:
    """One kind of part of the sum (`name` of DIRECT) adds to the output or takes from it."""
    kind = name.removeprefix("direct").replace("_", " ").strip() or "head"
    family = f"all parts of this kind ({kind}), of all outputs, each beside what twins reach at that output"
    return Claim(name, f"the part ({kind}) adds to the output", "logits", 0.25, family, either=True)


def carries(part: str) -> Claim:
    """Heads or MLPs carry what a window of another person changes."""
    text = "the part carries what a window of another person changes in the output"
    return Claim(f"activation{part}", text, "part of the whole change", 0.05, f"all {CALLED[part.removeprefix('_patching')]}", either=True)


ByRecord = Float[np.ndarray, "record ..."]
Numbers = dict[str, np.ndarray]


def summarized(sums: xr.Dataset, other: Beside, seed: int, n_permutations: int) -> xr.Dataset:
    """The summary of the sums by record. Refuses sums without a single token that an output is read at."""
    if not float(sums["n_tokens"].sum()):
        raise Refusal("no token is known at which the output is read; give records with landmarks, or --landmarks detected")
    means = _per_record(sums)
    summary = _direct(means, other, seed, n_permutations)
    summary = summary.assign(_lens(means, sums)).assign(_patching(sums, seed, n_permutations))
    summary = summary.assign(_carrying(summary, sums))
    summary = summary.assign_coords(level=sums["level"], record=sums["record"])
    counts = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum()), "n_twins": len(other.twins)}
    return summary.assign_attrs(sums.attrs, n_pairs=int(sums["n_pairs"].sum()), **counts)


def _per_record(sums: xr.Dataset) -> xr.Dataset:
    """Each record's means over the tokens of each output, NaN where it has none; beats less elsewhere as an output of its own."""
    means = sums[[*DIRECT, "lens_logit"]] / sums["n_tokens"].where(sums["n_tokens"] > 0)
    if not set(CONTRAST) <= set(means["output"].values):
        return means
    beat, elsewhere = (means.sel(output=name, drop=True) for name in CONTRAST)
    difference = (beat - elsewhere).expand_dims(output=["difference"])
    return xr.concat([difference, means], dim="output", join="exact").transpose("record", "output", ...)


def _direct(means: xr.Dataset, other: Beside, seed: int, n_permutations: int) -> xr.Dataset:
    """Every term's mean with its test and what is concluded of it, and its part of the variation between records; the whole."""
    flat = _flat(means)
    mean, (low, high) = known_mean(flat), mean_interval(flat)
    p_value = p_values_of_change(flat, seed=seed, n_permutations=n_permutations)
    values = {"": mean, "_low": low, "_high": high, "_p_value": p_value, **_variation(flat)}
    summary = xr.Dataset({f"{name}{key}": each for key, numbers in values.items() for name, each in _split(numbers, means).items()})
    logit = flat.sum(axis=-1)
    of_logit = dict(zip(("logit", "logit_low", "logit_high"), (known_mean(logit), *mean_interval(logit)), strict=True))
    summary = summary.assign({name: ("output", numbers) for name, numbers in of_logit.items()})
    summary = summary.assign(n_records_with=("output", np.isfinite(logit).sum(axis=0)))
    on_twin_windows = means if other.model is None else _per_record(other.model.sums)
    model_reaches, twin_reaches = _reaches(on_twin_windows), [_reaches(_per_record(twin.sums)) for twin in other.twins.values()]
    n_units = np.isfinite(_flat(on_twin_windows).sum(axis=-1)).sum(axis=0)
    for name in DIRECT:
        p_values = summary[f"{name}_p_value"]
        families = p_values.values.reshape(len(p_values), -1)  # of each output one
        summary[f"{name}_q_value"] = p_values.copy(data=np.reshape([q_values(family) for family in families], p_values.shape))
        standing, largest = in_spreads(model_reaches[name], [twin[name] for twin in twin_reaches], over=DIRECT[name])
        answers = []
        for place, output in enumerate(map(str, summary["output"].values)):
            at = summary.sel(output=output)
            twins = Among(standing.sel(output=output), largest, n_units[place])
            effect, low_end, high_end = (at[f"{name}{end}"] for end in ("", "_low", "_high"))
            n_records, q_value = at["n_records_with"], at[f"{name}_q_value"]
            answers.append(decide(adds(name), effect, low_end, high_end, n_units=n_records, q_value=q_value, twins=twins))
        summary = summary.assign(concatenated(answers, "output"))
    return summary


def _reaches(means: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """How far each part's interval lies from 0, which is compared between the model and its twins."""
    low, high = mean_interval(_flat(means))
    return _split(reach(adds("direct"), low, high), means)


def _flat(means: xr.Dataset) -> Float[np.ndarray, "record output part"]:
    shape = (means.sizes["record"], means.sizes["output"], -1)
    return np.concatenate(
        [means[name].transpose("record", "output", *axes).values.reshape(shape) for name, axes in DIRECT.items()], axis=-1
    )


def _split(values: Float[np.ndarray, "output part"], means: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """The parts under their names and axes again."""
    parts: dict[Hashable, xr.DataArray] = {}
    first = 0
    for name, axes in DIRECT.items():
        like = means[name].transpose("record", "output", *axes).isel(record=0, drop=True)
        n_parts = like.size // like.sizes["output"]
        parts[name] = like.copy(data=values[:, first : first + n_parts].reshape(like.shape))
        first += n_parts
    return parts


def _variation(values: Float[np.ndarray, "record output part"]) -> Numbers:
    """The covariance of each term with the whole, over the whole's variance; NaN with fewer than three records."""
    whole = values.sum(axis=-1, keepdims=True)
    has_output = np.isfinite(whole)
    apart, whole_apart = (np.where(has_output, each - known_mean(each), 0.0) for each in (values, whole))
    top, bottom = apart * whole_apart, np.broadcast_to(whole_apart**2, values.shape)
    enough = np.broadcast_to(has_output.sum(axis=0) >= 3, values.shape[1:])
    numbers = (over(top.sum(axis=0), bottom.sum(axis=0)), *change_interval(top, bottom))
    return dict(zip(("_variation", "_variation_low", "_variation_high"), (np.where(enough, each, np.nan) for each in numbers), strict=True))


def _lens(means: xr.Dataset, sums: xr.Dataset) -> dict[str, Any]:
    """What the lens reads at each level, with its interval; and the cross-entropy there, of models that predict tokens."""
    by_level = {"lens_logit": means["lens_logit"].transpose("record", "output", "level")}
    if sums.attrs["reads"] == "next token":
        by_level["lens_cross_entropy"] = (sums["lens_cross_entropy"] / sums["n_windows"]).transpose("record", "level")
    named: dict[str, Any] = {}
    for name, values in by_level.items():
        low, high = mean_interval(values.values)
        axes = values.dims[1:]
        named |= {name: (axes, known_mean(values.values)), f"{name}_low": (axes, low), f"{name}_high": (axes, high)}
    return named


def _patching(sums: xr.Dataset, seed: int, n_permutations: int) -> dict[str, Any]:
    """Both kinds of patching as parts of the whole change, exact ones with a test, and how far they rank the heads alike."""
    whole = np.asarray(sums["patched_difference"].values)
    named: dict[str, Any] = {}
    is_changed, exact = whole > 0, {}
    for name in ("activation", *ESTIMATES):
        for part, axes in PATCHED.items():
            top = sums[f"{name}{part}"].transpose("record", *axes).values
            bottom = np.broadcast_to(whole.reshape(-1, *(1 for _ in axes)), top.shape)
            low, high = change_interval(top, bottom)
            named |= {f"{name}{part}": (axes, over(top.sum(axis=0), bottom.sum(axis=0)))}
            named |= {f"{name}{part}_low": (axes, low), f"{name}{part}_high": (axes, high)}
            if name == "activation":
                changed = np.where(is_changed.reshape(-1, *(1 for _ in axes)), top, np.nan)
                exact[part] = p_values_of_change(changed, seed=seed, n_permutations=n_permutations)
    for part, axes in PATCHED.items():
        named |= {f"activation{part}_p_value": (axes, exact[part]), f"activation{part}_q_value": (axes, q_values(exact[part]))}
    named["record_change"] = ("record", np.where(is_changed, over(whole, sums["n_pairs"].values), np.nan))
    of_changed = sums.isel(record=np.flatnonzero(is_changed))
    return named | _agreement(of_changed, "attribution", "") | _agreement(of_changed, "gradient", "_gradient")


def _carrying(summary: xr.Dataset, sums: xr.Dataset) -> xr.Dataset:
    """Whether a partner's window changes the output at all, by how much in the mean over records, and which parts carry that."""
    n_pairs = sums["n_pairs"].values
    by_record = np.where(n_pairs > 0, over(sums["patched_difference"].values, n_pairs), np.nan)[:, None]
    low, high = mean_interval(by_record)
    change = xr.Dataset({"change": known_mean(by_record)[0], "change_low": low[0], "change_high": high[0]})
    n_units = int((n_pairs > 0).sum())
    change = change.assign(decide(CHANGE, change["change"], change["change_low"], change["change_high"], n_units=n_units))
    for part in PATCHED:
        effect, low_end, high_end, q_value = (summary[f"activation{part}{end}"] for end in ("", "_low", "_high", "_q_value"))
        given = change["change_verdict"]
        change = change.assign(decide(carries(part), effect, low_end, high_end, n_units=n_units, q_value=q_value, given=given))
    return change


def _agreement(sums: xr.Dataset, estimate: str, ending: str) -> dict[str, Any]:
    """The rank correlation over heads between estimated and exact effects: of each record, their mean; and of the sums over records."""
    estimated, exact = (sums[f"{name}_patching"].transpose("record", ...).values for name in (estimate, "activation"))
    by_record = np.array([_spearman(*both) for both in zip(estimated, exact, strict=True)]).reshape(-1, 1)
    low, high = mean_interval(by_record)
    numbers = {
        "": known_mean(by_record)[0],
        "_low": low[0],
        "_high": high[0],
        "_of_sums": _spearman(estimated.sum(axis=0), exact.sum(axis=0)),
    }
    return {f"rank_agreement{ending}{key}": float(number) for key, number in numbers.items()}


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where either side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)
