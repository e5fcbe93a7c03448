"""Which of the P waves found are there: those that keep their distance to the QRS.

In atrial fibrillation there is no P wave, yet every detector finds one before most beats, at random in its search window. In sinus
rhythm the interval from P peak to R peak hardly varies. Its robust spread (1.4826 times the median absolute deviation, ms) over
the neighbouring beats tells them apart. MAX_SPREAD_MS is the geometric mean of what was seen on simulations, 5 to 7 ms in sinus rhythm
and 61 to 70 ms in fibrillation; it was not fitted to recordings. Error rates on those: docs/delineation.md.
"""

import numpy as np
from jaxtyping import Bool, Float

MAX_SPREAD_MS = 20.0
MAX_STRAY = 3.0  # a single P further than this many MAX_SPREAD_MS from its neighbours' median is none
NEIGHBOURS = 10  # beats to either side; of a short recording, all
MIN_INTERVALS = 5  # fewer say nothing about a spread

Intervals = Float[np.ndarray, " beat"]


def steady(pr_ms: Intervals) -> Bool[np.ndarray, " beat"]:
    """Whether each beat's P wave is to be believed, from the P-R intervals of all beats (NaN where no P was found).

    None is, among fewer than MIN_INTERVALS neighbours: too few to tell.

    >>> steady(np.array([160.0, 158, 162, 160, 250, 161])), steady(np.array([160.0, 90, 230, 40, 190, 120])).any()
    (array([ True,  True,  True,  True, False,  True]), np.False_)
    """
    window = 2 * NEIGHBOURS + 1
    starts = np.clip(np.arange(len(pr_ms)) - NEIGHBOURS, 0, max(len(pr_ms) - window, 0))
    return np.array([_believed(pr_ms[start : start + window], own) for start, own in zip(starts, pr_ms, strict=True)], bool)


def _believed(pr_ms: Intervals, own: float) -> bool:
    known = pr_ms[np.isfinite(pr_ms)]
    if not np.isfinite(own) or len(known) < MIN_INTERVALS:
        return False
    stray = np.abs(known - np.median(known))
    return bool(1.4826 * np.median(stray) < MAX_SPREAD_MS and abs(own - np.median(known)) < MAX_STRAY * MAX_SPREAD_MS)
