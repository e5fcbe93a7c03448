"""A process that reads recordings for another one and hands over their windows, pickled, through a pipe.

It is a Python of its own that imports what reading needs and nothing else: a fork of a process with threads may hang, and what
multiprocessing spawns runs the user's script again. A pipe holds a fraction of a part, so the process waits until its part is taken.
It ends when the pipe does, that is with the process it reads for, however that ends; the terminal's Ctrl-C reaches only the latter.
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from typing import IO, Any

COMMAND = "from heartlens.signals.reading_process import serve; serve()"
READY = "ready"


class Ended(Exception):
    """The process has ended before its work was done; the text says how."""


class ReadingProcess:
    """A process that reads recordings of one source, one at a time: `begin` one, then `receive` what `answer` gives of it, part by part.

    `answer` is a function of the source and a name.
    """

    def __init__(self, answer: Any, source: Any) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads | {"PYTHONPATH": paths},
            process_group=0,
        )
        self.is_ready = False
        self._send((answer, source))

    def begin(self, name: Any) -> None:
        """Have a recording read."""
        self._send(name)

    def receive(self) -> Any:
        """The next part. `Ended` where the process has ended; what the source raised, apart from refusals, is raised here."""
        try:
            if not self.is_ready:
                self.is_ready = pickle.load(self._replies) == READY
            message = pickle.load(self._replies)
        except (EOFError, pickle.UnpicklingError) as error:
            raise Ended(_how(self._process.wait())) from error
        if isinstance(message, Exception):
            raise message
        return message

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._replies.close()
        with suppress(BrokenPipeError):  # an order that was not taken
            self._orders.close()

    @property
    def _orders(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    @property
    def _replies(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def _send(self, order: Any) -> None:
        with suppress(BrokenPipeError):  # it has ended; `receive` says so
            pickle.dump(order, self._orders)
            self._orders.flush()


def serve() -> None:
    """What the process does: read the source from its standard input, then recordings by name until that ends."""
    orders, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the parts
    answer, source = pickle.load(orders)
    _reply(READY, replies)
    while True:
        try:
            name = pickle.load(orders)
        except EOFError:
            return
        try:
            for part in answer(source, name):
                _reply(part, replies)
        except BrokenPipeError:
            return
        except Exception as error:
            error.add_note(traceback.format_exc())
            _reply(error, replies)


def _reply(message: Any, replies: IO[bytes]) -> None:
    replies.write(pickle.dumps(message))
    replies.flush()


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status} ({signal.Signals(-status).name})"
    return f"ended with status {status}"
