"""How much an edit changes a window, and a sham that changes it as much."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals.scale import Strength
from heartlens.windows import Windows

N_TRIED = 10  # strengths, then as many again between the two neighbours of the best
N_ROUNDS = 2  # searches on a grid
FINE_ROUNDS = 4  # the same, where the dose of one window is shown beside that of its sham
NEAR = 0.1  # a sham is of the size of an edit where their doses differ by at most this share of the edit's
Dose = Float[np.ndarray, " window"]
Graded = Callable[[Windows, Strength], Windows]  # an edit of windows by a strength, one for all or one for each


def dose_of(before: Windows, after: Windows) -> Dose:
    """The summed change of each window's tokens, without sign: sum over time of |after - before|. Refuses unequal numbers of windows."""
    if before.tokens.shape != after.tokens.shape:
        raise Refusal(f"a dose is between as many windows; given {len(before)} and {len(after)}")
    return np.abs(after.tokens.astype(float) - before.tokens).sum(axis=1)


def matched(
    windows: Windows, edit: Graded, dose: Dose, most: float = 1.0, n_rounds: int = N_ROUNDS
) -> tuple[Windows, Float[np.ndarray, " window"]]:
    """The edit at the strength, for each window its own from 0 to `most`, whose dose is nearest to `dose`; and these strengths.

    Where the edit cannot reach the dose, it is as strong as comes nearest: `dose_of` tells what was reached. Each window's strength is
    searched on a grid of N_TRIED, then on as many strengths about the best, `n_rounds` times in all: doses need not grow with the strength.
    """
    best, miss = np.zeros(len(windows)), np.abs(dose)
    width = most / N_TRIED
    offsets = np.arange(1, N_TRIED + 1) * width
    for _ in range(n_rounds):
        centre = best.copy()
        for offset in offsets:
            tried = np.clip(centre + offset, 0.0, most)
            off = np.abs(dose_of(windows, edit(windows, tried)) - dose)
            best, miss = np.where(off < miss, tried, best), np.minimum(off, miss)
        offsets = np.linspace(-width, width, N_TRIED + 2)[1:-1]
        width *= 2 / (N_TRIED + 1)
    return edit(windows, best), best


def first_matched(window: Windows, edits: Sequence[Graded], dose: float, most: float = 1.0) -> Windows:
    """Of several edits of one window the first that comes NEAR to `dose`, or else the one that comes nearest; in FINE_ROUNDS."""
    best, least = window, np.inf
    for edit in edits:
        sham, _ = matched(window, edit, np.array([dose]), most, FINE_ROUNDS)
        miss = abs(float(dose_of(window, sham)[0]) - dose)
        if miss < least:
            best, least = sham, miss
        if least <= NEAR * dose:
            break
    return best
