"""Which few windows twins are measured on, chosen while recordings arrive, in any order the same, and with little memory.

The rule is that of `Windows.subset`: most kinds of wave first, then evenly over records (a window's *turn* is how many windows of its
record have a smaller identity), then by identity. Within a record turn and identity have the same order; so it is enough to keep of every
record the best few, and the identities of all its windows until it is at its end, when their turns are known.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from heartlens.windows import Windows, concatenate


@dataclass(frozen=True)
class Sample:
    """The best `n_windows` windows of whole records, by record and time. Samples of other records add up."""

    n_windows: int = 0
    windows: Windows | None = None
    turn: Int64[np.ndarray, " window"] = field(default_factory=lambda: np.empty(0, np.int64))

    def __add__(self, other: "Sample") -> "Sample":
        n_windows = max(self.n_windows, other.n_windows)
        if self.windows is None or other.windows is None:
            side = self if other.windows is None else other
            return Sample(n_windows, side.windows, side.turn)
        windows, turn = concatenate([self.windows, other.windows]), np.concatenate([self.turn, other.turn])
        best = np.lexsort([windows.identity, turn, -windows.n_waves])[:n_windows]
        in_order = best[np.lexsort([windows.start_s[best], windows.record[best]])]
        return Sample(n_windows, windows[in_order], turn[in_order])


class RecordingSample:
    """The best windows of one recording while its parts arrive."""

    def __init__(self, n_windows: int) -> None:
        self.n_windows = n_windows
        self._best: dict[str, Windows] = {}
        self._identities: dict[str, list[str]] = {}

    def add(self, part: Windows) -> None:
        """See the next part."""
        if not self.n_windows:
            return
        for record in part.records:
            windows = part[part.record == record].bare
            self._identities.setdefault(record, []).extend(map(str, windows.identity))
            if record in self._best:
                windows = concatenate([self._best[record], windows])
            self._best[record] = windows[np.lexsort([windows.identity, -windows.n_waves])[: self.n_windows]]

    @property
    def sample(self) -> Sample:
        """The sample of what was seen, once that is the whole recording."""
        total = Sample(self.n_windows)
        for record, windows in self._best.items():
            turn = np.searchsorted(np.sort(np.array(self._identities[record])), windows.identity).astype(np.int64)
            total = total + Sample(self.n_windows, windows, turn)
        return total
