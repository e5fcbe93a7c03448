"""The same measurement on several processes or machines, by Dask; the only door to it.

A task is a few recordings by name. A worker gets the checkpoint's name and its fingerprint, loads it once, and refuses another one, or
other versions than the client's. It reads and measures its recordings on one thread, as one process does, and keeps what is gathered;
values of tasks are added in pairs on the workers, and blocks of tasks come back in the order of the recordings. A worker that is lost costs
the tasks it had; they run again elsewhere. Adding rounds nothing (see `gather`), so the bits are those of one process.
"""

import json
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from heartlens.gather import Gathered, Gathering, Total
from heartlens.models.origin import Origin
from heartlens.parts import Part
from heartlens.privacy import AS_THEY_ARE, Names
from heartlens.provenance import versions
from heartlens.refusal import Refusal
from heartlens.signals.source import Source, ahead

CONNECT_S, WORKERS_S = 20, 60  # how long is waited for a scheduler, and for a worker while there is none
TASKS_PER_WORKER, MOST_RECORDINGS = 4, 16  # of a block; of a task
START_AGAIN = {"distributed.deploy.lost-worker-timeout": "1h"}  # 15 s, Dask's own, gives up workers that start slowly on a busy machine
INSTALL = "pip install 'heartlens[dask]'"


@dataclass(frozen=True)
class Work:
    """What every worker must know: the analysis, which checkpoint on its own disk, and where the recordings are."""

    analysis: Any
    checkpoint: str
    published_only: bool
    origin: Origin
    source: Source
    force: bool
    strict: bool
    n_sample: int
    engine: str
    device: str = "cpu"
    stored: Names = AS_THEY_ARE
    ablate: tuple[Part, ...] = ()


