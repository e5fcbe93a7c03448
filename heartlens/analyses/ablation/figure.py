"""The figure of an ablation: which heads matter to which readout, what heads of their norm let expect, and what is left."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import head_label
from heartlens.inference.verdict import is_yes, yes_first
from heartlens.wording import plain

N_MAPS, N_HEADS = 4, 8


def draw(summary: xr.Dataset) -> figures.Page:
    """The page. Maps are of the last way of taking away, the one of the curves."""
    with figures.style():
        has_curves = "layers_removed_effect" in summary
        page = figures.page(figures.PAGE_MM, 182 if has_curves else 135)
        maps, heads, *curves = cast(Any, page.subfigures(2 + has_curves, 1, height_ratios=(9, 9, 8)[: 2 + has_curves]))
        _maps(maps, summary.isel(how=-1))
        _strongest(heads, summary)
        if has_curves:
            _curves(curves[0], summary)
        figures.caption(page, summary.attrs, "framed: changes the readout; filled: beyond heads of its norm too")
    return page


def deciding(summary: xr.Dataset) -> str:
    """The readout that the verdict is about: the first; of a beat detector F1, unless the caller's own readout comes first."""
    first = str(summary["readout"].values[0])
    return "beat_f1" if first == "beat_misses" else first


def of_curves(summary: xr.Dataset) -> str:
    """The readout that curves are of: the AUC where there are labels, since a mean logit over both classes may stay where it was."""
    return next((str(name) for name in summary["readout"].values if str(name).endswith("_auc")), deciding(summary))


def strongest(summary: xr.Dataset, readout: str, n_heads: int) -> list[tuple[int, int]]:
    """The heads (layer, head) of largest absolute effect on a readout in any way of taking away, those that matter first."""
    of_readout = summary.sel(readout=readout).transpose("how", "layer", "head", ...)
    size = np.nan_to_num(np.abs(of_readout["effect"].values)).max(axis=0)
    return yes_first(size, np.asarray(is_yes(of_readout, "matters").values.any(axis=0)), n_heads)


def shown(summary: xr.Dataset) -> list[str]:
    """The readouts that maps are drawn of: the deciding one, then those of single waves or classes, AUC and F1, then others."""
    names = list(map(str, summary["readout"].values))
    first = deciding(summary)
    near = [name for name in names if name.startswith(f"{first}_") or name.endswith("_auc")]
    return list(dict.fromkeys([first, *near, *names]))[:N_MAPS]


def _maps(part: Any, summary: xr.Dataset) -> None:
    panels = part.subplots(1, len(shown(summary)), squeeze=False)[0]
    for axes, name in zip(panels, shown(summary), strict=True):
        of_readout = summary.sel(readout=name).transpose("layer", "head", ...)
        image = figures.signed_map(axes, of_readout["effect"].values, is_yes(of_readout, "changes").values)
        axes.set(title=plain(name), xlabel="head")
        part.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, pad=0.02)
    panels[0].set_ylabel(f"layer ({summary['how'].item()})")


def _strongest(part: Any, summary: xr.Dataset) -> None:
    """The heads of largest effect with intervals and what heads of their norm let expect, and the MLPs and layers."""
    name, at = deciding(summary), summary.sel(readout=deciding(summary))
    heads = strongest(summary, name, N_HEADS)
    of_heads, of_parts = part.subplots(1, 2, width_ratios=(1.6, 1))
    of_heads.axhline(0, color="0.3", linewidth=0.6)
    for turn, how in enumerate(map(str, at["how"].values)):
        of_how = at.sel(how=how)
        of_how["matters"] = is_yes(of_how, "matters")
        columns = [[float(of_how[key].sel(layer=layer, head=head)) for layer, head in heads] for key in _KEYS]
        middle, low, high, expected, matters = map(np.array, columns)
        x = np.arange(len(heads)) + (turn - (at.sizes["how"] - 1) / 2) * 0.22
        figures.marked_intervals(of_heads, x, middle, low, high, matters.astype(bool), colour=figures.PALETTE[turn], name=how)
        of_heads.scatter(x, expected, marker="_", s=30, color="black", zorder=4, label="expected of its norm" if not turn else None)
    of_heads.set_xticks(range(len(heads)), [head_label(*head) for head in heads])
    of_heads.set_ylabel(f"change of {plain(name)}")
    of_heads.legend(frameon=False)
    _parts(of_parts, at.isel(how=-1))


_KEYS = ("effect", "effect_low", "effect_high", "expected", "matters")


def _parts(axes: Any, at: xr.Dataset) -> None:
    axes.axhline(0, color="0.3", linewidth=0.6)
    for turn, (prefix, name) in enumerate((("mlp_", "MLP"), ("layer_", "whole layer"))):
        middle, low, high = (at[f"{prefix}effect{key}"].values for key in ("", "_low", "_high"))
        changes = is_yes(at, f"{prefix}changes").values
        x = np.arange(len(middle)) + 1.0 + (turn - 0.5) * 0.25
        figures.marked_intervals(axes, x, middle, low, high, changes, colour=figures.PALETTE[turn + 3], name=name)
    axes.set(xlabel=f"layer ({at['how'].item()}; filled: changes it)", xticks=np.arange(1, at.sizes["layer"] + 1))
    axes.legend(frameon=False)


def _curves(part: Any, summary: xr.Dataset) -> None:
    """What the AUC, or without labels the deciding readout, becomes as layers go from either end, and heads by their rank."""
    name = of_curves(summary)
    at = summary.sel(readout=name)
    panels = part.subplots(1, 2, sharey=True)
    for end, colour in zip(map(str, at["end"].values), figures.PALETTE, strict=False):
        _curve(panels[0], at.sel(end=end), "layers_removed", at["n_layers_removed"].values, f"from the {end} on", colour)
    panels[0].legend(frameon=False)
    if "heads_removed_effect" in at:
        _curve(panels[1], at, "heads_removed", at["n_heads_removed"].values, "by rank", figures.PALETTE[2])
    how = str(summary["how"].values[-1])
    panels[0].set(xlabel=f"layers taken away ({how})", ylabel=f"change of {plain(name)}")
    panels[1].set(xlabel=f"heads taken away, by rank on a sample ({how})")


def _curve(axes: Any, at: xr.Dataset, name: str, count: np.ndarray, label: str, colour: str) -> None:
    middle, low, high = (np.append(0.0, at[f"{name}_effect{key}"].values) for key in ("", "_low", "_high"))
    figures.interval_line(axes, np.append(0, count), middle, low, high, label, colour)
