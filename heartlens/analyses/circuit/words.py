"""What a search for a circuit found, in words: its nodes, whether it holds on other records, and against random sets."""

import json

import numpy as np
import xarray as xr

from heartlens.analyses.circuit.summary import MATCHED, drawn_as
from heartlens.findings import Findings, doubts
from heartlens.inference.verdict import LEAST_UNITS, NO, NOT_SHOWN, NOT_TESTED, YES, is_yes
from heartlens.wording import interval_at, number, p_value, with_interval

COLUMNS = ("node", "order", "in circuit", "needed", "what it adds to faithfulness", "95 % interval", "q", "returns on resampled records")
STABLE = 0.8  # of the searches on resampled records


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    return Findings(
        title=f"Circuit of {summary.attrs.get('checkpoint', 'a model')} for {summary.attrs['readout'].replace('_', ' ')}",
        question="What is the smallest set of heads and MLPs that keeps the readout, and does it on other records?",
        verdict=(_circuit(summary), _changes(summary), _keeps(summary), _completeness(summary), _minimality(summary), _stability(summary)),
        columns=COLUMNS,
        rows=tuple(_row(node.isel(node=0)) for _, node in summary.sortby("rank").groupby("rank")),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def _circuit(summary: xr.Dataset) -> str:
    members = summary.isel(node=np.flatnonzero(summary["in_circuit"].values)).sortby("rank")
    return (
        f"{summary.attrs['circuit_size']} of {summary.sizes['node']} nodes keep {100 * float(summary['searched_faithfulness']):.0f} % of "
        f"the readout on the searched records (wanted: {100 * summary.attrs['wanted']:.0f} %): "
        f"{', '.join(map(str, members['node'].values)) or 'none'}."
    )


def _changes(summary: xr.Dataset) -> str:
    """Whether there is anything to keep."""
    unit, smallest = summary.attrs["readout_unit"], summary["changes_verdict"].attrs["null"]
    answers = {
        YES: f"beyond {smallest} {unit}, the smallest change of interest",
        NO: f"less than {smallest} {unit}, the smallest change of interest, so there is nothing to keep and no set is judged",
        NOT_SHOWN: f"not shown to be beyond {smallest} {unit}, the smallest change of interest, so no set is judged",
        NOT_TESTED: f"not tested ({LEAST_UNITS} tested records are needed), so no set is judged",
    }
    tested = f"{summary.attrs['n_tested_windows']} windows of {summary.attrs['n_tested_records']} records that were not searched"
    return (
        f"With all nodes resampled the readout of {tested} is off by {with_interval(summary, 'change', '.3g')} {unit}: "
        f"{answers[str(summary['changes_verdict'].values)]}."
    )


def _keeps(summary: xr.Dataset) -> str:
    is_shown, what = drawn_as(summary)
    if not is_shown:
        return f"The circuit alone is {what.removesuffix(')')}, not a part): {with_interval(summary, 'off_circuit', '.3g')}."
    answers = {
        YES: f"It holds on other records: more than half is kept, and more than by {MATCHED}",
        NO: "It does not hold on other records: less than half is kept",
        NOT_SHOWN: f"Not shown that it holds on other records, more than half and more than {MATCHED}",
    }
    random = summary["random_circuit_faithfulness"].values
    return (
        f"{answers.get(str(summary['keeps_verdict'].values), 'Not tested on other records')}: faithfulness "
        f"{with_interval(summary, 'faithfulness')}; {len(random)} {MATCHED} {np.median(random):.2f} ({random.min():.2f} to "
        f"{random.max():.2f}), p among them {float(summary['keeps_twin_p']):.3f}."
    )


def _completeness(summary: xr.Dataset) -> str:
    is_shown, what = drawn_as(summary)
    if not is_shown:
        return f"The other nodes alone are {what.removesuffix(')')}): {with_interval(summary, 'off_rest', '.3g')}."
    answers = {
        YES: "complete: without it more than half is lost, and more than without such random sets",
        NO: "not complete: what is left without it keeps more than half",
        NOT_SHOWN: "not shown to be complete",
    }
    answer = answers.get(str(summary["complete_verdict"].values), "not tested")
    kept, p_among = with_interval(summary, "rest_faithfulness"), float(summary["complete_twin_p"])
    return f"Completeness: the other nodes alone have faithfulness {kept}, p among random sets {p_among:.3f}; {answer}."


def _minimality(summary: xr.Dataset) -> str:
    members = summary.isel(node=np.flatnonzero(summary["in_circuit"].values))
    answers = members["needed_verdict"]
    if bool((answers == NOT_TESTED).all()):
        return "Minimality: not tested of any node."
    smallest = answers.attrs["smallest"]
    named = {
        "not shown": ", ".join(map(str, members["node"].values[(answers == NOT_SHOWN).values])),
        f"surely less than {smallest}": ", ".join(map(str, members["node"].values[(answers == NO).values])),
    }
    others = "".join(f"; {what} of {nodes}" for what, nodes in named.items() if nodes)
    n_needed = int(is_yes(members, "needed").sum())
    return f"Minimality: {n_needed} of {members.sizes['node']} nodes are needed (it is less faithful without){others}."


def _stability(summary: xr.Dataset) -> str:
    n = json.loads(summary.attrs.get("options", "{}")).get("n_bootstraps", 0)
    if not n:
        return "Stability: not searched again."
    members, others = (summary.isel(node=np.flatnonzero(which)) for which in (summary["in_circuit"].values, ~summary["in_circuit"].values))
    stable = members["node"].values[members["returns"].values >= STABLE]
    also = others["node"].values[others["returns"].values >= STABLE]
    outside = f"; so do, outside it, {', '.join(map(str, also))}" if len(also) else ""
    return (
        f"Stability: in {n} searches on resampled records {len(stable)} of its {members.sizes['node']} nodes return in "
        f"{100 * STABLE:.0f} % or more ({', '.join(map(str, stable)) or 'none'}){outside}."
    )


def _row(node: xr.Dataset) -> tuple[str, ...]:
    return (
        str(node["node"].item()),
        f"{int(node['rank']) + 1}",
        "yes" if node["in_circuit"] else "no",
        str(node["needed_verdict"].values) if node["in_circuit"] else "",
        number(node["gain"], "+.3f"),
        interval_at(node, "gain"),
        p_value(node["needed_q_value"]),
        f"{100 * float(node['returns']):.0f} %",
    )


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    no_twins_needed = 10_000  # random sets take the place of twins
    cautions = [line for line in doubts(summary.attrs, no_twins_needed) if "interval over so few" not in line]
    if summary.attrs["n_tested_records"] < LEAST_UNITS:
        n_tested = summary.attrs["n_tested_records"]
        cautions.append(f"The circuit was tested on {n_tested} records; with fewer than {LEAST_UNITS} nothing is judged.")
    cautions.append("The search is greedy: a smaller set may exist, and where parts can replace each other, another set may be as good.")
    cautions.append("A part that does the same in every window (a bias) does not change when it is resampled, so it is never in a circuit.")
    cautions.append(
        "Partners are other people's windows, with beats elsewhere: the circuit is of all that makes a window's readout its own."
    )
    return tuple(cautions)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    changes, needed = (summary[f"{name}_verdict"].attrs for name in ("changes", "needed"))
    return (
        f"Readout: {summary.attrs['readout'].replace('_', ' ')} of each window. Nodes: all heads (before their output weights) and MLPs.",
        "Resampled: every node outside the set has its activation in a window of another record; embedding, biases and norms are the "
        "window's own.",
        "Faithfulness: 1 - sum |F(set) - F(all)| / sum |F(none) - F(all)|, a record being the mean of its windows; may be below 0. Given "
        "only where the sum below is shown to be of interest. Interval: 95 %, Fieller's, over the tested records.",
        f"Search: on {options.get('search_windows')} windows at most of half of the records (by the hash of their names); each node "
        f"resampled alone, then from the least harmful on left out while faithfulness stays at {options.get('wanted')} or above. All "
        "verdicts are of the other half.",
        f"Random: {options.get('n_random')} sets of as many heads and as many MLPs; p: how many have as high a lower bound as the circuit, "
        "itself counted. Adds: the circuit's faithfulness with the node less without it. q: records' signs drawn at random, two-sided, "
        "Benjamini-Hochberg over the circuit's nodes.",
        f"Yes: the interval lies above {changes['null']} {changes['unit']} (change), 0.5 (kept; lost without), 0 (added), and "
        f"p or q is below 0.05. No: it lies below that, or of a node below {needed['smallest']}. Not tested: fewer than {LEAST_UNITS} "
        "tested records, or no change shown. Not shown: else.",
    )
