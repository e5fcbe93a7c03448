"""What a fine-tuning shows: its figures as a summary, one figure (losses, calibration), and the findings in words."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.findings import Findings
from heartlens.provenance import is_simulation, versions
from heartlens.training.evaluation import BINS, ONE_MODEL, PAIRS, Figures, Ranking, calibration
from heartlens.training.examples import Examples
from heartlens.training.finetune import Estimate, Finetune
from heartlens.training.run_folder import Progressed


@dataclass(frozen=True)
class Verdict:
    """What is said of all windows by one source (the folds' models, a released checkpoint), the figures of that, and what AUCs compare."""

    source: str
    figures: Figures
    estimate: Estimate
    ranking: Ranking = ONE_MODEL


def summary_of(
    task: str, checkpoint: str, options: Finetune, examples: Examples, verdicts: list[Verdict], progressed: Progressed
) -> xr.Dataset:
    """All of it as one dataset; `estimate, low, high` over (source, figure), calibration over (source, part, bin), losses over step."""
    names = list(dict.fromkeys(name for verdict in verdicts for name in verdict.figures))
    sources = [verdict.source for verdict in verdicts]
    table = np.array([[row(verdict.figures, name) for name in names] for verdict in verdicts])
    drawn = [verdict for verdict in verdicts if verdict.estimate.shape[-1] == 1 and examples.answers == "classes"]
    steps = np.array(progressed.losses, float)
    data: dict[str, Any] = {each: (("source", "figure"), table[..., place]) for place, each in enumerate(("estimate", "low", "high"))}
    if drawn:
        empty = np.concatenate([np.full((2, BINS), np.nan), np.zeros((1, BINS))])  # of several models (`window_figures`)
        curves = [
            empty if verdict.ranking.scored else calibration(verdict.estimate[..., 0].ravel(), (examples.target == 1).ravel())
            for verdict in drawn
        ]
        data["calibration"] = (("source", "part", "bin"), np.stack(curves))
    data |= {name: (("step",), steps[:, place]) for place, name in ((2, "train_loss"), (3, "validation_loss"))}
    coordinates = {"source": sources, "figure": names, "step": steps[:, 0], "part": ["predicted", "observed", "count"]}
    attrs = {
        "task": task,
        "checkpoint": checkpoint,
        "options": json.dumps(asdict(options), sort_keys=True),
        "classes": ", ".join(examples.classes),
        "n_records": len(examples.records),
        "n_windows": len(examples),
        "data_sources": examples.source,
        "auc_rules": "\n".join(f"AUC, {verdict.source}: {verdict.ranking.rule}" for verdict in verdicts) if examples.last_only else "",
        "data_is_simulated": int(is_simulation(examples.source)),
        "versions": json.dumps(versions()),
    }
    kept = {name: values for name, values in coordinates.items() if any(name in dims for dims, _ in data.values())}
    return xr.Dataset(data, kept, attrs)


def plot(summary: xr.Dataset) -> figures.Page:
    """Losses of the final training, and what came true against what was said."""
    with figures.style():
        page = figures.page(figures.PAGE_MM, 62)
        left, right = page.subplots(1, 2)
        curves = {name: summary[f"{name}_loss"].values for name in ("train", "validation")}
        figures.curves(left, summary["step"].values, curves, "step", "loss (nats)")
        if "calibration" in summary:
            points = {str(source): summary["calibration"].sel(source=source).values for source in summary["source"].values}
            figures.reliability(right, {source: curve for source, curve in points.items() if curve[2].any()})
        else:
            right.set_axis_off()
    return page


def findings(summary: xr.Dataset) -> Findings:
    """The figures as a table, and in a sentence what they amount to."""
    rows = []
    for name in summary["figure"].values:
        cells = [cell(summary.sel(source=source, figure=name)) for source in summary["source"].values]
        rows.append((str(name), *cells))
    return Findings(
        title=f"Fine-tuning {summary.attrs['checkpoint']} for {summary.attrs['task']}",
        question="How well does the task head do on records it never saw?",
        verdict=tuple(_sentences(summary)),
        columns=("figure", *map(str, summary["source"].values)),
        rows=tuple(rows),
        cautions=tuple(_cautions(summary)),
        methods=(*METHODS, *filter(None, str(summary.attrs["auc_rules"]).splitlines())),
    )


METHODS = (
    "cross-validated: each record is judged by a model that was trained without it; its validation records (never the judged ones) chose "
    "when training stopped and the threshold",
    "intervals: 95 %, bias-corrected and accelerated bootstrap over records, resampled within their class",
    "record figures judge the mean probability of a record's windows; event figures match one to one within 0.15 s",
    "accuracy at 0.5, the Brier score and the calibration show whether a probability can be taken at its word; calibration is given for "
    "the probabilities of one model, not for those of several folds' models together",
)


def _sentences(summary: xr.Dataset) -> list[str]:
    wanted = ("window AUC", "event f1", "record AUC", "record accuracy at 0.5", "record Brier")
    names = [name for name in summary["figure"].values.tolist() if name.split(": ")[-1] in wanted]
    names.sort(key=lambda name: (name.rpartition(": ")[0], wanted.index(name.split(": ")[-1])))
    lines = []
    for source in summary["source"].values:
        told = "; ".join(f"{name} {cell(summary.sel(source=source, figure=name))}" for name in names)
        lines.append(f"{source}: {told}")
    return lines


def _cautions(summary: xr.Dataset) -> list[str]:
    lines = ["not a medical device; figures hold for recordings like these"]
    if summary.attrs["n_records"] < 100:
        lines.append(f"{summary.attrs['n_records']} records only: the intervals are wide for that reason")
    if PAIRS in summary.attrs["auc_rules"]:
        lines.append(
            "each record was left out alone: a model that learnt nothing is then wrong more often than right, so that accuracy, "
            "sensitivity and specificity are too low; the AUC is not"
        )
    if summary.attrs["data_is_simulated"]:
        lines.append("measured on simulated signals: nothing is said of people")
    return lines


def row(named: Figures, name: str) -> tuple[float, float, float]:
    """A figure's estimate and interval; NaN where there is none of this name."""
    figure = named.get(name)
    return (figure.estimate, figure.low, figure.high) if figure else (np.nan, np.nan, np.nan)


def cell(figure: xr.Dataset) -> str:
    """A figure of a summary in words."""
    estimate, low, high = (float(figure[name]) for name in ("estimate", "low", "high"))
    if not np.isfinite(estimate):
        return "-"
    return f"{estimate:.3f} ({low:.3f} to {high:.3f})" if np.isfinite(low) else f"{estimate:.3f}"
