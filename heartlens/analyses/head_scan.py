"""Which heads attend to which wave? For every layer and head, the attention that falls on each wave against what even attention gives.

`share` is the part of an asking token's attention that falls on a wave, averaged over a record's asking tokens, then over records;
`even_share` the same for attention spread evenly over the tokens causality allows; `lift = share / even_share`. A head *survives* at a
wave if its lift holds against the phase null (all wave labels rotated within the cycle, record by record; q < 0.05 by Benjamini-Hochberg
over heads x waves) and the lower bound of its 95 % interval over records exceeds `null_high`: the 95 % quantile, over weight-randomised
twins, of the largest lift any of a twin's heads has for that wave. Random models have significant "P-wave heads" too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import xarray as xr

from heartlens.analysis import Twinned
from heartlens.axes import CONTEXT
from heartlens.findings import Findings
from heartlens.measures import attention as measures
from heartlens.measures.resample import interval_over_records, q_values, rotation_p_values, upper_quantile
from heartlens.options import check
from heartlens.signals.fine import fine_waves
from heartlens.tally import Tally, by_record
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

ALPHA = 0.05
N_DIGITS = 5  # of a key's lift: beyond these float32 rounds, and rounding must not rank keys
Arrays = dict[str, np.ndarray]

AXES_OF = {  # every sum is kept by layer and record; the other axes of each
    "share": ("query", "wave", "rotation", "head"),
    "even_share": ("query", "wave", "rotation"),
    "share_by_lag": ("query", "wave", "lag", "head"),
    "even_share_by_lag": ("query", "wave", "lag"),
    "share_by_phase": ("query", "phase", "head"),
    "even_share_by_phase": ("query", "phase"),
    "auc": ("query", "wave", "head"),
    "auc_windows": ("query", "wave"),
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
    n_twins: Annotated[int, "weight-randomised twins, half random, half shuffled"] = 20
    twin_windows: Annotated[int, "windows each twin is scanned on"] = 8
    seed: Annotated[int, "seed of twins, intervals and p-values"] = 0

    def __post_init__(self) -> None:
        legal = {"sink_tokens": (1, 100), "n_lags": (1, 50), "n_phases": (2, 100), "n_rotations": (1, 200), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    @property
    def example_query(self) -> str:
        """Whose attention is drawn on the example: the last token's, or in the published variant the column mean, as in the paper."""
        return "last" if self.variant == "causal" else "all"

    def for_twins(self) -> "HeadScan":
        """The scan of a twin, of which only the lift is needed: no label is rotated."""
        return replace(self, n_rotations=1)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every head's attention by wave, rotation, lag and phase."""
        from heartlens.models.attention import attention_by_layer

        windows = fine_waves(windows) if self.fine else windows
        n_sink = self.sink_tokens if self.exclude_sink else 0
        known = measures.labels(windows, n_rotations=self.n_rotations, n_phases=self.n_phases, n_sink=n_sink)
        evens = {
            is_causal: self._fallen(measures.even_pattern(CONTEXT, is_causal), known) for is_causal in {True, self.variant == "causal"}
        }
        layers, lifts = [], []
        for here in attention_by_layer(model, windows.tokens, last_block_unmasked=self.variant == "published"):
            even = evens[self.variant == "causal" or here.layer < model.cfg.n_layers - 1]
            sums, lift = self._layer(here, even, known, windows)
            layers.append({name: by_record(values, windows.record) for name, values in sums.items()})
            lifts.append(lift)
        return Tally(self._named(layers, known, windows), _example(windows, np.stack(lifts, axis=1)))

    def _fallen(self, pattern: measures.Pattern, known: measures.Labels) -> Arrays:
        """Where a pattern falls: by wave, lag and phase; and what each key receives."""
        if self.exclude_sink:
            pattern = measures.without_sink(pattern, self.sink_tokens)
        keys = measures.received(pattern, known)
        return {
            "share": measures.on_waves(keys, known),
            "share_by_lag": measures.by_lag(np.broadcast_to(pattern, (len(keys), *pattern.shape[1:])), known, self.n_lags),
            "share_by_phase": measures.by_phase(keys, known),
            "keys": keys,
        }

    def _layer(self, here: Any, even: Arrays, known: measures.Labels, windows: Windows) -> tuple[Arrays, np.ndarray]:
        """One layer's sums by window, and each key's lift for the example: what it receives over its even share."""
        fallen = self._fallen(here.pattern, known)
        asked = known.asked[:, 0].astype(bool)
        usable = (even["keys"][:, 0] > 0) & ~np.isnan(windows.position)[:, None]
        relative = np.divide(fallen["keys"], even["keys"], out=np.zeros_like(fallen["keys"]), where=even["keys"] > 0)
        auc = measures.rank_auc(relative.round(N_DIGITS), known.rotated[:, 0] > 0, usable)
        sums = {name: fallen[name] for name in ("share", "share_by_lag", "share_by_phase")}
        sums |= {f"even_{name}": even[name][..., 0] for name in tuple(sums)}
        sums |= {
            "auc": np.nan_to_num(auc),
            "auc_windows": (~np.isnan(auc[..., 0])).astype(float),
            "sink_share": _over_asked(here.pattern[..., : self.sink_tokens].sum(axis=-1, dtype=np.float64), asked),
            "effective_tokens": _over_asked(np.exp(here.entropy.astype(np.float64)), asked),
        }
        return sums, relative[:, :, list(measures.asked_kinds(windows.kind)).index(self.example_query)]

    def _named(self, layers: list[Arrays], known: measures.Labels, windows: Windows) -> xr.Dataset:
        """The sums under their axes."""
        sums = {name: (("layer", "record", *axes), np.stack([layer[name] for layer in layers])) for name, axes in AXES_OF.items()}
        counts = {
            "n_windows": (("record",), by_record(np.ones(len(windows)), windows.record)),
            "n_asked": (("record", "query"), by_record(known.asked.sum(axis=-1), windows.record)),
            "n_tokens": (("record", "wave", "phase"), by_record(known.rotated[:, 0] @ known.phased.swapaxes(1, 2), windows.record)),
        }
        places = {
            "layer": np.arange(len(layers)),
            "head": np.arange(layers[0]["sink_share"].shape[-1]),
            "record": windows.records,
            "query": list(measures.asked_kinds(windows.kind)),
            "wave": list(windows.waves),
            "lag": np.arange(self.n_lags),
            "phase": (np.arange(self.n_phases) + 0.5) / self.n_phases,
            "rotation": np.arange(self.n_rotations) / self.n_rotations,
        }
        return xr.Dataset(sums | counts, coords=places, attrs={"kind": windows.kind}).transpose("record", ...)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Shares, lifts, intervals, p- and q-values and what survives; see the module's first lines."""
        top, bottom = _shares(tally.sums)
        summary = _means(tally.sums)
        low, high = interval_over_records(top[:, 0], bottom[:, 0], seed=self.seed)
        p_value = rotation_p_values(top, bottom, seed=self.seed, n_permutations=self.n_permutations)
        largest = np.stack([_largest_lift(twin) for twin in twins.values()]) if twins else np.empty((0, *p_value.shape[:2]))
        null_high = np.broadcast_to(upper_quantile(largest)[..., None, None], p_value.shape)
        q_value = np.stack([q_values(one) for one in p_value])
        every = ("query", "wave", "layer", "head")
        tested = {"lift_low": low, "lift_high": high, "p_value": p_value, "q_value": q_value, "null_high": null_high.copy()}
        summary = summary.assign({name: (every, values) for name, values in tested.items()})
        summary["survives"] = (summary.q_value < ALPHA) & (summary.lift_low > summary.null_high)
        summary["twin_lift"] = (("twin", "query", "wave"), largest)
        summary = summary.assign_attrs(example_query=self.example_query)
        return xr.merge([summary.assign_coords(twin=list(twins)), tally.sample], join="exact", combine_attrs="override")

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Lift maps by wave with what survives marked, phase profiles of the strongest heads, and one window under the strongest head."""
        from heartlens.analyses.head_scan_figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """Which heads survive, in words."""
        from heartlens.analyses.head_scan_words import say

        return say(summary)


def _shares(sums: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Each record's share and even share: (record, rotation, query, wave, layer, head), 0 where the record has no such asking token."""
    axes = ("record", "rotation", "query", "wave", "layer", "head")
    per_token = 1 / sums["n_asked"].where(sums["n_asked"] > 0)
    share, even = xr.broadcast(sums["share"] * per_token, sums["even_share"] * per_token)
    return share.fillna(0).transpose(*axes).values, even.fillna(0).transpose(*axes).values


