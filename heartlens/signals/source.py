"""Where windows come from, recording by recording: files, simulated people, windows in memory; and all of them read ahead.

`ahead` has recordings read on other processes while their windows are used. Each process holds one part at a time, so memory grows
with the number of processes, not of recordings. The parts and their order do not depend on the number of processes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from heartlens.refusal import Refusal
from heartlens.signals.reading_process import Ended, ReadingProcess
from heartlens.signals.sameness import Sketch
from heartlens.windows import Windows

MOST_AT_ONCE = 512  # windows of a part: 3 MB
MOST_PROCESSES = 8
PERSON_S = 0.01  # to simulate one
WORTH_S = 5.0  # of reading; a process takes 2 s to start

BAD_FILE = "file that cannot be read"
NO_RECORDING = "file that is no recording"
NO_WINDOW = "recording without a usable window"


@runtime_checkable
class Source(Protocol):
    """Recordings by name. `parts` gives the windows of one in order of time, in parts of bounded size, or refuses it.

    `look` says what a recording is without cutting it into windows; `without` gives the source without some of its recordings.
    """

    @property
    def kind(self) -> str | None: ...
    def names(self) -> list[str]: ...
    def parts(self, name: str) -> Iterator[Windows]: ...
    def look(self, name: str) -> "Look": ...
    def without(self, names: frozenset[str]) -> "Source": ...


@dataclass(frozen=True)
class Look:
    """What a recording is: a hash of its content and its person (empty: not known), what tells the person, whether an expert marked it.

    `sketch` is what its heartbeats are known by at another rate or gain, or in parts.
    """

    name: str
    content: str = ""
    person: str = ""
    told_by: str = ""
    is_marked: bool = False
    sketch: Sketch | None = field(default=None, compare=False)
    is_last: bool = True


@runtime_checkable
class Slow(Protocol):
    """A source that knows how many seconds reading takes one processor; others are read in this process."""

    def reading_s(self, names: list[str]) -> float: ...


Answer = Callable[[Source, str], Iterator[Any]]


class Unreadable(Refusal):
    """The file, not what is in it, is at fault; `is_named`: the user named it, and did not merely search a folder or a pattern."""

    def __init__(self, message: str, is_named: bool) -> None:
        super().__init__(message)
        self.is_named = is_named


@dataclass(frozen=True)
class Simulated:
    """Simulated people, one window each; those of another rhythm than sinus are other people by name too."""

    kind: str
    rhythms: tuple[str, ...] = ("sinus",)
    seed: int = 0
    n_records: int = 24

    def names(self) -> list[str]:
        return list(self._people)

    def parts(self, name: str) -> Iterator[Windows]:
        from heartlens.signals.simulate.corpus import person

        rhythm, number = self._people[name]
        windows = person(self.kind, number, windows_per_record=1, rhythm=rhythm, seed=self.seed)
        yield replace(windows, record=np.full(len(windows), name))

    def look(self, name: str) -> Look:
        windows = next(self.parts(name))
        return Look(name, str(windows.content[0]))

    def without(self, names: frozenset[str]) -> "Simulated":
        raise Refusal(f"simulated people are all different; there are no copies ({', '.join(sorted(names))})")

    def reading_s(self, names: list[str]) -> float:
        return PERSON_S * len(names)

    @property
    def _people(self) -> dict[str, tuple[str, int]]:
        from heartlens.signals.simulate.corpus import person_name

        return {
            person_name(self.kind, number) + ("" if rhythm == "sinus" else f" {rhythm}"): (rhythm, number)
            for rhythm in dict.fromkeys(self.rhythms)
            for number in range(self.n_records)
        }


@dataclass(frozen=True)
class Given:
    """Windows in memory, by record; what was skipped is told with the first."""

    windows: Windows

    @property
    def kind(self) -> str:
        return self.windows.kind

    def names(self) -> list[str]:
        return list(dict.fromkeys(self.windows.record.tolist()))

    def parts(self, name: str) -> Iterator[Windows]:
        own = self.windows[self.windows.record == name]
        if name != self.windows.record[0]:
            own = replace(own, skipped=())
        for number, part in enumerate(own.chunks(MOST_AT_ONCE)):
            yield replace(part, skipped=()) if number else part

    def look(self, name: str) -> Look:
        first = int(np.argmax(self.windows.record == name))
        return Look(name, str(self.windows.content[first]), str(self.windows.person[first]))

    def without(self, names: frozenset[str]) -> "Given":
        return Given(self.windows[~np.isin(self.windows.record, sorted(names))])


@dataclass(frozen=True)
class Part:
    """Some windows of a recording, or why there are none (more): then `reason` is the kind of `refusal`, as it is counted."""

    name: str
    windows: Windows | None
    refusal: str = ""
    is_last: bool = False
    reason: str = ""


def looks_of(source: Source, n_workers: int | None = None) -> Iterator[Look]:
    """What each recording is, in the order of the source's names. Of one that cannot be read nothing is known."""
    return _read(look_of, source, source.names(), n_workers)


