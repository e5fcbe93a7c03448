"""Stretches of tokens."""

import numpy as np
from jaxtyping import Bool, Int8

Labels = Int8[np.ndarray, " time"]
Mask = Bool[np.ndarray, " time"]
Span = tuple[int, int]  # first and last token


def runs(holds: Mask) -> list[Span]:
    """The first and the last token of each stretch where it holds.

    >>> runs(np.array([True, False, True, True]))
    [(0, 0), (2, 3)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]
