"""A recording and what a task says of it: beats with their confidence, probabilities of windows, and how a signal goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from heartlens.figures.layout import PALETTE

Points = Float[np.ndarray, " point"]
OF_BAND = (("low", PALETTE[1], "x"), ("medium", PALETTE[4], "^"), ("high", PALETTE[2], "o"))  # colour and marker of each band of confidence


def by_band(axes: Axes, x: Points, y: Points, band: Int[np.ndarray, " point"], *, named: bool = True) -> None:
    """Points in the colour and marker of their band of confidence (0 low, 1 medium, 2 high)."""
    for number, (name, colour, marker) in enumerate(OF_BAND):
        inside = band == number
        axes.scatter(
            x[inside], y[inside], s=11 if named else 5, color=colour, marker=marker, linewidth=0.8, zorder=3, label=name if named else None
        )
    if named:
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def gaps(axes: Axes, spans: Sequence[tuple[float, float]]) -> None:
    """What could not be used of a recording, from and to (s), as grey bands."""
    for begin_s, end_s in spans:
        axes.axvspan(begin_s, end_s, color="0.85", linewidth=0)


def by_recording(axes: Axes, names: Sequence[str], value: Points, low: Points, high: Points, threshold: float | None = None) -> None:
    """A value of each recording with its interval (NaN: none), the largest on top; named where there is room for names."""
    order = np.argsort(value, kind="stable")
    place = np.arange(len(order))
    axes.hlines(place, low[order], high[order], color=PALETTE[0], linewidth=1.0)
    axes.scatter(value[order], place, s=12, color=PALETTE[0], zorder=3)
    _threshold_line(axes.axvline, threshold)
    axes.set(ylim=(-0.8, len(order) - 0.2))
    if len(order) <= 60:
        axes.set_yticks(place, [names[index] for index in order])
    else:
        axes.set(yticks=[], ylabel=f"{len(order)} recordings")


def over_time(axes: Axes, start_s: Points, length_s: float, value: Points, threshold: float | None) -> None:
    """A value of each window, as a bar as long as the window."""
    axes.hlines(value, start_s, start_s + length_s, color=PALETTE[0], linewidth=1.6)
    axes.scatter(start_s + length_s / 2, value, s=7, color=PALETTE[0], zorder=3)
    _threshold_line(axes.axhline, threshold)
    axes.set(ylim=(-0.03, 1.03))


def _threshold_line(draw: Any, threshold: float | None) -> None:
    if threshold is not None:
        draw(threshold, color=PALETTE[1], linewidth=0.9, linestyle="--", label=f"threshold {threshold:.3g}")


def going_on(axes: Axes, seen: Mapping[str, Points], drawn: Float[np.ndarray, "draw step"], after_s: Float[np.ndarray, " step"]) -> None:
    """A context (`time_s` and `height`) and what was generated after it: one line, or the median with the ranges of 50 and 90 %."""
    axes.plot(seen["time_s"], seen["height"], color="black", linewidth=0.8, label="context")
    if len(drawn) > 1:
        for part, shade in ((0.9, 0.2), (0.5, 0.35)):
            ends = np.quantile(drawn, ((1 - part) / 2, (1 + part) / 2), axis=0)
            axes.fill_between(after_s, *ends, color=PALETTE[0], alpha=shade, linewidth=0, label=f"{100 * part:.0f} % of {len(drawn)}")
    name = "generated" if len(drawn) == 1 else "median"
    axes.plot(after_s, np.median(drawn, axis=0), color=PALETTE[0], linewidth=0.9, label=name)
    axes.set(xlim=(seen["time_s"][0], after_s[-1]), xlabel="time from the end of the context (s)")
    axes.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def changes(axes: Axes, names: Sequence[str], change: Float[np.ndarray, "row window"], mean: Points) -> None:
    """How much each edit changes a value, window by window (small, hollow) and in the mean (a bar from 0)."""
    place = np.arange(len(names))[::-1]
    axes.axvline(0, color="0.3", linewidth=0.6)
    axes.barh(place, mean, height=0.55, color=PALETTE[5], linewidth=0)
    for row, values in zip(place, change, strict=True):
        axes.scatter(values, np.full(len(values), row), s=9, facecolor="none", edgecolor="0.3", linewidth=0.6, zorder=3)
    axes.set_yticks(place, list(names))
