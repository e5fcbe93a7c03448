"""The figure of a continuation: which heads matter for the rhythm, beside what heads of their norm do, and one window's continuations."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.analyses.continuation.summary import DECIDING, has_parts
from heartlens.axes import KINDS, head_label
from heartlens.inference.verdict import is_yes, yes_first

MAPS = {"period_kept": "period kept", "repeats": "repeats at all", "period_error_s": "period error (s)", "rate_kept": "heart rate kept"}
SIDES = {"intact": "intact", "again": "other random\nnumbers", "prompt": "prompt's own", "others": "against\nothers' rests"}
N_HEADS = 10


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        if not has_parts(summary):
            return _of_intact(summary)
        page = figures.page(figures.PAGE_MM, 205)
        maps, heads, window = cast(Any, page.subfigures(3, 1, height_ratios=(8, 7, 8)))
        _maps(maps, summary)
        sides, of_heads, of_parts = heads.subplots(1, 3, width_ratios=(1, 2, 1.2))
        _sides(sides, summary)
        _heads(of_heads, summary)
        _parts(of_parts, summary)
        of_heads.sharey(of_parts)
        strongest_part = [_most(summary, prefix, what) for prefix, what in _WHAT]
        _window(window, summary, ["intact", head_label(*strongest(summary, 1)[0]), *strongest_part])
        figures.caption(
            page, summary.attrs, f"{summary.attrs['how']} in the place of a part; framed, filled: matters; of the shares: keeps"
        )
    return page


def _of_intact(summary: xr.Dataset) -> figures.Page:
    """The page where no part was replaced."""
    page = figures.page(figures.PAGE_MM, 65)
    sides, window = cast(Any, page.subfigures(1, 2, width_ratios=(1, 3)))
    _sides(sides.subplots(), summary)
    _window(window, summary, ["intact"])
    figures.caption(page, summary.attrs, "filled: keeps")
    return page


def strongest(summary: xr.Dataset, n_heads: int) -> list[tuple[int, int]]:
    """The heads (layer, head) of largest absolute effect on the deciding readout, those that matter first."""
    of_readout = summary.sel(readout=DECIDING).transpose("layer", "head", ...)
    return yes_first(np.abs(of_readout["effect"].values), is_yes(of_readout, "matters").values, n_heads)


def _maps(part: Any, summary: xr.Dataset) -> None:
    panels = part.subplots(1, len(MAPS), squeeze=False)[0]
    for axes, (name, title) in zip(panels, MAPS.items(), strict=True):
        of_readout = summary.sel(readout=name).transpose("layer", "head", ...)
        image = figures.signed_map(axes, of_readout["effect"].values, is_yes(of_readout, "matters").values)
        axes.set(title=title, xlabel="head")
        part.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, pad=0.02)
    panels[0].set_ylabel("layer (colour: change)")


def _sides(axes: Any, summary: xr.Dataset) -> None:
    """How often the intact model keeps the period, beside what it is held against."""
    of_readout = summary.sel(readout=DECIDING)
    middle, low, high = (np.array([float(of_readout[f"{side}{end}"]) for side in SIDES]) for end in ("", "_low", "_high"))
    place = np.arange(len(SIDES), dtype=float)
    figures.marked_intervals(axes, place, middle, low, high, (place == 0) & bool(is_yes(summary, "keeps")))
    axes.set_xticks(place, list(SIDES.values()), rotation=60)
    axes.set(ylabel="period kept (share)", ylim=(0, 1), xlim=(-0.5, len(SIDES) - 0.5))


def _heads(axes: Any, summary: xr.Dataset) -> None:
    """The strongest heads with intervals and what heads of their norm let expect, over the null of other random numbers."""
    of_readout, heads = summary.sel(readout=DECIDING), strongest(summary, N_HEADS)
    of_readout["matters"] = is_yes(of_readout, "matters")
    columns = [[float(of_readout[key].sel(layer=layer, head=head)) for layer, head in heads] for key in _KEYS]
    middle, low, high, expected, matters = map(np.array, columns)
    place = np.arange(len(heads), dtype=float)
    _null(axes, of_readout, len(heads))
    figures.marked_intervals(axes, place, middle, low, high, matters.astype(bool))
    axes.scatter(place, expected, marker="_", s=40, color="black", zorder=4, label="expected of its norm")
    axes.set_xticks(place, [head_label(*head) for head in heads], rotation=60)
    axes.set_ylabel("change of period kept")
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))


_KEYS = ("effect", "effect_low", "effect_high", "expected", "matters")


def _parts(axes: Any, summary: xr.Dataset) -> None:
    """The MLPs and the layers."""
    of_readout = summary.sel(readout=DECIDING)
    for turn, (prefix, name) in enumerate((("mlp_", "MLP"), ("layer_", "whole layer"))):
        middle, low, high = (of_readout[f"{prefix}effect{end}"].values for end in ("", "_low", "_high"))
        place = np.arange(len(middle)) + (turn - 0.5) * 0.25
        changes = is_yes(of_readout, f"{prefix}changes").values
        figures.marked_intervals(axes, place, middle, low, high, changes, colour=figures.PALETTE[turn + 3], name=name)
    _null(axes, of_readout, of_readout.sizes["layer"])
    axes.set_xticks(range(of_readout.sizes["layer"]), [str(layer + 1) for layer in of_readout["layer"].values])
    axes.set_xlabel("layer (filled: changes it)")
    axes.legend(frameon=False)


def _null(axes: Any, of_readout: xr.Dataset, n_places: int) -> None:
    """The line of no change, and behind it the interval of what other random numbers alone change."""
    low, high = float(of_readout["null_effect_low"]), float(of_readout["null_effect_high"])
    axes.axhline(0, color="0.3", linewidth=0.6)
    if np.isfinite(low):
        axes.fill_between((-0.5, n_places - 0.5), low, high, color="0.5", alpha=0.2, linewidth=0, label="null")


def _window(part: Any, summary: xr.Dataset, names: list[str]) -> None:
    """One window: its real rest, and the continuations of these names (of the intact model and of those without a part)."""
    example = summary.isel(example=0)
    rows = {"recording": example["token"].values[summary.attrs["n_prompt"] :]} | {
        name: example["continued"].sel(variant=name).values for name in names
    }
    prompt = example["token"].values[: summary.attrs["n_prompt"]]
    time_s = np.arange(len(example["token"])) / KINDS[summary.attrs["kind"]].rate_hz
    panels = part.subplots(len(rows), 1, sharex=True)
    for axes, (name, rest), colour in zip(panels, rows.items(), _COLOURS[: len(rows)], strict=True):
        figures.trace(axes, time_s, np.concatenate([prompt, rest]))
        axes.plot(time_s[len(prompt) :], rest, color=colour, linewidth=1.1)
        axes.axvline(time_s[len(prompt)], color="0.3", linewidth=0.6, linestyle=":")
        axes.set(ylabel="", yticks=[])
        axes.text(1.005, 0.5, name if name in ("recording", "intact") else f"without\n{name}", transform=axes.transAxes, va="center")
    panels[-1].set_xlabel(f"time (s); dotted: end of the prompt   [{example['example_record'].item()}]")


_WHAT = (("mlp_", "MLP"), ("layer_", "layer"))
_COLOURS = ("black", *(figures.PALETTE[place] for place in (0, 1, 3, 4)))


def _most(summary: xr.Dataset, prefix: str, what: str) -> str:
    """The name of the MLP or layer of largest effect."""
    effect = np.nan_to_num(np.abs(summary[f"{prefix}effect"].sel(readout=DECIDING).values))
    return f"{what} {int(effect.argmax()) + 1}"
