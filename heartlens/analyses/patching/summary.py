"""The numbers of a patching, means over records in the readout's unit, and what is concluded of the difference and of each head.

Nothing is projected on the sign of a record's own difference: an edit that moves the readout either way at random would then seem to be
carried by every head that adds to that randomness, and its control would not.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.patching.effects import AXES_OF
from heartlens.analyses.patching.readouts import unit_of
from heartlens.inference.intervals import fieller_interval, mean_and_interval, mean_interval
from heartlens.inference.paired import p_values_of_change
from heartlens.inference.verdict import SMALLEST_CHANGE, Among, Claim, decide, is_yes, reach
from heartlens.measures.resample import q_values
from heartlens.refusal import Refusal

WHOLE = "all"  # the place that is the whole window
ROUNDING = 1e-6  # effects smaller than this, of the readouts, are what float32 rounds off


def _of_part(name: str, text: str, family: str) -> Claim:
    """A claim of a part of the difference, of either sign; a tenth is of interest."""
    return Claim(name, text, "part of the difference", 0.1, family, either=True)


MOVES = Claim(
    "moves",
    "the counterfactual moves the readout, more than the control edit does and than it moves models that learnt nothing",
    unit="readout",
    smallest=float("nan"),
    family="one question",
    either=True,
)
CARRIES = _of_part(
    "carries",
    "the head's output carries part of the difference, more than of the control edit's and than heads of models that learnt nothing do",
    "all heads",
)
OF_CARRIERS = {
    "effect": _of_part("at_wave", "the head carries part of it at the tokens of the wave", "heads that carry it x waves"),
    "direct": _of_part("direct", "the head hands part of it straight to the output", "heads that carry it"),
    "path": _of_part("path", "the head hands part of it to this input of the receiver", "heads that carry it x Q, K, V"),
}
OF_STREAM = {
    "stream": _of_part("in_stream", "the stream at the tokens of the wave holds part of it", "levels x waves"),
    "stream_back": _of_part("in_cycle", "the stream at the tokens of the cycle holds part of it", "levels x cycles"),
}
OF_TWINS = ("clean", "corrupt", "effect", "n_pairs")
ENDS = ("", "_low", "_high")  # of the names of an estimate and of its interval
ByRecord = Float[np.ndarray, "record *effect"]
Means = dict[str, ByRecord]
PValues = Callable[[ByRecord], Any]


def summarized(
    sums: xr.Dataset, on_twin_windows: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int, n_permutations: int
) -> xr.Dataset:
    """The summary of the sums by record, of the model's on the twins' windows and of the twins'. Refuses sums without a pair."""
    if not float(sums["n_pairs"].sum()):
        raise Refusal(f"no window has the landmarks that {sums.attrs['counterfactual']} and {sums.attrs['readout']} need; none was patched")
    paired = sums.isel(record=np.flatnonzero(sums["n_pairs"].values > 0))
    means = _by_record(paired)
    if not (paired["n_controls"] == paired["n_pairs"]).all():
        means |= {name: np.full_like(means[name], np.nan) for name in ("control", "control_effect")}
    p_values = partial(p_values_of_change, seed=seed, n_permutations=n_permutations)
    difference_reach, effect_reach = _reaches(on_twin_windows)
    n_twin_units = int((on_twin_windows["n_pairs"] > 0).sum())
    coords = {str(axis): place for axis, place in paired.coords.items() if axis != "side"}
    summary = xr.Dataset(coords=coords | {"twin": list(twins)}).assign_attrs(
        sums.attrs, readout_unit=unit_of(sums.attrs["readout"]), n_records=paired.sizes["record"], n_twin_records=n_twin_units
    )
    summary = _with_difference(summary, means, difference_reach, [_reaches(twin) for twin in twins.values()], p_values)
    summary = _with_effects(summary, means, effect_reach, p_values)
    summary = _with_parts_of_heads_and_stream(summary, means)
    if "cross_model" in means:
        summary = _with_cross_model(summary, means)
    lacking = sums["record"].values[sums["n_pairs"].values == 0]
    for what in ("pairs", "unchanged"):
        summary[f"n_{what}"] = int(sums[f"n_{what}"].sum())
    return summary.assign_attrs(
        n_windows=int(sums["n_pairs"].sum()),
        n_windows_given=int(sums["n_windows"].sum()),
        records_without_pairs="\n".join(map(str, lacking)),
    )


