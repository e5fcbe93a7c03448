"""The figure of a circuit: faithfulness by size, its heads and MLPs with what each adds, and how often each node returns.

Where no change of the readout is shown, sets are drawn by how far the readout is off, in its unit.
"""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.analyses.circuit.summary import OF_SETS, drawn_as
from heartlens.inference.verdict import is_yes

REST = figures.PALETTE[1]


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 130)
        top, bottom = cast(Any, page.subfigures(2, 1, height_ratios=(6, 5)))
        curves, gains, returns = top.subplots(1, 3, width_ratios=(1.5, 1, 1))
        _curves(curves, summary)
        _maps(top, gains, returns, summary)
        _nodes(bottom.subplots(), summary)
        figures.caption(page, summary.attrs, "framed: in the circuit; filled: needed (verdict yes)")
    return page


def _curves(axes: Any, summary: xr.Dataset) -> None:
    """Nested sets on the way to the circuit, what is left without them, and random sets."""
    is_shown, unit = drawn_as(summary)
    path, without, random_sets = ("path_faithfulness", "without_path_faithfulness", "random_faithfulness")
    if not is_shown:
        path, without, random_sets = (OF_SETS[name] for name in (path, without, random_sets))
    size, random = summary["size"].values, summary[random_sets].transpose("draw", "size").values
    axes.fill_between(size, *np.quantile(random, [0.025, 0.975], axis=0), color="0.7", alpha=0.5, linewidth=0, label="random sets, 95 %")
    for name, colour, label in ((path, figures.PALETTE[0], "best first"), (without, REST, "all but these")):
        value, low, high = (summary[f"{name}{end}"].values for end in ("", "_low", "_high"))
        figures.interval_line(axes, size, value, low, high, label, colour)
    axes.axvline(summary.attrs["circuit_size"], color="0.3", linewidth=0.6, linestyle=":")
    axes.set(xlabel="nodes in the set (dotted: circuit)", ylabel=unit)
    if is_shown:
        axes.axhline(summary.attrs["wanted"], color="0.3", linewidth=0.6, linestyle=":")
        axes.set_ylim(max(-1.0, min(-0.3, *summary[path].values, *random.min(axis=1))), 1.05)
    axes.legend(frameon=False, fontsize=6, loc="upper center")


def _maps(part: Any, gains: Any, returns: Any, summary: xr.Dataset) -> None:
    """Heads by layer, the MLPs as a last column."""
    gain, adds = _gain(summary)
    for axes, name, title in ((gains, gain, adds), (returns, "returns", "returns when resampled")):
        image = figures.signed_map(
            axes, _by_layer(summary[name].values, summary), _by_layer(summary["in_circuit"].values, summary).astype(bool)
        )
        axes.set_xticks(axes.get_xticks(), [*(label.get_text() for label in axes.get_xticklabels()[:-1]), "MLP"])
        axes.set(title=title, xlabel="head", ylabel="layer")
        part.colorbar(image, ax=axes, shrink=0.7)


def _by_layer(values: np.ndarray, summary: xr.Dataset) -> np.ndarray:
    """(node) -> (layer, head and MLP)."""
    n_layers = sum(str(name).startswith("MLP") for name in summary["node"].values)
    return np.concatenate([values[:-n_layers].reshape(n_layers, -1), values[-n_layers:, None]], axis=1)


def _nodes(axes: Any, summary: xr.Dataset) -> None:
    """What each of the first nodes of the path adds, with its interval."""
    first = summary.sortby("rank").isel(node=slice(0, 32))
    place = np.arange(first.sizes["node"], dtype=float)
    axes.axhline(0, color="0.3", linewidth=0.6)
    gain, adds = _gain(summary)
    middle, low, high = (first[f"{gain}{end}"].values for end in ("", "_low", "_high"))
    figures.marked_intervals(axes, place, middle, low, high, is_yes(first, "needed").values)
    axes.set_xticks(place, list(map(str, first["node"].values)), rotation=70)
    axes.set(xlabel="node, in the order of the path", ylabel=adds)


def _gain(summary: xr.Dataset) -> tuple[str, str]:
    """What a node adds: its name in the summary, and in words."""
    is_shown, _ = drawn_as(summary)
    return ("gain", "adds to faithfulness") if is_shown else ("gain_off", f"brings nearer by ({summary.attrs['readout_unit']})")
