"""Does attention look at similar points of earlier cycles, and does it broaden with depth? For every layer and head, in cycles.

`distance = position(query) - position(key)` in cycles; `lag = round(distance)`. `share_by_lag` is the part of a token's attention at each
lag, averaged over a record's asking tokens, then over records. `same_phase_share`: of the attention half a cycle back and further, the
part within `phase_width / 2` cycle of the asking token's own phase; its lift compares with attention spread evenly. What is concluded is
decided by `inference/verdict.py`, for every head and for every layer summed over its heads, against the rotated-phase null (the same width
around every other phase difference, record by record) and twins. Broadening has two parts: effective tokens (exp of a row's entropy) grow
with depth, by their slope over layers, and they grow at every step; both more than those of twins on the same windows, because the scale of
the weights alone gives a curve.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr

from heartlens.analyses.attention_cycles.summary import summary_of
from heartlens.analysis import Twinned, beside
from heartlens.axes import CONTEXT
from heartlens.findings import Findings
from heartlens.measures import cycles
from heartlens.options import check
from heartlens.parts import ATTENTION, MOVED
from heartlens.refusal import Refusal
from heartlens.tally import Tally, by_record, examples
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.engine import LayerSums
    from heartlens.models.subject import Subject
    from heartlens.trial import Trial

AXES_OF = {"share": ("head", "distance"), "effective_tokens": ("head",)}
OF_THE_MODEL_ALONE = {"cycles_top": ("head",), "cycles_bottom": ("head",), "sink_share": ("head",)}  # twins are not compared by these


@dataclass(frozen=True)
class AttentionCycles(Twinned):
    """The options of attention over prior cycles. `is_twin`: only what models are compared by."""

    weights: Annotated[
        Literal["attention", "value", "rollout"],
        "attention: as it is; value: times the norm of what the value moves; rollout: through all layers so far, heads averaged",
    ] = "attention"
    exclude_sink: Annotated[bool, "leave the sink out of shares and distances (never of sink-share and effective-tokens)"] = True
    sink_tokens: Annotated[int, "how many first tokens count as the sink"] = 1
    n_lags: Annotated[int, "cycles looked back, the present one included"] = 9
    phase_width: Annotated[float, "cycles around the asking token's phase that count as the same phase"] = 0.2
    asking_token: Annotated[int, "whose attention is drawn on the example, counted from 1 as in the paper"] = CONTEXT
    n_permutations: Annotated[int, "draws of the phase null"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 59
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 50
    seed: Annotated[int, "seed of twins and p-values"] = 0
    is_twin: bool = field(default=False, repr=False)
    at_once: ClassVar[int] = 8  # windows: no attention is stored

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"sink_tokens": (1, 100), "n_lags": (2, 50), "phase_width": (0.04, 0.92)}
        legal |= {"asking_token": (1, CONTEXT), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    @property
    def reads(self) -> str:
        """What is read of the model: attention alone, or times what values move."""
        return MOVED if self.weights == "value" else ATTENTION

    @property
    def half_width(self) -> int:
        """Bins to both sides of a phase difference that count as the same."""
        return int((self.phase_width * cycles.N_PER_CYCLE - 1) / 2 + 1e-9)

    def for_twins(self) -> "AttentionCycles":
        """The measurement of a twin, of which only shares and breadth are needed."""
        return replace(self, is_twin=True)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every head's attention by distance in cycles, on the sink, and its breadth."""
        from heartlens.models.subject import subject_of

        n_sink = self.sink_tokens if self.exclude_sink else 0
        is_asking, bins, even = _asked_of(windows.position.astype(float).tobytes(), self.n_lags, n_sink)
        layers, rows = [], []
        for sums in self._layers(subject_of(model), windows, bins, n_sink):
            by_window = {"share": sums.binned, "effective_tokens": _over_asked(np.exp(sums.entropy.astype(np.float64)), is_asking)}
            if not self.is_twin:
                top, bottom = cycles.looked_back(sums.reached, windows, is_asking)
                by_window |= {"cycles_top": top, "cycles_bottom": bottom, "sink_share": _over_asked(sums.first_share, is_asking)}
                rows.append(sums.rows[:, :, 0])
            layers.append({name: by_record(each, windows.record) for name, each in by_window.items()})
        tally = self._named(layers, by_record(even, windows.record), is_asking, windows)
        return Tally(
            tally, examples(windows, token_attention=(("layer", "head", "time"), np.stack(rows, axis=1))) if rows else xr.Dataset()
        )

    def _layers(self, subject: "Subject", windows: Windows, bins: np.ndarray, n_sink: int) -> Iterator["LayerSums"]:
        """Each layer's sums, of attention weighted as it is to be."""
        from heartlens.engine import Asked
        from heartlens.engine.protocol import sums_of_pattern

        asked = Asked(
            np.full(windows.tokens.shape, -1, np.int32),
            np.empty(0, np.int32),
            n_left_out=n_sink,
            n_first=self.sink_tokens,
            bins=bins,
            n_bins=cycles.n_bins(self.n_lags),
            coordinates=None if self.is_twin else cycles.coordinates(windows),
            rows=() if self.is_twin else (self.asking_token - 1,),
            by_value=self.weights == "value",
        )
        tokens = subject.tokens(windows.tokens)
        if self.weights != "rollout":
            yield from subject.engine.sums(tokens, asked)
            return
        rollout = None
        for layer in subject.engine.attention(tokens):
            rollout = cycles.rolled_out(layer.pattern, rollout)
            yield sums_of_pattern(rollout, asked, layer.layer)

    def _named(self, layers: list[dict[str, np.ndarray]], even_share: np.ndarray, is_asking: np.ndarray, windows: Windows) -> xr.Dataset:
        axes_of = AXES_OF if self.is_twin else AXES_OF | OF_THE_MODEL_ALONE
        sums = {name: (("layer", "record", *axes), np.stack([layer[name] for layer in layers])) for name, axes in axes_of.items()}
        counts = {
            "even_share": (("record", "distance"), even_share),
            "n_asked": (("record",), by_record(is_asking.sum(axis=-1), windows.record)),
            "n_windows": (("record",), by_record(np.ones(len(windows)), windows.record)),
        }
        places = {
            "layer": np.arange(len(layers)),
            "head": np.arange(layers[0]["effective_tokens"].shape[-1]),
            "record": windows.records,
            "distance": np.arange(cycles.n_bins(self.n_lags)) / cycles.N_PER_CYCLE,
        }
        return xr.Dataset(sums | counts, coords=places, attrs={"kind": windows.kind}).transpose("record", ...)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Shares by lag, same-phase lifts, breadth by layer, with intervals and verdicts; see the module's first lines."""
        if not float(tally.sums["n_asked"].sum()):
            raise Refusal("no token's place in the cycle is known; give records with landmarks, or --landmarks detected")
        summary = summary_of(tally.sums, beside(twins), self)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """Every rule is judged on models; the small trial counts fewer earlier cycles."""
        from heartlens.trial import Trial

        return Trial({"n_lags": 3})

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """One window under the attention of a token, lift by distance and layer, same-phase lift by head, and breadth by layer."""
        from heartlens.analyses.attention_cycles.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """What holds of both claims, in words."""
        from heartlens.analyses.attention_cycles.words import say

        return say(summary)


@lru_cache(maxsize=8)  # every twin is measured on the same windows
def _asked_of(positions: bytes, n_lags: int, n_sink: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which tokens ask, the bin of each of their keys, and even attention by bin: (window, query), (window, query, key), (window, bin)."""
    position = np.frombuffer(positions).reshape(-1, CONTEXT)
    is_asking = ~np.isnan(position) & (np.arange(CONTEXT) >= n_sink)
    bins = np.where(is_asking[:, :, None], cycles.distances(position, n_lags, n_sink), cycles.NOT_COUNTED).astype(np.int16)
    return is_asking, bins, cycles.even_by_distance(bins, n_lags, n_sink)


def _over_asked(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The sum over asking tokens: (window, head, query) -> (window, head)."""
    return np.einsum("bhq,bq->bh", values.astype(np.float64), asked)
