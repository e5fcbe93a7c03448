"""The figure of attention over prior cycles: a window as the paper draws it, lift by distance, same-phase lift by head, and breadth."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import KINDS
from heartlens.inference.verdict import is_yes


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 165)
        window, middle, bottom = cast(Any, page.subfigures(3, 1, height_ratios=(6, 7, 7)))
        _window(window.subplots(), summary)
        _distances(middle, summary)
        maps, breadth = bottom.subplots(1, 2, width_ratios=(1, 1.6))
        _heads(bottom, maps, summary)
        _breadth(breadth, summary)
        figures.caption(page, summary.attrs, "framed: looks at its own phase (verdict yes)")
    return page


def _window(axes: Any, summary: xr.Dataset) -> None:
    """The last layer's attention of the asking token, summed over heads and over its maximum, as in the paper."""
    kind = KINDS[summary.attrs["kind"]]
    example = summary.isel(example=0, layer=-1)
    time_s = np.arange(example.sizes["time"]) / kind.rate_hz
    attention = example["token_attention"].sum("head").values
    right = figures.attended_signal(axes, time_s, example["token"].values, attention / max(attention.max(), 1e-12))
    right.set_ylim(0, 1.05)
    right.set_ylabel("attention / max")
    figures.wave_strip(axes, time_s, example["token_wave"].values, list(kind.waves))
    where = f"{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on; last layer, summed over heads"
    axes.set(xlabel=f"time (s)   [{where}]", ylabel="token")


def _distances(part: Any, summary: xr.Dataset) -> None:
    """Lift by distance in cycles, for every layer."""
    axes = part.subplots()
    lift = summary["lift_by_distance"].mean("head").transpose("layer", "distance")
    limit = max(2.0, float(np.ceil(np.nanquantile(lift.values, 0.995))))
    image = figures.lift_map(axes, lift.values, summary["distance"].values, limit)
    axes.set(xlabel="distance of the key (cycles back)", ylabel="layer")
    _ticks(part.colorbar(image, ax=axes, label="lift, mean over heads"), limit)


def _heads(part: Any, axes: Any, summary: xr.Dataset) -> None:
    by_head = summary.transpose("layer", "head", ...)
    limit = max(2.0, float(np.ceil(by_head["same_phase_lift"].fillna(1).max())))
    image = figures.head_map(axes, by_head["same_phase_lift"].values, is_yes(by_head, "same_phase").values, limit)
    axes.set(xlabel="head", ylabel="layer", title="same phase, earlier cycles")
    _ticks(part.colorbar(image, ax=axes, label="lift", shrink=0.8), limit)


def _ticks(bar: Any, limit: float) -> None:
    bar.set_ticks([1 / limit, 1, limit], labels=[f"{tick:.2g}" for tick in (1 / limit, 1, limit)])
    bar.ax.minorticks_off()


def _breadth(axes: Any, summary: xr.Dataset) -> None:
    """Effective tokens by layer, each head a point, the mean over heads with its interval."""
    layer = summary["layer"].values + 1
    for head in summary["effective_tokens"].transpose("head", "layer").values:
        axes.plot(layer, head, ".", color="0.7", markersize=3)
    mean, low, high = (summary[f"layer_effective_tokens{end}"].values for end in ("", "_low", "_high"))
    figures.interval_line(axes, layer, mean, low, high, "mean of heads")
    for number, twin in enumerate(summary["twin_effective_tokens"].values):
        axes.plot(layer, twin, "-", color="0.6", linewidth=0.4, label="twins" if number == 0 else None)
    axes.set(xlabel="layer", ylabel="effective tokens", xticks=layer, ylim=(0, None))
    axes.legend(frameon=False)
