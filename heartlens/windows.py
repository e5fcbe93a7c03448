"""Windows: what every analysis is measured on. CONTEXT tokens each, the record and person they are of, what is known of each token."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int8, Int16, Int64, Shaped, UInt8

from heartlens.axes import KINDS
from heartlens.refusal import Refusal, unknown


@dataclass(frozen=True, repr=False)
class Windows:
    """Tokenised windows of one kind of signal; every array's first axis is the window.

    `low` and `high` are the amplitudes that became token 0 and token LEVELS, in the recording's unit. `wave` indexes `waves` (those of the
    kind, if not given), `segment` `Kind.segments` (-1: none, or not known); `position` counts cycles within the recording (NaN: not known).
    `person` says who was recorded, `content` is a hash of the recording's samples; both are empty strings where that is not known.
    `skipped` says how many windows were left out and why, `notes` what else a reader of the result must know.
    """

    kind: str
    tokens: UInt8[np.ndarray, "window time"]
    record: Shaped[np.ndarray, " window"]
    start_s: Float[np.ndarray, " window"]
    low: Float[np.ndarray, " window"]
    high: Float[np.ndarray, " window"]
    wave: Int8[np.ndarray, "window time"]
    segment: Int8[np.ndarray, "window time"]
    position: Float[np.ndarray, "window time"]
    person: Shaped[np.ndarray, " window"] = None  # type: ignore[assignment]
    content: Shaped[np.ndarray, " window"] = None  # type: ignore[assignment]
    waves: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "waves", self.waves or KINDS[self.kind].waves)
        for name in ("person", "content"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.tokens), ""))

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        """What there is, in a few lines."""
        persons = len({str(person) for person in self.person if person})
        records = self.records
        named = f"{', '.join(records[:3])}{', ...' if len(records) > 3 else ''}"
        of_persons = f" of {persons} person{'' if persons == 1 else 's'}" if persons else ""
        shares = ", ".join(f"{wave} {float(np.mean(self.inside(wave))) if len(self) else 0.0:.0%}" for wave in self.waves)
        shape = " x ".join(map(str, self.tokens.shape))
        lines = [
            f"Windows of {self.kind.upper()} at {self.rate_hz:g} Hz: {shape} tokens (window x time)",
            f"  {len(records)} record{'' if len(records) == 1 else 's'}{of_persons}: {named}",
            f"  tokens by wave: {shares}; elsewhere or not known {float(np.mean(self.wave < 0)) if len(self) else 0.0:.0%}",
        ]
        lines += [f"  left out: {'; '.join(f'{count} x {reason}' for reason, count in self.skipped)}"] if self.skipped else []
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes[:MOST_NOTES])])

    def __getitem__(self, which: slice | Shaped[np.ndarray, " chosen"]) -> "Windows":
        """The chosen windows (a slice, a mask or indices), with the same sources and notes."""
        return replace(self, **{name: getattr(self, name)[which] for name in PER_WINDOW})

    @property
    def rate_hz(self) -> float:
        return KINDS[self.kind].rate_hz

    @property
    def phase(self) -> Float[np.ndarray, "window time"]:
        """Each token's place in the cycle, 0 to 1; NaN where it is not known."""
        return self.position % 1.0

    @property
    def cycle(self) -> Int16[np.ndarray, "window time"]:
        """Each token's cycle, from 0 in each window; -1 where it is not known."""
        number = np.floor(self.position + KINDS[self.kind].cycle_lead)
        first = np.fmin.reduce(number, axis=1, keepdims=True)
        return np.where(np.isnan(number), -1, number - first).astype(np.int16)

    def inside(self, wave: str) -> Bool[np.ndarray, "window time"]:
        """Which tokens lie in a wave. Refuses a wave that these windows do not know."""
        if wave not in self.waves:
            raise unknown("wave", wave, self.waves)
        return np.asarray(self.wave == self.waves.index(wave))

    def after(self, wave: str, until_s: float, from_s: float = 0.0) -> Bool[np.ndarray, "window time"]:
        """Which tokens lie `from_s` to `until_s` seconds after the last token of a wave, within one window; the wave itself does not.

        Refuses a wave that these windows do not know, and times that are not in order.
        """
        if not 0 <= from_s < until_s:
            raise Refusal(f"after {wave}: from {from_s:g} to {until_s:g} s; both count from the wave's end, the first before the second")
        inside = self.inside(wave)
        time = np.arange(inside.shape[1])
        last = np.maximum.accumulate(np.where(inside, time, -inside.shape[1] - 1), axis=1)
        since_s = (time - last) / self.rate_hz
        return np.asarray(~inside & (last >= 0) & (since_s > from_s - 1e-9) & (since_s <= until_s + 1e-9))

    def with_wave(
        self, name: str, where: "Bool[np.ndarray, 'window time'] | Callable[[Windows], Bool[np.ndarray, 'window time']]"
    ) -> "Windows":
        """The windows with one more wave, which every analysis then asks about: the tokens of a mask (window, time).

        `where` may also be a rule: a function that is given the windows and returns the mask, say
        `lambda windows: windows.after("QRS", 0.04)` for the J point. These tokens are then in no other wave. Segments and cycles stay.
        Refuses a name that is taken, a mask of another shape, and one without any token.
        """
        if name in self.waves or not name.strip() or len(name.splitlines()) != 1:
            raise Refusal(f"a wave {name!r} cannot be added: give a name of one line that is none of {', '.join(self.waves)}")
        mask = np.asarray(where(self) if callable(where) else where)
        if mask.shape != self.wave.shape or mask.dtype != bool:
            raise Refusal(
                f"the mask of {name!r} is {mask.dtype} of shape {mask.shape}; legal: bool of shape {self.wave.shape} (window, time)"
            )
        if not mask.any():
            raise Refusal(f"no token lies in {name!r}; look at the rule, or at the waves it builds on: {', '.join(self.waves)}")
        wave = np.where(mask, np.int8(len(self.waves)), self.wave)
        note = f"wave {name}: defined by the caller ({float(mask.mean()):.1%} of tokens)"
        return replace(self, wave=wave, waves=(*self.waves, name), notes=(*self.notes, note))

    @property
    def records(self) -> list[str]:
        """The names of the records, sorted."""
        return [str(name) for name in np.unique(self.record)]

    @property
    def unit(self) -> Shaped[np.ndarray, " window"]:
        """What each window belongs to in all statistics: its person where that is known, else its record."""
        return np.where(self.person == "", self.record, self.person)

    @property
    def units(self) -> list[str]:
        """The persons, and the records whose person is not known, sorted."""
        return [str(name) for name in np.unique(self.unit)]

    @cached_property
    def identity(self) -> Shaped[np.ndarray, " window"]:
        """A hash of each window's start and tokens: the same under whatever name, wherever and in whatever order it is read."""
        return np.array([_hash(f"{start_s:.6f}|".encode() + t.tobytes()) for start_s, t in zip(self.start_s, self.tokens, strict=True)])

    def chunks(self, n_windows: int) -> Iterator["Windows"]:
        """The windows in order, at most `n_windows` at a time, in chunks as equal as can be: so that no processor waits for another."""
        n_chunks = -(-len(self) // n_windows)
        ends = [-(-len(self) * chunk // n_chunks) for chunk in range(n_chunks + 1)] if n_chunks else []
        for first, last in pairwise(ends):
            yield self[first:last]

    def subset(self, n_windows: int) -> "Windows":
        """`n_windows` windows, evenly over persons, then those with most kinds of wave, then by identity: in any order the same.

        Evenly: every person's first comes before any person's second; a person's first are those with most kinds of wave.
        """
        few_waves = -self.n_waves
        return self[np.sort(np.lexsort([self.record, self.identity, few_waves, self._turn(self.unit, few_waves)])[:n_windows])]

    def spread(self, n_windows: int) -> "Windows":
        """`n_windows` windows, evenly over persons, then by identity: in any order the same."""
        return self[np.sort(np.lexsort([self.record, self.identity, self._turn(self.unit)])[:n_windows])]

    @property
    def n_waves(self) -> Int64[np.ndarray, " window"]:
        """How many kinds of wave each window has."""
        return np.array([len(np.unique(wave[wave >= 0])) for wave in self.wave], np.int64)

    @property
    def in_order(self) -> "Windows":
        """The windows by record and time."""
        return self[np.lexsort([self.start_s, self.record])]

    @property
    def bare(self) -> "Windows":
        """The windows without what is known of the whole reading: sources, notes, what was skipped."""
        return replace(self, sources=(), skipped=(), notes=())

    def _turn(self, group: Shaped[np.ndarray, " window"], rank: Int64[np.ndarray, " window"] | int = 0) -> Int64[np.ndarray, " window"]:
        """How many windows of the same group come before: those of smaller rank, then of smaller identity."""
        turn, seen = np.zeros(len(self), np.int64), Counter[str]()
        for index in np.lexsort([self.record, self.identity, np.broadcast_to(rank, len(self))]):
            turn[index] = seen[group[index]]
            seen[group[index]] += 1
        return turn


MOST_NOTES = 4  # in `repr`
PER_WINDOW = ("tokens", "record", "start_s", "low", "high", "wave", "segment", "position", "person", "content")


def concatenate(parts: list[Windows]) -> Windows:
    """All windows of `parts`, in order, with their sources, notes and skip counts. Refuses an empty list and mixed kinds."""
    if not parts:
        raise Refusal("no windows were given")
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1:
        raise Refusal(f"windows of {' and '.join(kinds)} cannot be mixed in one analysis; give one kind at a time")
    if len({part.waves for part in parts}) > 1:
        raise Refusal(f"windows with the waves {' and '.join(sorted({', '.join(part.waves) for part in parts}))} cannot be mixed")
    skipped: dict[str, int] = {}
    for reason, count in (pair for part in parts for pair in part.skipped):
        skipped[reason] = skipped.get(reason, 0) + count
    together: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_WINDOW}
    sources, notes = (tuple(dict.fromkeys(line for part in parts for line in getattr(part, name))) for name in ("sources", "notes"))
    return replace(parts[0], **together, sources=sources, skipped=tuple(skipped.items()), notes=notes)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
