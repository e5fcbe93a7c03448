"""The compiled kernels, loaded once in a process: from the disk cache, or compiled anew, which takes seconds and is said.

numba keeps compiled code beside the source or, where that folder is read-only, in the user's cache; NUMBA_CACHE_DIR names another.
"""

import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from heartlens.refusal import Refusal

PATIENCE_S = 1.5  # loading from the cache takes less
SAID = "heartlens: compiling the attention kernel for this processor, once (about 10 s); later runs find it in the cache"


@cache
def kernels() -> ModuleType:
    """The module of kernels of attention, compiled. Refuses where they cannot be compiled or kept."""
    return _compiled("heartlens.engine.kernels", _warm)


@cache
def step_kernel() -> ModuleType:
    """The module of the kernel of next-token steps, compiled. Refuses where it cannot be compiled or kept."""
    return _compiled("heartlens.engine.step_kernel", _warm_step)


def _compiled(name: str, warm: Callable[[ModuleType], None]) -> ModuleType:
    timer = threading.Timer(PATIENCE_S, lambda: print(SAID, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        module = import_module(name)
        warm(module)
    except Refusal:
        raise
    except Exception as error:  # numba's own errors have no common class, and LLVM's are OSErrors
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise Refusal(f"the attention kernel cannot be compiled or kept ({reason}); give --engine torch, or NUMBA_CACHE_DIR") from error
    finally:
        timer.cancel()
    return module


def _warm(module: ModuleType) -> None:
    """Have every kernel compiled, on two tokens."""
    each = np.zeros((1, 1, 8, 32), np.float32)
    read, mixed, bins = (each, each, each), np.zeros((1, 2, 1, 8), np.float32), np.zeros((0, 0, 0), np.int16)
    nothing, entropy = np.zeros((0, 0, 0), np.float32), np.zeros((1, 1, 2), np.float32)
    module.attention_output(*read, 2, 0, True, mixed)
    module.attention_patterns(*read, 2, 0, True, mixed, np.zeros((1, 1, 2, 2), np.float32), entropy)
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
