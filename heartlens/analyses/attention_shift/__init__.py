"""What does fine-tuning change? The attention of a fine-tuned model minus its base's, signed, and what the moved attention falls on.

`shift` is the change of the part of a row that falls on a wave: the last token's row, or the mean of all asking tokens' rows; mean over a
record's windows, then over records. `gained = sum of the positive changes` of a row, `lost` that of the negative ones (equal, as rows sum
to 1). `effect` is the change on cycles with a feature minus that on cycles without it, in even shares (`measures/shift.py`), freed from
recency. Features: `irregular` (interval off its neighbours, `measures/irregularity.py`) and, in the ECG, `no_p`. What is concluded is
decided by `inference/verdict.py`, for every head that changed and for every layer's mean over heads, as in the paper's figure: against a
null (shifts: rotated wave labels; effects: shuffled cycles) and against twins, the base with its weights changed at random as much.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr

from heartlens.analyses.attention_shift.sums import EDGES, FEATURES, asked, keys_of, mean_row, of_keys, of_layer, of_windows
from heartlens.analysis import Twinned, beside
from heartlens.axes import CONTEXT
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.parts import ATTENTION
from heartlens.tally import Tally, by_record, examples
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.engine.protocol import Start
    from heartlens.trial import Trial

PARTS = ("Q", "K", "V", "O")
N_EXAMPLES = 8  # windows kept whole
Arrays = dict[str, np.ndarray]

AXES_OF = {  # every sum is kept by record; the other axes of each
    "base_share": ("layer", "wave", "head"),
    "shift": ("layer", "wave", "rotation", "head"),
    "gained": ("layer", "head"),
    "lost": ("layer", "head"),
    "sink_shift": ("layer", "head"),
    "shift_by_irregularity": ("layer", "irregularity", "head"),
    "shift_by_lag": ("layer", "lag", "head"),
    "contrast": ("layer", "feature", "shuffle", "head"),
    "even_share": ("wave",),
    "even_by_irregularity": ("irregularity",),
    "n_tokens": ("irregularity",),
    "even_by_lag": ("lag",),
    "even_contrast": ("feature", "shuffle", "lag"),
    "n_contrast": ("feature",),
    "total_irregularity": (),
    "n_cycles": (),
    "n_rows": (),
    "n_windows": (),
    "weight_change": ("layer", "head", "part"),
    "tensor_change": ("tensor",),
}


@dataclass(frozen=True)
class AttentionShift(Twinned):
    """The options of an attention shift."""

    base: Annotated[str, "the base checkpoint: a name or a file; auto: what the registry or the model card says"] = "auto"
    row: Annotated[
        Literal["auto", "last", "all"],
        "who asks: the last token, or all whose cycle is known; auto: last for a task head that reads it, else all",
    ] = "auto"
    interval: Annotated[Literal["before", "after"], "a beat is as irregular as the interval before it, or after it"] = "before"
    irregular_from: Annotated[
        float, "a beat is irregular if its irregularity is above this and above its window's median (0: above the median)"
    ] = 0.1
    n_lags: Annotated[int, "cycles looked back, the window's last one included; farther ones count as the last"] = 16
    n_rotations: Annotated[int, "rotations of the wave labels in the null of the waves, the unrotated one included"] = 20
    n_shuffles: Annotated[int, "shuffles of a window's cycles in the null of the features, the unshuffled one included"] = 20
    n_permutations: Annotated[int, "draws of both nulls"] = 9999
    n_twins: Annotated[int, "twins: the base, changed at random as much as fine-tuning changed it"] = 59
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 50
    seed: Annotated[int, "seed of twins and p-values"] = 0

    n_initial: ClassVar[int] = 0
    at_once: ClassVar[int] = 6  # windows: where all tokens ask, 50 MB of attention for each of two models and their difference
    reads: ClassVar[str] = ATTENTION

    def __post_init__(self) -> None:
        legal = {"n_lags": (2, 50), "n_rotations": (1, 200), "n_shuffles": (1, 1000), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31), "irregular_from": (0, 10)})

    def for_twins(self) -> "AttentionShift":
        """The measurement of a twin, of which only the observed values are needed: nothing is rotated or shuffled."""
        return replace(self, n_rotations=1, n_shuffles=1)

    def twins(self, subject: Any) -> Iterable[tuple[str, Any]]:
        """The base, its changed tensors moved at random as far as fine-tuning moved them."""
        from heartlens.models.changes import base_beside
        from heartlens.models.nulls.perturbed import perturbed

        base = base_beside(subject, self.base)
        return ((name, subject.beside(twin)) for name, twin in perturbed(subject.weights, base.weights, self.n_twins, self.seed))

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of the changes of every head's attention, and how much its weights changed."""
        from heartlens.models.changes import base_beside, head_changes, n_alike, tensor_changes
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        base, row = base_beside(subject, self.base), self._row(subject)
        asks = asked(windows, row)
        keys = keys_of(windows, asks, self.interval, self.irregular_from, self.n_rotations, self.n_shuffles, self.n_lags)
        n_rows, first = asks.shape[1], n_alike(subject, base)
        of_base = (base.weights, base.engine.name, windows.tokens.tobytes(), asks.tobytes(), n_rows, first)
        alike, start = _alike(*of_base) if first else ([], None)  # without one, each embeds its tokens itself
        moved = [np.zeros_like(rows) for rows in alike]
        layers = [of_layer(np.zeros((*rows.shape[:2], n_rows, 1)), none, rows, asks, keys) for rows, none in zip(alike, moved, strict=True)]
        patterns = (each.engine.attention(subject.tokens(windows.tokens), n_rows=n_rows, start=start) for each in (subject, base))
        for tuned, before in zip(*patterns, strict=True):
            change = tuned.pattern - before.pattern
            moved.append(mean_row(change, asks))
            layers.append(of_layer(change, moved[-1], mean_row(before.pattern, asks), asks, keys))
        sums = {name: np.stack([layer[name] for layer in layers], axis=1) for name in layers[0]} | of_windows(keys, asks)
        tensors = tensor_changes(subject.weights, base.weights)
        weights = {"weight_change": head_changes(subject.weights, base.weights), "tensor_change": np.array(list(tensors.values()))}
        sums |= {name: np.broadcast_to(value, (len(windows), *value.shape)) for name, value in weights.items()}
        named = self._named({name: by_record(value, windows.record) for name, value in sums.items()}, windows, list(tensors))
        named = named.assign_attrs(
            kind=windows.kind, row=row, base_checkpoint=base.origin.checkpoint, base_fingerprint=base.origin.fingerprint
        )
        change = np.stack(moved, axis=1)
        return Tally(
            named,
            examples(
                windows,
                N_EXAMPLES,
                token_irregularity=(("time",), of_keys(keys.irregularity, windows.cycle)),
                row_shift=(("layer", "time"), change.mean(axis=2)),  # as the paper draws it: the mean over heads
                row_shift_by_head=(("layer", "head", "time"), change),
            ),
        )

    def _row(self, subject: Any) -> str:
        """Which tokens ask: the last one where a task head reads only that, otherwise all."""
        head, task = subject.head, subject.origin.task
        reads_last = head.reads == "last" if head else task is not None and "beat" not in task
        return self.row if self.row != "auto" else "last" if reads_last else "all"

    def _named(self, sums: Arrays, windows: Windows, tensors: list[str]) -> xr.Dataset:
        """The sums under their axes."""
        n_layers, n_heads = sums["gained"].shape[1:]
        places = {
            "layer": np.arange(n_layers),
            "head": np.arange(n_heads),
            "record": windows.records,
            "wave": list(windows.waves),
            "rotation": np.arange(self.n_rotations) / self.n_rotations,
            "irregularity": list(EDGES),
            "lag": np.arange(self.n_lags),
            "feature": list(FEATURES[windows.kind]),
            "shuffle": np.arange(self.n_shuffles),
            "part": list(PARTS),
            "tensor": tensors,
        }
        return xr.Dataset({name: (("record", *AXES_OF[name]), sums[name]) for name in AXES_OF}, coords=places)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Shifts, effects, intervals, p- and q-values and verdicts; see the module's first lines."""
        from heartlens.analyses.attention_shift.summary import summarized

        summary = summarized(tally.sums, beside(twins), self.seed, self.n_permutations)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """Judged are the base's changes at random, on persons in fibrillation, whose cycles differ in length."""
        from heartlens.trial import Trial

        return Trial({"n_twins": 19, "n_rotations": 10, "n_shuffles": 10, "n_lags": 4}, needs="fine-tuned", rhythm="af")

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Where weights and attention changed, on which waves and on which cycles it falls, and one window."""
        from heartlens.analyses.attention_shift.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """What changed and where attention went, in words."""
        from heartlens.analyses.attention_shift.words import say

        return say(summary)


@lru_cache(maxsize=32)  # every twin is compared with the same base on the same windows
def _alike(base: Any, engine: str, tokens: bytes, asks: bytes, n_rows: int, n_alike: int) -> tuple[list[np.ndarray], "Start"]:
    """Of the first blocks, alike in model and base: the mean row of attention of each, (window, head, key), and the stream after them."""
    from heartlens.models.subject import subject_of

    subject, asking = subject_of(base, engine), np.frombuffer(asks).reshape(-1, n_rows)
    numbers = subject.tokens(np.frombuffer(tokens, np.uint8).reshape(-1, CONTEXT))
    layers = islice(subject.engine.attention(numbers, n_rows=n_rows), n_alike)
    rows = [mean_row(layer.pattern, asking) for layer in layers]
    return rows, (n_alike, subject.engine.run_blocks(subject.engine.embed(numbers), 0, n_alike))
