"""What a comparison of homonyms found, in words: at which levels they come apart, how that grows with depth, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.findings import Findings, doubts
from heartlens.wording import interval_at, number, with_interval

COLUMNS = (
    *("label", "level", "cosine same", "cosine different", "effect", "95 % interval", "q", "twins (95 %)"),
    *("silhouette (shuffled)", "purity (shuffled)", "probe (shuffled)", "holds"),
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


def of_label(here: xr.Dataset, label: str) -> tuple[str, ...]:
    """The verdict on one label: does any level hold, how does the effect grow, what does a linear probe read."""
    name, holds = SAID.get(label, label), here["holds"].values
    if here["effect"].isnull().all():
        return (f"{name.capitalize()}: no pairs of both kinds; nothing was tested.",)
    if not holds.any():
        return (f"{name.capitalize()}: no. At no level do homonyms come apart beyond all controls. {_largest(here)}",)
    told = "every level" if holds.all() else _named(here["level"].values, np.flatnonzero(holds))
    return (
        f"{name.capitalize()}: homonyms come apart beyond all controls at {told}. {_largest(here)}",
        _growth(here, name),
        _probe(here, name),
    )


def _named(levels: np.ndarray, places: np.ndarray) -> str:
    """The levels at `places`, three and more in a row as `block 1 to block 3`."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    ends = (f"{levels[run[0]]} to {levels[run[-1]]}" if len(run) > 2 else " and ".join(levels[run]) for run in runs)
    return ", ".join(ends)


def _largest(here: xr.Dataset) -> str:
    at = here.isel(level=int(np.nanargmax(here["effect"].values)))
    within, between = (number(at[f"cosine_{name}"]) for name in ("within", "between"))
    said = f"The largest effect is {with_interval(at, 'effect')} at {at['level'].item()}: cosine {within} within, {between} between"
    return f"{said}; twins reach {number(at['null_high'])}."


def _growth(here: xr.Dataset, name: str) -> str:
    first, last = (number(here["effect"].isel(level=level)) for level in (0, -1))
    told = f"From the embedding to the last block the effect for {name} goes from {first} to {last}"
    if not float(here["growth_low"]) > 0:
        return f"{told}: no growth that the records agree on (growth {with_interval(here, 'growth')})."
    share = f"{_last_block(here)} (share of the growth made there: {with_interval(here, 'last_share')})"
    return f"{told}, {with_interval(here, 'trend', '.3f')} a level; {share}."


def _last_block(here: xr.Dataset) -> str:
    """What the interval of the last block's share of the growth allows to say."""
    low, high = float(here["last_share_low"]), float(here["last_share_high"])
    if high < 0:
        return "the last block takes part of it back"
    if low > 0.5:
        return "it is made mostly in the last block"
    return (
        "it is made step by step, not mostly in the last block" if high < 0.5 else "the records do not tell how much the last block makes"
    )


def _probe(here: xr.Dataset, name: str) -> str:
    if here["probe_accuracy"].isnull().all():
        return f"No linear probe of {name} was trained: it takes sampled tokens of two records at least."
    best = here.isel(level=int(np.nanargmax(here["probe_accuracy"].values)))
    accuracy = with_interval(best, "probe_accuracy")
    null = number(best["probe_accuracy_null"])
    return (
        f"A linear probe of {name}, trained on other records, is right most often at {best['level'].item()}: {accuracy}; shuffled {null}."
    )


def _row(at: xr.Dataset, label: str, level: str) -> tuple[str, ...]:
    beside = (f"{number(at[name])} ({number(at[f'{name}_null'])})" for name in ("silhouette", "purity", "probe_accuracy"))
    cosines = (number(at["cosine_within"]), number(at["cosine_between"]))
    tested = (interval_at(at, "effect"), number(at["q_value"], ".4f"), number(at["null_high"], ".3f"))
    return (label, level, *cosines, number(at["effect"], ".3f"), *tested, *beside, "yes" if at["holds"] else "no")


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = doubts(summary.attrs, summary.sizes.get("twin", 0))
    position = ", ".join(f"{label} {number(summary['position_effect'].sel(label=label), '.3f')}" for label in summary["label"].values)
    found.append(f"Position alone (the position embedding without tokens) has an effect of {position}.")
    found.append("The token before tells rising from falling: vectors that come apart by slope need not hold a picture of the cycle.")
    found.append("A probe shows what can be read off the vectors, not what the model uses; that takes an intervention.")
    return tuple(found)


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
        "part of its labels in a shuffle, so the effect errs to the low side. Interval: 95 %, BCa bootstrap over records.",
        f"Shuffled: labels among the visits to a value (its tokens of one cycle and label, which stay together) within the window, "
        f"{options.get('n_shuffles', 1) - 1} times. p: records independently, {options.get('n_permutations')} draws, one-sided. "
        "q: Benjamini-Hochberg over levels x labels.",
        f"Twins: {summary.sizes.get('twin', 0)} models of the same architecture, half with random, half with shuffled weights, each on "
        f"{options.get('twin_windows')} windows. A level holds if q < 0.05 and the lower bound of its effect exceeds 0 and the 95 % "
        "quantile of the twins' effect at that level.",
        "Silhouette: distance 1 - cosine, among pairs. Purity: how often a token's most similar partner has its label.",
        f"Probe: linear discriminant with equal priors on {options.get('n_sampled')} sampled tokens, trained on other records (5 folds), "
        "balanced accuracy by record; shuffled: labels among sampled tokens of one value, so what the value alone tells.",
    )
