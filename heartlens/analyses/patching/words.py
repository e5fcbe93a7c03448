"""What a patching found, in words: whether the counterfactual moves the readout, which heads carry it, where, and what to doubt."""

import numpy as np
import xarray as xr

from heartlens.analyses.patching.methods import cautions, methods, moves
from heartlens.analyses.patching.readouts import unit_of
from heartlens.analyses.patching.summary import WHOLE
from heartlens.axes import head_label
from heartlens.findings import Findings
from heartlens.wording import interval_at, number, p_value

COLUMNS = ("what", "where", "part of the difference", "95 % interval", "p", "q", "control", "largest of twins (95 %)")
NAMES = {"effect": "head's output", "direct": "direct to the output", "path": "path into the receiver"}
N_NAMED = 5  # heads that a sentence names
Place = tuple[int, ...]


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    attrs = summary.attrs
    verdict = (
        _difference(summary),
        _heads(summary),
        _waves(summary),
        _direct(summary),
        _stream(summary),
        *_paths(summary),
        *_cross(summary),
    )
    return Findings(
        title=f"Patching of {attrs.get('checkpoint', 'a model')}: {attrs['counterfactual']}, {attrs['readout']}",
        question="Which heads carry what the recording differs in from its counterfactual?",
        verdict=verdict,
        columns=COLUMNS,
        rows=tuple(row for name in NAMES for row in _rows(summary, name)),
        cautions=cautions(summary),
        methods=methods(summary),
    )


def _difference(summary: xr.Dataset) -> str:
    """How much the counterfactual changes the readout, and its control."""
    attrs = summary.attrs
    n_pairs, n_same = int(summary["n_pairs"]), int(summary["n_unchanged"])
    what = f"{attrs['readout'].replace('_', ' ')} of {attrs.get('n_records')} records ({n_pairs} windows)"
    held = "" if np.isnan(summary["difference_low"]) else "moves it" if moves(summary) else "is not shown to move it in one direction"
    same = f"; in {n_same} windows not at all" if n_same else ""
    return (
        f"Clean minus {attrs['counterfactual']}, {what}: {number(summary['difference'], '+.3f')} {unit_of(attrs['readout'])} "
        f"({interval_at(summary, 'difference', '+.3f')}), p {p_value(summary['difference_p_value']) or 'not tested'}: the counterfactual "
        f"{held or 'cannot be tested on one record (point estimates)'}{same}. Control: {number(summary['control_difference'], '+.3f')} "
        f"({interval_at(summary, 'control_difference', '+.3f')})."
    )


def _heads(summary: xr.Dataset) -> str:
    whole = summary.sel(place=WHOLE)
    places = _survivors(whole["effect"], whole["effect_survives"])
    together = f"One at a time, all heads' effects add up to {float(whole['effect'].sum()):.2f} of the difference."
    if not places:
        best = np.unravel_index(int(np.abs(np.nan_to_num(whole["effect"].values)).argmax()), whole["effect"].shape)
        return f"No head survives all controls; the largest is {_named(whole, 'effect', tuple(map(int, best)))}. {together}"
    named = ", ".join(_named(whole, "effect", place) for place in places[:N_NAMED])
    more = f" and {len(places) - N_NAMED} more" if len(places) > N_NAMED else ""
    return f"Heads that carry it: {named}{more}. {together}"


def _waves(summary: xr.Dataset) -> str:
    """For each place the head of the largest effect there that survives."""
    said = []
    for place in map(str, summary["place"].values):
        here = summary.sel(place=place)
        found = _survivors(here["effect"], here["effect_survives"])
        if place != WHOLE and found:
            said.append(f"{place.replace('_', ' ')}: {_named(here, 'effect', found[0])} of {len(found)}")
    return (
        f"At the tokens of one wave alone, the largest that survive: {'; '.join(said)}." if said else "At one wave alone no head survives."
    )


