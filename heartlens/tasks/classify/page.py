"""The probabilities of recordings in a figure and in words, from the stored summary alone; of one recording what moves its logit."""

from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import CONTEXT, KINDS
from heartlens.findings import Findings
from heartlens.parts import edited
from heartlens.tasks import NOT_MEDICAL

MOST_ROWS = 500  # of a report


def class_of(probability: float, threshold: float | None) -> str:
    """yes or no; nothing without a threshold."""
    return "" if threshold is None else "yes" if probability >= threshold else "no"


def plot(summary: xr.Dataset) -> Any:
    """Of one recording its page; of several their probabilities with intervals."""
    from heartlens import figures

    threshold = None if np.isnan(summary.attrs["threshold"]) else float(summary.attrs["threshold"])
    used = summary.isel(record=np.flatnonzero(summary["reason"].values.astype(str) == ""))
    probability = 1 / (1 + np.exp(-summary["logit"].values))
    length_s = CONTEXT / KINDS[str(summary.attrs.get("data_kind", "ecg"))].rate_hz
    with figures.style():
        if used.sizes["record"] > 1:
            page = figures.page(figures.PAGE_MM, 30 + min(4.2 * used.sizes["record"], 150))
            axes = page.subplots()
            low, high = used["probability_low"].values, used["probability_high"].values
            figures.by_recording(axes, list(map(str, used["record"].values)), used["probability"].values, low, high, threshold)
            axes.set(xlim=(-0.02, 1.02), xlabel="probability (mean over windows; 95 % interval over windows)")
        elif "signal" in summary:
            page = figures.page(figures.PAGE_MM, 150)
            panels = page.subplot_mosaic(
                [["signal", "signal"], ["windows", "windows"], ["parts", "edits"]], height_ratios=(3, 3, 4), width_ratios=(2, 3)
            )
            _signal_panel(panels["signal"], summary)
            axes = panels["windows"]
            figures.over_time(axes, summary["start_s"].values, length_s, probability, threshold)
            axes.set_xlim(panels["signal"].get_xlim())
            _moved_panels(figures, page, panels, summary)
        else:
            page = figures.page(figures.PAGE_MM, 60)
            axes = page.subplots()
            figures.over_time(axes, summary["start_s"].values, length_s, probability, threshold)
        if used.sizes["record"] == 1:
            axes.set(xlabel="time (s)", ylabel="probability")
        if threshold is not None:
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        page.suptitle(
            f"{summary.attrs['checkpoint']}{edited(summary.attrs)} · {summary.attrs['question']} · {NOT_MEDICAL}",
            fontsize=7,
            x=0.01,
            ha="left",
        )
    return page


def _signal_panel(axes: Any, summary: xr.Dataset) -> None:
    attrs = summary.attrs
    time_s = attrs["signal_start_s"] + np.arange(summary.sizes["sample"]) / attrs["signal_rate_hz"]
    axes.plot(time_s, summary["signal"].values, color="black", linewidth=0.7)
    axes.set(xlim=(time_s[0], time_s[-1]), xlabel="time (s)", ylabel=f"signal ({attrs['unit'] or 'own unit'})")
    axes.set_title(str(summary["record"].values[0]), loc="left")


def _moved_panels(figures: Any, page: Any, panels: Any, summary: xr.Dataset) -> None:
    """What the heads add to the logit, and what counterfactuals change."""
    n_layers, n_heads = summary["direct"].shape
    image = figures.signed_map(panels["parts"], summary["direct"].values, np.zeros((n_layers, n_heads), bool))
    page.colorbar(image, ax=panels["parts"], shrink=0.7, label="added to the logit")
    panels["parts"].set(xlabel="head", ylabel="layer")
    change = summary["logit_change"].values
    if change.size and np.isfinite(change).any():
        is_made = np.isfinite(change).any(axis=1)
        names = [str(name) for name in summary["edit"].values[is_made]]
        figures.changes(panels["edits"], names, change[is_made], np.nanmean(change[is_made], axis=1))
        panels["edits"].set_xlabel("change of the logit")
    else:
        panels["edits"].set_axis_off()
        panels["edits"].text(0, 0.5, "no counterfactual could be made", transform=panels["edits"].transAxes)


