"""Which few windows twins are measured on, chosen while recordings arrive, in any order the same, and with little memory.

The rule is that of `Windows.subset`: evenly over persons, then most kinds of wave, then by identity. A window that others come before keeps
them before it however many windows are added: with another window of a person, each of the person's places goes to a window that is as
good or better. So the best of some windows and the best of others hold the best of all, and no more is kept.
"""

from dataclasses import dataclass

from heartlens.windows import Windows, concatenate


@dataclass(frozen=True)
class Sample:
    """The best `n_windows` windows of those seen. Samples of other windows add up, in any order to the same windows."""

    n_windows: int = 0
    windows: Windows | None = None

    def __add__(self, other: "Sample") -> "Sample":
        n_windows = max(self.n_windows, other.n_windows)
        both = [each.windows for each in (self, other) if each.windows is not None]
        return Sample(n_windows, concatenate(both).subset(n_windows).in_order if both else None)

    def seen(self, windows: Windows) -> "Sample":
        """The sample with more windows seen."""
        return self + Sample(self.n_windows, windows.bare) if self.n_windows else self
