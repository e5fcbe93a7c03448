"""What an ablation found, in words: which heads the model needs, for what and where, and what to doubt."""

import json

import numpy as np
import xarray as xr
from jaxtyping import Bool

from heartlens.analyses.ablation.figure import deciding, of_curves, strongest
from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import LEAST_UNITS, NO, NOT_TESTED, is_yes
from heartlens.wording import interval, p_value, plain, with_interval

COLUMNS = ("head", "readout", "how", "effect", "95 % interval", "of its norm", "q", "p among twins", "changes", "matters", "learnt")
N_ROWS, N_NAMED = 16, 5


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    return Findings(
        title=f"Ablation of {summary.attrs.get('checkpoint', 'a model')}",
        question="Which heads, MLPs and layers does the model need, and for what?",
        verdict=(_intact(summary), *_of_heads(summary), *_of_waves(summary), *_of_labels(summary), _of_parts(summary), *_curves(summary)),
        columns=COLUMNS,
        rows=_rows(summary),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _intact(summary: xr.Dataset) -> str:
    attrs = summary.attrs
    data = "simulated records" if attrs.get("data_is_simulated") else "records"
    named = [str(name) for name in summary["readout"].values if not str(name).startswith(("amplitude_error_", "crps_", "cross_entropy_"))]
    listed = ", ".join(f"{plain(name)} {with_interval(summary.sel(readout=name), 'intact', '.3f')}" for name in named)
    return f"With nothing taken away, on {attrs['n_windows']} windows of {attrs['n_records']} {data}: {listed}."


def _of_heads(summary: xr.Dataset) -> tuple[str, ...]:
    """What is concluded of the heads for the deciding readout, by way of taking away; and what is learnt, in the last."""
    name = deciding(summary)
    return (*(_of_how(summary.sel(readout=name, how=how), name, str(how)) for how in summary["how"].values), _of_twins(summary, name))


def _of_how(at: xr.Dataset, name: str, how: str) -> str:
    """Which heads change a readout and which of them stand out; where nothing is tested, those of largest effect."""
    changes, matters = (is_yes(at, claim).transpose("layer", "head").values for claim in ("changes", "matters"))
    start = f"{plain(name)}, {how}:"
    if bool((at["changes_verdict"] == NOT_TESTED).all()):
        n_records = int(at["n_records_with"])
        few = f"{n_records} records have this readout, {LEAST_UNITS} are needed"
        return f"{start} not tested ({few}); the largest effects, point estimates: {_named(at, changes | True)}."
    changed = f"{changes.sum()} of {changes.size} heads change it"
    changed += f", most {_named(at, changes)}" if changes.any() else ""
    smallest = f"{float(at['smallest']):g} {at['unit'].item()}"
    changed += f"; {int((at['changes_verdict'] == NO).sum())} surely by less than {smallest}" if np.isfinite(at["smallest"]) else ""
    if bool((at["matters_verdict"] == NOT_TESTED).all()):
        return f"{start} {changed}. Heads of one norm: not tested, there are too few."
    named = f": {_named(at, matters)}" if matters.any() else ""
    return f"{start} {changed}. Beyond what heads of its norm show {matters.sum()} of them matter{named}."


def _of_twins(summary: xr.Dataset, name: str) -> str:
    """Which heads stand out further than those of models that learnt nothing."""
    at, how = summary.sel(readout=name), str(summary["how"].values[-1])
    learnt = is_yes(at, "learnt").transpose("layer", "head").values
    if bool((at["learnt_verdict"] == NOT_TESTED).all()):
        return f"Whether that is learnt ({how}): not tested; it takes twins, and {LEAST_UNITS} records among their windows."
    named = f": {_named(at.isel(how=-1), learnt)}" if learnt.any() else ""
    farthest, limit = float(at["standing_on_twin_windows"].max()), float(at["learnt_limit"])
    return (
        f"Further from heads of its norm than any head of {summary.sizes['twin']} twins ({how}) {learnt.sum()} heads stand{named}; on the "
        f"twins' windows the farthest lies {farthest:.1f} standard errors off, {limit:.1f} must be exceeded."
    )


def _named(at: xr.Dataset, chosen: Bool[np.ndarray, "layer head"]) -> str:
    """The chosen heads of largest effect, with intervals."""
    effect = at["effect"].transpose("layer", "head")
    heads = sorted(map(tuple, np.argwhere(chosen).tolist()), key=lambda head: -abs(float(effect[head])))
    return ", ".join(
        f"{head_label(*head)} {with_interval(at.sel(layer=head[0], head=head[1]), 'effect', '.3f')}" for head in heads[:N_NAMED]
    )


def _of_waves(summary: xr.Dataset) -> tuple[str, ...]:
    """For each wave the heads that cost more inside it than outside, where that is tested."""
    if "inside_verdict" not in summary or bool((summary["inside_verdict"] == NOT_TESTED).all()):
        return ()
    return tuple(_of_wave(summary.isel(how=-1), str(wave)) for wave in summary["wave"].values)


def _of_wave(summary: xr.Dataset, wave: str) -> str:
    at, how = summary.sel(wave=wave, readout=f"cross_entropy_{wave}"), str(summary["how"].item())
    inside = is_yes(at, "inside").transpose("layer", "head")
    if not bool(inside.any()):
        return f"{plain(wave)} ({how}): of no head is it shown that it costs more inside it than outside."
    apart = at["inside_excess"].where(inside).transpose("layer", "head")
    order = np.argsort(-np.nan_to_num(apart.values, nan=-np.inf), axis=None)[: min(3, int(inside.sum()))]
    heads = [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, apart.shape), strict=True)]
    named = ", ".join(
        f"{head_label(layer, head)} {with_interval(at.isel(layer=layer, head=head), 'inside_excess', '.3f')}"
        f", {with_interval(at.isel(layer=layer, head=head), 'wave_ratio', '.1f')} times as much"
        for layer, head in heads
    )
    return f"{plain(wave)} ({how}): {int(inside.sum())} heads cost more inside it than outside, by nats a token: {named}."