def findings(summary: xr.Dataset) -> Findings:
    """The recordings, how many of each class; of one recording also what moves its logit."""
    attrs = summary.attrs
    threshold = None if np.isnan(attrs["threshold"]) else float(attrs["threshold"])
    rows = [_in_row(summary.isel(record=index), threshold) for index in range(min(summary.sizes["record"], MOST_ROWS))]
    probability = summary["probability"].values[summary["reason"].values.astype(str) == ""]
    classes = f", {int((probability >= threshold).sum())} with the condition" if threshold is not None else ""
    verdict = [
        f"{attrs['n_records']} of {summary.sizes['record']} recordings, {attrs['n_windows']} windows{classes}.",
        attrs["threshold_source"],
    ]
    if summary.sizes["record"] == 1:
        verdict.insert(0, f"{rows[0][0]}: probability {rows[0][3]} ({rows[0][4] or 'no interval of one window'}).")
    if "direct" in summary:
        verdict += _in_words(summary)
    return Findings(
        title=f"{attrs['question'] or 'task head'}: {attrs['n_records']} recordings, by {attrs['checkpoint']}",
        question=f"How probable is it, by the task head of {attrs['checkpoint']}?",
        verdict=tuple(verdict),
        columns=("record", "person", "windows", "probability", "95 % interval over windows", "class", "not used"),
        rows=tuple(rows),
        cautions=_cautions(summary, threshold),
        methods=(
            "A recording's probability is the mean over its windows, a person's over all their windows; intervals are over windows.",
            "Everything that can be tokenised is classified, waves or not.",
        ),
    )


def _in_row(record: xr.Dataset, threshold: float | None) -> tuple[str, ...]:
    reason, value = str(record["reason"].item()), float(record["probability"])
    low, high = float(record["probability_low"]), float(record["probability_high"])
    interval = f"{low:.3f} to {high:.3f}" if np.isfinite(low) else ""
    shown = ("", "", "") if reason else (f"{value:.4f}", interval, class_of(value, threshold))
    return str(record["record"].item()), str(record["person"].item()), str(int(record["n_windows"])), *shown, reason


def _in_words(summary: xr.Dataset) -> list[str]:
    """What moves the logit of one recording, in two sentences."""
    direct = summary["direct"].values
    order = np.argsort(-np.abs(direct), axis=None)[:3]
    heads = ", ".join(
        f"L{layer + 1}H{head + 1} {direct[layer, head]:+.2f}" for layer, head in zip(*np.unravel_index(order, direct.shape), strict=True)
    )
    lines = [
        f"Mean logit {summary['logit'].values.mean():+.2f}; of it (mean of {summary.attrs['n_attributed']} windows) all heads add "
        f"{direct.sum():+.2f} (most: {heads}), MLPs {summary['direct_mlp'].values.sum():+.2f}."
    ]
    change = summary["logit_change"].values
    if summary.attrs["not_changed"]:
        return [*lines, f"No counterfactual could be made: {summary.attrs['not_changed']}."]
    told = [
        f"{name} {np.nanmean(values):+.2f} ({np.isfinite(values).sum()} windows)"
        for name, values in zip(summary["edit"].values, change, strict=True)
        if np.isfinite(values).any()
    ]
    return [*lines, f"Mean change of the logit: {'; '.join(told)}." if told else "No counterfactual was possible in any window."]


def _cautions(summary: xr.Dataset, threshold: float | None) -> tuple[str, ...]:
    cautions = [NOT_MEDICAL[0].upper() + NOT_MEDICAL[1:] + "."]
    if threshold is None:
        cautions.append("The probabilities are not calibrated, and 0.5 is no threshold: labelled recordings (--labels) choose one.")
    elif "labelled" in str(summary.attrs["threshold_source"]):
        cautions.append("The threshold was chosen on these same recordings; on others it does worse.")
    if "direct" in summary:
        cautions.append(
            "What moves the logit are point estimates from one recording: no interval over persons, nothing tested. Compare an edit with "
            "its control; attribution and reliance test these over recordings."
        )
    cautions.append("Intervals are over windows of a recording: they do not say how well the detector works for other persons.")
    return tuple(cautions)
