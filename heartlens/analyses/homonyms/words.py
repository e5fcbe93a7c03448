"""What a comparison of homonyms found, in words: at which levels they come apart, how that grows with depth, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import ANSWERS, is_yes
from heartlens.wording import interval_at, number, with_interval

COLUMNS = (
    *("label", "level", "cosine same", "cosine different", "effect", "95 % interval", "q", "p among twins"),
    *("silhouette (shuffled)", "purity (shuffled)", "probe (shuffled)", "verdict"),
)
SAID = {"slope": "rising against falling slope", "phase": "parts of the cycle"}


def say(summary: xr.Dataset) -> Findings:
    """The findings, for both labels and every level."""
    labels = [str(label) for label in summary["label"].values]
    return Findings(
        title=f"Homonyms of {summary.attrs.get('checkpoint', 'a model')}",
        question="Do tokens of equal value come apart by slope and cycle phase with depth, more than shuffled labels and random weights?",
        verdict=(_measured(summary), *(sentence for label in labels for sentence in of_label(summary.sel(label=label), label))),
        columns=COLUMNS,
        rows=tuple(_row(summary.sel(label=label, level=level), label, str(level)) for label in labels for level in summary["level"].values),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _measured(summary: xr.Dataset) -> str:
    attrs = summary.attrs
    data = "simulated records" if attrs.get("data_is_simulated") else "records"
    return f"Measured on {attrs['n_windows']} windows of {attrs['n_records']} {data}."


def of_label(one_label: xr.Dataset, label: str) -> tuple[str, ...]:
    """The verdicts on one label: at which levels homonyms come apart, how the effect grows, what a linear probe reads."""
    name, answers = SAID.get(label, label), one_label["apart_verdict"].values
    if one_label["effect"].isnull().all():
        return (f"{name.capitalize()}: not tested, no pairs of both kinds.",)
    places = np.flatnonzero(is_yes(one_label, "apart").values)
    low, high = one_label["apart_verdict"].attrs.get("n_yes_redrawn", (0, 0))
    others = ", ".join(f"{int((answers == answer).sum())} {answer}" for answer in ANSWERS[1:] if (answers == answer).any())
    levels = (
        "at every level"
        if len(places) == len(answers)
        else f"at {_named(one_label['level'].values, places)}"
        if len(places)
        else "at no level"
    )
    counts = f"{len(places)} of {len(answers)} levels yes, {low} to {high} with other twins" + (f"; {others}" if others else "")
    return (
        f"{name.capitalize()}: shown to come apart {levels} ({counts}). {_largest(one_label)}",
        _growth(one_label, name),
        _probe(one_label, name),
    )


def _named(levels: np.ndarray, places: np.ndarray) -> str:
    """The levels at `places`, three and more in a row as `block 1 to block 3`."""
    if not len(places):
        return ""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    ends = (f"{levels[run[0]]} to {levels[run[-1]]}" if len(run) > 2 else " and ".join(levels[run]) for run in runs)
    return ", ".join(ends)


def _largest(one_label: xr.Dataset) -> str:
    at = one_label.isel(level=int(np.nanargmax(one_label["effect"].values)))
    within, between = (number(at[f"cosine_{name}"]) for name in ("within", "between"))
    return f"The largest effect is {with_interval(at, 'effect')} at {at['level'].item()}: cosine {within} within, {between} between."


def _growth(one_label: xr.Dataset, name: str) -> str:
    first, last = (number(one_label["effect"].isel(level=level)) for level in (0, -1))
    grows = f"Growth with depth: {one_label['grows_verdict'].values}; from the embedding to the last block the effect for {name} goes from"
    step = f"{with_interval(one_label, 'trend', '.3f')} a level, {with_interval(one_label, 'last_step', '.3f')} in the last block"
    return f"{grows} {first} to {last} (growth {with_interval(one_label, 'growth')}; {step})."


def _probe(one_label: xr.Dataset, name: str) -> str:
    if one_label["probe_accuracy"].isnull().all():
        return f"No linear probe of {name} was trained: it takes sampled tokens of two records at least."
    best = one_label.isel(level=int(np.nanargmax(one_label["probe_accuracy"].values)))
    accuracy = with_interval(best, "probe_accuracy")
    null = number(best["probe_accuracy_null"])
    return (
        f"A linear probe of {name}, trained on other records, is right most often at {best['level'].item()}: {accuracy}; shuffled {null}."
    )


def _row(at: xr.Dataset, label: str, level: str) -> tuple[str, ...]:
    beside = (f"{number(at[name])} ({number(at[f'{name}_null'])})" for name in ("silhouette", "purity", "probe_accuracy"))
    cosines = (number(at["cosine_within"]), number(at["cosine_between"]))
    tested = (interval_at(at, "effect"), number(at["q_value"], ".4f"), number(at["apart_twin_p"], ".3f"))
    return (label, level, *cosines, number(at["effect"], ".3f"), *tested, *beside, str(at["apart_verdict"].values))


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    reasons = doubts(summary.attrs, summary.sizes.get("twin", 0))
    position = ", ".join(f"{label} {number(summary['position_effect'].sel(label=label), '.3f')}" for label in summary["label"].values)
    reasons.append(f"Position alone (the position embedding without tokens) has an effect of {position}.")
    reasons.append("The token before tells rising from falling: vectors that come apart by slope need not represent the cycle.")
    reasons.append("A probe shows what can be read off the vectors, not what the model uses; that takes an intervention.")
    return tuple(reasons)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    seen = {
        "raw": "raw vectors of the residual stream, as published",
        "centred": "vectors of the residual stream less their mean over the window",
        "normed": "vectors of the residual stream after a LayerNorm without weights",
    }
    return (
        f"Vectors: {seen[options.get('vectors', 'raw')]}; the embedding is token plus position.",
        "Pairs: two tokens of one window with equal values, both labelled, from different cycles. Per record the mean over its pairs, then "
        "the mean over records.",
        f"Slope: sign of the centred difference of the tokens smoothed over about 40 ms, without label below {options.get('flat_slope')} "
        f"tokens a sample. Phase: {options.get('n_phases')} equal parts of the cycle.",
        "Effect: cosine within less cosine between labels, less the mean of the same under shuffled labels; a value of few visits keeps "
        "part of its labels in a shuffle, so the effect errs to the low side. Interval: 95 %, t interval over records.",
        f"Shuffled: labels among the visits to a value (its tokens of one cycle and label, which stay together) within the window, "
        f"{options.get('n_shuffles', 1) - 1} times. p: records independently, {options.get('n_permutations')} draws, one-sided. "
        "q: Benjamini-Hochberg over the levels of a label.",
        f"Twins: {summary.sizes.get('twin', 0)} models with the same weights in random order, compared with the model on the same "
        f"{options.get('twin_windows')} windows by the interval's lower end, of a twin the largest of any level. Yes: the interval lies "
        "above 0, q < 0.05 and p among twins at most 0.05; growth, which no shuffle tests, 0.02.",
        "Silhouette: distance 1 - cosine, among pairs. Purity: how often a token's most similar partner has its label.",
        f"Probe: linear discriminant with equal priors on {options.get('n_sampled')} sampled tokens, trained on other records (5 folds), "
        "balanced accuracy by record; shuffled: labels among sampled tokens of one value, so what the value alone tells.",
    )
