"""How much an edit changes a window, and a sham that changes it as much."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals.scale import Strength
from heartlens.windows import Windows

N_TRIED = 10  # strengths, then as many again between the two neighbours of the best
Dose = Float[np.ndarray, " window"]
Graded = Callable[[Windows, Strength], Windows]  # an edit of windows by a strength, one for all or one for each


def dose_of(before: Windows, after: Windows) -> Dose:
    """The summed change of each window's tokens, without sign: sum over time of |after - before|. Refuses unequal numbers of windows."""
    if before.tokens.shape != after.tokens.shape:
        raise Refusal(f"a dose is between as many windows; given {len(before)} and {len(after)}")
    return np.abs(after.tokens.astype(float) - before.tokens).sum(axis=1)


def matched(windows: Windows, edit: Graded, dose: Dose, most: float = 1.0) -> tuple[Windows, Float[np.ndarray, " window"]]:
    """The edit at the strength, for each window its own from 0 to `most`, whose dose is nearest to `dose`; and these strengths.

    Where the edit cannot reach the dose, it is as strong as comes nearest: `dose_of` tells what was reached. Each window's strength is
    searched on a grid of N_TRIED, then on as many strengths about the best: doses need not grow with the strength.
    """
    best, miss = np.zeros(len(windows)), np.abs(dose)
    width = most / N_TRIED
    for offsets in (np.arange(1, N_TRIED + 1) * width, np.linspace(-width, width, N_TRIED + 2)[1:-1]):
        centre = best.copy()
        for offset in offsets:
            tried = np.clip(centre + offset, 0.0, most)
            off = np.abs(dose_of(windows, edit(windows, tried)) - dose)
            best, miss = np.where(off < miss, tried, best), np.minimum(off, miss)
    return edit(windows, best), best
