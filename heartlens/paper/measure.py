"""Measure the jobs of the paper report in turn; one whose result is stored is not measured again, and every file is written whole."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens import analysis as frame
from heartlens import session, store
from heartlens.paper.data import AS_IT_IS, Recordings
from heartlens.paper.plan import Job

FORMATS = ["pdf", "png", "svg"]  # the page shows the last
SUMMARY, KEY = "summary.nc", "job.json"


@dataclass(frozen=True)
class Bench:
    """Where results go, where recordings are, and how checkpoints are loaded."""

    out: Path
    recordings: Recordings
    published_only: bool

    def subject(self, checkpoint: str) -> Any:
        """The model of an alias, as a subject, loaded once."""
        return _loaded(checkpoint, self.published_only)

    def summary(self, job: Job) -> xr.Dataset | None:
        """The stored result of a job; None if no result with its key is stored."""
        folder = self.out / job.folder
        key = folder / KEY
        if not (key.is_file() and (folder / SUMMARY).is_file()) or key.read_text(encoding="utf-8") != self._key(job):
            return None
        return store.read_summary(folder / SUMMARY)

    def measure(self, job: Job) -> None:
        """Measure a job and store its result: model and twins, a varied job too, which has its own windows and twins."""
        subject = self.subject(job.checkpoint)
        windows = self.recordings.windows(job.source, job.variant, job.n_windows)
        folder = self.out / job.folder
        measured = frame.measure(job.analysis, subject, windows)
        summary = frame.summarize(job.analysis, measured)
        if job.variant == AS_IT_IS:
            session.write(job.analysis, session.Made(measured, summary, 0), folder, FORMATS)
        else:
            store.write_summary(summary, folder / SUMMARY)
        store.write_text(folder / KEY, self._key(job))

    def _key(self, job: Job) -> str:
        return job.key(self.subject(job.checkpoint).origin.fingerprint)


def measure_all(bench: Bench, jobs: list[Job], show: Callable[..., Any]) -> Iterator[tuple[Job, float]]:
    """Measure each job that is not stored yet; each with the seconds it took."""
    for job in show(jobs):
        start = time.monotonic()
        if bench.summary(job) is None:
            bench.measure(job)
        yield job, time.monotonic() - start


def bar(jobs: list[Job]) -> Iterator[Job]:
    """The jobs in turn; on stderr a bar of the work done and the time left or, where it is not a terminal, a line for each job."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        for number, job in enumerate(jobs, start=1):
            print(f"{number} of {len(jobs)}: {job.name}, {job.variant}", file=sys.stderr)
            yield job
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(job.cost for job in jobs))
        for job in jobs:
            progress.update(task, description=f"{job.name}, {job.variant}")
            yield job
            progress.advance(task, job.cost)


@lru_cache
def _loaded(checkpoint: str, published_only: bool) -> Any:
    from heartlens.models.load import load
    from heartlens.models.subject import subject_of

    return subject_of(load(checkpoint, published_only=published_only))
