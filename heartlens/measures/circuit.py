"""The search for the smallest set of nodes that keeps a readout. Arrays and a function of sets; no model.

Faithfulness of a set = 1 - sum |F(set) - F(all)| / sum |F(none) - F(all)| over windows: 1 where every window's readout is as with all
nodes, 0 where it is as far off as with none. Both ways of being off count. Greedy: from the node whose loss alone does least harm to the
one that does most, each is left out if the rest stays as faithful as wanted. After Wang et al. 2022 (IOI) and Conmy et al. 2023 (ACDC).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from heartlens.refusal import Refusal

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


def whole_change(values: Values, n_nodes: int) -> Float[np.ndarray, " window"]:
    """How far each window's readout is off with no node; NaN where it has none."""
    every = np.ones((1, n_nodes), bool)
    return np.abs(values(~every) - values(every))[0]


def pruned(values: Values, off_alone: Float[np.ndarray, "node window"], weight: Float[np.ndarray, " window"], wanted: float) -> Path:
    """The greedy circuit for windows that count as `weight` says; the path goes on with what was left out last.

    Refuses windows none of which has the readout, and a readout that does not change.
    """
    n_nodes = len(off_alone)
    change = whole_change(values, n_nodes)
    _refuse_nothing(change, weight)
    total = np.nansum(weight * change)
    kept = np.ones(n_nodes, bool)
    whole = values(kept[None])[0]
    order, left_out, faithfulness = np.argsort(np.nansum(weight * off_alone, axis=1), kind="stable"), [], 1.0
    for node in order:
        trial = kept.copy()
        trial[node] = False
        reached = 1 - np.nansum(weight * np.abs(values(trial[None])[0] - whole)) / total
        if reached >= wanted:
            kept, faithfulness = trial, float(reached)
            left_out.append(node)
    members = [node for node in order[::-1] if kept[node]]
    return Path(np.array(members + left_out[::-1]), len(members), faithfulness)


def _refuse_nothing(change: Float[np.ndarray, " window"], weight: Float[np.ndarray, " window"]) -> None:
    if np.isnan(change).all():
        raise Refusal(f"none of the {len(change)} searched windows has the readout; give more records, or records with landmarks")
    if not np.nansum(weight * change):
        raise Refusal(
            f"the readout of the {len(change)} searched windows does not change when all heads and MLPs are resampled, so there is no "
            "circuit to search; give other records or another readout"
        )
