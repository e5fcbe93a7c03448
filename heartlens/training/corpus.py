"""What a model is trained on: signals at the model's rate, by record, from which windows are cut anywhere. No landmarks are needed.

A recording's missing and flat parts divide it into several signals of the same record. Persons are divided between training and
validation (records, where the person is not known), never windows: which side follows from the name and the seed alone.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    person_of: Mapping[str, str] = field(default_factory=dict)  # of the records whose person is known
    copies: Mapping[str, str] = field(default_factory=dict)  # names of copies that were left out, and of the records that stay

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


def units_of(records: Iterable[str], person_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The records of each person, and each record whose person is not known by itself: what no division may divide."""
    units: dict[str, list[str]] = {}
    for record in records:
        units.setdefault(person_of.get(record) or record, []).append(record)
    return units


def divided(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """The corpus for training and the one for validation, of about `share` of the persons and at least one. Refuses a single one."""
    units = units_of(corpus.records, corpus.person_of)
    names = sorted(units, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest())
    if len(names) < 2:
        what = "record" if names[0] in corpus.records else "person"
        raise Refusal(f"{corpus.source} holds one {what} ({names[0]}); training and validation need at least one each")
    n_held = min(max(1, round(share * len(names))), len(names) - 1)
    held, training = ([record for name in side for record in units[name]] for side in (names[:n_held], names[n_held:]))
    return corpus.of(training), corpus.of(held)