def look_of(source: Source, name: str) -> Iterator[Look]:
    """What one recording is, read in this process."""
    try:
        yield source.look(name)
    except (Refusal, MemoryError):  # said when it is measured
        yield Look(name)


def ahead(source: Source, names: list[str] | None = None, n_workers: int | None = None) -> Iterator[Part]:
    """The parts of the recordings `names` (all, if not given), in that order, each recording's last part marked.

    `n_workers` processes read ahead; 0 reads in this process, as does None where reading takes less than starting processes. A
    recording that is refused, or whose process ends, costs itself only: its last part says why, and the parts before it must not count.
    """
    return _read(parts_of, source, source.names() if names is None else names, n_workers)


def parts_of(source: Source, name: str) -> Iterator[Part]:
    """The parts of one recording, read in this process."""
    held = None
    try:
        for windows in source.parts(name):
            if held is not None:
                yield Part(name, held)
            held = windows
    except Unreadable as refusal:
        yield Part(name, None, str(refusal), True, BAD_FILE if refusal.is_named else NO_RECORDING)
    except Refusal as refusal:
        yield Part(name, None, str(refusal), True, NO_WINDOW)
    except MemoryError:
        yield Part(name, None, f"{name}: there is too little memory to read it", True, BAD_FILE)
    else:
        yield Part(name, held, "" if held is not None else f"{name}: no windows", True, "" if held is not None else NO_WINDOW)


def _read(answer: Answer, source: Source, names: list[str], n_workers: int | None) -> Iterator[Any]:
    """What `answer` (`parts_of` or `look_of`) gives of each recording, in order, read by other processes or in this one."""
    n_workers = _n_workers(source, names) if n_workers is None else min(n_workers, len(names))
    processes: list[ReadingProcess] = []
    try:
        with suppress(OSError):  # where none, or not as many, can be started: not as fast, and as good
            while len(processes) < n_workers:
                processes.append(ReadingProcess(answer, source))
        yield from _read_ahead(answer, source, names, processes) if processes else _read_here(answer, source, names)
    finally:
        for process in processes:
            process.stop()


def _read_here(answer: Answer, source: Source, names: Iterable[str]) -> Iterator[Any]:
    for name in names:
        yield from answer(source, name)


def _read_ahead(answer: Answer, source: Source, names: list[str], processes: list[ReadingProcess]) -> Iterator[Any]:
    """What is read, in order. A process that ended is replaced in `processes`; one that never started is not, and then none is used."""
    begun = deque[tuple[str, int]]()  # the recordings that are being read, each with the number of its process
    waiting = deque(names)
    for number in range(len(processes)):
        _begin(waiting, begun, processes, number)
    while begun:
        name, number = begun[0]
        try:
            part = processes[number].receive()
        except Ended as how:
            processes[number].stop()
            if not processes[number].is_ready:
                yield from _read_here(answer, source, [name for name, _ in begun] + list(waiting))
                return
            broken = Part(name, None, f"{name}: the process that read it {how}", True, BAD_FILE)
            part = broken if answer is parts_of else Look(name)
            processes[number] = ReadingProcess(answer, source)
        if part.is_last:
            begun.popleft()
            _begin(waiting, begun, processes, number)
        yield part


def _begin(waiting: deque[str], begun: deque[tuple[str, int]], processes: list[ReadingProcess], number: int) -> None:
    if waiting:
        processes[number].begin(waiting[0])
        begun.append((waiting.popleft(), number))


def _n_workers(source: Source, names: list[str]) -> int:
    """As many processes as there are processors, or none where reading takes less than WORTH_S."""
    reading_s = source.reading_s(names) if isinstance(source, Slow) else 0.0
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n_processors, MOST_PROCESSES, len(names)) if reading_s > WORTH_S else 0
