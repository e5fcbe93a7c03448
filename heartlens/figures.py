"""The only door to matplotlib: page size, palette and panels. Vector output with text a reader can edit; no pyplot, nothing shown.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers; lift is drawn on a diverging map centred at 1.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from heartlens.store import write_whole

COLUMN_MM, PAGE_MM = 89, 183
FORMATS = ("pdf", "svg", "png")
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
Times = Float[np.ndarray, " time"]
Floats = Float[np.ndarray, " point"]
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "heartlens",
    "savefig.dpi": 300,
    "font.family": "sans-serif",
}


class Page(Figure):
    """A figure that is saved in the style it was drawn in, without a date, so that the same result gives the same file."""

    def savefig(self, fname: Any, **options: Any) -> None:
        suffix = str(options.get("format") or Path(str(fname)).suffix.lstrip("."))
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
        with mpl.rc_context(STYLE):
            self._lay_out_once()
            super().savefig(fname, **{"metadata": metadata, **options})

    def _lay_out_once(self) -> None:
        """Lay out and keep it: this takes longer than drawing, and gives the same for every format."""
        if isinstance(self.get_layout_engine(), ConstrainedLayoutEngine):
            self.draw_without_rendering()
            self.set_layout_engine(None)


def page(width_mm: float, height_mm: float) -> Page:
    """An empty page with a constrained layout. Draw on it within `style()`."""
    return Page(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def caption(page: Page, attrs: Mapping[Any, Any], mark: str) -> None:
    """One line above a page that says what was measured on what, and what a marked place means."""
    data = "SIMULATED signals" if attrs.get("data_is_simulated") else "recordings"
    counted = f"{attrs['n_records']} records, {attrs['n_windows']} windows of {data}"
    model = f"{attrs.get('checkpoint', 'model')} ({attrs.get('checkpoint_fingerprint', '')[:8]})"
    page.suptitle(f"{model} · {counted} · {mark}", fontsize=7, x=0.01, ha="left")


def style() -> Any:
    """The context in which panels are drawn."""
    return mpl.rc_context(STYLE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, atomically; the suffix of `path` is its format."""
    suffix = path.suffix.lstrip(".")
    write_whole(path, lambda partial: figure.savefig(partial, format=suffix))


