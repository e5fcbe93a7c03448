"""What a head scan found, in words: which heads attend to which wave, how strongly, among how many, measured on what, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts, n_units
from heartlens.inference.verdict import ANSWERS, LEAST_UNITS, NO, NOT_TESTED, is_yes
from heartlens.wording import interval, plain

COLUMNS = ("head", "wave", "verdict", "lift", "95 % interval", "share", "even share", "AUC", "q", "p among twins", "lag")
ATTENDS = "attends"


def say(summary: xr.Dataset) -> Findings:
    """The findings for asking tokens of all kinds; the other kinds stay in the summary."""
    scan = summary.sel(query="all")
    attending = _attending(scan)
    return Findings(
        title=f"Head scan of {summary.attrs.get('checkpoint', 'a model')}",
        question="Which heads attend to which wave, more than the phase null, the spread between persons and twins explain?",
        verdict=(_tested(summary), *_per_wave(scan, attending), _significant_only(scan), _by_layer(summary)),
        columns=COLUMNS,
        rows=tuple(_row(scan, *place) for place in attending),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _attending(scan: xr.Dataset) -> list[tuple[str, int, int]]:
    """(wave, layer, head) of each yes, the largest lift first."""
    places = np.argwhere(is_yes(scan, ATTENDS).transpose("wave", "layer", "head").values)
    named = [(str(scan["wave"].values[wave]), int(layer), int(head)) for wave, layer, head in places]
    return sorted(named, key=lambda place: -_at(scan, "lift", *place))


def _at(scan: xr.Dataset, name: str, wave: str, layer: int, head: int) -> float:
    return float(scan[name].sel(wave=wave, layer=layer, head=head))


def _tested(summary: xr.Dataset) -> str:
    attrs, answers = summary.attrs, summary[f"{ATTENDS}_verdict"].sel(query="all")
    n_heads = summary.sizes["layer"] * summary.sizes["head"]
    data = "simulated records" if attrs.get("data_is_simulated") else "records"
    counts = ", ".join(f"{int((answers == answer).sum())} {answer}" for answer in ANSWERS if bool((answers == answer).any()))
    low, high = answers.attrs.get("n_yes_redrawn", (0, 0))
    return (
        f"Of {answers.size} questions ({n_heads} heads x {summary.sizes['wave']} waves): {counts}; with other twins {low} to {high} yes. "
        f"Measured on {attrs['n_windows']} windows of {attrs['n_records']} {data}."
    )


def _per_wave(scan: xr.Dataset, attending: list[tuple[str, int, int]]) -> tuple[str, ...]:
    return tuple(_of_wave(scan, str(wave), [place for place in attending if place[0] == wave]) for wave in scan["wave"].values)


def _of_wave(scan: xr.Dataset, wave: str, attending: list[tuple[str, int, int]]) -> str:
    name, of_wave = plain(wave), scan.sel(wave=wave)
    if attending:
        return f"{name}: " + "; ".join(f"{head_label(*place[1:])} lift {_lift(scan, *place)}" for place in attending) + "."
    if of_wave["lift"].isnull().all():
        return f"{name}: not tested, no record has this wave."
    layer, head = np.unravel_index(int(np.nanargmax(of_wave["lift"].values)), of_wave["lift"].shape)
    best = f"{head_label(int(layer), int(head))} with lift {_lift(scan, wave, int(layer), int(head))}"
    answers = of_wave[f"{ATTENDS}_verdict"]
    if bool((answers == NOT_TESTED).all()):
        units = "persons" if n_units(scan.attrs) != int(scan.attrs["n_records"]) else "records"
        how_many = f"{int(of_wave['n_records'])} {units} have it, {LEAST_UNITS} and twins are needed"
        return f"{name}: not tested ({how_many}). The largest is {best}."
    ruled_out = int((answers == NO).sum())
    return f"{name}: not shown of any head; {ruled_out} of {answers.size} surely have no lift of 1.25. The largest is {best}."


def _lift(scan: xr.Dataset, *place: object) -> str:
    lift, low, high = (_at(scan, name, *place) for name in ("lift", "lift_low", "lift_high"))  # type: ignore[arg-type]
    return f"{lift:.2f} ({interval(low, high)})"


def _significant_only(scan: xr.Dataset) -> str:
    n_significant = int((scan["q_value"] < 0.05).sum())
    return f"By the phase null alone (q < 0.05) {n_significant} would count; models that learnt nothing have such heads too."


def _by_layer(summary: xr.Dataset) -> str:
    sink = " ".join(f"{100 * value:.0f}" for value in summary["sink_share"].mean("head").values)
    effective = " ".join(f"{value:.0f}" for value in summary["effective_tokens"].mean("head").values)
    return f"By layer, from the first: {sink} % of attention falls on the sink; a token attends to {effective} tokens, effectively."


def _row(scan: xr.Dataset, wave: str, layer: int, head: int) -> tuple[str, ...]:
    at = {
        name: _at(scan, name, wave, layer, head)
        for name in ("lift", "lift_low", "lift_high", "share", "even_share", "auc", "q_value", f"{ATTENDS}_twin_p")
    }
    lags = scan["lift_by_lag"].sel(wave=wave, layer=layer, head=head)
    return (
        head_label(layer, head),
        plain(wave),
        str(scan[f"{ATTENDS}_verdict"].sel(wave=wave, layer=layer, head=head).values),
        f"{at['lift']:.2f}",
        interval(at["lift_low"], at["lift_high"]),
        f"{at['share']:.3f}",
        f"{at['even_share']:.3f}",
        f"{at['auc']:.2f}",
        f"{at['q_value']:.4f}",
        f"{at[f'{ATTENDS}_twin_p']:.3f}",
        str(int(lags["lag"].values[np.nanargmax(lags.values)])),
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = doubts(summary.attrs, summary.sizes.get("twin", 0))
    reasons.append("Attention shows where a head looks, not what the model uses; that takes an intervention.")
    reasons.append("Asking tokens within a wave lie close to keys in the same wave: read their lift (query other than all) by lag.")
    return tuple(reasons)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    variant = "the last block unmasked, as published" if options.get("variant") == "published" else "the model as it runs (causal)"
    sink = "left out" if options.get("exclude_sink") else "included"
    return (
        f"Attention: {variant}; the sink (first {options.get('sink_tokens', 1)} token) is {sink}.",
        "Share: the part of an asking token's attention that falls on a wave; mean over a record's asking tokens, then over records.",
        "Even share: the same for attention spread evenly over the tokens allowed. Lift: share over even share.",
        "Interval: 95 %, t interval of the logarithm of the lift, leverage-corrected (HC3). AUC: chance that a token inside the wave "
        "receives more attention, against its even share, than one outside, within a window.",
        f"q: all wave labels of a record rotated within the cycle by one of {options.get('n_rotations')} fractions, records independently, "
        f"{options.get('n_permutations')} times; one-sided; Benjamini-Hochberg over heads x waves.",
        f"Twins: {summary.sizes.get('twin', 0)} models with the same weights in random order, compared with the model on the same "
        f"{options.get('twin_windows')} windows: the lower bound of the head's lift with the largest of a twin's heads, both in standard "
        "deviations of what twins reach at that wave in that layer, over all waves and layers.",
        "Yes: a lift of at least 1.25, its interval above 1, q < 0.05, p among twins at most 0.05. No: the interval lies below 1.25. "
        f"Not tested: fewer than {LEAST_UNITS} records have the wave, or no twins. Not shown: else.",
        "Effective tokens: exp of an attention row's entropy, mean over tokens. Sink and effective tokens: mean over a layer's heads.",
        "Lag: how many cycles back the lift on that wave is largest. Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
