"""The figure of a head scan: what heads attend to, where in the cycle the strongest look, and one window under the strongest of them."""

from typing import Any, cast

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import KINDS, head_label
from heartlens.inference.verdict import is_yes
from heartlens.wording import plain

ATTENDS = "attends"


def draw(summary: xr.Dataset) -> figures.Page:
    """The page, for asking tokens of all kinds."""
    scan = summary.sel(query="all")
    heads = strongest(scan)
    with figures.style():
        page = figures.page(figures.PAGE_MM, 158)
        maps, profile, window = cast(Any, page.subfigures(3, 1, height_ratios=(10, 8, 6)))
        _maps(maps, scan)
        _profiles(profile.subplots(), scan, heads)
        _window(window, scan, best(scan, heads))
        figures.caption(page, summary.attrs, "framed: attends to the wave (verdict yes)")
    return page


def strongest(scan: xr.Dataset) -> dict[str, tuple[int, int]]:
    """The head (layer, head) of largest lift for each wave that was measured; one whose verdict is yes comes before any other."""
    strength = scan["lift"].where(is_yes(scan, ATTENDS), scan["lift"] * 1e-6).transpose("wave", "layer", "head")
    heads = {}
    for wave, of_wave in zip(map(str, scan["wave"].values), strength.values, strict=True):
        if np.isfinite(of_wave).any():
            layer, head = np.unravel_index(np.nanargmax(of_wave), of_wave.shape)
            heads[wave] = int(layer), int(head)
    return heads


def best(scan: xr.Dataset, heads: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """The strongest head of all."""
    lift = {wave: float(scan["lift"].sel(wave=wave, layer=layer, head=head)) for wave, (layer, head) in heads.items()}
    survivors = {wave: value for wave, value in lift.items() if is_yes(scan, ATTENDS).sel(wave=wave).any()}
    return heads[max(survivors or lift, key=lambda wave: lift[wave])] if lift else (0, 0)


def _maps(part: Any, scan: xr.Dataset) -> None:
    limit = max(2.0, float(np.ceil(scan["lift"].fillna(1).max())))
    panels = part.subplots(1, scan.sizes["wave"], sharey=True, squeeze=False)[0]
    for axes, wave in zip(panels, scan["wave"].values, strict=True):
        of_wave = scan.sel(wave=wave).transpose("layer", "head", ...)
        image = figures.head_map(axes, of_wave["lift"].values, is_yes(of_wave, ATTENDS).values, limit)
        axes.set_title(plain(wave))
        axes.set_xlabel("head")
    panels[0].set_ylabel("layer")
    bar = part.colorbar(image, ax=panels, shrink=0.8, label="lift (share / even share)")
    ticks = [1 / limit, 0.5, 1, 2, limit]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.minorticks_off()


def _profiles(axes: Any, scan: xr.Dataset, heads: dict[str, tuple[int, int]]) -> None:
    lead = KINDS[scan.attrs["kind"]].cycle_lead
    shown = (scan["phase"] + lead) % 1 - lead
    order = np.argsort(shown.values)
    lift = scan["lift_by_phase"].transpose("layer", "head", "phase").values[..., order]
    waves_of = {
        head: [wave for wave in heads if heads[wave] == head] for head in heads.values()
    }  # one line a head, whatever it is strongest at
    named = {
        waves[0]: (f"{head_label(*head)}, strongest at {' and '.join(map(plain, waves))}", lift[head]) for head, waves in waves_of.items()
    }
    figures.profiles(axes, shown.values[order], [named.get(str(wave)) for wave in scan["wave"].values])
    occupancy = scan["wave_by_phase"].transpose("wave", "phase").values[:, order]
    figures.bands(axes, dict(zip(map(str, scan["wave"].values), occupancy, strict=True)))
    mark = "R peak" if scan.attrs["kind"] == "ecg" else "foot"
    axes.set(xlabel=f"phase of the key (cycles from the {mark})", ylabel="lift", xlim=(-lead, 1 - lead))


def _window(part: Any, scan: xr.Dataset, head: tuple[int, int]) -> None:
    axes = part.subplots()
    kind = KINDS[scan.attrs["kind"]]
    example = scan.isel(example=0)
    time_s = np.arange(example.sizes["time"]) / kind.rate_hz
    right = figures.attended_signal(axes, time_s, example["token"].values, example["token_lift"].sel(layer=head[0], head=head[1]).values)
    figures.wave_strip(axes, time_s, example["token_wave"].values, list(map(str, scan["wave"].values)))
    right.set_ylabel(f"lift, {head_label(*head)}")
    asking = "last token asks" if scan.attrs["example_query"] == "last" else "all tokens ask"
    where = f"{example['example_record'].item()}, from {example['example_start_s'].item():.1f} s on; {asking}"
    axes.set(xlabel=f"time (s)   [{where}]", ylabel="token")
