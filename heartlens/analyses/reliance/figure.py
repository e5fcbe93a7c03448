"""The figure of a reliance: the 2 x 2 of logits, each effect beside its controls, by dose, what heads carry, a window in its arms."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.analyses.reliance.words import NAMES
from heartlens.axes import KINDS
from heartlens.inference.verdict import is_yes

RHYTHMS = ["regular", "irregular"]
LINES = {"present": "P waves present", "removed": "P waves removed", "none": "no P wave of its own"}


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 170)
        top, maps, window = cast(Any, page.subfigures(3, 1, height_ratios=(10, 9, 9)))
        cells, effects, slopes = top.subplots(1, 3, width_ratios=(1, 1.8, 1.3))
        _cells(cells, summary)
        _effects(effects, summary)
        _slopes(slopes, summary)
        _heads(maps, summary)
        _arms(window, summary)
        figures.caption(page, summary.attrs, "filled or framed: verdict yes")
    return page


def _cells(axes: Any, summary: xr.Dataset) -> None:
    """The mean logit in each arm, a line for each state of the P wave."""
    for (name, label), colour in zip(LINES.items(), figures.PALETTE, strict=False):
        of_line = summary.sel(p_wave=name, rhythm=RHYTHMS)
        if of_line["logit"].notnull().all():
            mean, low, high = (of_line[f"logit{end}"].values for end in ("", "_low", "_high"))
            figures.interval_line(axes, np.arange(2), mean, low, high, label, colour)
    axes.set_xticks([0, 1], RHYTHMS)
    axes.set(xlim=(-0.3, 1.3), xlabel="intervals", ylabel="logit at the last token")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _effects(axes: Any, summary: xr.Dataset) -> None:
    """Each factor's effect, its sham's and its rival's."""
    factors = list(map(str, summary["factor"].values))
    place = np.arange(len(factors), dtype=float)
    figures.limits(axes, float(summary["relies_limit"]), (-0.4, len(factors) - 0.2))
    for of, colour, aside in zip(("effect", "sham", "rival"), figures.PALETTE, (0, 0.18, 0.36), strict=False):
        middle, low, high = (summary[f"{of}{end}"].values for end in ("", "_low", "_high"))
        marked = is_yes(summary, "relies").values if of == "effect" else np.zeros(len(factors), bool)
        name = {"effect": "effect", "sham": "sham edit", "rival": "another real edit"}[of]
        figures.marked_intervals(axes, place + aside, middle, low, high, marked, colour=colour, name=name)
    axes.set_xticks(place + 0.18, [_label(factor) for factor in factors])
    axes.set(xlim=(-0.4, len(factors) - 0.2), ylabel="change of the logit")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _slopes(axes: Any, summary: xr.Dataset) -> None:
    """The effect of each factor's edit, its sham and its rival per 100 tokens of change."""
    factors = [name for name in map(str, summary["factor"].values) if name != "interaction"]
    place = np.arange(len(factors), dtype=float)
    for of, colour, aside in zip(("effect", "sham", "rival"), figures.PALETTE, (0, 0.18, 0.36), strict=False):
        of_change = summary.sel(factor=factors, change=of)
        middle, low, high = (100 * of_change[f"slope_token{end}"].values for end in ("", "_low", "_high"))
        figures.marked_intervals(axes, place + aside, middle, low, high, np.zeros(len(factors), bool), colour=colour, name="")
    axes.set_xticks(place + 0.18, [_label(factor) for factor in factors])
    axes.set(xlim=(-0.4, len(factors) - 0.2), ylabel="logit per 100 tokens")


def _label(factor: str) -> str:
    """A factor's name in lines short enough to stand side by side."""
    return NAMES[factor].replace("interaction", "inter-\naction").replace("rhythm, ", "rhythm,\n")


def _heads(part: Any, summary: xr.Dataset) -> None:
    """What each head carries of each effect."""
    factors = list(map(str, summary["factor"].values))
    for axes, factor in zip(part.subplots(1, len(factors), squeeze=False)[0], factors, strict=True):
        of_factor = summary.sel(factor=factor).transpose("layer", "head", ...)
        image = figures.signed_map(axes, of_factor["head_effect"].values, is_yes(of_factor, "head_carries").values)
        axes.set(title=f"{NAMES[factor]} ({float(of_factor['head_whole']):+.2f})", xlabel="head", ylabel="layer")
        part.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, label="carried (logit)", pad=0.02)


def _arms(part: Any, summary: xr.Dataset) -> None:
    """One window in the arms of the 2 x 2 that it has."""
    example = summary.isel(example=0)
    measured = [(p_wave, rhythm) for p_wave in LINES for rhythm in RHYTHMS if example["token"].sel(p_wave=p_wave, rhythm=rhythm).max() > 0]
    time_s = np.arange(example.sizes["time"]) / KINDS[summary.attrs["kind"]].rate_hz
    panels = part.subplots(2, -(-len(measured) // 2), sharex=True, sharey=True, squeeze=False)
    for axes, (p_wave, rhythm) in zip(panels.T.flat, measured, strict=False):
        figures.trace(axes, time_s, example["token"].sel(p_wave=p_wave, rhythm=rhythm).values)
        axes.set_title(f"{rhythm}, {LINES[p_wave]}", loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("time (s)")
    where = f"{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on"
    panels[-1, 0].set_xlabel(f"time (s)   [{where}]")
