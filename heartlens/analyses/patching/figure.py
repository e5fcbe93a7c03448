"""The figure of a patching: effects by head (whole, direct, control), by head and wave, by level and wave, by level and cycle, one pair.

Effects are parts of the difference where that is shown, else in the readout's unit.
"""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.analyses.patching.summary import WHOLE, drawn_as
from heartlens.axes import KINDS, head_label
from heartlens.inference.verdict import is_yes, yes_first
from heartlens.wording import plain

N_NAMED = 8  # heads drawn by wave


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 205)
        maps, waves, levels, pair = cast(Any, page.subfigures(4, 1, height_ratios=(9, 7, 8, 6)))
        _maps(maps, summary)
        _waves(waves.subplots(), summary)
        _levels(levels, summary)
        _pair(pair.subplots(), summary)
        figures.caption(page, summary.attrs, "framed or filled: carries part of the difference (verdict yes)")
    return page


def strongest(summary: xr.Dataset) -> list[tuple[int, int]]:
    """The heads (layer, head) of the largest effect either way, those that carry the difference first."""
    return yes_first(np.abs(summary["effect"].sel(place=WHOLE).values), is_yes(summary, "carries").values, N_NAMED)


def _maps(page: Any, summary: xr.Dataset) -> None:
    """Three maps, and in place of the control's the paths into the receiver where there is one."""
    end, unit = drawn_as(summary)
    maps = {
        "whole effect": (summary[f"effect{end}"].sel(place=WHOLE), is_yes(summary, "carries")),
        "direct to the output": (summary[f"direct{end}"], is_yes(summary, "direct")),
    }
    if summary.attrs["receiver"] == "none":
        maps["control"] = summary[f"control_effect{end}"], xr.zeros_like(is_yes(summary, "carries"))
    else:
        maps[f"paths into {summary.attrs['receiver']}"] = summary[f"path{end}"].sum("part"), is_yes(summary, "path").any("part")
    for axes, (title, (values, marked)) in zip(page.subplots(1, len(maps)), maps.items(), strict=True):
        image = figures.signed_map(axes, values.values, marked.values)
        axes.set(title=title, xlabel="head", ylabel="layer")
        page.colorbar(image, ax=axes, shrink=0.8, label=unit)


def _waves(axes: Any, summary: xr.Dataset) -> None:
    """The strongest heads' effects at the tokens of each wave, side by side, with intervals."""
    end, unit = drawn_as(summary)
    heads, places = strongest(summary), [str(place) for place in summary["place"].values]
    layer, head = (xr.DataArray([each[axis] for each in heads], dims="strongest") for axis in (0, 1))
    chosen = summary.isel(layer=layer, head=head)
    axes.axhline(0, color="0.3", linewidth=0.6)
    for row, (place, colour) in enumerate(zip(places, figures.PALETTE, strict=False)):
        middle, low, high = (chosen[f"effect{end}{bound}"].sel(place=place).values for bound in ("", "_low", "_high"))
        marked = is_yes(chosen, "carries") if place == WHOLE else is_yes(chosen, "at_wave").sel(place=place)
        x = np.arange(len(heads)) + (row - (len(places) - 1) / 2) * 0.8 / len(places)
        figures.marked_intervals(axes, x, middle, low, high, marked.values, colour=colour, name=plain(place))
    axes.set_xticks(range(len(heads)), [head_label(*each) for each in heads])
    axes.set_title("a head's output at the tokens of", loc="left")
    axes.set(ylabel=unit, xlim=(-0.6, len(heads) - 0.4))
    box = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "handletextpad": 0.2, "columnspacing": 1.2}
    axes.legend(frameon=False, ncols=len(places), **box)


def _levels(page: Any, summary: xr.Dataset) -> None:
    """The stream at the tokens of each wave, and of each cycle back, by level."""
    end, unit = drawn_as(summary)
    waves, back = page.subplots(1, 2, width_ratios=(1.3, 1))
    places = [str(place) for place in summary["place"].values if place != WHOLE]
    lines = {
        plain(place): np.stack([summary[f"stream{end}{bound}"].sel(place=place).values for bound in ("", "_low", "_high")])
        for place in places
    }
    figures.by_level(waves, lines, figures.PALETTE)
    waves.axhline(0, color="0.6", linewidth=0.6)
    waves.set(title="the stream at the tokens of", ylabel=unit)
    waves.legend(frameon=False, fontsize=6)
    cycles = summary[f"stream_back{end}"].transpose("level", "lag").values
    image = figures.signed_map(back, cycles, is_yes(summary, "in_cycle").transpose("level", "lag").values)
    back.set_aspect("auto")
    back.set_xticks(range(cycles.shape[1]), [*map(str, summary["lag"].values[:-1]), f"{summary['lag'].values[-1]}+"])
    back.set_yticks(range(len(cycles)), ["emb.", *map(str, range(1, len(cycles)))])
    back.set(title="the stream by cycle", xlabel="cycles before the window's last", ylabel="after block")
    page.colorbar(image, ax=back, label=unit, shrink=0.9)


def _pair(axes: Any, summary: xr.Dataset) -> None:
    """One recording's window, and in colour its counterfactual."""
    example = summary.isel(example=0)
    time_s = np.arange(example.sizes["time"]) / KINDS[summary.attrs["kind"]].rate_hz
    axes.plot(
        time_s, example["token_of_counterfactual"].values, color=figures.PALETTE[1], linewidth=1.0, label=summary.attrs["counterfactual"]
    )
    figures.trace(axes, time_s, example["token"].values)
    axes.set_xlabel(f"time (s)   [{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on]")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
