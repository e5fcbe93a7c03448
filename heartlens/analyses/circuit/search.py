"""The search for a circuit on half of the records: which half, who is whose partner, the greedy search, and its stability."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from heartlens.measures.circuit import Kept, Path, harm, pruned, whole_change
from heartlens.windows import Windows


@dataclass(frozen=True)
class Search:
    """What the search found: the path, how often each node returns (NaN: not asked), who was searched (persons, records), and partners."""

    path: Path
    returns: Float[np.ndarray, " node"]
    search_records: frozenset[str] = frozenset()
    partners: Mapping[str, np.ndarray] = field(default_factory=dict)

    def axes(self, names: list[str]) -> dict[str, list[str]]:
        """The order of the path and the circuit as axes, so that only tallies of one circuit add up."""
        ordered = [names[node] for node in self.path.order]
        return {"path": ordered, "member": ordered[: self.path.size]}

    def partner_of(self, window: Windows) -> Integer[np.ndarray, "window time"]:
        """The tokens of the window's partner; itself in reverse order where it has none."""
        return np.stack(
            [self.partners.get(str(identity), tokens[::-1]) for identity, tokens in zip(window.identity, window.tokens, strict=True)]
        )


def unsearched(n_nodes: int, seed: int) -> Search:
    """A path drawn at random, half of whose nodes are the circuit."""
    return Search(Path(np.random.default_rng(seed).permutation(n_nodes), n_nodes // 2, 0.0), np.zeros(n_nodes))


def evenly_split(windows: Windows) -> tuple[frozenset[str], frozenset[str]]:
    """The persons that are searched and those that are tested: every other one, in the order of their windows' smallest identities.

    A record whose person is not known stands for itself.
    """
    in_order = windows.unit[np.lexsort([windows.unit, windows.identity])]
    units = [str(name) for name in dict.fromkeys(in_order.tolist())]
    return frozenset(units[::2]), frozenset(units[1::2])


def partner_tokens(windows: Windows, sample: Windows) -> Integer[np.ndarray, "window time"]:
    """The tokens of each window's partner, a window of another person of the sample."""
    from heartlens.models.interventions.replacement import partners

    return sample.tokens[partners(windows, sample)]


def searched(
    subject: Any, windows: Windows, partner: Integer[np.ndarray, "window time"], wanted: float, n_bootstraps: int, seed: int
) -> tuple[Path, Float[np.ndarray, " node"]]:
    """The greedy path, and the part of the searches on resampled records whose circuit has each node.

    A draw of records in which nothing changes has nothing to search, and does not count.
    """
    from heartlens.models.interventions.circuit import kept_values, pair_of

    pair = pair_of(subject, windows.tokens, partner)
    computed: dict[bytes, np.ndarray] = {}

    def values(kept: Kept) -> Float[np.ndarray, "set window"]:
        rows = []
        for row in kept:
            if row.tobytes() not in computed:
                computed[row.tobytes()] = kept_values(subject, windows, pair, row[None])[0]
            rows.append(computed[row.tobytes()])
        return np.stack(rows)

    n_nodes = subject.sizes.n_layers * (subject.sizes.n_heads + 1)
    off_alone = harm(values, n_nodes)
    path = pruned(values, off_alone, np.ones(len(windows)), wanted)
    does_change = whole_change(values, n_nodes) > 0
    weights = [weight for weight in _resampled(windows, n_bootstraps, seed) if weight[does_change].any()]
    drawn = [pruned(values, off_alone, weight, wanted).circuit for weight in weights]
    return path, np.mean(drawn, axis=0) if drawn else np.zeros(n_nodes)


def _resampled(windows: Windows, n_bootstraps: int, seed: int) -> Float[np.ndarray, "bootstrap window"]:
    """How often each window counts when persons are drawn with replacement."""
    names, owner = np.unique(windows.unit, return_inverse=True)
    rng = np.random.default_rng(seed)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstraps)[:, owner].astype(float)
