"""Lines and points with their intervals."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from heartlens.figures.layout import PALETTE

Floats = Float[np.ndarray, " point"]


def profiles(axes: Axes, phase: Float[np.ndarray, " phase"], named: list[tuple[str, Float[np.ndarray, " phase"]] | None]) -> None:
    """Lift by phase of the cycle, a named line for each wave in that wave's colour (None: no line), and the line of even attention."""
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
    for line, colour, dashes in zip(named, PALETTE, ("-", "-", "-", ":", "-", "-"), strict=False):
        if line is not None:
            axes.plot(phase, line[1], color=colour, label=line[0], linewidth=1.2, linestyle=dashes)
    if any(named):
        axes.legend(frameon=False, loc="upper right")


def curves(axes: Axes, x: Floats, named: dict[str, Floats], x_label: str, y_label: str) -> None:
    """Named lines over `x`; the last value of each stands in the legend."""
    for (name, y), colour in zip(named.items(), PALETTE, strict=False):
        axes.plot(x, y, color=colour, linewidth=1.1, label=f"{name} ({y[-1]:.3f})")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False)


def reliability(axes: Axes, named: dict[str, Float[np.ndarray, "3 bin"]]) -> None:
    """The observed fraction against the predicted probability, for each source; a point's area shows how many predictions it has."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--", label="calibrated")
    for (name, (predicted, observed, count)), colour in zip(named.items(), PALETTE, strict=False):
        is_filled = count > 0
        area = 4 + 60 * count[is_filled] / count.max()
        axes.plot(predicted[is_filled], observed[is_filled], color=colour, linewidth=1.0, label=name)
        axes.scatter(predicted[is_filled], observed[is_filled], s=area, color=colour, linewidth=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="predicted probability", ylabel="observed fraction")
    axes.legend(frameon=False, loc="upper left")


def interval_line(axes: Axes, x: Any, y: Floats, low: Floats, high: Floats, name: str, colour: str = PALETTE[0]) -> None:
    """A named line with its interval as a band."""
    axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=1.2, marker="o", markersize=3, label=name)


def by_level(axes: Axes, named: dict[str, Float[np.ndarray, "3 level"]], colours: Sequence[str], dashes: Sequence[Any] = "-") -> None:
    """Named lines (value, low, high) by level of the model, with the interval as a band; NaN is left out."""
    for (name, (value, low, high)), colour, dash in zip(named.items(), colours, cycle(dashes), strict=False):
        place = np.arange(len(value))
        axes.fill_between(place, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(place, value, color=colour, linewidth=1.2, linestyle=dash, marker="o" if dash == "-" else "", markersize=2.5, label=name)
    axes.set_xticks(place, ["emb.", *(str(level) for level in place[1:])])
    axes.set_xlabel("after block")


def marked_intervals(
    axes: Axes, x: Floats, middle: Floats, low: Floats, high: Floats, marked: Bool[np.ndarray, " point"], **look: Any
) -> None:
    """Points with their intervals; marked ones filled, others hollow. `look`: colour, name (for the legend; absent: none)."""
    colour, name = look.get("colour", PALETTE[0]), look.get("name")
    axes.vlines(x, low, high, color=colour, linewidth=1.0)
    axes.scatter(
        x, middle, s=16, color=[colour if is_marked else "white" for is_marked in marked], edgecolor=colour, linewidth=1.0, zorder=3
    )
    axes.scatter([], [], s=16, color=colour, label=name)


def limits(axes: Axes, limit: float, between: tuple[float, float]) -> None:
    """The line of no change, and between two places what stays within `limit` of it as a grey band (none where the limit is not known)."""
    axes.axhline(0, color="0.3", linewidth=0.6)
    if np.isfinite(limit):
        axes.fill_between(between, -limit, limit, color="0.5", alpha=0.2, linewidth=0)


def against(axes: Axes, x: Floats, y: Floats, x_label: str, y_label: str) -> None:
    """Points, and the line on which both are equal."""
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color="0.6", linewidth=0.8, linestyle="--")
    axes.scatter(x, y, s=4, color=PALETTE[0], alpha=0.3, linewidth=0, rasterized=True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def differences(axes: Axes, x: Floats, y: Floats, lines: Sequence[float], x_label: str, y_label: str) -> None:
    """Differences over means (Bland & Altman), with a line for the bias and, dashed, for each limit of agreement."""
    axes.scatter(x, y, s=4, color=PALETTE[0], alpha=0.3, linewidth=0, rasterized=True)
    for line, dashes in zip(lines, ("-", "--", "--"), strict=False):
        axes.axhline(line, color=PALETTE[1], linewidth=0.8, linestyle=dashes)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def coverage(axes: Axes, level: Floats, covered: Floats) -> None:
    """How often intervals held the truth over how often they promised it, and the line on which both are equal; NaN: no such interval."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
    axes.plot(level, covered, marker="o", markersize=3, color=PALETTE[0], linewidth=1.0)
    axes.set_xlim(0.4, 1)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("promised coverage")
    axes.set_ylabel("true values inside")
    if not np.isfinite(covered).any():
        axes.text(0.7, 0.5, "no intervals", ha="center", fontsize=7)
