"""The one way of timing: alternatives in turn (A B A B), CPU and wall seconds of this process, the median over several rounds.

Before each timing the heap is given back to the system (where there is glibc). Without that, what runs first asks the system for memory
that what runs second finds ready.
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

Work = Callable[[], object]


@dataclass(frozen=True)
class Taken:
    """The seconds that some work took."""

    cpu_s: float
    wall_s: float


def medians(works: Mapping[str, Work], n_rounds: int, *, warm_up: bool = True) -> dict[str, Taken]:
    """The median seconds of each work; all are run once before, unless they are warm already."""
    if warm_up:
        for work in works.values():
            work()
    taken: dict[str, list[Taken]] = {name: [] for name in works}
    for _ in range(n_rounds):
        for name, work in works.items():
            taken[name].append(timed(work))
    return {
        name: Taken(statistics.median(each.cpu_s for each in every), statistics.median(each.wall_s for each in every))
        for name, every in taken.items()
    }


def timed(work: Work) -> Taken:
    """The seconds that one run of the work takes."""
    _trim_heap()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Taken(time.process_time() - cpu, time.perf_counter() - wall)


@contextmanager
def one_core() -> Iterator[None]:
    """One thread for torch and for every BLAS and OpenMP library."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _trim_heap() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
