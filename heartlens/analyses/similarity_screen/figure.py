"""The figure of a similarity screen: the window with its marked tokens, and their cosine to the reference by level."""

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.axes import KINDS


def draw(summary: xr.Dataset) -> figures.Page:
    """The page."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 62)
        signal, levels = page.subplots(1, 2, width_ratios=(3, 2))
        example = summary.isel(example=0)
        rate_hz = KINDS[summary.attrs["kind"]].rate_hz
        marked = {f"token {place}": int(place) - 1 for place in summary["other"].values}
        figures.marked_signal(signal, example["token"].values, rate_hz, {"reference": summary.attrs["reference"] - 1, **marked})
        signal.set(xlabel=f"time (s)   [{example['example_record'].item()}]", ylabel="token")
        bare = dict(zip([*marked, "any token"], [*summary["cosine"].values.T, summary["cosine_any"].values], strict=True))
        lines = {name: np.stack([values, *[np.full(len(values), np.nan)] * 2]) for name, values in bare.items()}
        figures.by_level(levels, lines, (*figures.PALETTE[1 : 1 + len(marked)], "0.6"), ["-"] * len(marked) + [":"])
        levels.set(ylabel="cosine to the reference")
        levels.legend(frameon=False)
        figures.caption(page, summary.attrs, f"reference: token {summary.attrs['reference']}, counted from 1")
    return page
