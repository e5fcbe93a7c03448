"""A measurement under way: recordings arrive one after the other, and what is kept of them does not grow with their number.

What is gathered of some recordings is a value: the model's tally, the few windows that twins will be measured on, and what was read.
Values of other recordings add up, in any order to the same bits: every record's sums are made by one process from first to last window, and
adding records does not round (see `tally`). So a run that goes on, several processes, and shards give what one run gives.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from heartlens.privacy import AS_THEY_ARE, Names
from heartlens.provenance import Inventory, inventory
from heartlens.refusal import Refusal
from heartlens.sample import Sample
from heartlens.signals.source import BAD_FILE, NO_WINDOW, Part
from heartlens.tally import Tally, added, checked
from heartlens.windows import Windows

CHUNK = 2  # windows at a time; with it grows the memory, not with their number
SKIPPED = "skipped "  # begins a note of a recording that was left out
N_PENDING = 16  # recordings that are added at once: every addition copies the total


def at_once(analysis: Any) -> int:
    """How many windows an analysis measures at a time."""
    return int(getattr(analysis, "at_once", CHUNK))


def measured_chunk(analysis: Any, subject: Any, windows: Windows) -> Tally:
    """The tally of one chunk, with what is known of its records. Refuses what is none."""
    return checked(analysis.measure(subject, windows), type(analysis).__name__).about(windows)


@dataclass(frozen=True)
class Gathered:
    """What is kept of recordings: sums, the windows for twins, what was read; `n_recordings` counts those without a usable window too."""

    tally: Tally = field(default_factory=Tally)
    sample: Sample = field(default_factory=Sample)
    read: Inventory = field(default_factory=Inventory)
    n_recordings: int = 0

    def __add__(self, other: "Gathered") -> "Gathered":
        return gathered([self, other])

    @property
    def n_lost(self) -> int:
        """How many recordings could not be read, or had no usable window; files that are none are not among them."""
        return sum(count for reason, count in self.read.skipped if reason in (BAD_FILE, NO_WINDOW))


@dataclass(frozen=True)
class Open:
    """How far the recording under way is: parts that were measured, and their sums."""

    name: str = ""
    n_parts: int = 0
    tally: Tally = field(default_factory=Tally)


def gathered(values: list[Gathered]) -> Gathered:
    """The sum of all values."""
    read = sum((value.read for value in values), start=Inventory())
    sample = sum((value.sample for value in values), start=Sample())
    return Gathered(added([value.tally for value in values]), sample, read, sum(value.n_recordings for value in values))


def refused(part: Part, stored: Names = AS_THEY_ARE) -> Gathered:
    """What is kept of a recording that could not be used: it is counted and noted; `stored` says how names are stored."""
    read = Inventory(skipped=((part.reason, 1),), notes=frozenset(f"{SKIPPED}{note}" for note in stored.notes([part.refusal], [part.name])))
    return Gathered(read=read, n_recordings=1)


def refusals(read: Inventory) -> list[str]:
    """Why recordings were left out."""
    return sorted(note.removeprefix(SKIPPED) for note in read.notes if note.startswith(SKIPPED))


class Total:
    """A sum of values that grows by one recording at a time."""

    def __init__(self, start: Gathered) -> None:
        self._sums: tuple[Gathered, ...] = (start,)  # one attribute: an interruption leaves the old or the new one

    def add(self, value: Gathered) -> None:
        """Add the value of other recordings."""
        sums = (*self._sums, value)
        self._sums = sums if len(sums) <= N_PENDING else (gathered(list(sums)),)

    @property
    def value(self) -> Gathered:
        """The sum so far."""
        return gathered(list(self._sums)) if len(self._sums) > 1 else self._sums[0]

    @property
    def n_recordings(self) -> int:
        """How many recordings were added so far."""
        return sum(value.n_recordings for value in self._sums)


@dataclass(frozen=True)
class Gathering:
    """How recordings are measured: by which analysis on which subject, and `n_sample` windows kept for twins.

    `analysis` is prepared where it asks for that. With `is_strict` the first recording without a usable window is refused, else counted.
    `on_chunks` maps work over chunks in order (`engine.workers.on_chunks`, or `map`). `stored` says how the names in refusals are stored.
    """

    analysis: Any
    subject: Any
    n_sample: int
    force: bool
    is_strict: bool
    on_chunks: Callable[..., Iterable[tuple[Tally, "_Step"]]]
    stored: Names = AS_THEY_ARE

    def recordings(
        self, parts: Iterable[Part], opened: Open | None = None, on_part: Callable[[Open], None] | None = None
    ) -> Iterator[Gathered]:
        """What is gathered of each recording, in order. Of one that was `opened`, what was measured before is only read."""
        opened = opened or Open()
        done, sample, read = opened, Sample(self.n_sample), Inventory()
        sums = [opened.tally]
        for tally, step in self.on_chunks(self._measure, self._steps(parts, opened)):
            sums = [*sums, tally] if len(sums) < N_PENDING else [added([*sums, tally])]
            if step.end is None:
                continue
            part = step.end
            if part.windows is not None:
                sample = sample.seen(part.windows)
                read += inventory(part.windows)
            done = Open(part.name, done.n_parts + step.is_new, added(sums))
            sums = [done.tally]
            if not part.is_last:
                if on_part is not None:
                    on_part(done)
                continue
            yield Gathered(done.tally, sample, read, 1) if part.windows is not None else refused(part, self.stored)
            done, sample, read, sums = Open(), Sample(self.n_sample), Inventory(), [Tally()]

    def _measure(self, step: "_Step") -> tuple[Tally, "_Step"]:
        tally = Tally() if step.windows is None else measured_chunk(self.analysis, self.subject, step.windows)
        return tally, replace(step, windows=None)

    def _steps(self, parts: Iterable[Part], opened: Open) -> Iterator["_Step"]:
        """The chunks of all parts; a part that is not measured is a step without windows."""
        name, index, kind = "", 0, ""
        for part in parts:
            name, index = part.name, index + 1 if part.name == name else 0
            if part.windows is None:
                if self.is_strict:
                    raise Refusal(part.refusal)
                yield _Step(None, part, is_new=True)
                continue
            kind = kind or part.windows.kind
            refuse_mismatch(self.subject, part.windows, self.force)
            refuse_other_kind(kind, part.windows.kind)
            if part.name == opened.name and index < opened.n_parts:
                yield _Step(None, part, is_new=False)
                continue
            chunks = list(part.windows.chunks(at_once(self.analysis)))
            for chunk in chunks[:-1]:
                yield _Step(chunk, None, is_new=False)
            yield _Step(chunks[-1], part, is_new=True)


@dataclass(frozen=True)
class _Step:
    """A chunk of windows; `end` is the part that ends with it, `is_new` whether that part is measured for the first time."""

    windows: Windows | None
    end: Part | None
    is_new: bool


def refuse_mismatch(subject: Any, windows: Windows, force: bool) -> None:
    """Refuse windows that the model cannot take, or (unless `force`) of another kind of signal than it reads."""
    origin, sizes = subject.origin, subject.sizes
    if not len(windows):
        raise Refusal("there are no windows to measure; every one was skipped: " + ", ".join(f"{n} {why}" for why, n in windows.skipped))
    if windows.kind != origin.kind and not force:
        reads = (origin.kind or f"signals of {sizes.d_vocab} token values").upper()
        raise Refusal(
            f"{origin.checkpoint} reads {reads}, the windows are {windows.kind.upper()}; give recordings of the kind it reads, "
            "or --force (force=True)"
        )
    if int(windows.tokens.max()) >= sizes.d_vocab or windows.tokens.shape[1] > sizes.n_ctx:
        raise Refusal(
            f"{origin.checkpoint} takes at most {sizes.n_ctx} tokens from 0 to {sizes.d_vocab - 1}; the windows have "
            f"{windows.tokens.shape[1]} tokens, the largest {int(windows.tokens.max())}"
        )


def refuse_other_kind(kind: str, other: str) -> None:
    """Refuse a second kind of signal."""
    if kind != other:
        raise Refusal(f"windows of {kind} and {other} cannot be mixed in one analysis; give one kind at a time")
