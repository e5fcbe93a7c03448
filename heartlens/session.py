"""One command's work: model, windows, measurement, files. What it needs to say on the way goes to stderr."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from heartlens import analysis as frame
from heartlens import store
from heartlens.findings import Findings
from heartlens.refusal import Refusal
from heartlens.windows import Windows, concatenate

N_SIMULATED = 24  # default windows: so many simulated people, one window each
LOST = "recording without a usable window"


@dataclass(frozen=True)
class Made:
    """What a command measured, before anything is written."""

    measured: frame.Measured
    summary: xr.Dataset
    lost_records: int


def measure(analysis: Any, options: argparse.Namespace) -> Made:
    """Load the model, read the windows, measure both the model and its twins, and summarise."""
    earlier = store.read_measured(options.add) if options.add else None
    say = _silent if options.quiet else _to_stderr
    model, kind = _model(options)
    windows = _windows(options, kind, analysis.seed)
    _describe(windows, say)
    progress = _bar if sys.stderr.isatty() and not options.quiet else None
    measured = frame.measure(analysis, model, windows, force=options.force, progress=progress)
    if earlier is not None:
        measured = store.add(earlier, measured)
    return Made(measured, frame.summarize(analysis, measured), dict(windows.skipped).get(LOST, 0))


def write(analysis: Any, made: Made, out: Path, formats: list[str]) -> list[Path]:
    """Write summary, tally, figure and report into `out`, each whole; the paths written."""
    from heartlens import figures
    from heartlens.report import inline, report

    figure = analysis.plot(made.summary)
    svg = inline(figure)
    page = report(analysis.findings(made.summary), svg, made.summary)
    name = type(analysis).__module__.rsplit(".", 1)[-1]
    paths = [out / "summary.nc", out / "tally.nc", *(out / f"{name}.{suffix}" for suffix in dict.fromkeys(formats)), out / "report.html"]
    try:
        store.write_summary(made.summary, paths[0])
        store.write_measured(made.measured, paths[1])
        for path in paths[2:-1]:
            store.write_text(path, svg) if path.suffix == ".svg" else figures.save(figure, path)
        store.write_text(paths[-1], page)
    except OSError as error:
        raise Refusal(f"{out} cannot be written ({error.strerror or error}); name another folder with --out") from error
    return paths


def as_json(findings: Findings, summary: xr.Dataset, written: list[Path]) -> dict[str, Any]:
    """The findings as plain data."""
    rows = [dict(zip(findings.columns, row, strict=True)) for row in findings.rows]
    checkpoint = {name: summary.attrs[name] for name in ("checkpoint", "checkpoint_sha256", "checkpoint_fingerprint")}
    counts = {name: int(summary.attrs[name]) for name in ("n_records", "n_windows", "data_is_simulated")}
    said = {"verdict": findings.verdict, "rows": rows, "cautions": findings.cautions}
    return {"title": findings.title, **checkpoint, **counts, **said, "files": [str(path) for path in written]}


def _model(options: argparse.Namespace) -> tuple[Any, str | None]:
    from heartlens.models.load import device_named, load

    model = load(options.checkpoint, published_only=options.published_only, device=device_named(options.device))
    return model, model.origin.kind


def _windows(options: argparse.Namespace, kind: str | None, seed: int) -> Windows:
    if options.data and options.simulate:
        raise Refusal("--data and --simulate exclude each other; give one of them")
    if options.data:
        from heartlens.signals.read import read

        wanted = {"landmarks": options.landmarks, "bandpass": options.bandpass, "max_windows": options.max_windows}
        return read(options.data, lead=options.lead, rate_hz=options.rate, kind=kind, **wanted)
    if kind is None:
        raise Refusal("this checkpoint's vocabulary does not tell ECG from PPG, so no signals can be simulated for it; give --data")
    return concatenate([_simulated(kind, rhythm, seed) for rhythm in dict.fromkeys(options.simulate or ["sinus"])])


def _simulated(kind: str, rhythm: str, seed: int) -> Windows:
    """Simulated people; those of another rhythm than sinus are other people by name too."""
    from heartlens.signals.simulate import simulated

    windows = simulated(kind, n_records=N_SIMULATED, windows_per_record=1, rhythm=rhythm, seed=seed)
    return windows if rhythm == "sinus" else replace(windows, record=np.char.add(windows.record.astype(str), f" {rhythm}"))


def _describe(windows: Windows, say: Any) -> None:
    for note in windows.notes:
        say(note)
    for reason, count in windows.skipped:
        say(f"skipped {count}: {reason}")
    say(f"{len(windows)} windows of {len(windows.records)} records")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _silent(line: str) -> None:
    pass


def _bar(what: str, steps: Iterable[Any], n_steps: int) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(steps, description=what, total=n_steps, console=Console(stderr=True), transient=True)