def _of_labels(summary: xr.Dataset) -> tuple[str, ...]:
    """What taking single heads away does to AUC and F1."""
    names = [str(name) for name in summary["readout"].values if str(name).endswith(("_auc", "_f1")) and not str(name).startswith("beat")]
    return tuple(_of_how(summary.sel(readout=name, how=how), name, str(how)) for name in names for how in summary["how"].values[-1:])


def _of_parts(summary: xr.Dataset) -> str:
    """The MLP and the layer of largest effect."""
    at, named = summary.sel(readout=deciding(summary)).isel(how=-1), []
    for prefix, what in (("mlp_", "MLP"), ("layer_", "layer")):
        most = int(np.abs(at[f"{prefix}effect"].values).argmax())
        value = with_interval(at.isel(layer=most), f"{prefix}effect", ".3f")
        changing = int(is_yes(at, f"{prefix}changes").sum())
        named.append(f"{what} {most + 1} {value} ({changing} of {at.sizes['layer']} {what}s change it)")
    return f"Largest effects on {plain(deciding(summary))}, {at['how'].item()}: " + "; ".join(named) + "."


def _curves(summary: xr.Dataset) -> tuple[str, ...]:
    """What is left when layers go from either end, and how few heads make up half of what all do."""
    name = of_curves(summary)
    of_readout = summary.sel(readout=name)
    if "layers_removed_effect" not in of_readout:
        return ()
    sentences = []
    for end in map(str, of_readout["end"].values):
        values = " ".join(f"{value:+.2f}" for value in of_readout["layers_removed_effect"].sel(end=end).values)
        sentences.append(f"Layers taken away from the {end} on, change of {plain(name)}: {values}.")
    if "heads_removed_effect" in of_readout:
        values = ", ".join(
            f"{int(n)}: {float(of_readout['heads_removed_effect'].sel(n_heads_removed=n)):+.2f}"
            for n in of_readout["n_heads_removed"].values
        )
        first = ", ".join(map(str, summary["rank"].values[:8]))
        sentences.append(f"Heads taken away by rank ({first}, ...), change of {plain(name)}: {values}.")
    return tuple(sentences)


