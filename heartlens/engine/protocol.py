"""What analyses ask of whatever runs a model: the sizes, the parts of a block, attention and its sums, outputs.

An engine keeps nothing of the weights between two calls: weights that were changed in place (by a twin, by the user, by TransformerLens'
weight processing) are always the ones that answer. Three engines give the same numbers, up to rounding:

`fused`: the kernel of `kernels.py` on the CPU, float32. `torch`: torch alone, any device and precision. `hooked`: the model's own blocks,
so that the user's hooks act; the reference. What an engine does not compute exactly it refuses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16, Int32, Integer
from torch import Tensor

from heartlens.refusal import Refusal

Tokens = Integer[Tensor, "window time"]
Stream = Float[Tensor, "window time d_model"]
Mixed = Float[Tensor, "window query head d_head"]
Heads = Float[Tensor, "window head time d_head"]
Pattern = Float[np.ndarray, "window head row key"]
Start = tuple[int, Stream]  # a block, counted from 0, and the stream before it

SIZES = ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab", "d_vocab_out")


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model, named as in TransformerLens' configuration."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    d_vocab: int
    d_vocab_out: int

    @classmethod
    def of(cls, cfg: Any) -> "Sizes":
        """The sizes in a configuration."""
        return cls(*(int(getattr(cfg, name)) for name in SIZES))


@dataclass(frozen=True)
class Parts:
    """What a block computes: what its heads mix (before their output weights), and the stream after its attention and after its MLP."""

    z: Mixed
    mid: Stream
    post: Stream


@dataclass(frozen=True)
class Asked:
    """Which sums of attention are wanted. Every row is a token that asks (query), every column a token that is attended to (key).

    `group`: the group of each asking token; -1: its attention is not summed. `column_of`: to which column sums each group adds (several
    may share one; runs of keys are summed for each group apart). `n_left_out`: so many first keys (the sink) are left out of
    `columns`, `binned` and `reached`, each row scaled to sum to 1 without them. `n_first`: how many first keys `first_share` adds up.
    `runs`: where each run of keys begins, and where the key after its last one is.
    `bins`: the bin of each pair of tokens, -1: not counted. `coordinates`: numbers of keys whose mean under each row is wanted. `rows`: the
    asking tokens whose rows are wanted whole. `by_value`: weights times the norm of what each key's value moves into the stream (Kobayashi
    et al. 2020), each row scaled to sum to 1, in the place of attention, for all sums. `entropy`: whether that of the rows is wanted.
    """

    group: Int32[np.ndarray, "window query"]
    column_of: Int32[np.ndarray, " group"]
    runs: Int32[np.ndarray, "window run 2"] | None = None
    n_left_out: int = 0
    n_first: int = 1
    bins: Int16[np.ndarray, "window query key"] | None = None
    n_bins: int = 0
    coordinates: Float32[np.ndarray, "window coordinate key"] | None = None
    rows: tuple[int, ...] = ()
    by_value: bool = False
    entropy: bool = True

    def __post_init__(self) -> None:
        n_time, nothing = self.group.shape[1], np.zeros((0, 2), int)
        bins, runs = (nothing if each is None else each for each in (self.bins, self.runs))
        if self.group.max(initial=-1) >= self.n_groups or bins.max(initial=-1) >= self.n_bins:
            raise Refusal(f"a group or bin is beyond those that are counted; legal: groups below {self.n_groups}, bins below {self.n_bins}")
        if runs.min(initial=0) < 0 or runs.max(initial=0) > n_time or (np.diff(runs) < 0).any():
            raise Refusal(f"a run of keys ends before it begins, or lies beyond 0 to {n_time}")
        if any(not -n_time <= row < n_time for row in self.rows):
            raise Refusal(f"rows {self.rows} are not all there; legal: those of {n_time} tokens")

    @property
    def n_groups(self) -> int:
        return len(self.column_of)

    @property
    def n_columns(self) -> int:
        return int(self.column_of.max(initial=-1)) + 1

    def of(self, windows: slice) -> "Asked":
        """The same for some of the windows."""
        runs, bins, coordinates = (None if each is None else each[windows] for each in (self.runs, self.bins, self.coordinates))
        return replace(self, group=self.group[windows], runs=runs, bins=bins, coordinates=coordinates)


@dataclass(frozen=True)
class LayerSums:
    """The sums of one layer's attention: see `Asked`.

    `columns`: the attention that each key receives from each column's groups; `on_runs`: what each run of keys receives from each group.
    `entropy`: of each row, in nats (NaN where it was not asked for). `first_share`: each row's attention on the first keys. `binned`: the
    sum over pairs of a bin. `reached`: each row's weighted mean of the coordinates. `rows`: rows whole.
    """

    layer: int
    columns: Float[np.ndarray, "window head column key"]
    on_runs: Float[np.ndarray, "window head group run"]
    entropy: Float[np.ndarray, "window head query"]
    first_share: Float[np.ndarray, "window head query"]
    binned: Float[np.ndarray, "window head bin"]
    reached: Float[np.ndarray, "window head query coordinate"]
    rows: Float[np.ndarray, "window head row key"]


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention, its last rows or all."""

    layer: int
    pattern: Pattern


