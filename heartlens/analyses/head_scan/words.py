"""What a head scan found, in words: which heads survive, how strongly, among how many, measured on what, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.wording import interval, number, plain

COLUMNS = ("head", "wave", "lift", "95 % interval", "share", "even share", "AUC", "p", "q", "largest lift of twins (95 %)", "lag")


def say(summary: xr.Dataset) -> Findings:
    """The findings for asking tokens of all kinds; the other kinds stay in the summary."""
    scan = summary.sel(query="all")
    survivors = _survivors(scan)
    return Findings(
        title=f"Head scan of {summary.attrs.get('checkpoint', 'a model')}",
        question="Which heads attend to which wave, more than the phase null, the records' spread and weight-randomised twins explain?",
        verdict=(_tested(summary), *_per_wave(scan, survivors), _significant_only(scan), _by_layer(summary)),
        columns=COLUMNS,
        rows=tuple(_row(scan, *found) for found in survivors),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _survivors(scan: xr.Dataset) -> list[tuple[str, int, int]]:
    """(wave, layer, head) of what survives, the largest lift first."""
    found = np.argwhere(scan["survives"].transpose("wave", "layer", "head").values)
    named = [(str(scan["wave"].values[wave]), int(layer), int(head)) for wave, layer, head in found]
    return sorted(named, key=lambda one: -_at(scan, "lift", *one))


def _at(scan: xr.Dataset, name: str, wave: str, layer: int, head: int) -> float:
    return float(scan[name].sel(wave=wave, layer=layer, head=head))


def _tested(summary: xr.Dataset) -> str:
    attrs = summary.attrs
    n_heads = summary.sizes["layer"] * summary.sizes["head"]
    n_survive = int(summary["survives"].sel(query="all").sum())
    data = "simulated records" if attrs.get("data_is_simulated") else "records"
    return (
        f"{n_survive} of {n_heads * summary.sizes['wave']} tested ({n_heads} heads x {summary.sizes['wave']} waves) survive all controls, "
        f"measured on {attrs['n_windows']} windows of {attrs['n_records']} {data}."
    )


def _per_wave(scan: xr.Dataset, survivors: list[tuple[str, int, int]]) -> tuple[str, ...]:
    return tuple(_of_wave(scan, str(wave), [one for one in survivors if one[0] == wave]) for wave in scan["wave"].values)


def _of_wave(scan: xr.Dataset, wave: str, survivors: list[tuple[str, int, int]]) -> str:
    name = plain(wave)
    if survivors:
        return f"{name}: " + "; ".join(f"{head_label(*one[1:])} lift {_lift(scan, *one)}" for one in survivors) + "."
    lift = scan["lift"].sel(wave=wave)
    if lift.isnull().all():
        return f"{name}: no record has this wave; nothing was tested."
    layer, head = np.unravel_index(int(np.nanargmax(lift.values)), lift.shape)
    best = f"{head_label(int(layer), int(head))} with lift {_lift(scan, wave, int(layer), int(head))}"
    return f"{name}: no head survives. The largest is {best}; twins reach {number(_at(scan, 'null_high', wave, 0, 0))}."


def _lift(scan: xr.Dataset, *one: object) -> str:
    lift, low, high = (_at(scan, name, *one) for name in ("lift", "lift_low", "lift_high"))  # type: ignore[arg-type]
    return f"{lift:.2f} ({interval(low, high)})"


def _significant_only(scan: xr.Dataset) -> str:
    n_significant = int((scan["q_value"] < 0.05).sum())
    return f"By the phase null alone (q < 0.05) {n_significant} would count; random models have such heads too, which is why twins decide."


def _by_layer(summary: xr.Dataset) -> str:
    sink = " ".join(f"{100 * value:.0f}" for value in summary["sink_share"].mean("head").values)
    effective = " ".join(f"{value:.0f}" for value in summary["effective_tokens"].mean("head").values)
    return f"By layer, from the first: {sink} % of attention falls on the sink; a token attends to {effective} tokens, effectively."


def _row(scan: xr.Dataset, wave: str, layer: int, head: int) -> tuple[str, ...]:
    at = {
        name: _at(scan, name, wave, layer, head)
        for name in ("lift", "lift_low", "lift_high", "share", "even_share", "auc", "p_value", "q_value")
    }
    lags = scan["lift_by_lag"].sel(wave=wave, layer=layer, head=head)
    return (
        head_label(layer, head),
        plain(wave),
        f"{at['lift']:.2f}",
        interval(at["lift_low"], at["lift_high"]),
        f"{at['share']:.3f}",
        f"{at['even_share']:.3f}",
        f"{at['auc']:.2f}",
        f"{at['p_value']:.4f}",
        f"{at['q_value']:.4f}",
        number(_at(scan, "null_high", wave, layer, head)),
        str(int(lags["lag"].values[np.nanargmax(lags.values)])),
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = doubts(summary.attrs, summary.sizes.get("twin", 0))
    found.append("Attention shows where a head looks, not what the model uses; that takes an intervention.")
    found.append("Asking tokens within a wave lie close to keys in the same wave: read their lift (query other than all) by lag.")
    return tuple(found)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    variant = "the last block unmasked, as published" if options.get("variant") == "published" else "the model as it runs (causal)"
    sink = "left out" if options.get("exclude_sink") else "included"
    return (
        f"Attention: {variant}; the sink (first {options.get('sink_tokens', 1)} token) is {sink}.",
        "Share: the part of an asking token's attention that falls on a wave; mean over a record's asking tokens, then over records.",
        "Even share: the same for attention spread evenly over the tokens allowed. Lift: share over even share.",
        "Interval: 95 %, BCa bootstrap over records. AUC: chance that a token inside the wave receives more attention, against its even "
        "share, than one outside, within a window.",
        f"p: all wave labels of a record rotated within the cycle by one of {options.get('n_rotations')} fractions, records independently, "
        f"{options.get('n_permutations')} times; one-sided. q: Benjamini-Hochberg over heads x waves.",
        f"Twins: {summary.sizes.get('twin', 0)} models of the same architecture, half with random, half with shuffled weights, each on "
        f"{options.get('twin_windows')} windows. A head survives if q < 0.05 and the lower bound of its lift exceeds the 95 % quantile, "
        "over twins, of the largest lift any head of a twin has for that wave.",
        "Effective tokens: exp of an attention row's entropy, mean over tokens. Sink and effective tokens: mean over a layer's heads.",
        "Lag: how many cycles back the lift on that wave is largest. Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
