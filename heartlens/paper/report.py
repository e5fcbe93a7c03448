"""The paper report: a self-contained page of verdicts, figures and sources, every number of it taken from a stored summary."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from markupsafe import Markup

from heartlens import store
from heartlens.findings import Findings
from heartlens.folder import Folder, linked
from heartlens.inference.verdict import NO, NOT_SHOWN, NOT_TESTED
from heartlens.paper.claims import CLAIMS, Claim, Judged
from heartlens.paper.data import AS_IT_IS, SOURCES, VARIANTS
from heartlens.paper.measure import Bench
from heartlens.paper.plan import Job
from heartlens.report import rendered, stored

WRITTEN = ("report.html", "claims.json")
PUBLISHED = ("ecgpt", "ppgpt")
STABLE, UNSTABLE = "stable", "UNSTABLE"


@dataclass(frozen=True)
class Row:
    """A claim with its verdict, and the verdict under each variant that was measured."""

    claim: Claim
    judged: Judged
    n_records: int
    varied: dict[str, str]

    @property
    def stability(self) -> str:
        """Whether every variant that was tested gives the same verdict; empty where none was.

        *No* and *not shown* count as the same: variants have fewer windows, whose intervals are wider.
        """
        tested = {variant: verdict for variant, verdict in self.varied.items() if verdict != NOT_TESTED}
        flips = [f"{variant}: {verdict}" for variant, verdict in tested.items() if _shown(verdict) != _shown(self.judged.verdict)]
        if not tested:
            return ""
        return f"{UNSTABLE} ({'; '.join(flips)})" if flips else f"{STABLE} under {len(tested)} variants"


@dataclass(frozen=True)
class Section:
    """A job's part of the page."""

    job: Job
    findings: Findings
    svg: Markup
    checkpoint: str


def write_report(bench: Bench, jobs: list[Job], folder: Folder, *, is_quick: bool) -> list[Row]:
    """Put WRITTEN, made from the stored summaries, into the folder beside the jobs' results, all at once; a row for each claim."""
    summaries = {job.name: bench.measured(job) for job in jobs}
    rows = [row for claim in CLAIMS if (row := _row(bench, claim, jobs, summaries, is_quick))]
    texts = (_page(bench, jobs, summaries, rows, is_quick), json.dumps([plain(row) for row in rows], indent=1))

    def fill(beside: Path) -> None:
        linked(bench.out, beside, but=WRITTEN)
        for name, text in zip(WRITTEN, texts, strict=True):
            store.write_text(beside / name, text)

    folder.give(fill)
    return rows


def _shown(verdict: str) -> str:
    return NOT_SHOWN if verdict == NO else verdict


def sentence(row: Row) -> str:
    """A claim's verdict in a line."""
    return f"{row.claim.name}: {row.judged.verdict}. {row.judged.effect} [{row.n_records} records] {row.stability}"


def _row(bench: Bench, claim: Claim, jobs: list[Job], summaries: dict[str, xr.Dataset], is_quick: bool) -> Row | None:
    main = next((job for job in jobs if job.name == claim.jobs[0]), None)
    if main is None:
        return None
    varied = {} if is_quick else {change: _verdict(bench, claim, main.varied(change)) for change in list(VARIANTS)[1:]}
    return Row(claim, claim.judge(summaries), int(summaries[main.name].attrs["n_records"]), varied)


def _verdict(bench: Bench, claim: Claim, job: Job) -> str:
    """The verdict on a varied job alone."""
    return claim.judge({job.name: bench.measured(job)}).verdict


def _page(bench: Bench, jobs: list[Job], summaries: dict[str, xr.Dataset], rows: list[Row], is_quick: bool) -> str:
    sections = [_section(bench, job, summaries[job.name]) for job in jobs]
    checkpoints = sorted({section.checkpoint for section in sections})
    names = {str(summary.attrs["checkpoint"]) for summary in summaries.values()}
    return rendered(
        "paper/report.html.jinja",
        rows=rows,
        sections=sections,
        sources=[_source(name, jobs, summaries) for name in dict.fromkeys(job.source for job in jobs)],
        lost=[(SOURCES[name].title, why) for name, why in bench.recordings.lost.items()],
        checkpoints=checkpoints,
        stand_ins=sorted(name for name in names if not name.startswith(PUBLISHED)),
        is_simulated=any(summary.attrs["data_is_simulated"] for summary in summaries.values()),
        is_quick=is_quick,
        variants=[name for name in VARIANTS if name != AS_IT_IS],
        versions=next(iter(summaries.values())).attrs["versions"],
        commit=next(iter(summaries.values())).attrs["git_commit"],
    )


def _section(bench: Bench, job: Job, summary: xr.Dataset) -> Section:
    attrs = summary.attrs
    checkpoint = f"{attrs['checkpoint']} (SHA-256 {attrs['checkpoint_sha256'][:16]}, tensors {attrs['checkpoint_fingerprint'][:16]})"
    name = type(job.analysis).__module__.rsplit(".", 1)[-1]
    return Section(job, job.analysis.findings(summary), stored(bench.out / job.folder / f"{name}.svg"), checkpoint)


def _source(name: str, jobs: list[Job], summaries: dict[str, xr.Dataset]) -> dict[str, Any]:
    """What is said of a set: how much of it was measured, how its waves were found, and whether the models may have seen it."""
    attrs = next(summaries[job.name].attrs for job in jobs if job.source == name)
    source = SOURCES[name]
    if attrs["data_is_simulated"]:
        return {"title": f"SIMULATED people instead of {source.title}", "seen": "no", **_counted(attrs)}
    return {"title": source.title, "seen": source.seen, **_counted(attrs)}


def _counted(attrs: dict[str, Any]) -> dict[str, Any]:
    marks = [line for line in str(attrs["data_notes"]).splitlines() if line.startswith("landmarks")]
    counts = {"n_records": attrs["n_records"], "n_windows": attrs["n_windows"], "sha256": str(attrs["data_sha256"])[:16]}
    return counts | {"marks": "; ".join(marks), "skipped": "; ".join(str(attrs["data_skipped"]).splitlines())}


def plain(row: Row) -> dict[str, Any]:
    """A claim as plain data."""
    judged = {name: getattr(row.judged, name) for name in ("verdict", "effect", "null", "why")}
    named = {"claim": row.claim.name, "text": row.claim.text, "n_records": row.n_records, "summaries": row.claim.jobs}
    return {**named, **judged, "varied": row.varied, "stability": row.stability, "tested": row.judged.verdict != NOT_TESTED}