def head_map(axes: Axes, lift: Float[np.ndarray, "layer head"], marked: Bool[np.ndarray, "layer head"], limit: float) -> Any:
    """A layers x heads map of lift, on a scale of ratios from 1/limit to limit; a marked head is framed. Returns the image."""
    norm = LogNorm(1 / limit, limit)
    image = axes.imshow(np.clip(lift, 1 / limit, limit), cmap="PuOr_r", norm=norm, aspect="equal")
    n_layers, n_heads = lift.shape
    axes.set_xticks(range(n_heads), [str(head + 1) for head in range(n_heads)])
    axes.set_yticks(range(n_layers), [str(layer + 1) for layer in range(n_layers)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for layer, head in zip(*np.nonzero(marked), strict=True):
        axes.add_patch(mpl.patches.Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.4))
    return image


def profiles(axes: Axes, phase: Float[np.ndarray, " phase"], named: list[tuple[str, Float[np.ndarray, " phase"]] | None]) -> None:
    """Lift by phase of the cycle, a named line for each wave in that wave's colour (None: no line), and the line of even attention."""
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
    for line, colour, dashes in zip(named, PALETTE, ("-", "-", "-", ":", "-", "-"), strict=False):
        if line is not None:
            axes.plot(phase, line[1], color=colour, label=line[0], linewidth=1.2, linestyle=dashes)
    if any(named):
        axes.legend(frameon=False, loc="upper right")


def bands(axes: Axes, phase: Float[np.ndarray, " phase"], occupancy: dict[str, Float[np.ndarray, " phase"]]) -> None:
    """Where in the cycle each wave lies, as a strip above the axes: as dark as the part of the wave's tokens at that phase."""
    for row, (name, weight) in enumerate(occupancy.items()):
        peak = np.nanmax(weight) if np.isfinite(weight).any() else 0
        if peak > 0:
            strip = axes.inset_axes((0, 1.02 + 0.07 * row, 1, 0.06))
            strip.imshow((weight / peak)[None], cmap="Greys", aspect="auto", vmin=0, vmax=1.3)
            strip.set_axis_off()
            strip.text(-0.6, 0, name.replace("_", " "), ha="right", va="center", fontsize=6)


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


def marked_signal(axes: Axes, token: UInt8[np.ndarray, " time"], rate_hz: float, marked: Mapping[str, int]) -> None:
    """A window's tokens as a line with named tokens marked, each in its colour of the palette."""
    axes.plot(np.arange(len(token)) / rate_hz, token, color="0.4", linewidth=0.8)
    for (name, place), colour in zip(marked.items(), PALETTE, strict=False):
        axes.scatter([place / rate_hz], [token[place]], s=22, color=colour, label=name, zorder=3)
    axes.set(xlim=(0, len(token) / rate_hz), ylim=(-5, 104))
    axes.legend(frameon=False, ncols=len(marked), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def wave_strip(axes: Axes, time_s: Times, wave: Int[np.ndarray, " time"], names: list[str]) -> None:
    """The waves of a window as coloured bars under the signal, named once."""
    for index, name in enumerate(names):
        inside = wave == index
        colour = PALETTE[index]
        axes.fill_between(time_s, -4, 0, where=inside, color=colour, linewidth=0, label=name.replace("_", " "))
    axes.legend(frameon=False, ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def curves(axes: Axes, x: Floats, named: dict[str, Floats], x_label: str, y_label: str) -> None:
    """Named lines over `x`; the last value of each stands in the legend."""
    for (name, y), colour in zip(named.items(), PALETTE, strict=False):
        axes.plot(x, y, color=colour, linewidth=1.1, label=f"{name} ({y[-1]:.3f})")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False)


def reliability(axes: Axes, named: dict[str, Float[np.ndarray, "3 bin"]]) -> None:
    """What came true against what was said, for each source; a point's area is how often it was said."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--", label="calibrated")
    for (name, (predicted, observed, count)), colour in zip(named.items(), PALETTE, strict=False):
        known = count > 0
        area = 4 + 60 * count[known] / count.max()
        axes.plot(predicted[known], observed[known], color=colour, linewidth=1.0, label=name)
        axes.scatter(predicted[known], observed[known], s=area, color=colour, linewidth=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability said", ylabel="fraction that came true")
    axes.legend(frameon=False, loc="upper left")


def lift_map(axes: Axes, lift: Float[np.ndarray, "layer place"], place: Floats, limit: float) -> Any:
    """A map of lift by layer and place, on a scale of ratios from 1/limit to limit. Returns the image."""
    norm = LogNorm(1 / limit, limit)
    step = place[1] - place[0]
    extent = (place[0] - step / 2, place[-1] + step / 2, len(lift) + 0.5, 0.5)
    image = axes.imshow(np.clip(lift, 1 / limit, limit), cmap="PuOr_r", norm=norm, aspect="auto", extent=extent, interpolation="none")
    axes.set_yticks(range(1, len(lift) + 1))
    return image


def interval_line(axes: Axes, x: Any, y: Floats, low: Floats, high: Floats, name: str, colour: str = PALETTE[0]) -> None:
    """A named line with its interval as a band."""
    axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=1.2, marker="o", markersize=3, label=name)


def by_level(axes: Axes, named: dict[str, Float[np.ndarray, "3 level"]], colours: Sequence[str], dashes: Sequence[str] = "-") -> None:
    """Named lines (value, low, high) by level of the model, with the interval as a band; NaN is left out."""
    for (name, (value, low, high)), colour, dash in zip(named.items(), colours, cycle(dashes), strict=False):
        place = np.arange(len(value))
        axes.fill_between(place, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(place, value, color=colour, linewidth=1.2, linestyle=dash, marker="o" if dash == "-" else "", markersize=2.5, label=name)
    axes.set_xticks(place, ["emb.", *(str(level) for level in place[1:])])
    axes.set_xlabel("after block")


def on_the_cycle(axes: Axes, plane: Float[np.ndarray, "point 2"], phase: Floats, disc: Bool[np.ndarray, " point"]) -> Any:
    """Points coloured by phase of the cycle, discs where `disc`, else triangles. No ticks: only nearness counts. Returns them."""
    for which, marker in ((disc, "o"), (~disc, "v")):
        x, y = plane[which].T
        points = axes.scatter(
            x, y, s=11, c=phase[which], cmap="twilight_shifted", vmin=0, vmax=1, marker=marker, edgecolor="0.3", linewidth=0.2
        )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    return points


def change_map(axes: Axes, change: Float[np.ndarray, "layer head"]) -> Any:
    """A layers x heads map of how much changed, from 0 on; 0 is white, what is not finite grey. Returns the image."""
    known = change[np.isfinite(change)]
    image = axes.imshow(np.ma.masked_invalid(change), cmap="Purples", vmin=0, vmax=max(float(known.max(initial=0)), 1e-9), aspect="equal")
    axes.set_facecolor("0.7")
    for axis, count, offset in ((axes.xaxis, change.shape[1], 1), (axes.yaxis, change.shape[0], 1)):
        axis.set_ticks(range(count), [str(index + offset) for index in range(count)])
    axes.tick_params(length=0)
    return image


def marked_intervals(
    axes: Axes, x: Floats, middle: Floats, low: Floats, high: Floats, marked: Bool[np.ndarray, " point"], **look: Any
) -> None:
    """Points with their intervals; marked ones filled, others hollow. `look`: colour, name (for the legend; absent: none)."""
    colour, name = look.get("colour", PALETTE[0]), look.get("name")
    axes.vlines(x, low, high, color=colour, linewidth=1.0)
    axes.scatter(x, middle, s=16, color=[colour if one else "white" for one in marked], edgecolor=colour, linewidth=1.0, zorder=3)
    axes.scatter([], [], s=16, color=colour, label=name)


def limits(axes: Axes, limit: float, between: tuple[float, float]) -> None:
    """The line of no change, and between two places what stays within `limit` of it as a grey band (none where the limit is not known)."""
    axes.axhline(0, color="0.3", linewidth=0.6)
    if np.isfinite(limit):
        axes.fill_between(between, -limit, limit, color="0.5", alpha=0.2, linewidth=0)


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


def signed_map(axes: Axes, values: Float[np.ndarray, "layer head"], marked: Bool[np.ndarray, "layer head"]) -> Any:
    """A layers x heads map of what may be of either sign, white at 0; marked heads are framed. Returns the image."""
    reach = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-9)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="equal")
    for axis, count in ((axes.xaxis, values.shape[1]), (axes.yaxis, values.shape[0])):
        axis.set_ticks(range(count), [str(index + 1) for index in range(count)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for layer, head in zip(*np.nonzero(marked), strict=True):
        axes.add_patch(mpl.patches.Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.4))
    return image


def level_lines(axes: Axes, time_s: Times, lines: Float[np.ndarray, "level time"], behind: Times | None = None) -> None:
    """A line for each level of the model, one under the other on one common scale; `behind` each, in grey, what they are to reach."""
    everything = lines if behind is None else np.append(lines, behind[None], axis=0)
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    scale = 0.9 / max(high - low, 1e-9)
    for level, line in enumerate(lines):
        if behind is not None:
            axes.plot(time_s, (behind - low) * scale - level - 0.45, color="0.75", linewidth=0.7)
        axes.plot(time_s, (line - low) * scale - level - 0.45, color=PALETTE[0], linewidth=0.8)
    axes.set_yticks(-np.arange(len(lines)), ["emb.", *map(str, range(1, len(lines)))])
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(0.5 - len(lines), 0.5))


def trace(axes: Axes, time_s: Times, token: UInt8[np.ndarray, " time"]) -> None:
    """A window's tokens as a line."""
    axes.plot(time_s, token, color="black", linewidth=0.8)
    axes.set(xlim=(time_s[0], time_s[-1]), ylim=(-5, 104), ylabel="token")
