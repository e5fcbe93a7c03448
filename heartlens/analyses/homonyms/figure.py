"""The figure of homonyms: cosines by level as in the paper, with intervals and nulls; clusters and probe by level; one value's tokens."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.inference.verdict import is_yes

GREYS = ("0.45", "0.7")
MEASURED = {"silhouette": "silhouette", "purity": "neighbour purity", "probe_accuracy": "probe accuracy"}
SAID = {"slope": "rising or falling", "phase": "part of the cycle"}


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 176)
        top, middle, bottom = cast(Any, page.subfigures(3, 1, height_ratios=(10, 8, 9)))
        _cosines(top, summary)
        _clusters(middle, summary)
        _planes(bottom, summary)
        figures.caption(page, summary.attrs, "star: shown to come apart (verdict yes)")
    return page


def _cosines(part: Any, summary: xr.Dataset) -> None:
    panels = part.subplots(1, summary.sizes["label"], sharey=True, squeeze=False)[0]
    for axes, label in zip(panels, summary["label"].values, strict=True):
        of_label = summary.sel(label=label)
        lines = {
            f"same {label}": _banded(of_label, "cosine_within"),
            f"different {label}": _banded(of_label, "cosine_between"),
            f"same {label}, shuffled": _bare(of_label["cosine_within_null"]),
            "any two tokens": _bare(of_label["cosine_random"]),
        }
        figures.by_level(axes, lines, (*figures.PALETTE[:2], *GREYS), ("-", "-", "--", ":"))
        top = np.nanmax(np.append(of_label["cosine_within"].values, 0.1))
        axes.set_title(f"equal values, {SAID.get(str(label), label)}", pad=9)
        for place in np.flatnonzero(is_yes(of_label, "apart").values):
            axes.text(place, 1.0, "*", transform=axes.get_xaxis_transform(), ha="center", va="center")
        axes.set_ylim(min(0, axes.get_ylim()[0]), max(top + 0.25, axes.get_ylim()[1]))
        axes.legend(frameon=False, loc="upper left", ncols=2, borderaxespad=0)
    panels[0].set_ylabel("cosine")


def _clusters(part: Any, summary: xr.Dataset) -> None:
    for axes, (name, says) in zip(part.subplots(1, len(MEASURED)), MEASURED.items(), strict=True):
        lines = {str(label): _banded(summary.sel(label=label), name) for label in summary["label"].values}
        lines |= {f"{label}, shuffled": _bare(summary[f"{name}_null"].sel(label=label)) for label in summary["label"].values}
        figures.by_level(axes, lines, figures.PALETTE[2:4] * 2, ("-", "-", "--", "--"))
        axes.set_ylabel(says)
    part.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)


def _planes(part: Any, summary: xr.Dataset) -> None:
    if summary["picture_value"].isnull():
        part.text(0.5, 0.5, "no tokens were sampled: no picture of them", ha="center")
        return
    last = summary.sizes["level"] - 1
    panels = part.subplots(1, 3)
    for axes, level in zip(panels, (0, (last + 1) // 2, last), strict=True):
        at_level = summary.isel(level=level)
        points = figures.on_the_cycle(axes, at_level["plane"].values, at_level["point_phase"].values, at_level["point_rises"].values)
        axes.set_title(str(at_level["level"].item()))
        first, second = ("t-SNE" if np.isnan(part) else f"{100 * part:.0f} %" for part in at_level["explained"].values)
        axes.set(xlabel=f"component 1 ({first})", ylabel=f"component 2 ({second})")
    value = int(summary["picture_value"])
    panels[1].set_xlabel(panels[1].get_xlabel() + f"\ntokens of value {value} ± 2 of all records; discs rise, triangles fall")
    part.colorbar(points, ax=panels, shrink=0.8, label="phase (cycles)")


def _banded(of_label: xr.Dataset, name: str) -> np.ndarray:
    return np.stack([of_label[name].values, of_label[f"{name}_low"].values, of_label[f"{name}_high"].values])


def _bare(values: xr.DataArray) -> np.ndarray:
    return np.stack([values.values, np.full(values.shape, np.nan), np.full(values.shape, np.nan)])
