"""What attention over prior cycles found, in words: which heads look at their own phase of earlier cycles, and how breadth grows."""

import json

import numpy as np
import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.wording import interval

COLUMNS = ("head", "same-phase lift", "95 % interval", "same-phase share", "even share", "p", "q", "cycles looked back", "holds")
N_ROWS = 12


def say(summary: xr.Dataset) -> Findings:
    """The findings, the strongest heads in the table."""
    return Findings(
        title=f"Attention over prior cycles, {summary.attrs.get('checkpoint', 'a model')}",
        question="Does attention look at similar points of earlier cycles, and does it gradually broaden with depth?",
        verdict=(_same_phase(summary), last_layer(summary)[1], _by_layer(summary), broadening(summary)[1], _sink(summary)),
        columns=COLUMNS,
        rows=tuple(_row(summary, *head) for head in _strongest(summary)),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def broadening(summary: xr.Dataset) -> tuple[str, str]:
    """Whether attention gradually broadens with depth: yes, partly (broader, but not at every step) or no; and why."""
    slope, low, high = (float(summary[name]) for name in ("slope", "slope_low", "slope_high"))
    narrower = [_step(summary, int(at)) for at in summary["step_to"].values if float(summary["step_high"].sel(step_to=at)) < 0]
    curve = " ".join(f"{value:.0f}" for value in summary["layer_effective_tokens"].values)
    twins = summary["twin_slope"].values
    told = f"effective tokens by layer {curve}; slope {slope:.2f} tokens a layer ({interval(low, high)})"
    told += f", twins {twins.min():.2f} to {twins.max():.2f}" if len(twins) else ""
    if np.isnan(low):
        return "not tested", f"Broadening: not tested, {told}."
    if low <= 0:
        return "no", f"Attention does not broaden with depth: {told}."
    if narrower:
        return "partly", f"Attention is broader in late layers, but not gradually: {told}; it narrows at {', '.join(narrower)}."
    return "yes", f"Attention gradually broadens with depth: {told}; no step narrows."


def _step(summary: xr.Dataset, at: int) -> str:
    here = summary.sel(step_to=at)
    return f"layer {at + 1} ({float(here['step']):.1f}, {interval(float(here['step_low']), float(here['step_high']))})"


def _same_phase(summary: xr.Dataset) -> str:
    holds = summary["holds"].values
    data = "simulated records" if summary.attrs.get("data_is_simulated") else "records"
    counted = f"measured on {summary.attrs['n_windows']} windows of {summary.attrs['n_records']} {data}"
    named = ", ".join(f"{head_label(*head)} {_lift(summary, *head)}" for head in _strongest(summary) if holds[head])
    by_null = int((summary["q_value"] < 0.05).sum())
    told = f"{int(holds.sum())} of {holds.size} heads look at their own phase of earlier cycles beyond all controls, {counted}"
    return f"{told} ({by_null} by the phase null alone)" + (f": lift {named}." if named else ".")


def last_layer(summary: xr.Dataset) -> tuple[str, str]:
    """Whether the last layer, summed over its heads, looks at the same phase of earlier cycles: yes, or no; and the numbers."""
    here = {str(name): float(values) for name, values in summary.isel(layer=-1).data_vars.items() if values.ndim == 0}
    lift = f"{here['layer_same_phase_lift']:.2f}"
    told = f"lift {lift} ({interval(here['layer_same_phase_lift_low'], here['layer_same_phase_lift_high'])})"
    told = f"Last layer, summed over heads: {told}, q {here['layer_q_value']:.4f}, twins reach {here['layer_null_high']:.2f}"
    if np.isnan(here["layer_same_phase_lift_low"]):
        return "not tested", f"{told}; without an interval it is not tested."
    return ("yes", f"{told}: it looks at its own phase.") if here["layer_holds"] else ("no", f"{told}: not beyond all controls.")


def _by_layer(summary: xr.Dataset) -> str:
    count = " ".join(str(int(value)) for value in summary["holds"].sum("head").values)
    mean = " ".join(f"{value:.2f}" for value in summary["same_phase_lift"].mean("head").values)
    back = " ".join(f"{value:.1f}" for value in summary["cycles_looked_back"].mean("head").values)
    return f"By layer, from the first: {count} such heads; mean same-phase lift {mean}; {back} cycles looked back."


def _sink(summary: xr.Dataset) -> str:
    return "On the sink, % by layer: " + " ".join(f"{100 * value:.0f}" for value in summary["sink_share"].mean("head").values) + "."


def _strongest(summary: xr.Dataset) -> list[tuple[int, int]]:
    """The heads (layer, head) of largest lift, those that hold first."""
    lift = summary["same_phase_lift"].transpose("layer", "head").values
    order = np.lexsort([-np.nan_to_num(lift).ravel(), ~summary["holds"].transpose("layer", "head").values.ravel()])[:N_ROWS]
    return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, lift.shape), strict=True)]


def _lift(summary: xr.Dataset, layer: int, head: int) -> str:
    here = summary.sel(layer=layer, head=head)
    return f"{float(here['same_phase_lift']):.2f} ({interval(float(here['same_phase_lift_low']), float(here['same_phase_lift_high']))})"


def _row(summary: xr.Dataset, layer: int, head: int) -> tuple[str, ...]:
    here = {str(name): float(values) for name, values in summary.sel(layer=layer, head=head).data_vars.items() if values.ndim == 0}
    return (
        head_label(layer, head),
        f"{here['same_phase_lift']:.2f}",
        interval(here["same_phase_lift_low"], here["same_phase_lift_high"]),
        f"{here['same_phase_share']:.3f}",
        f"{here['same_phase_share_null']:.3f}",
        f"{here['p_value']:.4f}",
        f"{here['q_value']:.4f}",
        f"{here['cycles_looked_back']:.1f}",
        "yes" if here["holds"] else "no",
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = doubts(summary.attrs, summary.sizes.get("twin", 0))
    found.append("Weights over-count keys whose value moves little, the sink above all; see --weights value and --weights rollout.")
    found.append("Attention shows where a head looks, not what the model uses; that takes an intervention.")
    return tuple(found)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    named = {"attention": "as it is", "value": "times the norm of what each value moves", "rollout": "rolled out through all layers so far"}
    sink = "left out of shares and distances, not of effective tokens" if options.get("exclude_sink", True) else "included"
    return (
        f"Attention: {named.get(options.get('weights'), 'as it is')}; the sink (first {options.get('sink_tokens', 1)} token) is {sink}.",
        "Distance: position of the asking token minus that of the key, in cycles (R peak to R peak, foot to foot). Lag: rounded distance.",
        f"Same-phase share: of the attention half a cycle back and further, what falls within {options.get('phase_width', 0.2):g} cycle "
        "around the asking token's phase; even share: the same for attention spread evenly; lift: their ratio, sums over records.",
        f"p: the same band around a random phase difference, records independently, {options.get('n_permutations')} times, one-sided; "
        "q: Benjamini-Hochberg over all heads.",
        "Holds: q < 0.05 and the lower bound of the 95 % interval (BCa over records) above "
        f"{float(summary['null_high'].values.flat[0]):.2f}, the 95 % quantile over weight-randomised twins of their largest lift.",
        "Effective tokens: exp of an attention row's entropy; a layer's curve is the mean over heads; slope: least squares over layers.",
        "Broadens gradually: the slope's interval lies above 0 and no step's interval lies below 0. Layers are numbered from 1.",
    )
