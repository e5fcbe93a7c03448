"""The compiled kernels, loaded once in a process: from the disk cache, or compiled anew, which takes seconds and is said.

numba keeps compiled code beside the source or, where that folder is read-only, in the user's cache; NUMBA_CACHE_DIR names another.
"""

import sys
import threading
from functools import cache
from types import ModuleType

import numpy as np

from heartlens.refusal import Refusal

PATIENCE_S = 1.5  # loading from the cache takes less
SAID = "heartlens: compiling the attention kernel for this processor, once (about 10 s); later runs find it in the cache"


@cache
def kernels() -> ModuleType:
    """The module of kernels, compiled. Refuses where it cannot be compiled or kept."""
    timer = threading.Timer(PATIENCE_S, lambda: print(SAID, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        from heartlens.engine import kernels as module

        _warm(module)
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
