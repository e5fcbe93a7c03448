"""What a patching found, in words: whether the counterfactual moves the readout, which heads carry that, where, and what to doubt."""

import json

import numpy as np
import xarray as xr

from heartlens.analyses.patching.pairs import EDITS
from heartlens.analyses.patching.summary import WHOLE, drawn_as
from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import ANSWERS, LEAST_UNITS, NO, NOT_TESTED, YES, is_yes
from heartlens.wording import interval_at, number, p_value, plain, with_interval

COLUMNS = ("what", "where", "verdict", "part of the difference", "95 % interval", "in the readout's unit", "p", "q", "control")
N_NAMED = 5  # heads that a sentence names
N_ROWS = 5  # heads in the table where none carries anything
Place = tuple[int, ...]


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    attrs = summary.attrs
    of_carriers = (_waves(summary), _direct(summary), *_paths(summary)) if bool(is_yes(summary, "carries").any()) else ()
    return Findings(
        title=f"Patching of {attrs.get('checkpoint', 'a model')}: {attrs['counterfactual']}, {attrs['readout']}",
        question="Does the counterfactual move the readout, and which heads carry that?",
        verdict=(_difference(summary), _heads(summary), *of_carriers, _stream(summary), *_swapped_parts(summary)),
        columns=COLUMNS,
        rows=_rows(summary),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _difference(summary: xr.Dataset) -> str:
    """How much the counterfactual changes the readout, beside its control, and what is concluded."""
    attrs, unit = summary.attrs, summary.attrs["readout_unit"]
    answers = {
        YES: "the counterfactual moves the readout, more than the control and than it moves models that learnt nothing",
        NO: f"the counterfactual does not move the readout by {summary['moves_verdict'].attrs['smallest']} {unit} or more",
        NOT_TESTED: f"not tested whether it moves the readout ({LEAST_UNITS} records, a control and twins are needed)",
    }
    answer = answers.get(str(summary["moves_verdict"].values), "not shown that it moves the readout")
    against = int((np.sign(summary["record_difference"]) == -np.sign(summary["difference"])).sum())
    unchanged = f", {int(summary['n_unchanged'])} windows not at all" if int(summary["n_unchanged"]) else ""
    difference, control = (with_interval(summary, name, "+.3f") for name in ("difference", "control_difference"))
    return (
        f"Clean minus {plain(attrs['counterfactual'])}, {plain(attrs['readout'])} of {attrs['n_records']} records "
        f"({int(summary['n_pairs'])} windows): {difference} {unit}, control {control}, p {_p(summary['difference_p_value'])}, among twins "
        f"{_p(summary['moves_twin_p'])}: {answer}. {against} of {attrs['n_records']} records go the other way{unchanged}."
    )


def _heads(summary: xr.Dataset) -> str:
    """Which heads carry the difference; else what the largest effect is and how much is ruled out."""
    whole, answers = summary.sel(place=WHOLE), summary["carries_verdict"]
    end, unit = drawn_as(summary)
    together = f"One at a time, all heads' effects add up to {float(whole[f'effect{end}'].sum()):+.2f} ({unit})."
    carriers = _largest_first(whole["effect"], is_yes(summary, "carries"))
    if carriers:
        named = ", ".join(f"{head_label(*place)} {_at(whole, 'effect_part', place)}" for place in carriers[:N_NAMED])
        more = f" and {len(carriers) - N_NAMED} more" if len(carriers) > N_NAMED else ""
        low, high = answers.attrs.get("n_yes_redrawn", (0, 0))
        counts = ", ".join(f"{int((answers == answer).sum())} {answer}" for answer in ANSWERS if bool((answers == answer).any()))
        more += "; a negative part works against it" if any(float(whole["effect_part"].values[place]) < 0 for place in carriers) else ""
        return f"Heads that carry part of it: {named}{more} (of {answers.size}: {counts}; with other twins {low} to {high} yes). {together}"
    first = _largest_first(whole["effect"], xr.ones_like(answers, dtype=bool))[0]
    largest = f"the largest effect is {head_label(*first)} {_at(whole, f'effect{end}', first)} ({unit})"
    if bool(is_yes(summary, "moves")):
        ruled_out = int((answers == NO).sum())
        little = f"{ruled_out} of {answers.size} surely carry less than a tenth"
        return f"Not shown of any head that it carries part of it; {little}; {largest}. {together}"
    return f"No head is judged, because the difference itself is not shown; {largest}. {together}"


def _waves(summary: xr.Dataset) -> str:
    """For each place the carrier of the largest effect there."""
    sentences = []
    for place in map(str, summary["place"].values):
        at_place = summary.sel(place=place)
        carriers = _largest_first(at_place["effect"], is_yes(at_place, "at_wave"))
        if carriers:
            largest = f" (largest of {len(carriers)})" if len(carriers) > 1 else ""
            sentences.append(f"{plain(place)}: {head_label(*carriers[0])} {_at(at_place, 'effect_part', carriers[0])}{largest}")
    return f"Where these heads carry it, the largest at the tokens of each wave alone: {'; '.join(sentences) or 'not shown of any wave'}."


def _direct(summary: xr.Dataset) -> str:
    carriers = _largest_first(summary["direct"], is_yes(summary, "direct"))
    named = ", ".join(f"{head_label(*place)} {_at(summary, 'direct_part', place)}" for place in carriers[:N_NAMED])
    together = f"all heads' direct effects add up to {float(summary['direct_part'].sum()):+.2f}"
    return f"Straight to the output: {named or 'not shown of any of these heads'}; {together}."


def _paths(summary: xr.Dataset) -> tuple[str, ...]:
    if summary.attrs["receiver"] == "none":
        return ()
    paths = _largest_first(summary["path"], is_yes(summary, "path"))
    inputs = summary["part"].values
    named = ", ".join(f"{head_label(*place[1:])} by {inputs[place[0]]} {_at(summary, 'path_part', place)}" for place in paths[:N_NAMED])
    return (f"Paths from these heads into {summary.attrs['receiver']} alone: {named or 'none is shown'}.",)


def _stream(summary: xr.Dataset) -> str:
    """Where the difference lies, from the embedding on."""
    end, unit = drawn_as(summary)
    levels, sentences = [str(level) for level in summary["level"].values], []
    for place in map(str, summary["place"].values):
        line = summary[f"stream{end}"].sel(place=place).values
        if place != WHOLE:
            peak = int(np.argmax(np.abs(line)))
            sentences.append(f"{plain(place)} {line[0]:+.2f} at the embedding, most after {levels[peak]} ({line[peak]:+.2f})")
    return f"The whole stream at the tokens of one wave ({unit}): {'; '.join(sentences)}."


def _swapped_parts(summary: xr.Dataset) -> tuple[str, ...]:
    """How much of the fine-tuned logit, and of what the counterfactual does to it, each part of the last block made."""
    if "cross_model" not in summary:
        return ()
    sentences = []
    for side, what in (("clean", "The logit of the recordings"), ("difference", "Clean minus counterfactual")):
        of_side = summary.sel(side=side)
        base, change = float(of_side["base_logit"]), float(of_side["cross_model"].sum())
        order = np.argsort(-np.abs(of_side["cross_model"].values))[:N_NAMED]
        named = ", ".join(f"{of_side['swapped'].values[place]} {_at(of_side, 'cross_model', (int(place),))}" for place in order)
        sentences.append(f"{what}: {base:+.2f} with the base's last block, {base + change:+.2f} fine-tuned; of the change {named}.")
    return tuple(sentences)


def _largest_first(values: xr.DataArray, chosen: xr.DataArray) -> list[Place]:
    """The chosen places, the largest effect either way first."""
    places = [tuple(map(int, place)) for place in np.argwhere(chosen.transpose(*values.dims).values)]
    return sorted(places, key=lambda place: -abs(float(values.values[place])))


def _at(summary: xr.Dataset, name: str, place: Place) -> str:
    """A value with its interval where there is one."""
    value, low, high = (float(summary[f"{name}{end}"].values[place]) for end in ("", "_low", "_high"))
    return f"{value:+.2f}" + ("" if np.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def _p(value: xr.DataArray) -> str:
    return p_value(value) or "not known"


def _rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    """Every yes, the largest first; where no head carries anything the heads of the largest effects."""
    whole = summary.sel(place=WHOLE)
    carriers = _largest_first(whole["effect"], is_yes(summary, "carries"))
    heads = carriers or _largest_first(whole["effect"], xr.ones_like(is_yes(summary, "carries")))[:N_ROWS]
    rows = [
        _row(whole, "effect", "carries", place, "head's output", control=f"{float(whole['control_effect'].values[place]):+.3f}")
        for place in heads
    ]
    for place_name in map(str, summary["place"].values):
        at_place = summary.sel(place=place_name)
        for place in _largest_first(at_place["effect"], is_yes(at_place, "at_wave")):
            rows.append(_row(at_place, "effect", "at_wave", place, f"head's output, {plain(place_name)}"))
    for place in _largest_first(summary["direct"], is_yes(summary, "direct")):
        rows.append(_row(summary, "direct", "direct", place, "direct to the output"))
    for place in _largest_first(summary["path"], is_yes(summary, "path")):
        rows.append(_row(summary, "path", "path", place, f"path into {summary.attrs['receiver']}, {summary['part'].values[place[0]]}"))
    return tuple(rows)


def _row(summary: xr.Dataset, name: str, claim: str, place: Place, what: str, control: str = "") -> tuple[str, ...]:
    at = summary[
        [f"{name}{end}" for end in ("", "_part", "_part_low", "_part_high", "_p_value")] + [f"{claim}_q_value", f"{claim}_verdict"]
    ]
    at = at.transpose(*summary[name].dims).isel(dict(zip(summary[name].dims, place, strict=True)))
    return (
        what,
        head_label(int(at["layer"]), int(at["head"])),
        str(at[f"{claim}_verdict"].values),
        number(at[f"{name}_part"], "+.3f"),
        interval_at(at, f"{name}_part", "+.3f"),
        f"{float(at[name]):+.3f}",
        p_value(at[f"{name}_p_value"]),
        p_value(at[f"{claim}_q_value"]),
        control,
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    attrs = summary.attrs
    cautions = doubts(attrs, summary.sizes.get("twin", 0))
    lacking = [name for name in str(attrs["records_without_pairs"]).splitlines() if name]
    if lacking:
        listed = ", ".join(lacking[:20]) + (f" and {len(lacking) - 20} more" if len(lacking) > 20 else "")
        cautions.append(
            f"{len(lacking)} records lack the landmarks for {attrs['counterfactual']} or for the readout, and do not count: {listed}."
        )
    left = int(attrs["n_windows_given"]) - int(attrs["n_windows"])
    if left:
        cautions.append(f"{left} of {attrs['n_windows_given']} windows lack those landmarks and were not patched.")
    if not bool(is_yes(summary, "moves")):
        cautions.append("The difference is not shown, so no effect is given as a part of it; effects are in the readout's unit.")
    if EDITS[attrs["counterfactual"]].moves_beats:
        cautions.append(
            "Beats lie elsewhere in the counterfactual: waves and cycles are those of the recording, and tokens are paired by time."
        )
    cautions.append("Effects of heads patched one at a time need not add up to 1: heads can stand in for one another, or need one another.")
    return tuple(cautions)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    attrs = summary.attrs
    options = json.loads(attrs.get("options", "{}"))
    into = (
        "clean activations into the counterfactual's run" if attrs["direction"] == "denoise" else "the counterfactual's into the clean run"
    )
    return (
        f"Patching: {into}. Difference: clean minus counterfactual. Effect: by how much the readout moves towards the clean one; mean over "
        "records, a record being the mean of its windows. Part: effect over difference, only where the difference is shown.",
        "Readout: of tokens, beats and waves of the recording, whichever runs. Head's output: z, at all tokens or one wave's. Stream: all "
        "that a level passes on. Direct: the head's change added to the stream before the final norm alone. Path: added to the query, "
        "key or value input of the receiver alone, all else frozen as in the run; what the receiver mixes then goes on.",
        f"Control: {EDITS[attrs['counterfactual']].control_in_words}.",
        f"Interval: 95 %, t over records, of parts Fieller's. p: records' signs drawn at random, {options.get('n_permutations')} times, "
        "two-sided. q: Benjamini-Hochberg over all heads, of the larger p of effect and of effect less the control's; then over waves, "
        "direct effects and paths of the heads that carry the difference.",
        f"Twins: {summary.sizes.get('twin', 0)} models with the same weights in random order, compared with the model on the same "
        f"{options.get('twin_windows')} windows, in the readout's unit: how far the interval lies beyond 0, with the same of a twin's "
        "difference, or the largest of any head of a twin.",
        "Yes of the difference: interval without 0, p < 0.05, p among twins at most 0.05, and interval of difference minus control's "
        "beyond 0 on the same side. Yes of a head: the same with q. No: the interval lies within the smallest effect of interest "
        f"({summary['moves_verdict'].attrs['smallest']} {attrs['readout_unit']}; a tenth of the difference). Not tested: fewer "
        f"than {LEAST_UNITS} records, no twins, no control, or of heads no difference. Not shown: else.",
        "Base's last block: its parts swapped in for the fine-tuned ones, Shapley values over all orders; they sum to the change.",
        "Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
