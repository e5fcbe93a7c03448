"""What a reader of a patching must know: reasons to doubt it, and how every number was made."""

import json

import xarray as xr

from heartlens.analyses.patching.pairs import EDITS
from heartlens.analyses.patching.summary import ALPHA, EFFECTS
from heartlens.findings import doubts


def moves(summary: xr.Dataset) -> bool:
    """Whether the counterfactual changes the readout in one direction over records: p < 0.05, and the interval leaves out 0."""
    beyond = bool(summary["difference_low"] > 0) or bool(summary["difference_high"] < 0)
    return beyond and bool(summary["difference_p_value"] < ALPHA)


def cautions(summary: xr.Dataset) -> tuple[str, ...]:
    """What to doubt."""
    attrs, found = summary.attrs, doubts(summary.attrs, summary.sizes.get("twin", 0))
    lacking = [name for name in str(attrs["records_without_pairs"]).splitlines() if name]
    if lacking:
        listed = ", ".join(lacking[:20]) + (f" and {len(lacking) - 20} more" if len(lacking) > 20 else "")
        found.append(
            f"{len(lacking)} records lack the landmarks for {attrs['counterfactual']} or for the readout, and say nothing: {listed}."
        )
    left = int(attrs["n_windows_given"]) - int(attrs["n_windows"])
    if left:
        found.append(f"{left} of {attrs['n_windows_given']} windows lack those landmarks and were not patched.")
    if not moves(summary):
        found.append(
            "The counterfactual is not shown to move the readout in one direction over records: parts are of what it does in each."
        )
    if EDITS[attrs["counterfactual"]].moves_beats:
        found.append(
            "Beats lie elsewhere in the counterfactual: waves and cycles are those of the recording, and tokens are paired by time."
        )
    found.append("Effects of heads patched one at a time need not add up to 1: heads can stand in for one another, or need one another.")
    return tuple(found)


def methods(summary: xr.Dataset) -> tuple[str, ...]:
    """What every number means."""
    attrs = summary.attrs
    options = json.loads(attrs.get("options", "{}"))
    into = (
        "clean activations into the counterfactual's run" if attrs["direction"] == "denoise" else "the counterfactual's into the clean run"
    )
    n_tested = sum(int(summary[f"{name}_p_value"].notnull().sum()) for name in (*EFFECTS, "cross_model") if name in summary)
    return (
        f"Patching: {into}. Effect: the sum over records of (patched - run), signed as the record's whole difference, over the sum of "
        "the absolute whole differences; 1 is all of it. A record is the mean of its windows.",
        "Readout: of tokens, beats and waves of the recording, whichever runs. Head's output: z, at all tokens or one wave's. Stream: all "
        "that a level passes on. Direct: the head's change added to the stream before the final norm alone. Path: added to the query, "
        "key or value input of the receiver alone, all else frozen as in the run; what the receiver mixes then goes on.",
        f"Control: {EDITS[attrs['counterfactual']].control_told}.",
        f"Interval: 95 %, BCa bootstrap over records. p: records' signs drawn at random, {options.get('n_permutations')} times, two-sided. "
        f"q: Benjamini-Hochberg over {n_tested} effects. Twins: {summary.sizes.get('twin', 0)}, weights random or shuffled, on "
        f"{options.get('twin_windows')} windows: the largest effect of any head of a twin, over the mean size of the model's difference.",
        "Survives: q < 0.05, interval beyond the twins' 95 % quantile, and, for whole heads, interval of effect minus control without 0.",
        "Base's last block: its parts swapped in for the fine-tuned ones, Shapley values over all orders; they sum to the change.",
        "Heads are numbered from 1: L8H5 is layer 7, head 4 in the data.",
    )
