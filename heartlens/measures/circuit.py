"""The search for the smallest set of nodes that keeps a readout. Arrays and a function of sets; no model.

Faithfulness of a set = 1 - sum |F(set) - F(all)| / sum |F(none) - F(all)| over windows: 1 where every window's readout is as with all
nodes, 0 where it is as far off as with none. Both ways of being off count. Greedy: from the node whose loss alone does least harm to the
one that does most, each is left out if the rest stays as faithful as wanted. After Wang et al. 2022 (IOI) and Conmy et al. 2023 (ACDC).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

Kept = Bool[np.ndarray, "set node"]
Values = Callable[[Kept], Float[np.ndarray, "set window"]]


@dataclass(frozen=True)
class Path:
    """The nodes in the order in which nested sets take them, and how many of them the circuit is; how faithful that is to the searched."""

    order: Int[np.ndarray, " node"]
    size: int
    faithfulness: float

    @property
    def circuit(self) -> Bool[np.ndarray, " node"]:
        return nested(self.order, [self.size])[0]


def nested(order: Int[np.ndarray, " node"], sizes: list[int]) -> Kept:
    """The sets of the first so many nodes.

    >>> nested(np.array([2, 0, 1]), [0, 2]).tolist()
    [[False, False, False], [True, False, True]]
    """
    rank = np.argsort(order)
    return np.array([rank < size for size in sizes]).reshape(len(sizes), len(order))


def harm(values: Values, n_nodes: int) -> Float[np.ndarray, "node window"]:
    """How far each window's readout is off without each node alone."""
    every = np.ones((1, n_nodes), bool)
    return np.abs(values(~np.eye(n_nodes, dtype=bool)) - values(every))


def pruned(values: Values, off_alone: Float[np.ndarray, "node window"], weight: Float[np.ndarray, " window"], wanted: float) -> Path:
    """The greedy circuit for windows that count as `weight` says; the path goes on with what was left out last."""
    n_nodes = len(off_alone)
    kept = np.ones(n_nodes, bool)
    whole, none = values(np.stack([kept, ~kept]))
    total = np.nansum(weight * np.abs(none - whole))
    order, left_out, faithfulness = np.argsort(np.nansum(weight * off_alone, axis=1), kind="stable"), [], 1.0
    for node in order:
        trial = kept.copy()
        trial[node] = False
        reached = 1 - np.nansum(weight * np.abs(values(trial[None])[0] - whole)) / max(total, 1e-12)
        if reached >= wanted:
            kept, faithfulness = trial, float(reached)
            left_out.append(node)
    members = [node for node in order[::-1] if kept[node]]
    return Path(np.array(members + left_out[::-1]), len(members), faithfulness)
