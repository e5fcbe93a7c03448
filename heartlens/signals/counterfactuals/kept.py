"""Which windows a counterfactual is possible for: the others are refused by record, or left out and counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from heartlens.refusal import Refusal
from heartlens.windows import Windows

Able = Bool[np.ndarray, " window"]
MOST_LISTED = 8  # records that a refusal names


def keeping(windows: Windows, able: Able, reason: str) -> Windows:
    """The windows that an edit is possible for; the others are counted as skipped for `reason`, their records listed in a note."""
    if able.all():
        return windows
    skipped = Counter(dict(windows.skipped)) + Counter({reason: int((~able).sum())})
    return replace(windows[able], skipped=tuple(skipped.items()), notes=(*windows.notes, f"{reason}: {_listed(windows, able)}"))


def refuse_unable(windows: Windows, able: Able, reason: str) -> None:
    """Refuse windows for which an edit is not possible, by record."""
    if not able.all():
        raise Refusal(
            f"{reason} in {int((~able).sum())} of {len(windows)} windows ({_listed(windows, able)}); leave them out with "
            "heartlens.signals.counterfactuals.keeping"
        )


def _listed(windows: Windows, able: Able) -> str:
    """The records of the windows that are not able, with how many of each."""
    counts = Counter(map(str, windows.record[~able]))
    named = [f"{record}: {n}" for record, n in sorted(counts.items())]
    more = f", and {len(named) - MOST_LISTED} more records" if len(named) > MOST_LISTED else ""
    return ", ".join(named[:MOST_LISTED]) + more
