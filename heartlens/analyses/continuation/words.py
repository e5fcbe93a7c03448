"""What a continuation found, in words: whether the model keeps the rhythm at all, which parts that needs, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.analyses.continuation.figure import strongest
from heartlens.analyses.continuation.summary import DECIDING, has_parts
from heartlens.axes import KINDS, head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import LEAST_UNITS, NO, NOT_SHOWN, NOT_TESTED, YES, is_yes
from heartlens.wording import interval, number, p_value, with_interval

COLUMNS = (
    "part",
    "period kept",
    "effect",
    "95 % interval",
    "of its norm",
    "q",
    "repeats",
    "period error (s)",
    "heart rate (bpm)",
    "changes",
    "matters",
)
N_ROWS, N_NAMED = 16, 5
ERRORS = {"period_error_s": "period", "rate_error_bpm": "heart rate"}


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    of_parts = (_of_heads(summary), _of_parts(summary)) if has_parts(summary) else ()
    return Findings(
        title=f"Continuation by {summary.attrs.get('checkpoint', 'a model')}",
        question=(
            "Which heads, MLPs and layers keep the rhythm of what the model generates?"
            if has_parts(summary)
            else "Does the model keep the rhythm in what it generates?"
        ),
        verdict=(_intact(summary), *(_error(summary, name) for name in ERRORS), *of_parts, _null(summary)),
        columns=COLUMNS if has_parts(summary) else (),
        rows=(*_head_rows(summary), *_part_rows(summary)) if has_parts(summary) else (),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


KEPT = {
    YES: "The intact model keeps the rhythm",
    NO: "The intact model does NOT keep the rhythm beyond chance",
    NOT_SHOWN: "It is not shown that the intact model keeps the rhythm beyond chance",
    NOT_TESTED: f"Not tested whether the intact model keeps the rhythm (fewer than {LEAST_UNITS} records whose rest repeats)",
}


def _intact(summary: xr.Dataset) -> str:
    of_readout, attrs = summary.sel(readout=DECIDING), summary.attrs
    kept, others, prompt = (_percent(of_readout, side) for side in ("intact", "others", "prompt"))
    verdict = KEPT[str(summary["keeps_verdict"].item())]
    rate = with_interval(summary.sel(readout="repeats"), "intact", ".2f")
    return (
        f"{verdict}: {kept} of the continuations of {attrs['n_windows']} windows of {attrs['n_records']} records have a period within 10 % "
        f"of the real rest's; of other records' rests {others}; the prompts' own period {prompt}. Share that repeats at all: {rate}."
    )


def _error(summary: xr.Dataset, name: str) -> str:
    """How far a rhythm lies from the real rest's, and from others'."""
    of_readout, unit = summary.sel(readout=name), "bpm" if name.endswith("bpm") else "s"
    far, others, prompt = (with_interval(of_readout, side, ".3g") for side in ("intact", "others", "prompt"))
    return f"Its {ERRORS[name]} is off the real rest's by {far} {unit}, off other records' by {others}; the prompt's own by {prompt}."


def _of_heads(summary: xr.Dataset) -> str:
    of_readout = summary.sel(readout=DECIDING)
    if bool((of_readout["changes_verdict"] == NOT_TESTED).all()):
        n_records = int(of_readout["n_records_with"])
        return f"Heads: not tested ({n_records} records have this readout, {LEAST_UNITS} are needed); these are point estimates."
    changes, matters = (is_yes(of_readout, claim).transpose("layer", "head").values for claim in ("changes", "matters"))
    changed = f"{int(changes.sum())} of {changes.size} heads change the period kept"
    changed += f", {int((of_readout['changes_verdict'] == NO).sum())} surely do so by less than {float(of_readout['smallest']):g}"
    if bool((of_readout["matters_verdict"] == NOT_TESTED).all()):
        return f"{changed}. Heads of one norm: not tested, there are too few."
    if not matters.any():
        return f"{changed}. Beyond what heads of its norm show no head matters."
    heads = strongest(summary, min(N_NAMED, int(matters.sum())))
    named = ", ".join(
        f"{head_label(*head)} {with_interval(of_readout.sel(layer=head[0], head=head[1]), 'effect', '+.2f')}" for head in heads
    )
    return f"{changed}. Beyond what heads of its norm show {int(matters.sum())} of them matter: {named}."


def _of_parts(summary: xr.Dataset) -> str:
    of_readout, sentences = summary.sel(readout=DECIDING), []
    for prefix, what in (("mlp_", "MLP"), ("layer_", "layer")):
        most = int(np.nan_to_num(np.abs(of_readout[f"{prefix}effect"].values)).argmax())
        changing = [str(layer + 1) for layer in np.flatnonzero(is_yes(of_readout, f"{prefix}changes").values)]
        largest = with_interval(of_readout.isel(layer=most), f"{prefix}effect", "+.2f")
        sentences.append(f"{what} {most + 1} {largest}; shown to change it: {', '.join(changing) or 'none'}")
    return "Largest effects on the period kept: " + ". ".join(sentences) + "."


def _null(summary: xr.Dataset) -> str:
    changed = with_interval(summary.sel(readout=DECIDING), "null_effect", "+.3f")
    return f"Null: other random numbers alone change the period kept by {changed}."


def _head_rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    return tuple(_row(summary.sel(layer=layer, head=head), head_label(layer, head), "") for layer, head in strongest(summary, N_ROWS))


def _part_rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    parts = (("mlp_", "MLP"), ("layer_", "layer"))
    return tuple(
        _row(summary.isel(layer=layer), f"{what} {layer + 1}", prefix) for prefix, what in parts for layer in range(summary.sizes["layer"])
    )


def _row(at: xr.Dataset, name: str, prefix: str) -> tuple[str, ...]:
    of_deciding = at.sel(readout=DECIDING)
    effect, low, high, q = (float(of_deciding[f"{prefix}{key}"]) for key in ("effect", "effect_low", "effect_high", "q_value"))
    values = (float(at[f"{prefix}value"].sel(readout=readout)) for readout in ("repeats", "period_error_s", "heart_rate_bpm"))
    repeats, error, rate = values
    return (
        name,
        number(of_deciding[f"{prefix}value"]),
        number(effect, "+.3f"),
        interval(low, high, "+.3f"),
        "" if prefix else number(of_deciding["expected"], "+.3f"),
        p_value(q),
        number(repeats),
        number(error, ".3f"),
        number(rate, ".0f"),
        str(of_deciding[f"{prefix}changes_verdict"].item()),
        "" if prefix else str(of_deciding["matters_verdict"].item()),
    )


def _percent(of_readout: xr.Dataset, name: str) -> str:
    value, low, high = (100 * of_readout[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{number(value, '.0f')} % ({interval(low, high, '.0f')})"


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = [line for line in doubts(summary.attrs, 20) if line]  # without twins, which would generate noise
    attrs = summary.attrs
    seconds = (len(summary["step"])) / KINDS[attrs["kind"]].rate_hz
    reasons.append(
        f"Continuations are {seconds:g} s long: too short for periods of rates slower than {attrs['slowest_bpm']:.0f} bpm, which are not "
        f"searched, and few have the three beats of a rate. {_percent(summary.sel(readout='repeats'), 'real')} of the real rests repeat; "
        "the others do not count for the period kept."
    )
    if attrs["how"] == "zero":
        reasons.append(
            "The model never has a zero activation: an effect may come from that value, not from the missing part; see mean and resample."
        )
    if attrs["how"] == "resample":
        reasons.append(
            "The other record's activation also holds that record's rhythm: the period may be lost because another one is put in."
        )
    if has_parts(summary):
        reasons.append(
            "A head may be needed for waves or amplitudes rather than the rhythm: a signal without recognisable beats has no rhythm either."
        )
    return tuple(reasons)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options, attrs = json.loads(summary.attrs.get("options", "{}")), summary.attrs
    intact = (
        f"Each window's first {attrs['n_prompt']} tokens are continued to its end, {attrs['n_draws']} times, each token drawn from the "
        "model's distribution (temperature 1), every variant with the same random numbers; nothing of the prompt enters a readout.",
        "Period: the first of the highest maxima of the autocorrelation, where that is beyond what noise with the same correlation of "
        "neighbouring tokens gives in 2 % of stretches; kept: within 10 % of the real rest's, none counts as lost; windows whose real rest "
        "has none do not count. Heart rate: 60 over the median interval of detected beats, three at least.",
        f"Keeps the rhythm: the interval of the share of kept periods less that against other records' rests lies above 0. No: it lies "
        f"below 0.05. Not tested: fewer than {LEAST_UNITS} records have the readout. Not shown: otherwise.",
    )
    if not has_parts(summary):
        return intact
    return (
        *intact,
        "Effect: ratio of sums over records, ablated less intact. Interval: 95 %, jackknife over records, Student's t (of single values: t "
        "with leverage-corrected errors, HC3). p: each record's two versions swapped, two-sided; q: Benjamini-Hochberg over the heads, of "
        "one readout (MLPs and layers alike).",
        "Changes: q < 0.05, and the intervals of the effect and of the same against the intact model with other random numbers (the null) "
        "on one side of 0. No: the interval lies within the smallest change of interest.",
        "Matters: changes, and the effect lies beyond what heads of its norm show: a line over the logarithm of the output norm |z W_O| "
        "through the other heads' effects, with their spread, which may grow with the norm; corrected over heads.",
        f"In the place of a part, in prompt and continuation: {attrs['how']} (mean: of {options.get('n_reference', 16)} real windows at "
        "the same place). Layers and heads are numbered from 1.",
    )
