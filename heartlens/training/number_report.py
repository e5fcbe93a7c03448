"""What a fine-tuning for numbers shows: figures beside those of the training mean, agreement and coverage drawn, findings in words."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from heartlens import figures
from heartlens.findings import Findings
from heartlens.provenance import is_simulation, versions
from heartlens.training.evaluation import Figures
from heartlens.training.examples import Examples
from heartlens.training.finetune import Finetune
from heartlens.training.finetune_report import cell, row
from heartlens.training.numbers import LEVELS, Observed, covered
from heartlens.training.run_folder import Progressed

MOST_DRAWN = 2000  # observations of a number
MEAN = "saying the training mean"
WITHOUT_UNIT = ("r", "r within recordings", "skill", "record r")


def summary_of(
    checkpoint: str,
    options: Finetune,
    examples: Examples,
    by_source: dict[str, list[Figures]],
    observed: list[Observed],
    progressed: Progressed,
) -> xr.Dataset:
    """All of it as one dataset: `estimate, low, high` over (source, number, figure), coverage over (number, level), losses over step.

    `by_source`: the figures of each number by source. `drawn_true` and `drawn_estimate`: at most MOST_DRAWN observations of each number.
    """
    names = list(dict.fromkeys(name for numbers in by_source.values() for of_number in numbers for name in of_number))
    table = np.array([[[row(of_number, name) for name in names] for of_number in numbers] for numbers in by_source.values()])
    steps = np.array(progressed.losses, float)
    drawn = np.full((2, len(observed), MOST_DRAWN), np.nan)
    for place, of in enumerate(observed):
        kept = np.unique(np.linspace(0, len(of.true) - 1, min(len(of.true), MOST_DRAWN)).astype(int))
        drawn[:, place, : len(kept)] = of.true[kept], of.estimate[kept]
    data: dict[str, Any] = {
        each: (("source", "number", "figure"), table[..., place]) for place, each in enumerate(("estimate", "low", "high"))
    }
    data |= {
        "covered": (("number", "level"), np.stack([covered(of) if MEAN in by_source else np.full(len(LEVELS), np.nan) for of in observed]))
    }
    data |= {"drawn_true": (("number", "observation"), drawn[0]), "drawn_estimate": (("number", "observation"), drawn[1])}
    data |= {name: (("step",), steps[:, place]) for place, name in ((2, "train_loss"), (3, "validation_loss"))}
    coordinates = {"source": list(by_source), "number": list(examples.classes), "figure": names, "level": list(LEVELS), "step": steps[:, 0]}
    attrs = {
        "task": ", ".join(examples.head().columns),
        "checkpoint": checkpoint,
        "options": json.dumps(asdict(options), sort_keys=True),
        "units": ", ".join(unit or "1" for unit in examples.units),
        "loss": options.loss,
        "reads": "last" if examples.last_only else "every",
        "window_tokens": examples.tokens.shape[1],
        "n_records": len(examples.records),
        "n_persons": len(set(examples.unit.tolist())),
        "n_windows": len(examples),
        "data_sources": examples.source,
        "data_is_simulated": int(is_simulation(examples.source)),
        "versions": json.dumps(versions()),
    }
    return xr.Dataset(data, coordinates, attrs)


def plot(summary: xr.Dataset) -> figures.Page:
    """For each number estimate against truth, their difference with the limits of agreement, and coverage; then the losses."""
    numbers, units = summary["number"].values, str(summary.attrs["units"]).split(", ")
    with figures.style():
        page = figures.page(figures.PAGE_MM, 55 * (len(numbers) + 1))
        rows = page.subplots(len(numbers) + 1, 3, squeeze=False)
        source = str(summary["source"].values[0])
        for (left, middle, right), name, unit in zip(rows, numbers, units, strict=False):
            of = summary.sel(number=name)
            true, estimate = (of[each].values[np.isfinite(of[each].values)] for each in ("drawn_true", "drawn_estimate"))
            label = f"{name} ({unit})"
            figures.against(left, true, estimate, f"true {label}", f"estimated {label}")
            lines = [float(of["estimate"].sel(source=source, figure=each)) for each in AGREEMENT if each in of["figure"].values]
            figures.differences(
                middle, (true + estimate) / 2, estimate - true, lines, f"mean of both, {label}", f"estimated - true ({unit})"
            )
            figures.coverage(right, of["level"].values, of["covered"].values)
        curves = {name: summary[f"{name}_loss"].values for name in ("train", "validation")}
        figures.curves(rows[-1, 0], summary["step"].values, curves, "step", f"{summary.attrs['loss']} loss (in SD)")
        for empty in rows[-1, 1:]:
            empty.set_axis_off()
    return page


AGREEMENT = ("bias", "lower limit of agreement", "upper limit of agreement")


def findings(summary: xr.Dataset) -> Findings:
    """The figures as a table, and in a sentence what they amount to."""
    units = dict(zip(summary["number"].values.tolist(), str(summary.attrs["units"]).split(", "), strict=True))
    rows = []
    for number, unit in units.items():
        for name in summary["figure"].values.tolist():
            has_no_unit = name in WITHOUT_UNIT or name.startswith("within the")
            cells = [cell(summary.sel(source=source, number=number, figure=name)) for source in summary["source"].values]
            rows.append((f"{number} {name}" + ("" if has_no_unit else f" ({unit})"), *cells))
    return Findings(
        title=f"Fine-tuning {summary.attrs['checkpoint']} for {summary.attrs['task']}",
        question="How well are the numbers estimated for persons it never saw?",
        verdict=tuple(_sentences(summary, units)),
        columns=("figure", *map(str, summary["source"].values)),
        rows=tuple(rows),
        cautions=tuple(_cautions(summary)),
        methods=METHODS,
    )


METHODS = (
    "cross-validated: each person (record, where persons are not known) is judged by a model that was trained without them; its validation "
    "persons (never the judged ones) chose when training stopped",
    "limits of agreement with repeated measures: variance within persons plus variance between them (Bland & Altman 2007)",
    "r: of estimate and truth, each less the mean of the numbers the model was trained on; r within recordings: each less the recording's "
    "mean (Bakdash & Marusich 2017); skill: 1 - sum of squared errors / that of the training mean, 0 or less is no better than it",
    "intervals of figures: 95 %, bias-corrected and accelerated bootstrap over persons",
    "intervals of numbers: estimate +- a quantile of other persons' errors, each person weighing the same (Lee, Barber & Willett 2023); "
    "the share within is measured on each person with the errors of the others",
)


def _sentences(summary: xr.Dataset, units: dict[str, str]) -> list[str]:
    lines = []
    for source in summary["source"].values:
        for number, unit in units.items():
            of = summary.sel(source=source, number=number)
            names = [name for name in ("MAE", *AGREEMENT, "r", "r within recordings", "skill") if name in summary["figure"].values]
            names += [name for name in summary["figure"].values.tolist() if "interval" in name]
            told = [f"{name} {cell(of.sel(figure=name))}" for name in names if np.isfinite(float(of["estimate"].sel(figure=name)))]
            lines.append(f"{source}: {number} ({unit}): {'; '.join(told) or 'nothing to tell'}")
    return lines


def _cautions(summary: xr.Dataset) -> list[str]:
    lines = ["not a medical device; figures hold for recordings like these"]
    n_persons = int(summary.attrs["n_persons"])
    if n_persons < 100:
        lines.append(f"{n_persons} persons only: the intervals are wide for that reason")
    within = [name for name in summary["figure"].values.tolist() if name.startswith("half-width")]
    if within and not np.isfinite(summary["estimate"].sel(figure=within[0]).isel(source=0)).all():
        lines.append("too few persons for an interval of numbers at this --coverage: K persons promise at most K / (K + 1)")
    if summary.attrs["data_is_simulated"]:
        lines.append("measured on simulated signals: nothing is said of people")
    return lines
