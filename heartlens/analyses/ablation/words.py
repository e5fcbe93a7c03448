"""What an ablation found, in words: which heads the model needs, for what and where, and what to doubt."""

import json

import numpy as np
import xarray as xr
from jaxtyping import Bool

from heartlens.analyses.ablation.figure import deciding, of_curves, strongest
from heartlens.axes import head_label
from heartlens.findings import FEW_RECORDS, Findings, doubts, n_units
from heartlens.wording import interval, plain, with_interval

COLUMNS = ("head", "readout", "how", "effect", "95 % interval", "controls", "q", "largest of twins (95 %)", "matters")
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
    told = ", ".join(f"{plain(name)} {with_interval(summary.sel(readout=name), 'intact', '.3f')}" for name in named)
    return f"With nothing taken away, on {attrs['n_windows']} windows of {attrs['n_records']} {data}: {told}."


def _of_heads(summary: xr.Dataset) -> tuple[str, ...]:
    """The heads that matter to the deciding readout, by way of taking away; or that none does."""
    name = deciding(summary)
    return tuple(_of_how(summary.sel(readout=name, how=how), name, str(how)) for how in summary["how"].values)


def _of_how(here: xr.Dataset, name: str, how: str) -> str:
    """The heads that matter; where there are too few records to tell, those of largest effect."""
    n_records, matters = int(here["n_records_with"]), here["matters"].transpose("layer", "head").values
    if n_records < 2:
        return f"{plain(name)}, {how}: not tested; fewer than two records, so these are point estimates: {_named(here, matters | True)}."
    if n_records < FEW_RECORDS:
        few = f"{n_records} records, and fewer than {FEW_RECORDS} cannot reach q < 0.05"
        return f"{plain(name)}, {how}: not decided ({few}); the largest effects: {_named(here, matters | True)}."
    by_q = int((here["q_value"] < 0.05).sum())
    if not matters.any():
        return f"{plain(name)}, {how}: no head matters beyond its controls ({by_q} of {matters.size} by q alone)."
    told = f"{matters.sum()} of {matters.size} heads matter, beyond heads of matched norm too ({by_q} by q alone)"
    return f"{plain(name)}, {how}: {told}: {_named(here, matters)}."


def _named(here: xr.Dataset, chosen: Bool[np.ndarray, "layer head"]) -> str:
    """The chosen heads of largest effect, with intervals."""
    effect = here["effect"].transpose("layer", "head")
    heads = sorted(map(tuple, np.argwhere(chosen).tolist()), key=lambda one: -abs(float(effect[one])))
    return ", ".join(f"{head_label(*one)} {with_interval(here.sel(layer=one[0], head=one[1]), 'effect', '.3f')}" for one in heads[:N_NAMED])


def _of_waves(summary: xr.Dataset) -> tuple[str, ...]:
    """For each wave the head whose effect is most inside it, among those that matter to the cross-entropy there, where that is decided."""
    if "wave_ratio" not in summary or n_units(summary.attrs) < FEW_RECORDS:
        return ()
    return tuple(_of_wave(summary.isel(how=-1), str(wave)) for wave in summary["wave"].values)


def _of_wave(summary: xr.Dataset, wave: str) -> str:
    here, how = summary.sel(wave=wave, readout=f"cross_entropy_{wave}"), str(summary["how"].item())
    matters = here["matters"] & (here["wave_ratio_low"] > 1)
    if not bool(matters.any()):
        return f"{plain(wave)} ({how}): no head that matters to it costs more inside it than outside."
    ratio = here["wave_ratio"].where(matters).transpose("layer", "head")
    order = np.argsort(-np.nan_to_num(ratio.values, nan=-np.inf), axis=None)[: min(3, int(matters.sum()))]
    heads = [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, ratio.shape), strict=True)]
    told = ", ".join(
        f"{head_label(layer, head)} {with_interval(here.isel(layer=layer, head=head), 'wave_ratio', '.3f')}" for layer, head in heads
    )
    return f"{plain(wave)} ({how}): {int(matters.sum())} heads matter more inside it than outside; cost there over cost elsewhere: {told}."


def _of_labels(summary: xr.Dataset) -> tuple[str, ...]:
    """What taking single heads away does to AUC and F1."""
    names = [str(name) for name in summary["readout"].values if str(name).endswith(("_auc", "_f1")) and not str(name).startswith("beat")]
    return tuple(_of_how(summary.sel(readout=name, how=how), name, str(how)) for name in names for how in summary["how"].values[-1:])


def _of_parts(summary: xr.Dataset) -> str:
    """The MLP and the layer of largest effect."""
    here, told = summary.sel(readout=deciding(summary)).isel(how=-1), []
    for prefix, what in (("mlp_", "MLP"), ("layer_", "layer")):
        most = int(np.abs(here[f"{prefix}effect"].values).argmax())
        sure = int((here[f"{prefix}q_value"] < 0.05).sum())
        value = with_interval(here.isel(layer=most), f"{prefix}effect", ".3f")
        told.append(f"{what} {most + 1} {value} ({sure} of {here.sizes['layer']} with q < 0.05)")
    return f"Largest effects on {plain(deciding(summary))}, {here['how'].item()}: " + "; ".join(told) + "."


