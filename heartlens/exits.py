"""How a command ends: 0 done, 1 failure, 2 usage or input, 3 partial, 130 interrupted. A refusal is one line on stderr, no traceback.

SIGINT, SIGTERM and SIGHUP are one request: stop, save what was measured, say in one line what is kept. A second one within GRACE_S is not
heard, so that saving is not cut short. One that the parent process ignores (`nohup`) stays ignored.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from heartlens.refusal import Failure, Refusal, one_line

DONE, FAILURE, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GRACE_S = 3.0
NOTHING = "nothing was written"


def exit_code(command: Callable[[], int]) -> int:
    """The exit code of `command()`, with refusals, interruptions and what the system refuses (a full disk) said in one line."""
    with _stoppable() as stops:
        try:
            code = command()
            sys.stdout.flush()
        except BrokenPipeError:  # who read our output has left
            _give_up_unwritten_output()
            code = FAILURE
        except KeyboardInterrupt as interruption:
            return _ended(f"interrupted; {str(interruption) or NOTHING}", INTERRUPTED)
        except Exception as error:
            if stops:  # a library made something else of the interruption
                return _ended(f"interrupted; {error if isinstance(error, Refusal) else NOTHING}", INTERRUPTED)
            if isinstance(error, Refusal):
                return _ended(str(error), FAILURE if isinstance(error, Failure) else USAGE)
            if isinstance(error, MemoryError):
                return _ended("there is too little memory; ask for less at once", FAILURE)
            if isinstance(error, OSError):
                _give_up_unwritten_output()
                return _ended(": ".join(str(part) for part in (error.filename, error.strerror or error) if part), FAILURE)
            raise
        return _ended("interrupted after everything was written", INTERRUPTED) if stops else code


def leave(command: Callable[[], int]) -> NoReturn:
    """Run a command that is the whole process, and leave with its exit code. A stream that is closed, or plain ASCII, stops nothing."""
    open_streams()
    code = exit_code(command)
    for stop in STOPS:
        signal.signal(stop, signal.SIG_IGN)
    sys.exit(code)


def listen() -> None:
    """While a command is still being imported, a request to stop ends the process in one line; nothing was written by then."""
    open_streams()
    for stop in STOPS:
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, _stopped_early)


@contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Within it an interruption says what is kept, as `kept()` tells it, unless it says something already."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(str(interruption) or kept()) from interruption


def _stopped_early(number: int, frame: FrameType | None) -> None:
    os.write(2, f"heartlens: interrupted; {NOTHING}\n".encode())
    os._exit(INTERRUPTED)


@contextmanager
def _stoppable() -> Iterator[list[float]]:
    """Requests to stop raise KeyboardInterrupt in the main thread; the list has the times of those that were heard."""
    heard: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def stop(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not heard or now - heard[-1] > GRACE_S:
            heard.append(now)
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOPS}
    listened = [number for number, handler in before.items() if handler is not signal.SIG_IGN and handler is not None]
    for number in listened:
        signal.signal(number, stop)
    try:
        yield heard
    finally:
        for number in listened:
            signal.signal(number, before[number])


def _give_up_unwritten_output() -> None:
    """Where what was printed cannot be written, let the null device take it: else Python fails once more when it ends, with code 120."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ended(line: str, code: int) -> int:
    with suppress(OSError, ValueError):
        print(f"heartlens: {one_line(line)}", file=sys.stderr)
    return code


def open_streams() -> None:
    """Let the null device stand in for a standard stream that is closed: else the next file that is opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115 - as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
