"""Parts of a trial on several processes, each with a pool of its own over the same folder: what one measured, the others read."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from heartlens.trial.judged import Run
from heartlens.trial.pool import Pool

Opened = Callable[[], Pool]
_of_this_process: list[Pool] = []


@contextmanager
def on_processes(n_processes: int, opened: Opened) -> Iterator[Run]:
    """How to run parts on `n_processes` processes. `opened` makes the pool of each; it must be picklable, and the pool have a folder."""
    with ProcessPoolExecutor(n_processes, get_context("spawn"), _open, (opened,)) as executor:

        def run(part: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterable[Any]:
            return executor.map(_part_of_pool, *zip(*((part, task) for task in tasks), strict=True))

        yield run


def _open(opened: Opened) -> None:
    _of_this_process.append(opened())


def _part_of_pool(part: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return part(_of_this_process[0], *task)