def _with_difference(
    summary: xr.Dataset, means: Means, model_reach: Any, twin_reaches: list[tuple[Any, Any]], p_values: PValues
) -> xr.Dataset:
    """The summary with the difference between clean and counterfactual, that of the control, and whether the readout moves."""
    whole, of_control = means["clean"] - means["corrupt"], means["clean"] - means["control"]
    numbers = mean_and_interval("difference", (), whole) | mean_and_interval("control_difference", (), of_control)
    numbers |= mean_and_interval("difference_beyond_control", (), whole - of_control)
    numbers |= {"record_difference": ("record", whole), "difference_p_value": float(p_values(whole[:, None])[0])}
    numbers |= {f"{name}_readout": means[name].mean() for name in ("clean", "corrupt", "control")}
    for index, name in enumerate(("difference", "effect")):
        numbers[f"twin_{name}_reach"] = ("twin", np.array([np.max(reaches[index]) for reaches in twin_reaches], float))
    summary = summary.assign(numbers)
    unit = summary.attrs["readout_unit"]
    return summary.assign(
        decide(
            replace(MOVES, unit=unit, smallest=SMALLEST_CHANGE[unit]),
            *(summary[f"difference{end}"] for end in ENDS),
            n_units=summary.attrs["n_records"],
            q_value=summary["difference_p_value"],
            controls=[(summary["difference_beyond_control_low"], summary["difference_beyond_control_high"])],
            twins=Among(xr.DataArray(model_reach), summary["twin_difference_reach"], summary.attrs["n_twin_records"]),
        )
    )


def _with_effects(summary: xr.Dataset, means: Means, model_reach: Any, p_values: PValues) -> xr.Dataset:
    """The summary with every effect of patching, as a part of the difference too where that is shown, and which heads carry it."""
    whole = means["clean"] - means["corrupt"]
    bottom = whole if is_yes(summary, "moves") else np.full_like(whole, np.nan)
    numbers: dict[str, Any] = {}
    for name, axes in AXES_OF.items():
        numbers |= mean_and_interval(name, axes, means[name]) | _parts(name, axes, means[name], bottom)
        numbers[f"{name}_p_value"] = (axes, p_values(means[name]))
    at_all = list(summary["place"].values).index(WHOLE)
    beyond = means["effect"][..., at_all] - means["control_effect"]
    numbers |= mean_and_interval("beyond_control", ("layer", "head"), beyond)
    p_value = np.maximum(numbers["effect_p_value"][1][..., at_all], p_values(beyond))  # of both demands, so that both are corrected
    numbers["carries_q_value"] = (("layer", "head"), q_values(p_value))
    summary = summary.assign(numbers)
    towards = np.sign(whole.mean())
    ends = (towards * summary["beyond_control_low"], towards * summary["beyond_control_high"])
    return summary.assign(
        decide(
            CARRIES,
            *(summary[f"effect_part{end}"].sel(place=WHOLE, drop=True) for end in ENDS),
            n_units=summary.attrs["n_records"],
            q_value=summary["carries_q_value"],
            controls=[ends if towards > 0 else ends[::-1]],
            twins=Among(xr.DataArray(model_reach, dims=("layer", "head")), summary["twin_effect_reach"], summary.attrs["n_twin_records"]),
        )
    )


