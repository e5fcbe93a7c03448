"""Edited amplitudes become tokens again: scaled to their own least and largest as the published tokeniser does, or on the old scale.

Edits compute *levels*: amplitudes in units of the old tokens (0: the old low, LEVELS: the old high), with fractions, of any size.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from heartlens.axes import LEVELS
from heartlens.refusal import Refusal
from heartlens.signals.tokens import amplitude, tokenised
from heartlens.windows import Windows

Levels = Float[np.ndarray, "window time"]
Strength = float | Float[np.ndarray, " window"]  # of an edit: one for all windows, or one for each


def edited(before: Windows, level: Levels, support: Bool[np.ndarray, "window time"], note: str, *, rescale: bool, **labels: Any) -> Windows:
    """The windows with these levels and labels, and a note.

    `rescale`: every window is scaled to its own least and largest level, and `low` and `high` are those; windows whose levels still reach
    from 0 to LEVELS keep their scale. Without it the scale is the old one, and what leaves it is cut off at its ends. Raises
    AssertionError where a level outside `support` differs: then the edit is wrong.
    """
    if (level != before.tokens)[~support].any():
        raise AssertionError(f"{note}: levels outside what was to be changed differ")
    if not rescale:
        tokens = np.round(np.clip(level, 0, LEVELS)).astype(np.uint8)
        return replace(before, tokens=tokens, notes=(*before.notes, f"{note}, on the old scale"), **labels)
    least, largest = level.min(axis=1), level.max(axis=1)
    low = np.where(least == 0, before.low, amplitude(least[:, None], before.low, before.high)[:, 0])
    high = np.where(largest == LEVELS, before.high, amplitude(largest[:, None], before.low, before.high)[:, 0])
    return replace(before, tokens=tokenised(level), low=low, high=high, notes=(*before.notes, note), **labels)


def on_scale_of(windows: Windows, other: Windows) -> Windows:
    """The sham of scaling: the windows as they are, but with `low` and `high` of `other`, an edit of them; what leaves it is cut off."""
    if not np.array_equal(windows.record, other.record):
        raise Refusal("windows can take over the scale of an edit of themselves; given: windows of other records")
    samples = amplitude(windows.tokens, windows.low, windows.high)
    level = (samples - other.low[:, None]) / (other.high - other.low)[:, None] * LEVELS
    tokens = np.round(np.clip(level, 0, LEVELS)).astype(np.uint8)
    return replace(windows, tokens=tokens, low=other.low, high=other.high, notes=(*windows.notes, "scaled as an edit of it"))


def of_each(strength: Shaped[np.ndarray, ""] | Strength, windows: Windows, most: float = 1.0) -> Float[np.ndarray, " window"]:
    """The strength of an edit in each window. Refuses strengths outside 0 to `most`."""
    each = np.broadcast_to(np.asarray(strength, float), len(windows))
    if not ((each >= 0) & (each <= most)).all():
        raise Refusal(f"a strength is {each[~((each >= 0) & (each <= most))][0]:g}; legal: 0 (unchanged) to {most:g}, 1 the whole edit")
    return each


def strength_note(strength: Strength) -> str:
    """The strength in a note; nothing where it is that of the whole edit.

    >>> strength_note(0.5)
    ', strength 0.5'
    """
    values = np.unique(np.round(np.asarray(strength, float), 3))
    if values.size == 1:
        return "" if values[0] == 1 else f", strength {values[0]:g}"
    return f", strengths {values.min():g} to {values.max():g}" if values.size else ""
