"""What is shown is read by the package's guarded readers, in a process that is killed when it takes too long or is cancelled."""

import importlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from heartlens.refusal import Failure, Refusal

MOST_S = 60.0  # that reading one recording may take
MOST_MEMORY = 8 * 2**30  # bytes of the reading process
NEEDED = ("heartlens.signals.readers", "heartlens.signals.files", "heartlens.signals.strip")
SLOW = ("scipy.signal", "pandas")  # each takes a second to import, and many a recording is read without them
READY = "ready"
OVERRIDDEN = ("unit", "person")  # fields of a recording that the user may put in the place of what was read


@dataclass(frozen=True)
class Order:
    """Files to be read, and what the user says of them: fields of `signals.files.Files`, and those of a recording that are in OVERRIDDEN.

    `name` chooses one of several recordings. One that is not to be marked is read without its landmarks, which takes less time.
    """

    paths: tuple[str, ...]
    kind: str | None = None
    name: str | None = None
    hints: dict[str, Any] = field(default_factory=dict)
    is_marked: bool = True


@dataclass(frozen=True)
class Refused:
    """Why nothing was read."""

    reason: str


def answered(source: None, order: Order | tuple[str, ...]) -> Iterator[Any]:
    """In the reading process: the names of the recordings, the path and the strip of one; or why not. Damage of any kind is a reason.

    Names of modules in the place of an order are imported, before someone waits for what needs them, and the SLOW ones in a thread, so
    that a recording which does not need them does not wait.
    """
    _limit_memory()
    if isinstance(order, tuple):
        _import(order)
        threading.Thread(target=_import, args=(SLOW,), daemon=True).start()
        yield READY
        return
    try:
        yield _read(order)
    except Refusal as refusal:
        yield Refused(str(refusal))
    except MemoryError:
        yield Refused("there is too little memory to read this")


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _read(order: Order) -> Any:
    from heartlens.axes import KINDS
    from heartlens.signals.files import Files
    from heartlens.signals.strip import strip_of
    from heartlens.signals.windowing import Choice

    hints = {name: value for name, value in order.hints.items() if value not in (None, "")}
    overrides = {name: hints.pop(name) for name in OVERRIDDEN if name in hints}
    files = Files(order.paths, kind=order.kind, **hints)
    names = files.names()
    if not names:
        raise Refusal("none of these files is a recording that can be read")
    name = order.name if order.name in names else names[0]
    recording = replace(files.recording(name), **overrides)
    kind = recording.kind or order.kind
    if kind not in KINDS:
        raise Refusal(f"{recording.source}: nothing tells whether this is ECG or PPG; choose the kind")
    choice = Choice(hints.get("landmarks", "auto"), polarity=hints.get("polarity", "check"))
    return names, str(files.found[name].path), strip_of(recording, kind, choice, is_marked=order.is_marked)


class Stop:
    """Ends a reading from another thread; one that is asked to end before it begins does not begin."""

    def __init__(self) -> None:
        self.is_asked = False
        self._lock = threading.Lock()
        self._process: Any = None

    def now(self) -> None:
        """End the process that reads, if one does."""
        with self._lock:
            self.is_asked = True
            if self._process is not None:
                self._process.stop()

    def watch(self, process: Any) -> None:
        """The process to end from now on; None when it has read."""
        with self._lock:
            self._process = process
            if process is not None and self.is_asked:
                process.stop()


class Reader:
    """One reading process, started before it is needed. Whatever happens to it costs one recording."""

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), None
        self._running: Any = None

    def warm(self) -> None:
        """Start the process, if there is none."""
        from heartlens.signals.reading_process import ReadingProcess

        with self._lock:
            if self._process is None:
                process = ReadingProcess(answered, None)
                process.begin(NEEDED)
                self._process = process  # type: ignore[assignment]

    def read(self, order: Order, most_s: float = MOST_S, stop: Stop | None = None) -> Any:
        """The names of the recordings in the files, the path and the strip of the first (or named) one.

        Refuses what cannot be read, what takes longer than `most_s`, and what `stop` ends.
        """
        from heartlens.signals.reading_process import Ended

        self.warm()
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return self.read(order, most_s, stop)
        late, stop = threading.Event(), stop or Stop()
        alarm = threading.Timer(most_s, lambda: (late.set(), process.stop()))
        alarm.daemon = True
        alarm.start()
        try:
            stop.watch(process)
            process.begin(order)
            while (answer := process.receive()) == READY:
                pass
        except Ended as how:
            if stop.is_asked:
                self._refuse_cancelled(process)
            if late.is_set():
                raise Failure(f"reading took longer than {most_s:g} s and was stopped") from how
            raise Failure(f"the process that read the file {how}; the file is damaged, or too large") from how
        except Exception as error:  # a stream that was closed under the reader, or an error of a library
            if stop.is_asked:
                self._refuse_cancelled(process)
            process.stop()
            raise Failure(f"the file could not be read ({type(error).__name__})") from error
        finally:
            alarm.cancel()
            stop.watch(None)
        if stop.is_asked:  # after all was read
            self._refuse_cancelled(process)
        if isinstance(answer, Refused):
            self._replace(process)  # one that met a bad file reads no other one
            raise Refusal(answer.reason)
        with self._lock:
            if self._process is None:
                self._process = process
            else:
                process.stop()
        return answer

    def _refuse_cancelled(self, process: Any) -> NoReturn:
        self._replace(process)
        raise Refusal("reading was cancelled")

    def _replace(self, process: Any) -> None:
        """End a process, and start another one for the next recording."""
        process.stop()
        threading.Thread(target=self.warm, daemon=True).start()

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.stop()
                self._process = None
