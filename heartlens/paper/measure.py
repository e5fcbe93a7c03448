"""Measure the jobs of the paper report in turn; one whose result is stored is not measured again, and every file is written whole."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens import analysis as frame
from heartlens import session, store
from heartlens.folder import Folder
from heartlens.paper.data import AS_IT_IS, SOURCES, VARIANTS, Recordings
from heartlens.paper.plan import Job
from heartlens.privacy import CODED, CODED_NAMES
from heartlens.refusal import Refusal

FORMATS = ["pdf", "png", "svg"]  # the page shows the last
SUMMARY, KEY = "summary.nc", "job.json"


@dataclass(frozen=True)
class Bench:
    """Where results go, where recordings are, and how checkpoints are loaded."""

    out: Path
    recordings: Recordings
    published_only: bool
    command: str = ""  # which remakes all
    _stored: dict[str, xr.Dataset] = field(default_factory=dict, repr=False, compare=False)  # summaries that were read, by folder

    def subject(self, checkpoint: str) -> Any:
        """The model of an alias, as a subject, loaded once."""
        return _loaded(checkpoint, self.published_only)

    def summary(self, job: Job) -> xr.Dataset | None:
        """The stored result of a job, read once; None if no result with its key is stored."""
        if job.folder in self._stored:
            return self._stored[job.folder]
        folder = self.out / job.folder
        key = folder / KEY
        if not (key.is_file() and (folder / SUMMARY).is_file()) or key.read_text("utf-8", "replace") != self._key(job):
            return None
        try:
            self._stored[job.folder] = store.read_summary(folder / SUMMARY)
        except Refusal:  # damaged, or of an earlier format: it is measured anew
            return None
        return self._stored[job.folder]

    def measured(self, job: Job) -> xr.Dataset:
        """The stored result of a job that was measured. Refuses one whose files were changed meanwhile."""
        summary = self.summary(job)
        if summary is None:
            raise Refusal(f"{self.out / job.folder} was changed while the report was made; the same command goes on with the rest")
        return summary

    def measure(self, job: Job) -> None:
        """Measure a job and store its result: model and twins, a varied job too, which has its own windows and twins."""
        subject = self.subject(job.checkpoint)
        windows = self.recordings.windows(job.source, job.variant, job.n_windows)
        measured = frame.measure(job.analysis, subject, CODED_NAMES.windows(windows))
        summary = frame.summarize(job.analysis, measured).assign_attrs(names=CODED, data_options=self._read_by(job), command=self.command)
        measured = replace(measured, attrs={**measured.attrs, "names": CODED, "data_options": self._read_by(job), "command": self.command})
        with Folder(self.out / job.folder) as folder:
            if job.variant == AS_IT_IS:
                session.write(job.analysis, session.Made(measured, summary, 0), folder, FORMATS, {KEY: self._key(job)})
            else:
                folder.give(lambda beside: self._write_varied(summary, job, beside))

    def _write_varied(self, summary: xr.Dataset, job: Job, beside: Path) -> None:
        store.write_summary(summary, beside / SUMMARY)
        store.write_text(beside / KEY, self._key(job))

    def _read_by(self, job: Job) -> str:
        """How the job's recordings were read: the set and its change."""
        change = {"set": job.source, "n_windows": job.n_windows, **asdict(VARIANTS[job.variant])}
        return json.dumps({**change, "reads": SOURCES[job.source].reads, "is_simulated": self.recordings.folder is None}, sort_keys=True)

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
    from heartlens.models.load import load_subject

    return load_subject(checkpoint, published_only=published_only)
