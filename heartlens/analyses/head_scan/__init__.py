"""Which heads attend to which wave? For every layer and head, the attention that falls on each wave against what even attention gives.

`share` is the part of an asking token's attention that falls on a wave, averaged over a record's asking tokens, then over units (persons;
recordings where persons are not known); `even_share` the same for attention spread evenly over the tokens causality allows;
`lift = share / even_share`. The claim *attends* is decided for every head and wave (`inference/verdict.py`): a yes needs a lift of at least
1.25 whose 95 % interval lies above 1, q < 0.05 against the phase null (all wave labels rotated within the cycle, record by record;
Benjamini-Hochberg over heads x waves), and among twins, models with the same weights in random order, a p-value of at most 0.05: on the
same windows, the lower bound of the head's lift against the largest of a twin's heads, both as logarithms in standard deviations of what
twins reach at that wave in that layer (`nulls.in_spreads`), over all waves and layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr

from heartlens.analysis import Twinned, beside
from heartlens.findings import Findings
from heartlens.inference.intervals import ratio_interval
from heartlens.inference.nulls import in_spreads
from heartlens.inference.verdict import Among, Claim, decide
from heartlens.measures import attention as measures
from heartlens.measures.resample import q_values, rotation_p_values
from heartlens.options import check
from heartlens.parts import ATTENTION
from heartlens.signals.fine import fine_waves
from heartlens.tally import Tally, by_record, examples, rounded
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.engine import LayerSums
    from heartlens.trial import Trial

ATTENDS = Claim(
    "attends",
    "the head attends to the wave more than rotated waves, the spread between persons and models that learnt nothing explain",
    unit="lift",
    null=1.0,
    smallest=0.25,
    is_large=True,
    family="all heads and waves, each beside what twins reach at that wave in that layer",
)
Arrays = dict[str, np.ndarray]

AXES_OF = {  # every sum is kept by layer and record; the other axes of each
    "share": ("query", "wave", "head"),
    "even_share": ("query", "wave"),
    "rotated_share": ("wave", "rotation", "head"),  # of asking tokens of all kinds, as all tests are
    "even_rotated_share": ("wave", "rotation"),
    "share_by_lag": ("query", "wave", "lag", "head"),
    "even_share_by_lag": ("query", "wave", "lag"),
    "share_by_phase": ("query", "phase", "head"),
    "even_share_by_phase": ("query", "phase"),
    "auc": ("wave", "head"),
    "auc_windows": ("wave",),
    "sink_share": ("head",),
    "effective_tokens": ("head",),
}


@dataclass(frozen=True)
class HeadScan(Twinned):
    """The options of a head scan."""

    variant: Annotated[
        Literal["causal", "published"],
        "causal: the model as it runs; published: the last block may attend forward, as in the paper's head figures",
    ] = "causal"
    fine: Annotated[bool, "ECG: tell Q, R and S apart instead of QRS"] = False
    exclude_sink: Annotated[bool, "leave the sink out of shares and even shares"] = False
    sink_tokens: Annotated[int, "how many first tokens count as the sink"] = 1
    n_lags: Annotated[int, "cycles looked back, the present one included"] = 8
    n_phases: Annotated[int, "bins of the cycle"] = 25
    n_rotations: Annotated[int, "rotations of the wave labels in the phase null, the unrotated one included"] = 20
    n_permutations: Annotated[int, "draws of the phase null"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 119
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 50
    seed: Annotated[int, "seed of twins, intervals and p-values"] = 0
    reads: ClassVar[str] = ATTENTION
    is_twin: bool = field(default=False, repr=False)
    at_once: ClassVar[int] = 16  # windows: no attention is stored, and with more the bookkeeping of the sums costs less

    def __post_init__(self) -> None:
        legal = {"sink_tokens": (1, 100), "n_lags": (1, 50), "n_phases": (2, 100), "n_rotations": (1, 200), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    @property
    def example_query(self) -> str:
        """Whose attention is drawn on the example: the last token's, or in the published variant the column mean, as in the paper."""
        return "last" if self.variant == "causal" else "all"

    def for_twins(self) -> "HeadScan":
        """The scan of a twin, of which only the lift is needed."""
        return replace(self, n_rotations=1, is_twin=True)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every head's attention by wave, rotation, lag and phase."""
        from heartlens.engine import Asked
        from heartlens.models.subject import subject_of

        subject, n_time = subject_of(model), windows.tokens.shape[1]
        windows = fine_waves(windows) if self.fine else windows
        n_sink = self.sink_tokens if self.exclude_sink else 0
        labels = measures.labels(windows, n_rotations=self.n_rotations, n_phases=self.n_phases, n_sink=n_sink)
        groups = measures.groups_of(windows, n_sink)
        groups = groups.together if self.is_twin else groups
        runs = measures.runs_of(labels, groups, self.n_lags)
        is_published = self.variant == "published"
        evens = {
            is_causal: self._fallen(measures.even_columns(groups, runs, is_causal, n_sink), groups, runs, labels)
            for is_causal in {True, not is_published}
        }
        asked = Asked(
            groups.of_query,
            groups.segment_of,
            runs=runs.edges,
            n_left_out=n_sink,
            n_first=self.sink_tokens,
            rows=(n_time - 1,),
            entropy=not self.is_twin,
        )
        layers, lifts = [], []
        for sums in subject.engine.sums(subject.tokens(windows.tokens), asked, last_block_unmasked=is_published):
            even = evens[not is_published or sums.layer < subject.sizes.n_layers - 1]
            layer, lift = self._layer(sums, even, groups, runs, labels, windows)
            layers.append({name: by_record(rounded(values), windows.record) for name, values in layer.items()})
            lifts.append(lift)
        sample = xr.Dataset() if self.is_twin else examples(windows, token_lift=(("layer", "head", "time"), np.stack(lifts, axis=1)))
        return Tally(self._named(layers, labels, windows, subject.sizes.n_heads), sample)

    def _fallen(self, columns: measures.Columns, groups: measures.Groups, runs: measures.Runs, labels: measures.Labels) -> Arrays:
        """Where attention falls: by wave, and for the model itself by lag and phase; and what each key receives."""
        keys = measures.received(columns, groups)
        keys = keys[:, :, :1] if self.is_twin else keys
        fallen = {"keys": keys, "share": measures.on_waves(keys, labels)}
        if not self.is_twin:
            fallen |= {
                "rotated_share": measures.on_rotated_waves(keys[:, :, 0], labels),
                "share_by_lag": measures.by_lag(columns, groups, runs),
                "share_by_phase": measures.by_phase(keys, labels),
            }
        return fallen

    def _layer(
        self, sums: "LayerSums", even: Arrays, groups: measures.Groups, runs: measures.Runs, labels: measures.Labels, windows: Windows
    ) -> tuple[Arrays, np.ndarray]:
        """One layer's sums by window, and each key's lift for the example: what it receives over its even share."""
        last = measures.without_sink(sums.rows[:, :, 0], self.sink_tokens) if self.exclude_sink else sums.rows[:, :, 0]
        fallen = self._fallen(measures.Columns(sums.columns, sums.on_runs, last), groups, runs, labels)
        by_window = {name: fallen[name] for name in AXES_OF if name in fallen}
        by_window |= {f"even_{name}": even[name][..., 0] for name in by_window}
        if self.is_twin:
            return by_window, np.empty(0)
        drawn = self._queries(windows).index(self.example_query)
        lift = _over_even(fallen["keys"][:, :, drawn], even["keys"][:, :, drawn])
        usable = (even["keys"][:, 0, 0] > 0) & ~np.isnan(windows.position)
        auc = measures.rank_auc(_over_even(fallen["keys"][:, :, 0], even["keys"][:, :, 0]), labels.rotated[:, 0] > 0, usable)
        is_asking = labels.asked[:, 0].astype(bool)
        by_window |= {
            "auc": np.nan_to_num(auc),
            "auc_windows": (~np.isnan(auc[..., 0])).astype(float),
            "sink_share": _over_asked(sums.first_share.astype(np.float64), is_asking),
            "effective_tokens": _over_asked(np.exp(sums.entropy.astype(np.float64)), is_asking),
        }
        return by_window, lift

    def _named(self, layers: list[Arrays], labels: measures.Labels, windows: Windows, n_heads: int) -> xr.Dataset:
        """The sums under their axes."""
        names = [name for name in AXES_OF if name in layers[0]]
        sums = {name: (("layer", "record", *AXES_OF[name]), np.stack([layer[name] for layer in layers])) for name in names}
        counts = {
            "n_windows": (("record",), by_record(np.ones(len(windows)), windows.record)),
            "n_asked": (("record", "query"), by_record(labels.asked.sum(axis=-1), windows.record)[:, : len(self._queries(windows))]),
        }
        if not self.is_twin:
            on_phases = labels.rotated[:, 0] @ labels.phased.swapaxes(1, 2)
            counts["n_tokens"] = (("record", "wave", "phase"), by_record(on_phases, windows.record))
        places = {
            "layer": np.arange(len(layers)),
            "head": np.arange(n_heads),
            "record": windows.records,
            "query": self._queries(windows),
            "wave": list(windows.waves),
            "lag": np.arange(self.n_lags),
            "phase": (np.arange(self.n_phases) + 0.5) / self.n_phases,
            "rotation": np.arange(self.n_rotations) / self.n_rotations,
        }
        used = {axis for axes, _ in (sums | counts).values() for axis in axes}
        coords = {axis: place for axis, place in places.items() if axis in used}
        return xr.Dataset(sums | counts, coords=coords, attrs={"kind": windows.kind}).transpose("record", ...)

    def _queries(self, windows: Windows) -> list[str]:
        """The kinds of asking token that are told apart; of a twin all together, which is what is tested."""
        return list(measures.asked_kinds(windows.kind))[: 1 if self.is_twin else None]

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Shares, lifts, intervals, p- and q-values and what is concluded; see the module's first lines."""
        summary = _means(tally.sums)
        every = ("query", "wave", "layer", "head")
        low, high = ratio_interval(*_shares(tally.sums, ("query", "wave")))
        p_value = np.full(low.shape, np.nan)  # nothing is tested of asking tokens of one kind
        all_kinds = list(summary["query"].values).index("all")
        rotated = _shares(tally.sums, ("rotation", "wave"))
        p_value[all_kinds] = rotation_p_values(*rotated, seed=self.seed, n_permutations=self.n_permutations)
        tested = {"lift_low": low, "lift_high": high, "p_value": p_value, "q_value": q_values(p_value)}
        summary = summary.assign({name: (every, values) for name, values in tested.items()})
        other = beside(twins)
        own_low, twin_lows = _low(other.model or tally), [_low(twin) for twin in other.twins.values()]
        standing, reached = in_spreads(_logarithm(own_low), [_logarithm(low) for low in twin_lows], over="head")
        among = Among(standing, reached, _carriers((other.model or tally).sums).sel(query="all", drop=True))
        effect = (summary["lift"], summary["lift_low"], summary["lift_high"])
        summary = summary.assign(decide(ATTENDS, *effect, n_units=summary["n_records"], q_value=summary["q_value"], twins=among))
        summary["lift_low_on_twin_windows"] = own_low
        for name, models in (("twin", other.twins), ("initial", other.initial)):
            largest = np.stack([_largest_lift(model) for model in models.values()]) if models else np.empty((0, summary.sizes["wave"]))
            summary = summary.assign({f"{name}_lift": ((name, "wave"), largest)}).assign_coords({name: list(models)})
        summary = summary.assign_attrs(example_query=self.example_query)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """A lift of 2 and of 1.5 in one head at one wave, must be found; see `heartlens.trial`."""
        from heartlens.analyses.head_scan.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Lift maps by wave with each yes framed, phase profiles of the strongest heads, and one window under the strongest head."""
        from heartlens.analyses.head_scan.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """Which heads attend to which wave, in words."""
        from heartlens.analyses.head_scan.words import say

        return say(summary)


def _shares(sums: xr.Dataset, by: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Each record's share and even share by record, `by` (query or rotation, wave), layer and head; 0 where it has no such asking token."""
    n_asked, name = (sums["n_asked"].sel(query="all", drop=True), "rotated_share") if "rotation" in by else (sums["n_asked"], "share")
    share, even, asked = (_in_order(each, ("record", *by, "layer", "head")) for each in (sums[name], sums[f"even_{name}"], n_asked))
    per_token = np.divide(1.0, asked, out=np.zeros(asked.shape), where=asked > 0)
    return share * per_token, np.broadcast_to(even * per_token, share.shape)


