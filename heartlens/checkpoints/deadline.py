"""A call that may hang, waited for only so long.

Timeouts of sockets do not bound it: each read has its own, which a byte a second never exceeds, and looking up a name has none at all.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What `call()` returns or raises. TimeoutError after `seconds`; the call is then left to itself and keeps no program from ending."""
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome.result(seconds)