@runtime_checkable
class Engine(Protocol):
    """Streams are tensors on `device` in `dtype`; sums and patterns are arrays. `name` goes into the provenance."""

    name: str
    model: Any
    sizes: Sizes

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The model's precision now."""
        ...

    def embed(self, tokens: Tokens) -> Stream:
        """The stream before the first block. Refuses a model that this engine does not compute exactly."""
        ...

    def parts(self, x: Stream, layer: int) -> Parts:
        """The parts of a block on the stream `x` before it."""
        ...

    def mixed(self, x: Stream, layer: int) -> Mixed:
        """What each head of a block mixes from the stream `x` before it."""
        ...

    def attended(self, x: Stream, layer: int, changed: Stream, reader: str, head: int) -> Float[Tensor, "window query d_head"]:
        """What one head mixes where its query, key or value (`reader`: Q, K or V) alone is read from `changed`, the rest from `x`."""
        ...

    def attention_out(self, z: Mixed, layer: int) -> Stream:
        """What the heads of a block add to the stream, with their bias, if `z` is what they mix."""
        ...

    def mlp_out(self, mid: Stream, layer: int) -> Stream:
        """What the MLP of a block adds to the stream `mid` before it."""
        ...

    def added(self, z: Mixed, layer: int) -> Float[Tensor, "head window time d_model"]:
        """What each head of a block adds to the stream, if `z` is what they mix."""
        ...

    def after(self, x: Stream, layer: int, *, z: Mixed | None = None, attention: Stream | None = None, mlp: Stream | None = None) -> Stream:
        """The stream after a block; `z` replaces what its heads mix, `attention` and `mlp` what these add to the stream, where given."""
        ...

    def last_token(self, x: Stream) -> Float[Tensor, "window 1 d_model"]:
        """The stream after the last block at the last token, from the stream before that block."""
        ...

    def run_blocks(self, x: Stream, start: int, stop: int | None = None) -> Stream:
        """The stream before block `stop` (None: after the last), from what it is before block `start`."""
        ...

    def outputs(self, x: Stream) -> Float[Tensor, "window time output"]:
        """The logits, from the stream after the last block."""
        ...

    def normed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What the final norm makes of the stream."""
        ...

    def unembedded(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... output"]:
        """The logits, from the normed stream."""
        ...

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        """The sums of each layer's attention, in turn. `last_block_unmasked`: its tokens attend to later ones too, as in the paper."""
        ...

    def attention(
        self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False, start: Start | None = None
    ) -> Iterator[LayerAttention]:
        """Each layer's attention in turn, the last `n_rows` rows or all: for what cannot be computed from `sums`.

        `start`: a block, counted from 0, and the stream before it, to begin there; the blocks before it are not given.
        """
        ...