def _means(sums: xr.Dataset) -> xr.Dataset:
    """The means over records of what was summed, every record counting alike, and the lifts."""
    per_token = 1 / sums["n_asked"].where(sums["n_asked"] > 0)
    sums = sums.isel(rotation=0, drop=True)
    falls = ("share", "share_by_lag", "share_by_phase")
    mean = {name: (sums[name] * per_token).mean("record") for name in chain(falls, (f"even_{name}" for name in falls))}
    for name in falls:
        mean[name], mean[f"even_{name}"] = xr.broadcast(mean[name], mean[f"even_{name}"])
        mean[name.replace("share", "lift")] = mean[name] / mean[f"even_{name}"].where(mean[f"even_{name}"] > 0)
    mean["auc"] = (sums["auc"] / sums["auc_windows"].where(sums["auc_windows"] > 0)).mean("record")
    mean |= {name: (sums[name] * per_token.sel(query="all", drop=True)).mean("record") for name in ("sink_share", "effective_tokens")}
    mean["wave_by_phase"] = (sums["n_tokens"] / sums["n_tokens"].sum("phase").where(lambda n: n > 0)).mean("record")
    mean["n_records"] = (sums["n_asked"] * (sums["even_share"].isel(layer=0) > 0)).astype(bool).sum("record")
    summary = xr.Dataset(mean, attrs=sums.attrs).transpose("query", "wave", "layer", "head", ...)
    return summary.assign_attrs(n_records=sums.sizes["record"], n_windows=int(sums["n_windows"].sum()))


def _largest_lift(twin: Tally) -> np.ndarray:
    """The largest lift any head of a twin has, by query and wave; NaN where the twin's windows have no such wave."""
    return _means(twin.sums)["lift"].max(("layer", "head")).transpose("query", "wave").values


def _over_asked(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The sum over asking tokens: (window, head, query) -> (window, head)."""
    return np.einsum("bhq,bq->bh", values, asked)


def _example(windows: Windows, lift: np.ndarray) -> xr.Dataset:
    """The window of smallest identity with each key's lift under every head, to be drawn."""
    first = int(np.argmin(windows.identity))
    return xr.Dataset(
        {
            "token": (("example", "time"), windows.tokens[[first]]),
            "token_wave": (("example", "time"), windows.wave[[first]]),
            "token_lift": (("example", "layer", "head", "time"), lift[[first]].astype(np.float32)),
            "identity": (("example",), windows.identity[[first]]),
            "example_record": (("example",), windows.record[[first]]),
            "example_start_s": (("example",), windows.start_s[[first]]),
        }
    )


if __name__ == "__main__":
    from heartlens.cli import main

    main(__spec__.name)
