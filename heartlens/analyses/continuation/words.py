"""What a continuation found, in words: whether the model keeps the rhythm at all, which parts that needs, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.analyses.continuation.figure import DECIDING, strongest
from heartlens.axes import KINDS, head_label
from heartlens.findings import Findings, counted, doubts, n_units
from heartlens.wording import interval, number, p_value, with_interval

COLUMNS = ("part", "period kept", "effect", "95 % interval", "controls", "q", "repeats", "period error (s)", "heart rate (bpm)", "matters")
N_ROWS, N_NAMED, FEW_RECORDS = 16, 5, 6
ERRORS = {"period_error_s": "period", "rate_error_bpm": "heart rate"}


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    return Findings(
        title=f"Continuation by {summary.attrs.get('checkpoint', 'a model')}",
        question="Which heads, MLPs and layers keep the rhythm of what the model generates?",
        verdict=(
            _intact(summary),
            *(_error(summary, name) for name in ERRORS),
            _of_heads(summary),
            _of_parts(summary),
            _null(summary),
        ),
        columns=COLUMNS,
        rows=(*_head_rows(summary), *_part_rows(summary)),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def keeps(summary: xr.Dataset) -> bool:
    """Whether the intact model's continuations keep the period of their own window more often than that of others', interval and all."""
    return float(summary["beyond_others_effect_low"].sel(readout=DECIDING)) > 0


def _intact(summary: xr.Dataset) -> str:
    here, attrs = summary.sel(readout=DECIDING), summary.attrs
    kept, others, prompt = (_percent(here, side) for side in ("intact", "others", "prompt"))
    if np.isnan(here["beyond_others_effect_low"]):
        verdict = "Not tested whether the intact model keeps the rhythm (fewer than two records whose rest repeats)"
    elif n_units(attrs) < FEW_RECORDS:
        verdict = f"Not decided whether the intact model keeps the rhythm (fewer than {FEW_RECORDS} records)"
    else:
        verdict = "The intact model keeps the rhythm" if keeps(summary) else "The intact model does NOT keep the rhythm beyond chance"
    rate = with_interval(summary.sel(readout="repeats"), "intact", ".2f")
    return (
        f"{verdict}: {kept} of the continuations of {attrs['n_windows']} windows of {attrs['n_records']} records have a period within 10 % "
        f"of the real rest's; of other records' rests {others}; the prompts' own period {prompt}. Share that repeats at all: {rate}."
    )


def _error(summary: xr.Dataset, name: str) -> str:
    """How far a rhythm lies from the real rest's, and from others'."""
    here, unit = summary.sel(readout=name), "bpm" if name.endswith("bpm") else "s"
    far, others, prompt = (with_interval(here, side, ".3g") for side in ("intact", "others", "prompt"))
    return f"Its {ERRORS[name]} is off the real rest's by {far} {unit}, off other records' by {others}; the prompt's own by {prompt}."


def _of_heads(summary: xr.Dataset) -> str:
    here = summary.sel(readout=DECIDING)
    if bool(here["effect_low"].isnull().all()):
        return "Heads: not tested; fewer than two records, so these are point estimates."
    matters = here["matters"].values
    if n_units(summary.attrs) < FEW_RECORDS:
        return f"Heads: not decided ({counted(summary.attrs)}, and fewer than {FEW_RECORDS} cannot reach q < 0.05)."
    by_q = f"{int((here['q_value'] < 0.05).sum())} of {matters.size} by q alone"
    if not matters.any():
        return f"No head matters for the period beyond its controls ({by_q})."
    heads = strongest(summary, min(N_NAMED, int(matters.sum())))
    named = ", ".join(f"{head_label(*head)} {with_interval(here.sel(layer=head[0], head=head[1]), 'effect', '+.2f')}" for head in heads)
    return f"{int(matters.sum())} of {matters.size} heads matter for the period beyond their controls ({by_q}): {named}."


def _of_parts(summary: xr.Dataset) -> str:
    here, told = summary.sel(readout=DECIDING), []
    for prefix, what in (("mlp_", "MLP"), ("layer_", "layer")):
        most = int(np.nan_to_num(np.abs(here[f"{prefix}effect"].values)).argmax())
        sure = [str(layer + 1) for layer in np.flatnonzero(here[f"{prefix}q_value"].values < 0.05)]
        largest = with_interval(here.isel(layer=most), f"{prefix}effect", "+.2f")
        told.append(f"{what} {most + 1} {largest}; with q < 0.05: {', '.join(sure) or 'none'}")
    return "Largest effects on the period kept: " + ". ".join(told) + "."


def _null(summary: xr.Dataset) -> str:
    changed = with_interval(summary.sel(readout=DECIDING), "null_effect", "+.3f")
    return f"Null: other random numbers alone change the period kept by {changed}."


def _head_rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    return tuple(_row(summary.sel(layer=head[0], head=head[1]), head_label(*head), "") for head in strongest(summary, N_ROWS))


def _part_rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    parts = (("mlp_", "MLP"), ("layer_", "layer"))
    return tuple(
        _row(summary.isel(layer=layer), f"{what} {layer + 1}", prefix) for prefix, what in parts for layer in range(summary.sizes["layer"])
    )


def _row(at: xr.Dataset, name: str, prefix: str) -> tuple[str, ...]:
    here = at.sel(readout=DECIDING)
    effect, low, high, q = (float(here[f"{prefix}{key}"]) for key in ("effect", "effect_low", "effect_high", "q_value"))
    values = (float(at[f"{prefix}value"].sel(readout=one)) for one in ("repeats", "period_error_s", "heart_rate_bpm"))
    repeats, error, rate = values
    return (
        name,
        number(here[f"{prefix}value"]),
        number(effect, "+.3f"),
        interval(low, high, "+.3f"),
        "" if prefix else number(here["control_effect"], "+.3f"),
        p_value(q),
        number(repeats),
        number(error, ".3f"),
        number(rate, ".0f"),
        "" if prefix else ("yes" if bool(here["matters"]) else "no"),
    )


def _percent(here: xr.Dataset, name: str) -> str:
    value, low, high = (100 * here[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{number(value, '.0f')} % ({interval(low, high, '.0f')})"


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = [line for line in doubts(summary.attrs, 20) if line]  # no twins: they would generate noise
    attrs = summary.attrs
    seconds = (len(summary["step"])) / KINDS[attrs["kind"]].rate_hz
    found.append(
        f"Continuations are {seconds:g} s long: too short for periods of rates slower than {attrs['slowest_bpm']:.0f} bpm, which are not "
        f"searched, and few have the three beats of a rate. {_percent(summary.sel(readout='repeats'), 'real')} of the real rests repeat; "
        "the others do not count for the period kept."
    )
    if attrs["how"] == "zero":
        found.append(
            "Zero is no activation the model ever had: what it costs may be the strangeness, not the loss; compare mean and resample."
        )
    if attrs["how"] == "resample":
        found.append("The other record's activation brings that record's rhythm along: a head may lose the period by carrying another one.")
    found.append(
        "A head may be needed for waves or amplitudes rather than the rhythm: what no longer looks like beats has no rhythm either."
    )
    return tuple(found)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options, attrs = json.loads(summary.attrs.get("options", "{}")), summary.attrs
    return (
        f"Each window's first {attrs['n_prompt']} tokens are continued to its end, {attrs['n_draws']} times, each token drawn from the "
        "model's distribution (temperature 1), every variant with the same random numbers; nothing of the prompt enters a readout.",
        "Period: the first of the highest maxima of the autocorrelation, where that is beyond what noise with the same correlation of "
        "neighbouring tokens gives in 2 % of stretches; kept: within 10 % of the real rest's, none counts as lost; windows whose real rest "
        "has none do not count. Heart rate: 60 over the median interval of detected beats, three at least.",
        "Effect: ratio of sums over records, ablated less intact. Interval: 95 %, BCa over records. p: each record's two versions swapped, "
        "two-sided; q: Benjamini-Hochberg over heads x readouts (MLPs and layers each by themselves).",
        f"Controls: the mean effect of the {options.get('n_matched', 3)} heads of the nearest output norm |z W_O|. Null: the intact model "
        "with other random numbers. Matters: q < 0.05, the intervals of the effect and of the effect beyond the controls on the same side "
        "of 0, and the effect outside the null's interval.",
        f"In the place of a part, in prompt and continuation: {attrs['how']} (mean: of {options.get('n_reference', 16)} real windows at "
        "the same place). Layers and heads are numbered from 1.",
    )