def recordings(work: Work, names: list[str], *, n_workers: int = 0, address: str | None = None) -> Iterator[Gathered]:
    """What is gathered of the recordings, block by block in their order: by `n_workers` processes of this machine, or by a cluster.

    `address` is that of a Dask scheduler, or its scheduler file. Refuses without Dask, a cluster that does not answer or has lost its
    workers for WORKERS_S seconds, workers with other versions or without the checkpoint, and recordings that end every worker they
    are given to.
    """
    if not names:
        return
    with _client(n_workers, address) as client:
        _refuse_other_versions(client)
        n_at_once = max(1, sum(client.nthreads().values()))  # none while lost workers start again
        n_each = max(1, min(MOST_RECORDINGS, len(names) // (2 * TASKS_PER_WORKER * n_at_once)))
        tasks = [names[first : first + n_each] for first in range(0, len(names), n_each)]
        n_tasks = TASKS_PER_WORKER * n_at_once
        blocks = deque(tasks[first : first + n_tasks] for first in range(0, len(tasks), n_tasks))
        begun: deque[Any] = deque()
        while blocks or begun:
            while blocks and len(begun) < 2:  # one is measured while the last tasks of the other end
                begun.append(_begun(client, work, blocks.popleft()))
            yield _result(client, begun.popleft())


def _begun(client: Any, work: Work, tasks: list[list[str]]) -> Any:
    """The future of a block: its tasks, and their sum as a tree."""
    level = [client.submit(_measured, work, names, versions(), pure=False) for names in tasks]
    while len(level) > 1:
        pairs = [level[first : first + 2] for first in range(0, len(level), 2)]
        level = [client.submit(_sum, *pair, pure=False) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def _result(client: Any, future: Any) -> Gathered:
    """A block's values, waited for as long as there are workers."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        while True:
            try:
                return future.result(timeout=WORKERS_S)
            except TimeoutError:
                if future.status == "error":
                    raise
                _wait_for_workers(client)
    except KilledWorker as error:
        raise Refusal(f"every worker that measured the task {error.task} ended (too little memory?); see the workers' logs") from error
    except (FutureCancelledError, OSError) as error:
        if future.status == "error":  # it is the task's own
            raise
        raise Refusal(f"the Dask scheduler is lost ({_line(error)})") from error


def _measured(work: Work, names: list[str], expected: dict[str, str]) -> Gathered:
    """On a worker: what is gathered of some recordings."""
    _refuse_difference(expected, versions(), "this worker")
    subject = _loaded(work.checkpoint, work.published_only, work.origin, work.engine, work.device, work.ablate)
    gathering = Gathering(work.analysis, subject, work.n_sample, work.force, work.strict, map, work.stored)
    total = Total(Gathered())
    with threadpool_limits(1):
        for recording in gathering.recordings(work.stored.parts(ahead(work.source, names, n_workers=0))):
            total.add(recording)
    return total.value


def _sum(left: Gathered, right: Gathered) -> Gathered:
    return left + right


@lru_cache(maxsize=2)
def _loaded(checkpoint: str, published_only: bool, origin: Origin, engine: str, device: str, ablate: tuple[Part, ...]) -> Any:
    """The subject, loaded once in a process. Refuses other weights than the client's."""
    from heartlens.models.load import load_subject

    try:
        subject = load_subject(checkpoint, published_only=published_only, engine=engine, device=device, ablate=ablate)
    except Refusal as why:
        raise Refusal(f"a worker cannot load {checkpoint}: {why}; every worker must find it under this name") from why
    if (subject.origin.fingerprint, subject.origin.sha256) != (origin.fingerprint, origin.sha256):
        raise Refusal(f"a worker has other weights as {checkpoint} than this process; give all of them the same file")
    return subject


@contextmanager
def _client(n_workers: int, address: str | None) -> Iterator[Any]:
    """A client of the cluster, closed at the end, with the cluster where it was started here."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise Refusal(f"--workers and --dask need Dask, which is not installed; {INSTALL}") from error
    with ExitStack() as opened:
        opened.enter_context(dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_S}s", **START_AGAIN}))
        if address is None:
            options = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": None, "silence_logs": logging.CRITICAL}
            cluster: Any = opened.enter_context(LocalCluster(n_workers=n_workers, processes=True, **options))
            yield opened.enter_context(Client(cluster))
            return
        scheduler = _address(address)
        try:
            client = opened.enter_context(Client(scheduler, timeout=CONNECT_S))
        except (OSError, TimeoutError, ValueError) as error:
            raise Refusal(f"--dask {address}: no Dask scheduler answers there ({_line(error)})") from error
        _wait_for_workers(client)
        yield client


def _wait_for_workers(client: Any) -> None:
    """Wait until there is a worker. Refuses where none comes."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError as error:
        address = client.scheduler.address
        raise Refusal(
            f"the Dask scheduler at {address} has no workers, and none came within {WORKERS_S} s; start: dask worker {address}"
        ) from error


def _address(given: str) -> str:
    """The scheduler's address, read from its scheduler file where one is given."""
    path = Path(given)
    if not (path.suffix == ".json" or path.is_file()):
        return given
    if not path.is_file():
        raise Refusal(f"--dask {given}: there is no such scheduler file; start one with dask scheduler --scheduler-file {given}")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(f"--dask {given}: this is no scheduler file; dask scheduler --scheduler-file writes one") from error


def _refuse_other_versions(client: Any) -> None:
    """Refuse workers without heartlens, or with other versions of what decides a number."""
    for worker, answer in client.run(versions, on_error="return").items():
        if isinstance(answer, OSError):  # the worker is lost; every task looks at the versions again
            continue
        if isinstance(answer, BaseException):
            raise Refusal(f"the worker {worker} cannot run heartlens ({_line(answer)}); install the same version there")
        _refuse_difference(versions(), answer, f"the worker {worker}")


def _refuse_difference(here: dict[str, str], there: dict[str, str], who: str) -> None:
    other = [f"{package} {there.get(package)} (here {version})" for package, version in here.items() if there.get(package) != version]
    if other:
        raise Refusal(f"{who} has {', '.join(other)}; install the same versions everywhere")


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:150]
