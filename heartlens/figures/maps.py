"""Maps of layers x heads: lift on a diverging scale of ratios centred at 1, changes of either sign at 0, amounts from 0 on."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from heartlens.figures.layout import cmap_or

ByHead = Float[np.ndarray, "layer head"]
Marked = Bool[np.ndarray, "layer head"]


def head_map(axes: Axes, lift: ByHead, marked: Marked, limit: float) -> Any:
    """Lift by layer and head, on a scale of ratios from 1/limit to limit; a marked head is framed. Returns the image."""
    image = axes.imshow(np.clip(lift, 1 / limit, limit), cmap=cmap_or("PuOr_r"), norm=LogNorm(1 / limit, limit), aspect="equal")
    _frame(axes, marked)
    return image


def signed_map(axes: Axes, values: ByHead, marked: Marked) -> Any:
    """What may be of either sign by layer and head, white at 0; marked heads are framed. Returns the image."""
    reach = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-9)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=cmap_or("PuOr_r"), vmin=-reach, vmax=reach, aspect="equal")
    _frame(axes, marked)
    return image


def change_map(axes: Axes, change: ByHead) -> Any:
    """How much changed by layer and head, from 0 on; 0 is white, what is not finite grey. Returns the image."""
    finite = change[np.isfinite(change)]
    image = axes.imshow(
        np.ma.masked_invalid(change), cmap=cmap_or("Purples"), vmin=0, vmax=max(float(finite.max(initial=0)), 1e-9), aspect="equal"
    )
    axes.set_facecolor("0.7")
    _numbered(axes, change.shape)
    return image


def lift_map(axes: Axes, lift: Float[np.ndarray, "layer place"], place: Float[np.ndarray, " place"], limit: float) -> Any:
    """Lift by layer and place, on a scale of ratios from 1/limit to limit. Returns the image."""
    norm = LogNorm(1 / limit, limit)
    step = place[1] - place[0]
    extent = (place[0] - step / 2, place[-1] + step / 2, len(lift) + 0.5, 0.5)
    image = axes.imshow(
        np.clip(lift, 1 / limit, limit), cmap=cmap_or("PuOr_r"), norm=norm, aspect="auto", extent=extent, interpolation="none"
    )
    axes.set_yticks(range(1, len(lift) + 1))
    return image


def _frame(axes: Axes, marked: Marked) -> None:
    """Layers and heads numbered from 1, marked ones framed."""
    _numbered(axes, marked.shape)
    axes.spines[:].set_visible(False)
    for layer, head in zip(*np.nonzero(marked), strict=True):
        axes.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.4))


def _numbered(axes: Axes, shape: tuple[int, ...]) -> None:
    axes.grid(False)  # a style may draw one
    for axis, count in ((axes.yaxis, shape[0]), (axes.xaxis, shape[1])):
        axis.set_ticks(range(count), [str(index + 1) for index in range(count)])
    axes.tick_params(length=0)