def _in_order(array: xr.DataArray, axes: tuple[str, ...]) -> np.ndarray:
    """The values along `axes`, one long where the array lacks the axis (xarray's own alignment takes longer than twins' sums)."""
    values = array.transpose(*(axis for axis in axes if axis in array.dims)).values
    return values.reshape([array.sizes.get(axis, 1) for axis in axes])


def _mean_shares(sums: xr.Dataset, names: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """The means over records of shares and even shares, every record counting alike, and the lifts."""
    per_token = 1 / sums["n_asked"].where(sums["n_asked"] > 0)
    mean = {name: (sums[name] * per_token).mean("record") for name in chain(names, (f"even_{name}" for name in names))}
    for name in names:
        mean[name], mean[f"even_{name}"] = xr.broadcast(mean[name], mean[f"even_{name}"])
        mean[name.replace("share", "lift")] = mean[name] / mean[f"even_{name}"].where(mean[f"even_{name}"] > 0)
    return mean


def _means(sums: xr.Dataset) -> xr.Dataset:
    """The means over records of what was summed, every record counting alike, and the lifts."""
    mean = _mean_shares(sums, ("share", "share_by_lag", "share_by_phase"))
    per_token = 1 / sums["n_asked"].sel(query="all", drop=True).where(lambda n: n > 0)
    mean["auc"] = (sums["auc"] / sums["auc_windows"].where(sums["auc_windows"] > 0)).mean("record")
    mean |= {name: (sums[name] * per_token).mean("record") for name in ("sink_share", "effective_tokens")}
    mean["wave_by_phase"] = (sums["n_tokens"] / sums["n_tokens"].sum("phase").where(lambda n: n > 0)).mean("record")
    mean["n_records"] = _carriers(sums)
    summary = xr.Dataset(mean, attrs=sums.attrs).transpose("query", "wave", "layer", "head", ...)
    return summary.assign_attrs(n_records=sums.sizes["record"], n_windows=int(sums["n_windows"].sum()))


def _carriers(sums: xr.Dataset) -> xr.DataArray:
    """How many units have a wave and such asking tokens: (query, wave)."""
    return (sums["n_asked"] * (sums["even_share"].isel(layer=0, drop=True) > 0)).astype(bool).sum("record")


def _low(tally: Tally) -> xr.DataArray:
    """The lower bound of each head's lift: (wave, layer, head), of asking tokens of all kinds."""
    low, _ = ratio_interval(*_shares(tally.sums.sel(query=["all"]), ("query", "wave")))
    return xr.DataArray(low[0], dims=("wave", "layer", "head"), coords={"wave": tally.sums["wave"]})


def _logarithm(low: xr.DataArray) -> xr.DataArray:
    return low.copy(data=np.log(low.values))


def _largest_lift(twin: Tally) -> np.ndarray:
    """The largest lift any head of a twin has, by wave; NaN where the twin's windows have no such wave."""
    share, even = (each[:, 0].sum(axis=0) for each in _shares(twin.sums.sel(query=["all"]), ("query", "wave")))
    lift = np.divide(share, even, out=np.full(share.shape, -np.inf), where=even > 0).max(axis=(1, 2))
    return np.where(np.isfinite(lift), lift, np.nan)


def _over_even(keys: np.ndarray, even: np.ndarray) -> np.ndarray:
    """What each key receives over its even share; 0 where it has none."""
    return np.divide(keys, even, out=np.zeros_like(keys), where=even > 0)


def _over_asked(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The sum over asking tokens: (window, head, query) -> (window, head)."""
    return np.einsum("bhq,bq->bh", values, asked)
