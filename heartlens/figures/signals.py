"""A window's tokens as a line, with what a model does at each; waves, levels of the model, and points on the cycle."""

from collections.abc import Mapping
from itertools import chain, cycle
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from heartlens.figures.layout import PALETTE
from heartlens.wording import plain

Times = Float[np.ndarray, " time"]
Points = Float[np.ndarray, " point"]


def trace(axes: Axes, time_s: Times, token: UInt8[np.ndarray, " time"]) -> None:
    """A window's tokens as a line."""
    axes.plot(time_s, token, color="black", linewidth=0.8)
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(-5, 104), ylabel="token")


def attended_signal(axes: Axes, time_s: Times, token: UInt8[np.ndarray, " time"], lift: Times) -> Axes:
    """A window's tokens as a line, the lift of each token as an area behind it. Returns the lift's own axes, on the right."""
    right = axes.twinx()
    right.fill_between(time_s, lift, step="mid", color=PALETTE[4], alpha=0.75, linewidth=0)
    right.set_ylim(0, max(float(np.nanmax(lift)) * 1.05, 1.5))
    right.spines["right"].set_visible(True)
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(time_s, token, color="black", linewidth=0.9)
    axes.set_xlim(time_s[0], time_s[-1])
    axes.set_ylim(-5, 104)
    return right


def shifted_signal(axes: Axes, time_s: Times, token: UInt8[np.ndarray, " time"], shift: Times) -> Axes:
    """A window's tokens as a line, behind it what attention each gained (up) and lost (down). Returns the shift's own axes, on the right.

    Their scale leaves out the first token, the attention sink.
    """
    right = axes.twinx()
    for sign, colour, name in ((1, PALETTE[1], "gained"), (-1, PALETTE[0], "lost")):
        right.fill_between(time_s, np.where(sign * shift > 0, shift, 0.0), step="mid", color=colour, alpha=0.75, linewidth=0, label=name)
    reach = max(float(np.nanmax(np.abs(shift[1:]))) * 1.05, 1e-9)
    right.set_ylim(-reach, reach)
    right.spines["right"].set_visible(True)
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(time_s, token, color="black", linewidth=0.9)
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(-5, 104))
    return right


def marked_signal(axes: Axes, token: UInt8[np.ndarray, " time"], rate_hz: float, marked: Mapping[str, int]) -> None:
    """A window's tokens as a line with named tokens marked, each in its colour of the palette; where they are many, by their numbers."""
    axes.plot(np.arange(len(token)) / rate_hz, token, color="0.4", linewidth=0.8)
    is_few = len(marked) <= len(PALETTE)
    for (name, place), colour in zip(marked.items(), chain(PALETTE[:1], cycle(PALETTE[1:])), strict=False):
        axes.scatter([place / rate_hz], [token[place]], s=22, color=colour, label=name if is_few else None, zorder=3)
        if not is_few:
            axes.annotate(str(place + 1), (place / rate_hz, token[place]), (0, 4), textcoords="offset points", fontsize=5, ha="center")
    axes.set(xlim=(0, len(token) / rate_hz), ylim=(-5, 104))
    if is_few:
        axes.legend(frameon=False, ncols=len(marked), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def wave_strip(axes: Axes, time_s: Times, wave: Int[np.ndarray, " time"], names: list[str]) -> None:
    """The waves of a window as coloured bars under the signal, named once."""
    for index, name in enumerate(names):
        inside = wave == index
        colour = PALETTE[index]
        axes.fill_between(time_s, -4, 0, where=inside, color=colour, linewidth=0, label=plain(name))
    axes.legend(frameon=False, ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def bands(axes: Axes, occupancy: dict[str, Float[np.ndarray, " phase"]]) -> None:
    """Where in the cycle each wave lies, as a strip above the axes: as dark as the part of the wave's tokens at that phase.

    Strips are as high as a line of text, however small the page: their names must not overlap.
    """
    size = min(mpl.rcParams["xtick.labelsize"], 6)
    line = 1.25 * size / 72  # inches
    in_axes: Any = axes.transAxes  # matplotlib's types allow only affine ones here, and any transform works
    inches_above = cast(Any, axes.figure).dpi_scale_trans + ScaledTranslation(0, 1, in_axes)
    for row, (name, weight) in enumerate(occupancy.items()):
        peak = np.nanmax(weight) if np.isfinite(weight).any() else 0
        if peak > 0:
            place = (0, (row + 0.2) * line, 1, 0.85 * line)
            strip = axes.inset_axes(place, transform=blended_transform_factory(axes.transAxes, inches_above))
            strip.imshow((weight / peak)[None], cmap="Greys", aspect="auto", vmin=0, vmax=1.3)
            strip.set_axis_off()
            strip.text(-0.6, 0, plain(name), ha="right", va="center", fontsize=size)


def level_lines(axes: Axes, time_s: Times, lines: Float[np.ndarray, "level time"], behind: Times | None = None) -> None:
    """A line for each level of the model, one below the other on one scale; `behind` each, in grey, the line it should match."""
    everything = lines if behind is None else np.append(lines, behind[None], axis=0)
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    scale = 0.9 / max(high - low, 1e-9)
    for level, line in enumerate(lines):
        if behind is not None:
            axes.plot(time_s, (behind - low) * scale - level - 0.45, color="0.75", linewidth=0.7)
        axes.plot(time_s, (line - low) * scale - level - 0.45, color=PALETTE[0], linewidth=0.8)
    axes.set_yticks(-np.arange(len(lines)), ["emb.", *map(str, range(1, len(lines)))])
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(0.5 - len(lines), 0.5))


def on_the_cycle(axes: Axes, plane: Float[np.ndarray, "point 2"], phase: Points, disc: Bool[np.ndarray, " point"]) -> Any:
    """Points coloured by phase of the cycle, discs where `disc`, else triangles; no ticks: only distances count. Returns the points."""
    for which, marker in ((disc, "o"), (~disc, "v")):
        x, y = plane[which].T
        points = axes.scatter(
            x, y, s=11, c=phase[which], cmap="twilight_shifted", vmin=0, vmax=1, marker=marker, edgecolor="0.3", linewidth=0.2
        )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    return points