def _with_parts_of_heads_and_stream(summary: xr.Dataset, means: Means) -> xr.Dataset:
    """The summary with what heads that carry the difference do by wave and by path, and what the stream holds of it by level."""
    carries, is_wave = is_yes(summary, "carries").values, summary["place"].values != WHOLE
    tested = {
        "effect": carries[..., None] & is_wave,
        "direct": carries,
        "path": carries & (means["path"] != 0).any(axis=0),
        "stream": np.broadcast_to(is_wave, (summary.sizes["level"], summary.sizes["place"])),
        "stream_back": np.ones((summary.sizes["level"], summary.sizes["lag"]), bool),
    }
    for name, claim in (OF_CARRIERS | OF_STREAM).items():
        is_tested = tested[name] & bool(is_yes(summary, "moves"))
        q_value = q_values(np.where(is_tested, summary[f"{name}_p_value"].values, np.nan))
        summary[f"{claim.name}_q_value"] = (AXES_OF[name], q_value)
        effect = (summary[f"{name}_part{end}"] for end in ENDS)
        summary = summary.assign(decide(claim, *effect, n_units=summary.attrs["n_records"], q_value=summary[f"{claim.name}_q_value"]))
    return summary


def _with_cross_model(summary: xr.Dataset, means: Means) -> xr.Dataset:
    """The summary with each part's share of the fine-tuned logit, and of its difference between clean and counterfactual."""
    shares, base = means["cross_model"], means["base_logit"]
    by_side = np.stack([shares[:, 0], shares[:, 0] - shares[:, 1]], axis=1)
    summary = summary.assign_coords(side=["clean", "difference"]).assign(mean_and_interval("cross_model", ("side", "swapped"), by_side))
    summary["base_logit"] = ("side", np.array([base[:, 0].mean(), (base[:, 0] - base[:, 1]).mean()]))
    return summary


def drawn_as(summary: xr.Dataset) -> tuple[str, str]:
    """The end of an effect's name in the summary, and its unit: part of the difference where that is shown, else the readout's unit."""
    return ("_part", "part of the difference") if bool(is_yes(summary, "moves")) else ("", f"effect ({summary.attrs['readout_unit']})")


def _by_record(paired: xr.Dataset) -> Means:
    """The means over each record's pairs. Effects count towards the clean readout, and are 0 where they are what float32 rounds off."""
    order = AXES_OF | {"cross_model": ("side", "swapped"), "base_logit": ("side",)}
    n_pairs, means = paired["n_pairs"].values, {}
    for name in map(str, paired.data_vars):
        values = paired[name].transpose("record", *order.get(name, ())).values
        means[name] = values / n_pairs.reshape(-1, *(1 for _ in values.shape[1:]))
    size = np.abs(means["clean"]) + np.abs(means["corrupt"])
    for name in AXES_OF.keys() & means.keys():
        effect = means[name] if paired.attrs["direction"] == "denoise" else -means[name]
        means[name] = np.where(np.abs(effect) > ROUNDING * size.reshape(-1, *(1 for _ in effect.shape[1:])), effect, 0.0)
    return means


def _parts(name: str, axes: tuple[str, ...], values: ByRecord, whole: Float[np.ndarray, " record"]) -> dict[str, Any]:
    """The ratio of an effect's mean to the difference's, with Fieller's interval; NaN where the difference is."""
    bottom = np.broadcast_to(whole.reshape(-1, *(1 for _ in values.shape[1:])), values.shape)
    low, high = fieller_interval(values, bottom)
    part = values.mean(axis=0) / whole.mean()
    return {f"{name}_part": (axes, part), f"{name}_part_low": (axes, low), f"{name}_part_high": (axes, high)}


def _reaches(sums: xr.Dataset) -> tuple[Any, Any]:
    """How far the intervals of the difference and of each head's effect (layer, head) lie beyond 0; NaN with fewer than two records."""
    paired = sums.isel(record=np.flatnonzero(sums["n_pairs"].values > 0))
    means = _by_record(paired[list(OF_TWINS)])
    heads = means["effect"][..., list(paired["place"].values).index(WHOLE)]
    return reach(MOVES, *mean_interval(means["clean"] - means["corrupt"])), reach(CARRIES, *mean_interval(heads))
