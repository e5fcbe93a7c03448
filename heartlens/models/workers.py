"""Several chunks of windows at a time, each on one thread and a copy of the model of its own.

Each step of a forward is so small that sharing it between threads costs more than it gives (measured: 2.5 times the CPU time); whole
chunks share nothing. The chunks and the order of their results do not depend on the number of workers, so neither do the numbers.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from heartlens.converters.lens import HookedTransformer, copied
from heartlens.models.fused import is_plain

MOST = 16  # workers; each holds a few layers' patterns, about 100 MB

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def on_chunks(work: Callable[[HookedTransformer, Chunk], Result], model: HookedTransformer, chunks: Iterable[Chunk]) -> Iterator[Result]:
    """`work(model, chunk)` for every chunk, in order."""
    copies: SimpleQueue[HookedTransformer] = SimpleQueue()
    n_workers = workers_for(model)
    for _ in range(n_workers):
        copies.put(copied(model) if n_workers > 1 else model)

    def borrow(chunk: Chunk) -> Result:
        mine = copies.get()
        try:
            return work(mine, chunk)
        finally:
            copies.put(mine)

    if n_workers == 1:
        yield from map(borrow, chunks)
        return
    with _one_thread_each(), ThreadPoolExecutor(n_workers) as pool:
        try:
            yield from _in_order(pool, borrow, chunks, 2 * n_workers)
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


def workers_for(model: HookedTransformer) -> int:
    """As many as the process may use CPUs; 1 on another device, and where somebody's hooks might not bear several threads."""
    if model.W_E.device.type != "cpu" or not is_plain(model):
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
