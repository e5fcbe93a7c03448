"""What a search for a circuit found, in words: its nodes, whether it holds on other records, and against random sets."""

import json

import numpy as np
import xarray as xr

from heartlens.findings import Findings, doubts
from heartlens.wording import interval_at, with_interval

COLUMNS = ("node", "order", "in circuit", "what it adds to the circuit's faithfulness", "95 % interval", "returns on resampled records")
ALPHA = 0.05
STABLE = 0.8  # of the searches on resampled records
FEW_TESTED = 6


def say(summary: xr.Dataset) -> Findings:
    """The findings; every number is in the summary."""
    return Findings(
        title=f"Circuit of {summary.attrs.get('checkpoint', 'a model')} for {summary.attrs['readout'].replace('_', ' ')}",
        question="What is the smallest set of heads and MLPs that keeps the readout, and does it on other records?",
        verdict=(_circuit(summary), _holds(summary), _completeness(summary), _minimality(summary), _stability(summary)),
        columns=COLUMNS,
        rows=_rows(summary),
        cautions=_cautions(summary),
        methods=_methods(summary),
    )


def holds(summary: xr.Dataset) -> bool:
    """Whether the circuit is more faithful than every random set of its size, interval and all, and these are enough for p < 0.05."""
    is_beyond = float(summary["faithfulness_low"]) > float(summary["random_circuit_faithfulness"].max())
    return is_beyond and float(summary["random_p_value"]) < ALPHA


def _circuit(summary: xr.Dataset) -> str:
    members = summary.isel(node=np.flatnonzero(summary["in_circuit"].values)).sortby("rank")
    n_nodes = summary.sizes["node"]
    return (
        f"{summary.attrs['circuit_size']} of {n_nodes} nodes keep {100 * float(summary['searched_faithfulness']):.0f} % of the readout on "
        f"the searched records (wanted: {100 * summary.attrs['wanted']:.0f} %): {', '.join(map(str, members['node'].values)) or 'none'}."
    )


def _holds(summary: xr.Dataset) -> str:
    random = summary["random_circuit_faithfulness"].values
    low, high = np.quantile(random, [0.025, 0.975])
    verdict = "It holds on other records" if holds(summary) else "It does not hold on other records beyond random sets"
    return (
        f"{verdict}: faithfulness {with_interval(summary, 'faithfulness')} on {summary.attrs['n_tested_windows']} windows of "
        f"{summary.attrs['n_tested_records']} records it was not searched on; {len(random)} random sets of equal size "
        f"{np.median(random):.2f} (95 % {low:.2f} to {high:.2f}, p {float(summary['random_p_value']):.3f}). With all nodes resampled the "
        f"readout is off by {float(summary['change']):.3g}."
    )


def _completeness(summary: xr.Dataset) -> str:
    rest = float(summary["rest_faithfulness_high"])
    verdict = (
        "complete: without it little is left"
        if rest < 0.5
        else "not complete: what is left without it does part of the work, or is not told"
    )
    return f"Completeness: the other nodes alone have faithfulness {with_interval(summary, 'rest_faithfulness')}; {verdict}."


def _minimality(summary: xr.Dataset) -> str:
    members = summary.isel(node=np.flatnonzero(summary["in_circuit"].values))
    idle = [str(name) for name in members["node"].values[members["gain_low"].values <= 0]]
    if members["gain_low"].isnull().all():
        return "Minimality: no interval over records, so no node of it is shown to be needed."
    needed = members.sizes["node"] - len(idle)
    return f"Minimality: {needed} of {members.sizes['node']} nodes add to it beyond doubt" + (f"; not {', '.join(idle)}." if idle else ".")


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


def _rows(summary: xr.Dataset) -> tuple[tuple[str, ...], ...]:
    return tuple(_row(one) for _, one in summary.sortby("rank").groupby("rank"))


def _row(one: xr.Dataset) -> tuple[str, ...]:
    at = one.isel(node=0)
    told = (f"{int(at['rank']) + 1}", "yes" if at["in_circuit"] else "no", f"{float(at['gain']):+.3f}", interval_at(at, "gain"))
    return (str(at["node"].item()), *told, f"{100 * float(at['returns']):.0f} %")


def _cautions(summary: xr.Dataset) -> tuple[str, ...]:
    found = [line for line in doubts(summary.attrs, 20) if "interval over so few" not in line]  # random sets stand for the twins
    if summary.attrs["n_tested_records"] < FEW_TESTED:
        found.append(
            f"The circuit was tested on {summary.attrs['n_tested_records']} records: an interval over so few is too narrow, or none."
        )
    found.append("The search is greedy: a smaller set may exist, and where parts stand in for each other another set may do as well.")
    found.append("A part that does the same in every window (a bias) is not resampled away, and never in a circuit.")
    found.append("Partners are other people's windows, with beats elsewhere: the circuit is of all that makes a window's readout its own.")
    return tuple(found)


def _methods(summary: xr.Dataset) -> tuple[str, ...]:
    options = json.loads(summary.attrs.get("options", "{}"))
    return (
        f"Readout: {summary.attrs['readout'].replace('_', ' ')} of each window. Nodes: all heads (before their output weights) and MLPs.",
        "Resampled: every node outside the set has its activation in a window of another record; embedding, biases and norms are the "
        "window's own.",
        "Faithfulness: 1 - sum |F(set) - F(all)| / sum |F(none) - F(all)| over windows; it may be below 0. Interval: 95 %, BCa bootstrap "
        "over the tested records.",
        f"Search: on {options.get('search_windows')} windows at most of half of the records (by the hash of their names); each node "
        f"resampled alone, then from the least harmful on left out while faithfulness stays at {options.get('wanted')} or above.",
        f"Random: {options.get('n_random')} sets of equal size; p: how many are as faithful. Adds: the circuit's faithfulness with the "
        "node less without it.",
    )
