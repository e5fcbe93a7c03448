"""The figure of an attention shift: where weights and attention changed, what the moved attention falls on, and one window."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import KINDS, head_label
from heartlens.findings import counted
from heartlens.wording import plain

NAMES = {"irregular": "beats of irregular interval", "no_p": "beats without a P wave"}


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    layer = most_changed(summary)
    with figures.style():
        page = figures.page(figures.PAGE_MM, 205)
        maps, effects, windows = cast(Any, page.subfigures(3, 1, height_ratios=(11, 8, 13)))
        _top(maps, summary, layer)
        _effects(effects, summary.sel(layer=layer))
        _windows(windows, summary.sel(layer=layer), summary.attrs["row"], layer)
        page.suptitle(caption(summary), fontsize=7, x=0.01, ha="left")
    return page


def most_changed(summary: xr.Dataset) -> int:
    """The layer whose attention changed most."""
    return int(summary["gained"].mean("head").fillna(0).argmax("layer"))


def caption(summary: xr.Dataset) -> str:
    """One line that says what was measured on what."""
    attrs = summary.attrs
    data = "SIMULATED signals" if attrs.get("data_is_simulated") else "recordings"
    pair = f"{attrs.get('checkpoint', 'model')} minus {attrs['base_checkpoint']}"
    about = f"{counted(attrs)}, {attrs['n_windows']} windows of {data}"
    return f"{pair} · {about} · filled: shown to change (verdict yes); grey: where an interval must end beyond"


def _top(part: Any, summary: xr.Dataset, layer: int) -> None:
    weights, moved, waves = part.subplots(1, 3, width_ratios=(1, 1, 1.6))
    both = (
        (weights, summary["weight_change"].mean("part"), "change of Q, K, V, O", "relative change (mean)"),
        (moved, summary["gained"], "attention moved", "part of a row"),
    )
    for axes, values, title, label in both:
        image = figures.change_map(axes, values.transpose("layer", "head").values)
        axes.set(title=title, xlabel="head", ylabel="layer")
        part.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, label=label, pad=0.02)
    _waves(waves, summary.sel(layer=layer), layer)


def _waves(axes: Any, of_layer: xr.Dataset, layer: int) -> None:
    """The shift on each wave by head, waves side by side, and the sink's without an interval."""
    names = list(map(str, of_layer["wave"].values))
    axes.axhline(0, color="0.3", linewidth=0.6)
    for place, (wave, colour) in enumerate(zip(names, figures.PALETTE, strict=False)):
        x, of_wave = _places(of_layer) + (place - len(names) / 2) * 0.17, of_layer.sel(wave=wave)
        _points(axes, of_wave, "shift", x, colour, plain(wave))
    x = _places(of_layer) + len(names) / 2 * 0.17
    sink = np.append(of_layer["sink_shift"].values, of_layer["sink_shift"].mean())
    axes.scatter(x, sink, marker="x", s=14, color="0.3", linewidth=1.0, label="sink")
    axes.legend(
        frameon=False, ncols=2 if len(names) > 3 else 4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, handletextpad=0.2
    )
    _by_head(axes, of_layer, f"shift (part of a row), layer {layer + 1}")


def _effects(part: Any, of_layer: xr.Dataset) -> None:
    panels = part.subplots(1, of_layer.sizes["feature"] + 1, squeeze=False)[0]
    for axes, feature in zip(panels, map(str, of_layer["feature"].values), strict=False):
        of_feature = of_layer.sel(feature=feature)
        n_heads = of_feature.sizes["head"]
        figures.limits(axes, float(of_feature["effect_limit"]), (-0.5, n_heads - 0.25))
        figures.limits(axes, float(of_feature["layer_effect_limit"]), (n_heads - 0.25, n_heads + 1))
        _points(axes, of_feature, "effect", _places(of_feature), figures.PALETTE[0], None)
        axes.set_title(NAMES[feature])
        _by_head(axes, of_feature, "effect (even shares)")
    _bins(panels[-1], of_layer)


def _bins(axes: Any, of_layer: xr.Dataset) -> None:
    """The change by how irregular the beat is, a thin line for each head and a thick one for their mean."""
    change = of_layer["relative_shift_by_irregularity"].transpose("head", "irregularity").values
    edges = of_layer["irregularity"].values
    place = np.arange(len(edges))
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.plot(place, change.T, color="0.7", linewidth=0.7)
    axes.plot(place, change.mean(axis=0), color=figures.PALETTE[1], linewidth=1.6, marker="o", markersize=3)
    axes.set_xticks(place, [f"{edge:g}" for edge in edges])
    axes.set(title="by irregularity (grey: heads)", xlabel="irregularity from", ylabel="change (even shares)")


def _points(axes: Any, numbers: xr.Dataset, name: str, x: np.ndarray, colour: str, label: str | None) -> None:
    """A value of each head, and at the end that of their mean."""
    parts = (np.append(numbers[f"{name}{key}"].values, numbers[f"layer_{name}{key}"].values) for key in ("", "_low", "_high", "_verdict"))
    middle, low, high, verdict = parts
    figures.marked_intervals(axes, x, middle, low, high, verdict == "yes", colour=colour, name=label)


def _places(of_layer: xr.Dataset) -> np.ndarray:
    return np.append(np.arange(of_layer.sizes["head"]), of_layer.sizes["head"] + 0.5)


def _by_head(axes: Any, of_layer: xr.Dataset, label: str) -> None:
    axes.set_xticks(_places(of_layer), [*(str(head + 1) for head in range(of_layer.sizes["head"])), "mean"])
    axes.set(xlabel="head", ylabel=label)


def _windows(part: Any, of_layer: xr.Dataset, row: str, layer: int) -> None:
    """The kept windows of most regular and of most irregular beats; one alone where only one was kept."""
    irregularity = of_layer["token_irregularity"].mean("time").fillna(0).values
    chosen = [int(irregularity.argmin()), int(irregularity.argmax())] if len(irregularity) > 1 else [0]
    for axes, example in zip(part.subplots(len(chosen), 1, squeeze=False)[:, 0], chosen, strict=True):
        _window(axes, of_layer.isel(example=example), row, layer)


def _window(axes: Any, example: xr.Dataset, row: str, layer: int) -> None:
    kind = KINDS[example.attrs["kind"]]
    time_s = np.arange(example.sizes["time"]) / kind.rate_hz
    right = figures.shifted_signal(axes, time_s, example["token"].values, example["row_shift"].values)
    right.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    figures.wave_strip(axes, time_s, example["token_wave"].values, list(kind.waves))
    right.set_ylabel(f"shift, mean of {head_label(layer, 0)[:-1]}1-{example.sizes['head']}")
    asking = "last token asks" if row == "last" else "mean over asking tokens"
    first = f"first token {example['row_shift'].values[0]:+.3f}"  # the sink, which would flatten all others
    irregularity = f"mean irregularity {float(example['token_irregularity'].mean()):.2f}"
    where = f"{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on; {irregularity}; {asking}; {first}"
    axes.set(xlabel=f"time (s)   [{where}]", ylabel="token")