def _curves(summary: xr.Dataset) -> tuple[str, ...]:
    """What is left when layers go from either end, and how few heads make up half of what all do."""
    name = of_curves(summary)
    here = summary.sel(readout=name)
    if "layers_removed_effect" not in here:
        return ()
    found = []
    for end in map(str, here["end"].values):
        values = " ".join(f"{value:+.2f}" for value in here["layers_removed_effect"].sel(end=end).values)
        found.append(f"Layers taken away from the {end} on, change of {plain(name)}: {values}.")
    if "heads_removed_effect" in here:
        values = ", ".join(
            f"{int(n)}: {float(here['heads_removed_effect'].sel(n_heads_removed=n)):+.2f}" for n in here["n_heads_removed"].values
        )
        first = ", ".join(map(str, summary["rank"].values[:8]))
        found.append(f"Heads taken away by rank ({first}, ...), change of {plain(name)}: {values}.")
    return tuple(found)


def _rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """The strongest heads of the deciding readout, in every way of taking away."""
    name = deciding(summary)
    n_heads = max(1, N_ROWS // summary.sizes["how"])
    places = [(head, str(how)) for head in strongest(summary, name, n_heads) for how in summary["how"].values]
    return tuple(_row(summary.sel(readout=name, how=how, layer=head[0], head=head[1]), name, how, head) for head, how in places)


def _row(here: xr.Dataset, name: str, how: str, head: tuple[int, int]) -> tuple[str, ...]:
    effect, low, high, control, q, limit = (float(here[key]) for key in _KEYS)
    return (
        head_label(*head),
        plain(name),
        how,
        f"{effect:+.4f}",
        interval(low, high, ".3f"),
        f"{control:+.4f}",
        f"{q:.4f}",
        f"{limit:.4f}",
        "yes" if bool(here["matters"]) else "no",
    )


_KEYS = ("effect", "effect_low", "effect_high", "control_effect", "q_value", "null_high")


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = doubts(summary.attrs, summary.sizes.get("twin", 0))
    found.append("A part can be lost without cost because others do the same: no effect does not mean no use.")
    if int(summary.attrs["n_references"]) == 1 and any(how != "zero" for how in summary["how"].values):
        found.append(
            "Means and resamples are of one batch of reference windows (too few records for more): another may give other effects."
        )
    if "zero" in summary["how"].values:
        found.append(
            "Zero is no activation the model ever had: what it costs may be the strangeness, not the loss; compare mean and resample."
        )
    if "rank" in summary.coords and summary.sizes["rank"]:
        found.append("The order of the heads was found on a sample of the same windows: the first steps of that curve are flattered.")
    answer = str(summary.attrs["answers"])
    if answer == "beat":
        found.append("Windows stand alone, without the overlap that the published detector averages: beats at their edges are missed.")
    if answer == "last token" and not int(summary.attrs["n_labelled"]):
        found.append("Without --labels the logit's mean goes over records with and without the condition alike.")
    return (*found, *filter(None, str(summary.attrs.get("label_notes", "")).splitlines()))


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    matched = options.get("n_matched", 3)
    return (
        "Effect: sums over records, ablated minus intact, over what the readout is divided by (tokens, windows, true beats); of AUC, F1 "
        "and calibration the difference. Interval: 95 %, BCa over records (AUC and the like: jackknife within their label, Student's t).",
        f"How: zero; mean of {options.get('n_reference', 16)} reference windows at the same place; resample: a reference window's of "
        "another record; mean-by-phase: their mean at the same phase of the cycle. Effects are means over "
        f"{int(summary.attrs['n_references'])} batches of reference windows, no two of which share a record; intervals of effects, of the "
        "excess and of curves hold what batches differ by, p and wave ratios are for these batches.",
        "p: of a mean the larger one of random signs and of a t-test that allows for skewness (AUC, F1: versions of records swapped), "
        "two-sided; q: Benjamini-Hochberg over heads x "
        "readouts x hows (MLPs and layers each by themselves).",
        f"Controls: the mean effect of the {matched} heads whose output norm |z W_O| on the same windows is nearest; excess: the effect "
        "beyond it.",
        "Matters: q < 0.05, and the intervals of the effect and of the excess on the same side of 0. Twins: the 95 % quantile, over models "
        "of random or shuffled weights, of a twin's largest absolute effect; it decides nothing, since a model that predicts nothing may "
        "lose or gain any number.",
        "Wave ratio: effect on the cross-entropy for each predicted token inside a wave over that for each one outside. Interval: "
        "Fieller's (1954); unbounded where the latter may be 0.",
        f"Records are called positive from a mean probability of {options.get('threshold', 0.5):g} on. Layers and heads are numbered "
        "from 1.",
    )