class ModelEngine:
    """What all engines do alike: they hold the model, and tell where it is and in which precision."""

    def __init__(self, model: Any) -> None:
        self.model, self.sizes = model, Sizes.of(model.cfg)

    @property
    def device(self) -> torch.device:
        return self.model.W_E.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.W_E.dtype

    def outputs(self, x: Stream) -> Float[Tensor, "window time output"]:
        return self.unembedded(self.normed(x))

    def normed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        raise NotImplementedError

    def unembedded(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... output"]:
        raise NotImplementedError


@dataclass
class Scratch:
    """The arrays that `sums` writes into, for one layer."""

    asked: Asked
    n_heads: int
    n_time: int
    dtype: Any = np.float32
    spare: int = 0  # keys that the columns have room for beyond the window's
    columns: np.ndarray = field(init=False)
    on_runs: np.ndarray = field(init=False)
    entropy: np.ndarray = field(init=False)
    first_share: np.ndarray = field(init=False)
    binned: np.ndarray = field(init=False)
    reached: np.ndarray = field(init=False)
    rows: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        asked, n_windows = self.asked, len(self.asked.group)
        n_coordinates = 0 if asked.coordinates is None else asked.coordinates.shape[1]
        lead = (n_windows, self.n_heads)
        self.columns = np.zeros((*lead, asked.n_columns, self.n_time + self.spare), self.dtype)
        n_runs = 0 if asked.runs is None else asked.runs.shape[1]
        self.on_runs = np.zeros((*lead, asked.n_groups, n_runs), self.dtype)
        self.entropy = np.full((*lead, self.n_time), 0.0 if asked.entropy else np.nan, self.dtype)
        self.first_share = np.zeros((*lead, self.n_time), self.dtype)
        self.binned = np.zeros((*lead, asked.n_bins), np.float64)
        self.reached = np.zeros((*lead, self.n_time, n_coordinates), self.dtype)
        self.rows = np.zeros((*lead, len(asked.rows), self.n_time), self.dtype)

    def of_layer(self, layer: int) -> LayerSums:
        """What was written, as the sums of a layer."""
        columns = self.columns[..., : self.n_time]
        return LayerSums(layer, columns, self.on_runs, self.entropy, self.first_share, self.binned, self.reached, self.rows)


def sums_of_pattern(pattern: Float[np.ndarray, "window head query key"], asked: Asked, layer: int) -> LayerSums:
    """The sums of a whole pattern (already weighted by the values, if that is asked for): the definition in numpy."""
    from scipy.special import entr

    n_heads, n_time = pattern.shape[1:3]
    scratch = Scratch(asked, n_heads, n_time, pattern.dtype)
    rest = pattern
    if asked.n_left_out:
        rest = pattern.copy()
        rest[..., : asked.n_left_out] = 0
        total = rest.sum(axis=-1, keepdims=True)
        rest = np.divide(rest, total, out=rest, where=total > 0)
    if asked.entropy:
        scratch.entropy[:] = entr(pattern).sum(axis=-1)
    scratch.first_share[:] = pattern[..., : asked.n_first].sum(axis=-1)
    for window, group in enumerate(asked.group):
        member = (group == np.arange(asked.n_groups)[:, None]).astype(pattern.dtype)
        write_columns(scratch, window, member @ rest[window], asked)
        if asked.bins is not None:
            counted = np.flatnonzero(asked.bins[window].ravel() >= 0)
            place = asked.bins[window].ravel()[counted]
            for head in range(n_heads):
                weights = rest[window, head].ravel()[counted]
                scratch.binned[window, head] = np.bincount(place, weights=weights, minlength=asked.n_bins)
        if asked.coordinates is not None:
            scratch.reached[window] = rest[window] @ asked.coordinates[window].T
    scratch.rows[:] = pattern[:, :, list(asked.rows)]
    return scratch.of_layer(layer)


def write_columns(scratch: Scratch, window: int, by_group: Float[np.ndarray, "head group key"], asked: Asked) -> None:
    """Write a window's columns and their sums over runs of keys, from the columns of each group."""
    np.add.at(scratch.columns[window].swapaxes(0, 1), asked.column_of, by_group.swapaxes(0, 1))
    if asked.runs is not None:
        for run, (start, stop) in enumerate(asked.runs[window]):
            scratch.on_runs[window, ..., run] = by_group[..., start:stop].sum(axis=-1)
