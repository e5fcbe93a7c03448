"""Formats whose libraries are written in C and believe what a file claims: read by another process, which may use only so much.

A damaged file then ends that process, or makes it give up, and costs one line. The process is started once, for the first such file.
"""

import atexit
import resource
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.reading_process import Ended, ReadingProcess
from heartlens.signals.recording import Recording

MORE_BYTES = 2**30  # than the idle process has
LEAST_CPU_S, BYTES_PER_S = 5, 2e6  # of processor time: some, and more for large files

Order = tuple[str, Path, Hints]


class Apart:
    """The process, started when it is first asked."""

    def __init__(self) -> None:
        self._process: ReadingProcess | None = None

    def read(self, module: str, path: Path, hints: Hints) -> Recording:
        """What `read` of a module of this package gives. Refuses as it does, and where it uses too much or does not come back."""
        if self._process is None:
            self._process = ReadingProcess(answer, None)
            atexit.register(self.stop)
        self._process.begin((module, path, hints))
        try:
            recording = self._process.receive()
        except Ended as how:
            self.stop()
            raise Refusal(f"{path}: damaged, or larger than it should be (the process that read it {how})") from how
        if isinstance(recording, str):
            raise Refusal(recording)
        assert isinstance(recording, Recording)
        return recording

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()
            self._process = None


def apart(module: str) -> Callable[[Path, Hints], Recording]:
    """The reader of a module of this package, in the other process."""

    def read(path: Path, hints: Hints) -> Recording:
        return _apart.read(module, path, hints)

    return read


def answer(_: None, order: Order) -> Iterator[Recording | str]:
    """What the process does: read one file within its bounds; a refusal as its text."""
    import importlib

    module, path, hints = order
    reader = importlib.import_module(f"heartlens.signals.readers.{module}")
    _bound(path.stat().st_size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of every field that is not as it should be
            recording = reader.read(path, hints)
        yield recording
    except MemoryError:
        yield f"{path}: claims more than {MORE_BYTES >> 20} MiB of memory"
    except Refusal as refusal:
        yield str(refusal)
    except Exception as error:  # libraries raise whatever the damage happens to trip
        yield f"{path}: damaged, or not what {path.suffix} says ({next(iter(str(error).splitlines()), '')[:120] or type(error).__name__})"


def _bound(size: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + LEAST_CPU_S + size / BYTES_PER_S) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MORE_BYTES, resource.RLIM_INFINITY))


_apart = Apart()
