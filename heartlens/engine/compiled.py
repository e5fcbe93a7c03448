"""The compiled kernels, loaded once in a process from numba's disk cache; where they are not there, another process compiles them first,
which takes seconds and is reported on stderr.

No process runs what it compiled itself: numba optimises a function differently together with others than alone, so the first run on a
machine would differ from all later ones in the last bits. numba keeps compiled code beside the source or,
where that folder is read-only, in the user's cache; NUMBA_CACHE_DIR names another.
"""

import subprocess
import sys
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from heartlens.refusal import Refusal

SAID = "heartlens: compiling the attention kernel for this processor, once (about 10 s); later runs find it in the cache"
ATTENTION, STEP = "heartlens.engine.kernels", "heartlens.engine.step_kernel"  # modules of kernels; no compiled code is in both
COMPILES = "numba:compile"  # the event that numba reports when it compiles, not when it loads


@cache
def kernels() -> ModuleType:
    """The module of kernels of attention, compiled. Refuses where they cannot be compiled or kept."""
    return _compiled(ATTENTION)


@cache
def step_kernel() -> ModuleType:
    """The module of the kernel of next-token steps, compiled. Refuses where it cannot be compiled or kept."""
    return _compiled(STEP)


def warm(name: str) -> ModuleType:
    """A module of kernels, each of them loaded from the disk cache or compiled into it."""
    module = import_module(name)
    call = {ATTENTION: _warm, STEP: _warm_step}[name]
    call(module)
    return module


class _NotCached(Exception):
    """A kernel would have to be compiled."""


def _compiled(name: str) -> ModuleType:
    try:
        try:
            return _loaded(name)
        except _NotCached:
            print(SAID, file=sys.stderr, flush=True)
            _compile_elsewhere(name)
            return _loaded(name)
    except Refusal:
        raise
    except _NotCached:
        raise _refusal("numba's cache does not keep it") from None
    except Exception as error:  # numba's own errors have no common class, and LLVM's are OSErrors
        raise _refusal(str(error).strip() or type(error).__name__) from error


def _loaded(name: str) -> ModuleType:
    """The module with every kernel loaded; raises `_NotCached` where numba would compile."""
    from numba.core.event import Listener, install_listener

    class Refusing(Listener):  # type: ignore[misc]
        def on_start(self, event: object) -> None:
            raise _NotCached

        def on_end(self, event: object) -> None:
            """A compilation that was stopped ends here too."""

    with install_listener(COMPILES, Refusing()):
        return warm(name)


def _compile_elsewhere(name: str) -> None:
    child = [sys.executable, "-c", f"from heartlens.engine.compiled import warm; warm({name!r})"]
    ended = subprocess.run(child, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise _refusal(
            ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else f"the process that compiles ended with {ended.returncode}"
        )


def _refusal(reason: str) -> Refusal:
    line = reason.splitlines()[0][:160]
    return Refusal(
        f"the attention kernel cannot be compiled or kept ({line}); give --engine torch, or set the environment variable NUMBA_CACHE_DIR "
        "to a folder that can be written"
    )


def _warm(module: ModuleType) -> None:
    """Have every kernel compiled, on two tokens."""
    vectors = np.zeros((1, 1, 8, 32), np.float32)
    read, mixed, bins = (vectors, vectors, vectors), np.zeros((1, 2, 1, 8), np.float32), np.zeros((0, 0, 0), np.int16)
    nothing, entropy = np.zeros((0, 0, 0), np.float32), np.zeros((1, 1, 2), np.float32)
    module.attention_output(*read, 2, 0, True, mixed)
    module.attention_patterns(*read, 2, 0, True, mixed, np.zeros((1, 1, 2, 2), np.float32))
    sums = (
        np.zeros((1, 1, 1, 32), np.float32),
        np.zeros((1, 1, 1, 0), np.float32),
        entropy,
        entropy.copy(),
        np.zeros((1, 1, 0)),
        np.zeros((1, 1, 2, 0), np.float32),
    )
    group, column_of, no_runs = np.zeros((1, 2), np.int32), np.zeros(1, np.int32), np.zeros((0, 0, 2), np.int32)
    no_rows, rows = np.empty(0, np.int64), np.zeros((1, 1, 0, 2), np.float32)
    module.attention_sums(*read, 2, True, group, column_of, no_runs, 0, 1, nothing, bins, nothing, no_rows, mixed, *sums, rows)


def _warm_step(module: ModuleType) -> None:
    """Have the kernel compiled, on two tokens of a model of one head."""
    square, layers, line = np.zeros((32, 32), np.float32), np.zeros((1, 32, 32), np.float32), np.zeros((1, 32), np.float32)
    block = (np.zeros((1, 2, 32), np.float32), np.zeros((1, 32, 32), np.float32), line, layers, line)
    packed = module.Packed(square, square, *block, block[0], layers, line, layers, line, block[0][0], square, line[0])
    nothing = np.zeros(1, np.int64)
    replaced = module.Replaced(nothing, nothing, nothing, line, line, line)
    kept = [np.zeros((1, 1, 1, 8, 32), np.float32) for _ in range(4)]
    module.step(packed, replaced, 8, 1, np.float32(1e-5), nothing, *kept[:2], 1, *kept[2:], 1, np.empty((1, 32), np.float32))
