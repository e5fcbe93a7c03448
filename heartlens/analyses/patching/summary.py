"""The numbers of a patching, means over records in the readout's unit, and what is concluded of the difference and of each head.

Nothing is projected on the sign of a record's own difference: an edit that moves the readout either way at random would then seem to be
carried by every head that adds to that randomness, and its control would not.
"""

from collections.abc import Mapping
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
ByRecord = Float[np.ndarray, "record *effect"]


def summarized(
    sums: xr.Dataset, on_twin_windows: xr.Dataset, twins: Mapping[str, xr.Dataset], seed: int, n_permutations: int
) -> xr.Dataset:
    """The summary of the sums by record, of the model's on the twins' windows and of the twins'. Refuses sums without a pair."""
    if not float(sums["n_pairs"].sum()):
        raise Refusal(f"no window has the landmarks that {sums.attrs['counterfactual']} and {sums.attrs['readout']} need; none was patched")
    paired = sums.isel(record=np.flatnonzero(sums["n_pairs"].values > 0))
    means = _by_record(paired)
    n_records, has_control = paired.sizes["record"], bool((paired["n_controls"] == paired["n_pairs"]).all())
    if not has_control:
        means |= {name: np.full_like(means[name], np.nan) for name in ("control", "control_effect")}
    flipped = partial(p_values_of_change, seed=seed, n_permutations=n_permutations)
    whole = means["clean"] - means["corrupt"]
    of_control = means["clean"] - means["control"]
    numbers = mean_and_interval("difference", (), whole) | mean_and_interval("control_difference", (), of_control)
    numbers |= mean_and_interval("difference_beyond_control", (), whole - of_control)
    numbers |= {"record_difference": ("record", whole), "difference_p_value": float(flipped(whole[:, None])[0])}
    numbers |= {f"{name}_readout": means[name].mean() for name in ("clean", "corrupt", "control")}
    model_reaches, twin_reaches = _reaches(on_twin_windows), [_reaches(twin) for twin in twins.values()]
    for index, name in enumerate(("difference", "effect")):
        numbers[f"twin_{name}_reach"] = ("twin", np.array([np.max(of_twin[index]) for of_twin in twin_reaches], float))
    coords = {str(axis): place for axis, place in paired.coords.items() if axis != "side"}
    summary = xr.Dataset(numbers, coords=coords | {"twin": list(twins)})
    unit = unit_of(sums.attrs["readout"])
    moves = replace(MOVES, unit=unit, smallest=SMALLEST_CHANGE[unit])
    controls = [(summary["difference_beyond_control_low"], summary["difference_beyond_control_high"])]
    among = Among(xr.DataArray(model_reaches[0]), summary["twin_difference_reach"])
    effect, low, high = (summary[f"difference{end}"] for end in ("", "_low", "_high"))
    summary = summary.assign(
        decide(moves, effect, low, high, n_units=n_records, q_value=summary["difference_p_value"], controls=controls, twins=among)
    )

    is_shown = bool(is_yes(summary, "moves"))
    bottom = whole if is_shown else np.full_like(whole, np.nan)
    numbers = {}
    for name, axes in AXES_OF.items():
        numbers |= mean_and_interval(name, axes, means[name]) | _parts(name, axes, means[name], bottom)
        numbers[f"{name}_p_value"] = (axes, flipped(means[name]))
    at_all = list(summary["place"].values).index(WHOLE)
    beyond = means["effect"][..., at_all] - means["control_effect"]
    numbers |= mean_and_interval("beyond_control", ("layer", "head"), beyond)
    p_value = np.maximum(numbers["effect_p_value"][1][..., at_all], flipped(beyond))  # of both demands, so that both are corrected
    numbers["carries_q_value"] = (("layer", "head"), q_values(p_value))
    summary = summary.assign(numbers)
    towards = np.sign(whole.mean())
    ends = (towards * summary["beyond_control_low"], towards * summary["beyond_control_high"])
    controls = [ends if towards > 0 else ends[::-1]]
    among = Among(xr.DataArray(model_reaches[1], dims=("layer", "head")), summary["twin_effect_reach"])
    effect, low, high = (summary[f"effect_part{end}"].sel(place=WHOLE, drop=True) for end in ("", "_low", "_high"))
    summary = summary.assign(
        decide(CARRIES, effect, low, high, n_units=n_records, q_value=summary["carries_q_value"], controls=controls, twins=among)
    )

    carries = is_yes(summary, "carries").values
    tested = {
        "effect": carries[..., None] & (summary["place"].values != WHOLE),
        "direct": carries,
        "path": carries & (means["path"] != 0).any(axis=0),
        "stream": np.broadcast_to(summary["place"].values != WHOLE, (summary.sizes["level"], summary.sizes["place"])),
        "stream_back": np.ones((summary.sizes["level"], summary.sizes["lag"]), bool),
    }
    for name, claim in (OF_CARRIERS | OF_STREAM).items():
        q_value = q_values(np.where(tested[name] & is_shown, summary[f"{name}_p_value"].values, np.nan))
        summary[f"{claim.name}_q_value"] = (AXES_OF[name], q_value)
        effect, low, high = (summary[f"{name}_part{end}"] for end in ("", "_low", "_high"))
        summary = summary.assign(decide(claim, effect, low, high, n_units=n_records, q_value=summary[f"{claim.name}_q_value"]))
    if "cross_model" in means:  # each part's share of the fine-tuned logit, and of its difference between clean and corrupt
        shares, base = means["cross_model"], means["base_logit"]
        summary = summary.assign_coords(side=["clean", "difference"])
        summary = summary.assign(
            mean_and_interval("cross_model", ("side", "swapped"), np.stack([shares[:, 0], shares[:, 0] - shares[:, 1]], axis=1))
        )
        summary["base_logit"] = ("side", np.array([base[:, 0].mean(), (base[:, 0] - base[:, 1]).mean()]))
    lacking = sums["record"].values[sums["n_pairs"].values == 0]
    for what in ("pairs", "unchanged"):
        summary[f"n_{what}"] = int(sums[f"n_{what}"].sum())
    return summary.assign_attrs(
        sums.attrs,
        unit=unit,
        n_records=n_records,
        n_windows=int(sums["n_pairs"].sum()),
        n_windows_given=int(sums["n_windows"].sum()),
        records_without_pairs="\n".join(map(str, lacking)),
    )


def drawn_as(summary: xr.Dataset) -> tuple[str, str]:
    """The end of an effect's name in the summary, and its unit: part of the difference where that is shown, else the readout's unit."""
    return ("_part", "part of the difference") if bool(is_yes(summary, "moves")) else ("", f"effect ({summary.attrs['unit']})")


def _by_record(paired: xr.Dataset) -> dict[str, ByRecord]:
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
