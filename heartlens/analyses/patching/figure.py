"""The figure of a patching: effects by head (whole, direct, control), by head and wave, by level and wave, by level and cycle, one pair."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.analyses.patching.summary import WHOLE
from heartlens.axes import KINDS, head_label
from heartlens.wording import plain

N_NAMED = 8  # heads drawn by wave
MAPS = {"effect": "whole effect", "direct": "direct to the output", "control_effect": "control"}


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 205)
        maps, waves, levels, pair = cast(Any, page.subfigures(4, 1, height_ratios=(9, 7, 8, 6)))
        _maps(maps, summary)
        _waves(waves.subplots(), summary)
        _levels(levels, summary)
        _pair(pair.subplots(), summary)
        figures.caption(page, summary.attrs, "framed or filled: survives all controls")
    return page


def strongest(summary: xr.Dataset) -> list[tuple[int, int]]:
    """The heads (layer, head) of the largest effect either way, the largest first."""
    effect = np.abs(np.nan_to_num(summary["effect"].sel(place=WHOLE).values))
    order = np.argsort(-effect, axis=None, kind="stable")[:N_NAMED]
    return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, effect.shape), strict=True)]


def _maps(part: Any, summary: xr.Dataset) -> None:
    """Three maps on one scale, and beside them the paths into the receiver where there is one."""
    values = {name: (summary[name].sel(place=WHOLE) if name == "effect" else summary[name]).values for name in MAPS}
    marked = {"effect": summary["effect_survives"].sel(place=WHOLE).values, "direct": summary["direct_survives"].values}
    titles = dict(MAPS)
    if summary.attrs["receiver"] != "none":
        del titles["control_effect"]
        titles["path"] = f"paths into {summary.attrs['receiver']}"
        values["path"], marked["path"] = summary["path"].sum("part").values, summary["path_survives"].any("part").values
    for axes, (name, title) in zip(part.subplots(1, len(titles)), titles.items(), strict=True):
        image = figures.signed_map(axes, values[name], marked.get(name, np.zeros(values[name].shape, bool)))
        axes.set(title=title, xlabel="head", ylabel="layer")
        part.colorbar(image, ax=axes, shrink=0.8, label="part of the difference")


def _waves(axes: Any, summary: xr.Dataset) -> None:
    """The strongest heads' effects at the tokens of each wave, side by side, with intervals."""
    heads, places = strongest(summary), [str(place) for place in summary["place"].values]
    figures.limits(axes, float(summary["null_high"]), (-0.5, len(heads) - 0.5))
    for row, (place, colour) in enumerate(zip(places, figures.PALETTE, strict=False)):
        here = summary.sel(place=place)
        middle, low, high = (np.array([float(here[f"effect{key}"].values[head]) for head in heads]) for key in ("", "_low", "_high"))
        x = np.arange(len(heads)) + (row - (len(places) - 1) / 2) * 0.8 / len(places)
        survives = np.array([bool(here["effect_survives"].values[head]) for head in heads])
        figures.marked_intervals(axes, x, middle, low, high, survives, colour=colour, name=plain(place))
    axes.set_xticks(range(len(heads)), [head_label(*head) for head in heads])
    axes.set_title("a head's output at the tokens of", loc="left")
    axes.set(ylabel="part of the difference", xlim=(-0.6, len(heads) - 0.4))
    box = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "handletextpad": 0.2, "columnspacing": 1.2}
    axes.legend(frameon=False, ncols=len(places), **box)


def _levels(part: Any, summary: xr.Dataset) -> None:
    """The stream at the tokens of each wave, and of each cycle back, by level."""
    waves, back = part.subplots(1, 2, width_ratios=(1.3, 1))
    places = [str(place) for place in summary["place"].values if place != WHOLE]
    lines = {plain(place): _line(summary.sel(place=place), "stream") for place in places}
    figures.by_level(waves, lines, figures.PALETTE)
    waves.axhline(0, color="0.6", linewidth=0.6)
    waves.set(title="the stream at the tokens of", ylabel="part of the difference")
    waves.legend(frameon=False, fontsize=6)
    cycles = summary["stream_back"].transpose("level", "lag").values
    image = figures.signed_map(back, cycles, summary["stream_back_survives"].transpose("level", "lag").values)
    back.set_aspect("auto")
    back.set_xticks(range(cycles.shape[1]), [*map(str, summary["lag"].values[:-1]), f"{summary['lag'].values[-1]}+"])
    back.set_yticks(range(len(cycles)), ["emb.", *map(str, range(1, len(cycles)))])
    back.set(title="the stream by cycle", xlabel="cycles before the window's last", ylabel="after block")
    part.colorbar(image, ax=back, label="part of the difference", shrink=0.9)


def _line(here: xr.Dataset, name: str) -> np.ndarray:
    return np.stack([here[f"{name}{end}"].values for end in ("", "_low", "_high")])


def _pair(axes: Any, summary: xr.Dataset) -> None:
    """One recording's window, and in colour its counterfactual."""
    one = summary.isel(example=0)
    time_s = np.arange(one.sizes["time"]) / KINDS[summary.attrs["kind"]].rate_hz
    axes.plot(time_s, one["token_of_counterfactual"].values, color=figures.PALETTE[1], linewidth=1.0, label=summary.attrs["counterfactual"])
    figures.trace(axes, time_s, one["token"].values)
    axes.set_xlabel(f"time (s)   [{one['example_record'].item()}, from {one['example_start_s'].item():.1f} s on]")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
