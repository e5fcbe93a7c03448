"""Do tokens of equal value (homonyms) come apart by cycle phase with depth? Level by level, against shuffled labels and random weights.

Pairs are two tokens of one window with equal values from different cycles. Two labels: `slope` (the signal rises or falls; the paper's) and
`phase` (which part of the cycle). `effect = cosine_within - cosine_between`, pairs of the same label against pairs of different ones, less
its mean when labels are shuffled within a value. Two claims for each label, decided by `inference/verdict.py` against these shuffles and
against twins on the same windows: homonyms come *apart* at a level (searched over levels), and the effect *grows* from the embedding to the
last block. Also silhouette, nearest-neighbour purity, and a linear probe trained on other records. Per-record ratios of sums, then their
mean over records. After HeartGPT, arXiv 2407.20775.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analyses.homonyms.means import growth, means, per_record, shuffle_p_values, with_interval
from heartlens.analyses.homonyms.sample import pictured, probed, sample_of
from heartlens.analysis import Beside, Twinned, beside
from heartlens.findings import Findings
from heartlens.inference.nulls import STRICT
from heartlens.inference.verdict import Among, Claim, decide
from heartlens.measures import homonyms as measures
from heartlens.measures.resample import q_values
from heartlens.options import check
from heartlens.tally import Tally, by_record
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

APART = Claim(
    "apart",
    "tokens of equal value come apart by the label at this level, more than shuffled labels, the spread between persons and twins explain",
    unit="cosine",
    smallest=0.02,
    family="all levels, of one label",
)
GROWS = Claim(
    "grows",
    "the effect grows from the embedding to the last block, more than that of twins",
    unit="cosine",
    smallest=0.02,
    family="one label",
    twin_alpha=STRICT,
)
TWIN_SHUFFLES = 5  # enough for the mean under shuffled labels
POSITION = "position alone"  # a level of the tally: the position embedding without tokens
Arrays = dict[str, np.ndarray]

AXES_OF: dict[str, tuple[str, ...]] = {  # every sum is kept by record; the other axes of each
    **dict.fromkeys(measures.COUNTED_BY, ("label", "level", "shuffle")),
    **dict.fromkeys(measures.COUNTED_BY.values(), ("label", "shuffle")),
    "cosine_random": ("level",),
    "n_random": (),
    "n_windows": (),
}


@dataclass(frozen=True)
class Homonyms(Twinned):
    """The options of a comparison of homonyms. `is_twin`: only what models are compared by."""

    vectors: Annotated[
        Literal["raw", "centred", "normed"],
        "raw: the residual stream, as published; centred: less its mean over the window; normed: as a LayerNorm without weights leaves it",
    ] = "raw"
    n_phases: Annotated[int, "parts of the cycle"] = 4
    flat_slope: Annotated[float, "least change from one token to the next, in token values, that is rising or falling; less is flat"] = 0.25
    n_shuffles: Annotated[int, "shuffles of the labels within a value, the unshuffled one included"] = 20
    n_sampled: Annotated[int, "tokens kept for the probe and the picture (0: neither is made)"] = 3000
    n_permutations: Annotated[int, "draws of the shuffle null"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 59
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 24
    plane: Annotated[Literal["pca", "tsne"], "the picture of one value's tokens: principal components, or t-SNE of near neighbours"] = "pca"
    seed: Annotated[int, "seed of shuffles, twins, intervals, p-values and t-SNE"] = 0
    is_twin: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"n_phases": (2, 20), "flat_slope": (0, 50), "n_shuffles": (2, 200)}
        legal |= {"n_sampled": (0, 100_000), "n_permutations": (99, 999_999), "n_twins": (0, 10_000)}
        check(self, legal | {"twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    def for_twins(self) -> "Homonyms":
        """The measurement of a twin, of which only the effect is needed: cosines alone, fewer shuffles, and no token is kept."""
        return replace(self, n_shuffles=min(self.n_shuffles, TWIN_SHUFFLES), n_sampled=0, is_twin=True)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of cosines, silhouettes and purity by level, label and shuffle; and a sample of tokens."""
        from heartlens.models.residual import level_names, position_embedding, residual_by_level
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        vectors = self._seen(residual_by_level(subject, windows.tokens))
        position = self._seen(position_embedding(subject, windows.tokens.shape[1])[None, None])
        labels = measures.labels(windows, n_phases=self.n_phases, flat=self.flat_slope)
        unit = [measures.of_unit_length(np.concatenate([vectors[:, index], position[:, 0]])) for index in range(len(windows))]
        sums = [
            self._window(unit[index], windows[index : index + 1], [label[index] for label in labels.values()])
            for index in range(len(windows))
        ]
        names = level_names(subject.sizes.n_layers)
        return Tally(self._named(sums, [*names, POSITION], windows), sample_of(windows, vectors, labels, names, self.n_sampled))

    def _seen(self, vectors: Float[np.ndarray, "level window time d_model"]) -> Float[np.ndarray, "level window time d_model"]:
        """The vectors as `vectors` asks for them."""
        if self.vectors == "raw":
            return vectors
        axis = -1 if self.vectors == "normed" else -2
        centred = vectors - vectors.mean(axis=axis, keepdims=True)
        return centred if self.vectors == "centred" else centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)

    def _window(self, unit: measures.Vectors, window: Windows, labels: list[np.ndarray]) -> Arrays:
        """One window's sums: (label, level, shuffle), the numbers (label, shuffle)."""
        token, cycle = window.tokens[0], window.cycle[0]
        labelled = (token.tobytes(), cycle.astype(int).tobytes(), np.stack(labels).astype(np.int8).tobytes())
        drawn = (*labelled, self.n_shuffles, self.seed, str(window.identity[0]))
        if self.is_twin:
            of_labels = [measures.cosine_sums(unit, groups) for groups in _groups(*drawn)]
        else:
            pairs = [measures.paired(token, cycle, label) for label in labels]
            of_labels = [measures.pair_sums(unit, of_label, shuffled) for of_label, shuffled in zip(pairs, _shuffled(*drawn), strict=True)]
        cosine, n_pairs = measures.apart_sums(unit, cycle)
        sums = {name: np.stack([of_label[name] for of_label in of_labels]) for name in of_labels[0]}
        return sums | {"cosine_random": cosine, "n_random": np.array(n_pairs), "n_windows": np.array(1)}

    def _named(self, sums: list[Arrays], levels: list[str], windows: Windows) -> xr.Dataset:
        """The sums under their axes."""
        summed = {
            name: (("record", *axes), by_record(np.stack([of_window[name] for of_window in sums]), windows.record))
            for name, axes in AXES_OF.items()
            if name in sums[0]
        }
        places = {"record": windows.records, "level": levels, "label": list(measures.LABELS), "shuffle": np.arange(self.n_shuffles)}
        return xr.Dataset(summed, coords=places, attrs={"kind": windows.kind})

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Means over records with intervals and nulls, the effect with its p- and q-values, its growth, and both claims decided."""
        ratios = per_record(tally.sums)
        levels = ratios.sel(level=[level for level in ratios["level"].values if level != POSITION])
        summary = means(levels).assign(growth(levels["effect"].isel(shuffle=0, drop=True)))
        alone = ratios.sel(level=POSITION, drop=True).isel(shuffle=0, drop=True).mean("record")
        summary = summary.assign({f"position_{name}": alone[name] for name in (*measures.COUNTED_BY, "effect")})
        summary = self._decided(summary, levels["effect"], beside(twins))
        probe = probed(tally.sample, summary, self.n_shuffles, self.seed)
        summary = xr.merge([summary, probe, pictured(tally.sample, self.plane, self.seed)], join="exact", combine_attrs="override")
        counts = {"n_records": tally.sums.sizes["record"], "n_windows": int(tally.sums["n_windows"].sum())}
        return summary.assign_attrs(tally.sums.attrs | counts)

    def _decided(self, summary: xr.Dataset, effect: xr.DataArray, other: Beside) -> xr.Dataset:
        """The summary with p- and q-values, the twins' effects, and both claims decided for each label."""
        p_value = shuffle_p_values(effect, self.seed, self.n_permutations)
        q_value = np.stack([q_values(of_label) for of_label in p_value.T], axis=1)
        summary = summary.assign({"p_value": (("level", "label"), p_value), "q_value": (("level", "label"), q_value)})
        levels, n_units = summary["level"], summary["records_with_pairs"]
        twins = [_observed(twin.sums, levels) for twin in other.twins.values()]
        model = _observed(other.model.sums, levels) if other.model else effect.isel(shuffle=0, drop=True)
        n_model_units = model.isel(level=0, drop=True).notnull().sum("record")
        decided = []
        for label in summary["label"].values:
            at = summary.sel(label=label)
            apart, grows = ([each(twin.sel(label=label)) for twin in (model, *twins)] for each in (_apart_low, _growth_low))
            for claim, name, (model_low, *twin_lows), q in ((APART, "effect", apart, at["q_value"]), (GROWS, "growth", grows, None)):
                largest = xr.DataArray(np.array([float(low.max()) for low in twin_lows], float), dims="twin")
                among = Among(model_low, largest, n_model_units.sel(label=label))
                value, low, high = (at[f"{name}{end}"] for end in ("", "_low", "_high"))
                decided.append(
                    decide(claim, value, low, high, n_units=n_units.sel(label=label), q_value=q, twins=among).expand_dims(label=[label])
                )
        answers = xr.merge(decided, join="outer", compat="no_conflicts", combine_attrs="override")
        by_twin = [twin.mean("record") for twin in twins]
        twin_effect = xr.concat(by_twin, dim="twin") if twins else xr.zeros_like(summary["effect"]).expand_dims(twin=0)
        return summary.assign(answers.data_vars).assign(twin_effect=twin_effect).assign_coords(twin=list(other.twins))

    def trial(self) -> "Trial":
        """Every rule is judged on models; the small trial shuffles less and keeps no tokens."""
        from heartlens.trial import Trial

        return Trial({"n_shuffles": 3, "n_sampled": 0, "twin_windows": 8})

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Cosines by level, silhouette, purity and probe by level, and the sampled homonyms in the plane of their main components."""
        from heartlens.analyses.homonyms.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """At which levels homonyms come apart, in words."""
        from heartlens.analyses.homonyms.words import say

        return say(summary)


@lru_cache(maxsize=256)  # every twin is measured on the same windows
def _shuffled(tokens: bytes, cycles: bytes, labels: bytes, n_shuffles: int, seed: int, identity: str) -> list[np.ndarray]:
    """Of each kind of label of one window: the labels, shuffled."""
    token, cycle, rng = np.frombuffer(tokens, np.uint8), np.frombuffer(cycles, int), np.random.default_rng([seed, int(identity, 16)])
    by_kind = np.frombuffer(labels, np.int8).reshape(-1, len(token))
    return [measures.shuffled(token, cycle, label, n_shuffles, rng) for label in by_kind]


@lru_cache(maxsize=256)
def _groups(tokens: bytes, cycles: bytes, *drawn: Any) -> list[measures.Groups]:
    """Of each kind of label of one window: the sets of tokens whose cosines are summed."""
    token, cycle = np.frombuffer(tokens, np.uint8), np.frombuffer(cycles, int)
    return [measures.groups_of(token, cycle, labels) for labels in _shuffled(tokens, cycles, *drawn)]


def _observed(sums: xr.Dataset, levels: xr.DataArray) -> xr.DataArray:
    """Each record's effect under its own labels: (record, level, label)."""
    return per_record(sums)["effect"].isel(shuffle=0, drop=True).sel(level=levels).transpose("record", "level", "label")


def _apart_low(effect: xr.DataArray) -> xr.DataArray:
    """The lower bound of a label's effect by level."""
    return with_interval("effect", effect)["effect_low"]


def _growth_low(effect: xr.DataArray) -> xr.DataArray:
    """The lower bound of the growth of a label's effect from the embedding to the last block."""
    return with_interval("growth", effect.isel(level=-1, drop=True) - effect.isel(level=0, drop=True))["growth_low"]
