"""What is the smallest set of heads and MLPs that keeps a readout, when all others do what they do in another record's window?

Faithfulness of a set = 1 - sum |F(set) - F(all)| / sum |F(none) - F(all)|, F the readout (logit of a last token's task head, probability at
beats, or cross-entropy); embedding and biases stay the window's own. On half of the records each node (head or MLP) is resampled alone;
from the least harmful on, each is left out while the rest stays `wanted` faithful (`measures/circuit.py`). All that is concluded is of the
other half, every record counting alike: *changes*, whether the readout moves at all where every node is resampled; and only then *keeps*
(the circuit is more than half faithful, and more than random sets of as many heads and MLPs are), *complete* (without it more than half is
lost, and more than without such random sets), *needed* (of each of its nodes, q over them). *Stability*: how often the same search returns
each node on resampled records. After Wang et al. 2022 and Conmy et al. 2023; verdicts: `inference/verdict.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from heartlens.analyses.circuit.search import Search, evenly_split, partner_tokens, searched, unsearched
from heartlens.findings import Findings
from heartlens.measures.circuit import nested
from heartlens.options import check
from heartlens.refusal import Refusal
from heartlens.tally import Tally, by_record
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

GRID = (0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72)  # sizes of the nested and the random sets, as far as there are nodes
SMALLEST_OF_OWN = (0.25, "units of its own")  # of a readout of the caller for which no smallest change of interest is given
Arrays = dict[str, np.ndarray]

AXES_OF: dict[str, tuple[str, ...]] = {  # every sum is kept by record; the other axes of each
    "off_none": (),
    "off_circuit": (),
    "off_rest": (),
    "off_toggled": ("node",),
    "off_path": ("size",),
    "off_without_path": ("size",),
    "off_random": ("draw", "size"),
    "off_random_circuit": ("draw",),
    "off_random_rest": ("draw",),
    "whole": (),
    "n_tested": (),
    "in_circuit": ("node",),
    "rank": ("node",),
    "returns": ("node",),
    "searched_faithfulness": (),
    "n_windows": (),
}


@dataclass(frozen=True)
class Circuit:
    """The options of the search for a circuit. `search`, no option, is what the search on half of the records found."""

    wanted: Annotated[float, "faithfulness that the circuit must keep on the searched records"] = 0.8
    search_windows: Annotated[int, "windows the search runs on, evenly over half of the records"] = 12
    n_bootstraps: Annotated[int, "searches on resampled records (0: none)"] = 10
    n_random: Annotated[int, "random sets of every size, and of the circuit's; 19 are the fewest with a p-value of 0.05"] = 20
    seed: Annotated[int, "seed of random sets, resamples and p-values"] = 0
    search: Search | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"wanted": (0.01, 1.0), "search_windows": (1, 10_000), "n_bootstraps": (0, 1000)}
        check(self, legal | {"n_random": (1, 10_000), "seed": (0, 2**31)})

    def prepared(self, model: Any, windows: Windows) -> "Circuit":
        """The same, knowing the circuit that the search on half of the records found. Refuses fewer than two records.

        Unprepared, the order of the nodes is drawn, a window's partner is itself in reverse order, and every record is tested.
        """
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        n_units = len(windows.units)
        if n_units < 2:
            raise Refusal(
                f"{n_units} person or record: a circuit is searched on one half of them and tested on the other; give two or more"
            )
        search_records, _ = evenly_split(windows)
        some = windows[np.isin(windows.unit, sorted(search_records))].subset(self.search_windows)
        path, returns = searched(subject, some, partner_tokens(some, windows), self.wanted, self.n_bootstraps, self.seed)
        partners = dict(zip(map(str, windows.identity), partner_tokens(windows, windows), strict=True))
        return replace(self, search=Search(path, returns, search_records, partners))

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over the windows of tested records of how far every set is off; and what the search found."""
        from heartlens.models.interventions.circuit import node_names, readout_name
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        names = node_names(subject)
        search = self.search or unsearched(len(names), self.seed)
        sizes = [size for size in GRID if size <= len(names)]
        rows = [self._window(subject, windows[index : index + 1], search, sizes) for index in range(len(windows))]
        sums = {name: by_record(np.stack([row[name] for row in rows]), windows.record) for name in AXES_OF}
        places = {"record": windows.records, "node": names, "size": sizes, "draw": np.arange(self.n_random), **search.axes(names)}
        attrs = {"kind": windows.kind, "readout": readout_name(subject, windows), "wanted": self.wanted, **_unit_of_own(subject)}
        named = xr.Dataset({name: (("record", *AXES_OF[name]), sums[name]) for name in AXES_OF}, coords=places, attrs=attrs)
        return Tally(named)

    def _window(self, subject: Any, window: Windows, search: Search, sizes: list[int]) -> Arrays:
        """One window's sums: what the search found, counted once a window, and of a tested window how far each set is off."""
        n_nodes = len(search.path.order)
        axes = {"node": n_nodes, "size": len(sizes), "draw": self.n_random}
        sums = {name: np.zeros([axes[axis] for axis in named]) for name, named in AXES_OF.items()}
        sums |= {"in_circuit": search.path.circuit.astype(float), "rank": np.argsort(search.path.order).astype(float)}
        sums |= {"returns": search.returns, "searched_faithfulness": np.array(search.path.faithfulness), "n_windows": np.array(1.0)}
        if str(window.unit[0]) in search.search_records:
            return sums
        return sums | self._tested(subject, window, search, sizes)

    def _tested(self, subject: Any, window: Windows, search: Search, sizes: list[int]) -> Arrays:
        from heartlens.models.interventions.circuit import kept_values_of_one, pair_of

        circuit = search.path.circuit
        sets = self._sets(subject, search, sizes)
        pair = pair_of(subject, window.tokens, search.partner_of(window))
        every, place = np.unique(np.concatenate([*sets.values(), np.ones((1, len(circuit)), bool)]), axis=0, return_inverse=True)
        values = kept_values_of_one(subject, window, pair, every)[place.ravel()]
        if np.isnan(values).any():
            return {}
        off = np.split(np.abs(values[:-1] - values[-1]), np.cumsum([len(each) for each in sets.values()])[:-1])
        by_name = dict(zip(sets, off, strict=True))
        by_name["off_random"] = by_name["off_random"].reshape(self.n_random, len(sizes))
        single = {name: by_name.pop(name)[0] for name in ("off_none", "off_circuit", "off_rest")}
        return by_name | {name: np.array(value) for name, value in single.items()} | {"whole": values[-1:][0], "n_tested": np.array(1.0)}

    def _sets(self, subject: Any, search: Search, sizes: list[int]) -> dict[str, np.ndarray]:
        """Every family of sets, by the name of its sum. A random circuit has as many heads, and as many MLPs, as the circuit."""
        circuit, n_nodes = search.path.circuit, len(search.path.order)
        path, rng = nested(search.path.order, sizes), np.random.default_rng(self.seed)
        orders = [rng.permutation(n_nodes) for _ in range(self.n_random)]
        n_heads = n_nodes - subject.sizes.n_layers
        random = np.stack([np.concatenate([rng.permutation(circuit[:n_heads]), rng.permutation(circuit[n_heads:])]) for _ in orders])
        return {
            "off_none": np.zeros((1, n_nodes), bool),
            "off_circuit": circuit[None],
            "off_rest": ~circuit[None],
            "off_toggled": circuit ^ np.eye(n_nodes, dtype=bool),
            "off_path": path,
            "off_without_path": ~path,
            "off_random": np.concatenate([nested(order, sizes) for order in orders]),
            "off_random_circuit": random,
            "off_random_rest": ~random,
        }

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """The circuit and what is concluded of it on the tested records, with intervals; see the module's first lines."""
        from heartlens.analyses.circuit.summary import summarized

        return summarized(tally.sums, self.seed)

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.circuit.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Faithfulness by size against random sets, the circuit's nodes, and how often each returns."""
        from heartlens.analyses.circuit.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """The circuit and whether it holds, in words."""
        from heartlens.analyses.circuit.words import say

        return say(summary)


def _unit_of_own(subject: Any) -> dict[str, Any]:
    """The unit and the smallest change of interest of a readout of the caller; of the model's own the summary knows them."""
    if not subject.readouts:
        return {}
    smallest, unit = subject.readouts[0].smallest or SMALLEST_OF_OWN
    return {"readout_unit": unit, "readout_smallest": smallest}
