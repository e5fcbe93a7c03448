"""The only door to matplotlib: page, palette and panels. Vector output with text a reader can edit; no pyplot, nothing shown."""

from heartlens.figures.attention import asked_signal, attention_map, cosine_map
from heartlens.figures.layout import COLUMN_MM, FORMATS, PAGE_MM, PALETTE, Page, caption, look, page, save, style
from heartlens.figures.lines import (
    against,
    by_level,
    coverage,
    curves,
    differences,
    interval_line,
    limits,
    marked_intervals,
    profiles,
    reliability,
)
from heartlens.figures.maps import change_map, head_map, lift_map, signed_map
from heartlens.figures.recordings import by_band, by_recording, changes, gaps, going_on, over_time
from heartlens.figures.signals import attended_signal, bands, level_lines, marked_signal, on_the_cycle, shifted_signal, trace, wave_strip

__all__ = [
    "COLUMN_MM",
    "FORMATS",
    "PAGE_MM",
    "PALETTE",
    "Page",
    "against",
    "asked_signal",
    "attended_signal",
    "attention_map",
    "bands",
    "by_band",
    "by_level",
    "by_recording",
    "caption",
    "change_map",
    "changes",
    "cosine_map",
    "coverage",
    "curves",
    "differences",
    "gaps",
    "going_on",
    "head_map",
    "interval_line",
    "level_lines",
    "lift_map",
    "limits",
    "look",
    "marked_intervals",
    "marked_signal",
    "on_the_cycle",
    "over_time",
    "page",
    "profiles",
    "reliability",
    "save",
    "shifted_signal",
    "signed_map",
    "style",
    "trace",
    "wave_strip",
]