def _direct(summary: xr.Dataset) -> str:
    found = _survivors(summary["direct"], summary["direct_survives"])
    named = ", ".join(_named(summary, "direct", place) for place in found[:N_NAMED]) or "no head survives"
    return f"Straight to the output: {named}; all direct effects add up to {float(summary['direct'].sum()):.2f}."


def _stream(summary: xr.Dataset) -> str:
    """Where the difference lies, from the embedding on."""
    names = [str(level) for level in summary["level"].values]
    said = []
    for place in map(str, summary["place"].values):
        line = summary["stream"].sel(place=place).values
        if place != WHOLE:
            peak = int(np.nanargmax(np.abs(line))) if np.isfinite(line).any() else 0
            said.append(f"{place.replace('_', ' ')} {line[0]:+.2f} at the embedding, most after {names[peak]} ({line[peak]:+.2f})")
    return f"The whole stream at the tokens of: {'; '.join(said)}."


def _paths(summary: xr.Dataset) -> tuple[str, ...]:
    if summary.attrs["receiver"] == "none":
        return ()
    found = _survivors(summary["path"], summary["path_survives"])
    named = ", ".join(
        f"{head_label(*place[1:])} by {summary['part'].values[place[0]]} {_of(summary, 'path', place)}" for place in found[:N_NAMED]
    )
    return (f"Paths into {summary.attrs['receiver']} alone: {named or 'none survives'}.",)


def _cross(summary: xr.Dataset) -> tuple[str, ...]:
    """How much of the fine-tuned logit, and of what the counterfactual does to it, each part of the last block made."""
    if "cross_model" not in summary:
        return ()
    said = []
    for side, what in (("clean", "The logit of the recordings"), ("difference", "Clean minus counterfactual")):
        here = summary.sel(side=side)
        base, change = float(here["base_logit"]), float(here["cross_model"].sum())
        order = np.argsort(-np.abs(here["cross_model"].values))[:N_NAMED]
        named = ", ".join(f"{here['swapped'].values[place]} {_of(here, 'cross_model', (int(place),))}" for place in order)
        said.append(f"{what}: {base:+.2f} with the base's last block, {base + change:+.2f} fine-tuned; of the change {named}.")
    return tuple(said)


def _survivors(values: xr.DataArray, survives: xr.DataArray) -> list[Place]:
    """The places that survive, the largest first."""
    places = [tuple(map(int, place)) for place in np.argwhere(survives.values)]
    return sorted(places, key=lambda place: -abs(float(values.values[place])))


def _named(here: xr.Dataset, name: str, place: Place) -> str:
    return f"{head_label(*place)} {_of(here, name, place)}"


def _of(here: xr.Dataset, name: str, place: Place) -> str:
    value, low, high = (float(here[f"{name}{key}"].values[place]) for key in ("", "_low", "_high"))
    return f"{value:+.2f}" + ("" if np.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def _rows(summary: xr.Dataset, name: str) -> list[tuple[str, ...]]:
    """What survives of one kind of effect, the largest first."""
    rows: list[tuple[str, ...]] = []
    for place in _survivors(summary[name], summary[f"{name}_survives"]):
        layer, head = place[1:] if name == "path" else place[:2]
        at = str(summary["place"].values[place[2]]) if name == "effect" else str(summary["part"].values[place[0]]) if name == "path" else ""
        value, low, high, p, q = (float(summary[f"{name}{key}"].values[place]) for key in ("", "_low", "_high", "_p_value", "_q_value"))
        control = f"{float(summary['control_effect'].values[layer, head]):+.3f}" if at == WHOLE else ""
        what = NAMES[name] + (f", {at.replace('_', ' ')}" if at else "")
        limit = "not measured" if np.isnan(summary["null_high"]) else f"{float(summary['null_high']):.3f}"
        rows.append((what, head_label(layer, head), f"{value:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{p:.4f}", f"{q:.4f}", control, limit))
    return rows
