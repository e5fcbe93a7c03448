"""What attention over prior cycles found, in words: which heads look at their own phase of earlier cycles, and how breadth grows."""

import json

import xarray as xr

from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.nulls import STRICT
from heartlens.inference.verdict import LEAST_UNITS, is_yes, whole, yes_first
from heartlens.wording import interval, with_interval

COLUMNS = ("head", "same-phase lift", "95 % interval", "same-phase share", "even share", "p", "q", "cycles looked back", "verdict")
NUMBERS = (
    *("same_phase_lift", "same_phase_lift_low", "same_phase_lift_high", "same_phase_share", "same_phase_share_null"),
    *("p_value", "q_value", "cycles_looked_back"),
)
N_ROWS = 12


def say(summary: xr.Dataset) -> Findings:
    """The findings, the strongest heads in the table."""
    on_sink = " ".join(f"{100 * value:.0f}" for value in summary["sink_share"].mean("head").values)
    sink = f"On the sink, % by layer: {on_sink}."
    return Findings(
        title=f"Attention over prior cycles, {summary.attrs.get('checkpoint', 'a model')}",
        question="Does attention look at similar points of earlier cycles, and does it gradually broaden with depth?",
        verdict=(_same_phase(summary), last_layer(summary), _by_layer(summary), broadening(summary), sink),
        columns=COLUMNS,
        rows=tuple(_row(summary, *head) for head in _strongest(summary)),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def broadens(summary: xr.Dataset) -> str:
    """Whether attention gradually broadens with depth: the answer to both parts of the claim."""
    return whole({part: str(summary[f"{part}_verdict"].values) for part in ("slope", "every_step") if f"{part}_verdict" in summary})


def broadening(summary: xr.Dataset) -> str:
    """Whether attention gradually broadens with depth, in words."""
    curve = " ".join(f"{value:.0f}" for value in summary["layer_effective_tokens"].values)
    if "slope_verdict" not in summary:
        return f"Broadening: not tested, the model has one layer ({curve} effective tokens)."
    slope, twins = summary["slope_verdict"], summary["twin_slope"].values
    grows = f"Growth with depth: {slope.item()}; slope {with_interval(summary, 'slope')} tokens a layer"
    grows += f", twins {twins.min():.2f} to {twins.max():.2f} (p {float(summary['slope_twin_p']):.3f})" if len(twins) else ", no twins"
    steps = f"At every step: {summary['every_step_verdict'].item()}; the smallest step is {with_interval(summary, 'smallest_step', '.1f')}"
    return f"Attention gradually broadens with depth: {broadens(summary)}. Effective tokens by layer {curve}. {grows}. {steps} tokens."


def _same_phase(summary: xr.Dataset) -> str:
    is_shown = is_yes(summary, "same_phase").transpose("layer", "head").values
    data = "simulated records" if summary.attrs.get("data_is_simulated") else "records"
    counted = f"measured on {summary.attrs['n_windows']} windows of {summary.attrs['n_records']} {data}"
    shown = [head for head in _strongest(summary) if is_shown[head]]
    lifts = [with_interval(summary.sel(layer=layer, head=head), "same_phase_lift") for layer, head in shown]
    named = ", ".join(f"{head_label(*head)} {lift}" for head, lift in zip(shown, lifts, strict=True))
    low, high = summary["same_phase_verdict"].attrs.get("n_yes_redrawn", (0, 0))
    text = f"{int(is_shown.sum())} of {is_shown.size} heads look at their own phase of earlier cycles ({low} to {high} with other twins)"
    return f"{text}, {counted}" + (f": lift {named}." if named else ".")


def last_layer(summary: xr.Dataset) -> str:
    """Whether the last layer, summed over its heads, looks at the same phase of earlier cycles, in words."""
    last = summary.isel(layer=-1)
    return (
        f"The last layer, summed over heads, looks at its own phase: {last['layer_same_phase_verdict'].item()}; "
        f"lift {with_interval(last, 'layer_same_phase_lift')}, q {float(last['layer_q_value']):.4f}, "
        f"p among twins {float(last['layer_same_phase_twin_p']):.3f}."
    )


def _by_layer(summary: xr.Dataset) -> str:
    count = " ".join(str(int(value)) for value in is_yes(summary, "same_phase").sum("head").values)
    mean = " ".join(f"{value:.2f}" for value in summary["same_phase_lift"].mean("head").values)
    back = " ".join(f"{value:.1f}" for value in summary["cycles_looked_back"].mean("head").values)
    return f"By layer, from the first: {count} such heads; mean same-phase lift {mean}; {back} cycles looked back."


def _strongest(summary: xr.Dataset) -> list[tuple[int, int]]:
    """The heads (layer, head) of largest lift, those whose verdict is yes first."""
    by_head = summary.transpose("layer", "head", ...)
    return yes_first(by_head["same_phase_lift"].values, is_yes(by_head, "same_phase").values, N_ROWS)


def _row(summary: xr.Dataset, layer: int, head: int) -> tuple[str, ...]:
    of_head = summary.sel(layer=layer, head=head)
    numbers = {name: float(of_head[name]) for name in NUMBERS}
    return (
        head_label(layer, head),
        f"{numbers['same_phase_lift']:.2f}",
        interval(numbers["same_phase_lift_low"], numbers["same_phase_lift_high"]),
        f"{numbers['same_phase_share']:.3f}",
        f"{numbers['same_phase_share_null']:.3f}",
        f"{numbers['p_value']:.4f}",
        f"{numbers['q_value']:.4f}",
        f"{numbers['cycles_looked_back']:.1f}",
        str(of_head["same_phase_verdict"].values),
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = doubts(summary.attrs, summary.sizes.get("twin", 0))
    reasons.append("Weights over-count keys whose value moves little, the sink above all; see --weights value and --weights rollout.")
    reasons.append("Attention shows where a head looks, not what the model uses; that takes an intervention.")
    return tuple(reasons)


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
        "Interval: 95 %, t interval of the logarithm of the lift, leverage-corrected (HC3); of slope and steps: t interval.",
        f"Twins: {summary.sizes.get('twin', 0)} models with the same weights in random order, compared with the model on the same "
        f"{options.get('twin_windows')} windows by the interval's lower end, of a twin the largest of any head (or layer).",
        f"Yes: the interval lies above 1 (slope, step: above 0), q < 0.05 (not of slope and steps) and p among twins at most {STRICT:g}. "
        f"Not tested: fewer than {LEAST_UNITS} records, or too few twins.",
        "Effective tokens: exp of an attention row's entropy; a layer's curve is the mean over heads; slope: least squares over layers.",
        "Gradual broadening has two parts, slope and every step; partly: one of them. Layers are numbered from 1.",
    )
