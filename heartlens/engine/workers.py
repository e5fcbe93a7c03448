"""Several chunks of windows at a time, each on one thread; the model is only read, so all share it.

Each step of a forward is so small that sharing it between threads costs more than it gives (measured: 2.5 times the CPU time); whole
chunks share nothing. The chunks and the order of their results do not depend on the number of workers, so neither do the numbers.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from heartlens.engine.protocol import Engine

MOST = 16  # workers; each holds a chunk's sums

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def on_chunks(work: Callable[[Chunk], Result], chunks: Iterable[Chunk], n_workers: int) -> Iterator[Result]:
    """`work(chunk)` for every chunk, in order, `n_workers` at a time."""
    if n_workers == 1:
        yield from map(work, chunks)
        return
    with _one_thread_each(), ThreadPoolExecutor(n_workers) as pool:
        try:
            yield from _in_order(pool, work, chunks, 2 * n_workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Chunk], Result], chunks: Iterable[Chunk], n_ahead: int) -> Iterator[Result]:
    """The results in order, with at most `n_ahead` chunks begun or waiting: memory must not grow with their number."""
    begun: deque[Future[Result]] = deque()
    for chunk in chunks:
        begun.append(pool.submit(work, chunk))
        if len(begun) >= n_ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def workers_for(engine: Engine) -> int:
    """The number of CPUs that the process may use; 1 on another device, and for the hooked engine, whose hooks may not be thread-safe."""
    if engine.device.type != "cpu" or engine.name == "hooked":
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
