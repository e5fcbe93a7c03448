"""What a model is trained on: signals at the model's rate, by record, from which windows are cut anywhere. No landmarks are needed.

A recording's missing and flat parts divide it into several signals of the same record. Records are divided between training and
validation, never windows: which side a record is on follows from its name and the seed alone.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenise

Tokens = UInt8[np.ndarray, "window time"]


@dataclass(frozen=True)
class Corpus:
    """`signal[i]` belongs to `record[i]` and begins at `start_s[i]` (0 where that is empty); `notes`: what was left out and why."""

    kind: str
    signal: tuple[Float32[np.ndarray, " _"], ...]  # of any length each
    record: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()
    start_s: tuple[float, ...] = ()

    @property
    def records(self) -> list[str]:
        """The records' names, sorted."""
        return sorted(set(self.record))

    @cached_property
    def sha256(self) -> str:
        """The identity of names and samples."""
        digest = hashlib.sha256(self.kind.encode())
        for name, signal in zip(self.record, self.signal, strict=True):
            digest.update(f"|{name}|".encode() + signal.tobytes())
        return digest.hexdigest()

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(signal) - CONTEXT + 1 for signal in self.signal])

    def of(self, records: Iterable[str]) -> "Corpus":
        """The part that belongs to `records`."""
        wanted = set(records)
        kept = [index for index, name in enumerate(self.record) if name in wanted]
        parts: dict[str, Any] = {
            name: tuple(getattr(self, name)[i] for i in kept) for name in ("signal", "record", "start_s") if getattr(self, name)
        }
        return replace(self, **parts)

    def crops(self, seed: tuple[int, ...], n_windows: int) -> Tokens:
        """Windows that begin anywhere, each drawn on its own; a flat one is drawn again. The same `seed`, the same windows."""
        rng = np.random.default_rng(seed)
        tokens = np.empty((n_windows, CONTEXT), np.uint8)
        for row in tokens:
            row[:] = self._crop(rng)
        return tokens

    def _crop(self, rng: np.random.Generator) -> UInt8[np.ndarray, " time"]:
        for _ in range(1000):
            place = int(rng.integers(self._ends[-1]))
            index = int(np.searchsorted(self._ends, place, side="right"))
            start = place - (int(self._ends[index - 1]) if index else 0)
            window = self.signal[index][start : start + CONTEXT]
            if window.min() < window.max():
                return tokenise(window)
        raise Refusal(f"{self.source}: a thousand windows drawn at random are all flat; there is nothing to learn from")


def divided(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """The corpus for training and the one for validation, of about `share` of the records and at least one. Refuses a single record."""
    records = sorted(corpus.records, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest())
    if len(records) < 2:
        raise Refusal(f"{corpus.source} holds one record ({records[0]}); training and validation need at least one each")
    n_held = min(max(1, round(share * len(records))), len(records) - 1)
    return corpus.of(records[n_held:]), corpus.of(records[:n_held])
