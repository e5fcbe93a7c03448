"""The figure of an attribution: direct and patched effects by head, the output as a sum, the lens by level, one window under the lens."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import KINDS
from heartlens.inference.verdict import is_yes

GROUPS = {"heads": "direct", "attention biases": "direct_attention_bias", "MLPs": "direct_mlp"}
SINGLE = ("embedding", "position", "constant")


def draw(summary: xr.Dataset) -> figures.Page:
    """The page; of several outputs the first is drawn."""
    of_output = summary.isel(output=0)
    with figures.style():
        page = figures.page(figures.PAGE_MM, 210)
        maps, lines, window = cast(Any, page.subfigures(3, 1, height_ratios=(7, 8, 14)))
        _maps(maps, of_output)
        _lines(lines, of_output)
        _window(window, summary.isel(example=0))
        figures.caption(page, summary.attrs, "framed: adds to the output; patched: carries the change")
    return page


def _maps(part: Any, of_output: xr.Dataset) -> None:
    """Three maps: what heads add, what they make of the differences between records, and what patching them moves."""
    panels = (
        (f"direct: {_name(of_output)}", "direct", is_yes(of_output, "direct").values, "logit"),
        ("variation between records", "direct_variation", np.zeros(of_output["direct"].shape, bool), "part of it"),
        ("exact patching", "activation_patching", is_yes(of_output, "activation_patching").values, "part of the change"),
    )
    for axes, (title, name, marked, label) in zip(part.subplots(1, len(panels)), panels, strict=True):
        values = of_output[name].transpose("layer", "head").values
        image = figures.signed_map(axes, values, marked)
        axes.set(title=title, xlabel="head", ylabel="layer")
        part.colorbar(image, ax=axes, label=label, shrink=0.8)


def _name(of_output: xr.Dataset) -> str:
    name = str(of_output["output"].item())
    return {"all": "next token", "logit": "logit", "difference": "beats - elsewhere"}.get(name, name)


def _lines(part: Any, of_output: xr.Dataset) -> None:
    sums, levels, agree = part.subplots(1, 3, width_ratios=(1.2, 1.2, 1))
    _sum(sums, of_output)
    name = "lens_cross_entropy" if "lens_cross_entropy" in of_output else "lens_logit"
    line = np.stack([of_output[f"{name}{end}"].values for end in ("", "_low", "_high")])
    figures.by_level(levels, {"lens": line}, figures.PALETTE[:1])
    levels.set(title="logit lens", ylabel="cross-entropy (nats)" if "cross" in name else "logit")
    _agreement(agree, of_output)


def _sum(axes: Any, of_output: xr.Dataset) -> None:
    """The output as the sum of its parts, MLPs and heads by layer."""
    layer = np.arange(of_output.sizes["layer"])
    by_layer = {name: of_output[key].values if key != "direct" else of_output[key].sum("head").values for name, key in GROUPS.items()}
    for place, ((name, values), colour) in enumerate(zip(by_layer.items(), figures.PALETTE, strict=False)):
        axes.bar(layer + 1 + (place - 1) * 0.27, values, width=0.25, color=colour, label=name)
    rest = [float(of_output[f"direct_{name}"]) for name in SINGLE]
    axes.bar(len(layer) + 1 + np.arange(len(rest)), rest, width=0.5, color="0.5")
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.set_xticks(np.arange(1, len(layer) + len(rest) + 1), [*map(str, layer + 1), "emb.", "pos.", "const."], rotation=60)
    axes.set(title=f"sum {float(of_output['logit']):+.2f}", xlabel="layer", ylabel="added to the logit")
    axes.legend(frameon=False, fontsize=6)


def _agreement(axes: Any, of_output: xr.Dataset) -> None:
    """Estimated against exact patching, a point for each head."""
    exact = of_output["activation_patching"].values.ravel()
    for name, colour, label in (("attribution", figures.PALETTE[0], "integrated"), ("gradient", figures.PALETTE[1], "gradient")):
        rho = float(of_output["rank_agreement" if name == "attribution" else "rank_agreement_gradient"])
        axes.scatter(exact, of_output[f"{name}_patching"].values.ravel(), s=7, color=colour, linewidth=0, label=f"{label}, rank {rho:.2f}")
    reach = np.nanmax(np.abs(exact), initial=0.0)
    axes.plot([-reach, reach], [-reach, reach], color="0.6", linewidth=0.8, linestyle="--")
    axes.set(title="estimate of patching", xlabel="exact", ylabel="estimated")
    axes.legend(frameon=False, fontsize=6)


def _window(part: Any, example: xr.Dataset) -> None:
    """What the lens has of a window at every level: the next token it expects, over the true ones, or the task head's logit."""
    signal, lines = part.subplots(2, 1, sharex=True, height_ratios=(1, 4))
    kind = KINDS[example.attrs["kind"]]
    token, is_base = example["token"].values, example.attrs["reads"] == "next token"
    time_s = np.arange(len(token)) / kind.rate_hz
    signal.plot(time_s, token, color="black", linewidth=0.8)
    signal.set(ylabel="token", ylim=(-5, 104))
    figures.wave_strip(signal, time_s, example["token_wave"].values, list(kind.waves))
    seen = example["lens_line"].transpose("level", "time").values.astype(float)
    if is_base:  # the token before expects this one
        figures.level_lines(lines, time_s[1:], seen[:, :-1], token[1:].astype(float))
    else:
        figures.level_lines(lines, time_s, seen)
    drawn = "expected next token (grey: the true one)" if is_base else f"logit, {seen.min():.1f} to {seen.max():.1f} over all levels"
    where = f"{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on; {drawn}"
    lines.set(xlabel=f"time (s)   [{where}]", ylabel="lens after block")