def _rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """The strongest heads of the deciding readout, in every way of taking away."""
    name = deciding(summary)
    n_heads = max(1, N_ROWS // summary.sizes["how"])
    places = [(head, str(how)) for head in strongest(summary, name, n_heads) for how in summary["how"].values]
    return tuple(
        _row(summary.sel(readout=name, how=how, layer=head[0], head=head[1]), name, how, head, how == str(summary["how"].values[-1]))
        for head, how in places
    )


def _row(of_head: xr.Dataset, name: str, how: str, head: tuple[int, int], is_last: bool) -> tuple[str, ...]:
    effect, low, high, expected, q = (float(of_head[key]) for key in ("effect", "effect_low", "effect_high", "expected", "q_value"))
    return (
        head_label(*head),
        plain(name),
        how,
        f"{effect:+.4f}",
        interval(low, high, ".3f"),
        f"{expected:+.4f}",
        p_value(q),
        p_value(of_head["learnt_twin_p"]) if is_last else "",
        str(of_head["changes_verdict"].item()),
        str(of_head["matters_verdict"].item()),
        str(of_head["learnt_verdict"].item()) if is_last else "",
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = doubts(summary.attrs, summary.sizes.get("twin", 0))
    reasons.append("Other parts may do the same as the one that is taken away: a part without effect may still be used.")
    if int(summary.attrs["n_references"]) == 1 and any(how != "zero" for how in summary["how"].values):
        reasons.append(
            "Means and resamples are of one batch of reference windows (too few records for more): another may give other effects."
        )
    if "zero" in summary["how"].values:
        reasons.append(
            "The model never has a zero activation: an effect may come from that value, not from the missing part; see mean and resample."
        )
    if "rank" in summary.coords and summary.sizes["rank"]:
        reasons.append(
            "The order of the heads was found on a sample of the same windows: the first steps of that curve look larger than they are."
        )
    answer = str(summary.attrs["answers"])
    if answer == "beat":
        reasons.append("Windows stand alone, without the overlap that the published detector averages: beats at their edges are missed.")
    if answer == "last token" and not int(summary.attrs["n_labelled"]):
        reasons.append("Without --labels the logit's mean goes over records with and without the condition alike.")
    return (*reasons, *filter(None, str(summary.attrs.get("label_notes", "")).splitlines()))


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    return (
        "Effect: sums over records, ablated minus intact, over what the readout is divided by (tokens, windows, true beats); of AUC, F1 "
        "and calibration the difference. Interval: 95 %, t with leverage-corrected errors (HC3); AUC and the like: jackknife within their "
        "label, Student's t.",
        f"How: zero; mean of {options.get('n_reference', 16)} reference windows at the same place; resample: a reference window's of "
        "another person; mean-by-phase: their mean at the same phase of the cycle. Effects are means over "
        f"{int(summary.attrs['n_references'])} batches of reference windows, no two of which share a person; intervals of effects, of what "
        "lies beyond heads of the same norm, of what is inside a wave and of curves hold what batches differ by, p and wave ratios are for "
        "these batches.",
        "p: of a mean the larger one of random signs and of a t-test that allows for skewness (AUC, F1: versions of records swapped), "
        "two-sided; q: Benjamini-Hochberg over the heads, of one readout and one way of taking away (MLPs and layers alike). Each "
        "readout is a question of its own: of a readout on which "
        "nothing has an effect, some head is said to change it in at most 5 % of studies; over all readouts there may be more.",
        f"Changes: q < 0.05 and the interval leaves out 0. No: the interval lies within the smallest change of interest. Not tested: fewer "
        f"than {LEAST_UNITS} records have the readout. Not shown: otherwise.",
        "Matters: changes, and the effect lies beyond what heads of its norm show. That is a line over the logarithm of the output norm "
        "|z W_O| through the other heads' effects, with their spread, which may grow with the norm; corrected over heads. The spread is "
        "taken as normal: of effects with heavier tails the farthest head may stand out without cause, see learnt.",
        f"Learnt: matters, and on the same {options.get('twin_windows')} windows the head lies further from heads of its norm, in standard "
        f"errors, than the farthest head of {summary.sizes.get('twin', 0)} models with the same weights in random order (p at most 0.05).",
        "Inside: the cost of each predicted token inside a wave less that of each one outside, mean over records; asked of heads that "
        "change the cross-entropy there. Times as much: the ratio of both, with Fieller's interval (1954); unbounded where the latter may "
        "be 0.",
        f"Records are called positive from a mean probability of {options.get('threshold', 0.5):g} on. Layers and heads are numbered "
        "from 1.",
    )
