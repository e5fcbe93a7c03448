"""The torch engine: the same numbers as HookedTransformer's blocks in any precision, on any device, many windows at once; differentiable.

Attention's output comes from torch's own kernel; where sums or patterns are asked for, patterns are made for as many windows at a time as
the memory holds.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from heartlens.engine.plain import refuse_unlike
from heartlens.engine.protocol import Asked, Heads, LayerAttention, LayerSums, Mixed, ModelEngine, Parts, Scratch, Start, Stream, Tokens
from heartlens.refusal import Refusal

MEMORY = 256 * 2**20  # bytes of patterns at a time on a CPU; on a GPU a fifth of what is free
COPIES = 5  # of one layer's patterns that are alive at once: scores, weights, logarithms, without the sink, products

Write = Callable[[slice, Tensor, Heads], None]  # of which windows; their patterns and values


class TorchEngine(ModelEngine):
    """See the module's first lines, and `protocol.Engine` for the methods."""

    name = "torch"

    def __init__(self, model: Any) -> None:
        refuse_unlike(model)
        super().__init__(model)

    def embed(self, tokens: Tokens) -> Stream:
        refuse_unlike(self.model)
        return self.model.W_E[tokens.to(self.device)] + self.model.W_pos[: tokens.shape[1]]

    def parts(self, x: Stream, layer: int) -> Parts:
        z = self.mixed(x, layer)
        mid = x + self.attention_out(z, layer)
        return Parts(z, mid, mid + self.mlp_out(mid, layer))

    def after(self, x: Stream, layer: int, *, z: Mixed | None = None, attention: Stream | None = None, mlp: Stream | None = None) -> Stream:
        if attention is None:
            attention = self.attention_out(self.mixed(x, layer) if z is None else z, layer)
        mid = x + attention
        return mid + (self.mlp_out(mid, layer) if mlp is None else mlp)

    def run_blocks(self, x: Stream, start: int, stop: int | None = None) -> Stream:
        for layer in range(start, self.sizes.n_layers if stop is None else stop):
            x = self.after(x, layer)
        return x

    def mixed(self, x: Stream, layer: int) -> Mixed:
        query, key, value = (self.read(x, layer, letter) for letter in "QKV")
        return self._attended(query, key, value).transpose(1, 2)

    def attended(self, x: Stream, layer: int, changed: Stream, reader: str, head: int) -> Float[Tensor, "window query d_head"]:
        query, key, value = (self.read(changed if letter == reader else x, layer, letter, head) for letter in "QKV")
        return self._attended(query, key, value)[:, 0]

    def last_token(self, x: Stream) -> Float[Tensor, "window 1 d_model"]:
        layer = self.sizes.n_layers - 1
        key, value = (self.read(x, layer, letter) for letter in "KV")
        query = self.read(x[:, -1:], layer, "Q")
        z = functional.scaled_dot_product_attention(query, key, value, scale=1 / self.model.cfg.attn_scale)
        return self.after(x[:, -1:], layer, z=z.transpose(1, 2))

    def read(self, x: Stream, layer: int, letter: str, head: int | None = None) -> Heads:
        """What a block's heads (or one of them) read of the stream: their queries, keys or values (`letter`: Q, K or V)."""
        block = self.model.blocks[layer]
        weight, bias = getattr(block.attn, f"W_{letter}"), getattr(block.attn, f"b_{letter}")
        if head is not None:
            weight, bias = weight[head : head + 1], bias[head : head + 1]
        n_heads, d_model, d_head = weight.shape
        flat = normed(block.ln1, x) @ weight.transpose(0, 1).reshape(d_model, -1) + bias.flatten()
        return flat.view(*x.shape[:2], n_heads, d_head).transpose(1, 2)

    def attention_out(self, z: Mixed, layer: int) -> Stream:
        attention = self.model.blocks[layer].attn
        return z.flatten(2) @ attention.W_O.reshape(-1, self.sizes.d_model) + attention.b_O

    def added(self, z: Mixed, layer: int) -> Float[Tensor, "head window time d_model"]:
        return torch.einsum("bthd,hdm->hbtm", z, self.model.blocks[layer].attn.W_O)

    def mlp_out(self, mid: Stream, layer: int) -> Stream:
        block = self.model.blocks[layer]
        return functional.relu(normed(block.ln2, mid) @ block.mlp.W_in + block.mlp.b_in) @ block.mlp.W_out + block.mlp.b_out

    def normed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return normed(self.model.ln_final, x)

    def unembedded(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... output"]:
        return normed @ self.model.W_U + self.model.b_U

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        for layer, run in self._blocks(tokens, last_block_unmasked):
            scratch = Scratch(asked, self.sizes.n_heads, tokens.shape[1], np.float64 if self.dtype == torch.float64 else np.float32)
            run(partial(_write_sums, scratch, asked, partial(self._moved_norm, layer=layer)))
            yield scratch.of_layer(layer)

    def attention(
        self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False, start: Start | None = None
    ) -> Iterator[LayerAttention]:
        n_windows, n_time = tokens.shape
        n_rows, n_heads = n_time if n_rows is None else n_rows, self.sizes.n_heads
        for layer, run in self._blocks(tokens, last_block_unmasked, start):
            dtype = np.float64 if self.dtype == torch.float64 else np.float32
            rows = np.empty((n_windows, n_heads, n_rows, n_time), dtype)
            run(partial(_write_rows, rows))
            yield LayerAttention(layer, rows)

    def _blocks(
        self, tokens: Tokens, last_block_unmasked: bool, start: Start | None = None
    ) -> Iterator[tuple[int, Callable[[Write], None]]]:
        """Each block, and what runs all windows through it and has their patterns written; to be run before the next block is asked for."""
        try:
            with torch.inference_mode():
                first, x = begun(self.embed(tokens), start)
        except torch.OutOfMemoryError as error:
            raise self._too_little_memory(tokens.shape[1]) from error
        for layer in range(first, self.sizes.n_layers):
            yield layer, partial(self._run_block, x, layer, not (last_block_unmasked and layer == self.sizes.n_layers - 1))

    def _run_block(self, x: Stream, layer: int, is_causal: bool, write: Write) -> None:
        """All windows' streams through a block, in place, as many at a time as the memory holds. Refuses where it does not hold one's."""
        start, at_once = 0, min(len(x), self._windows_at_once(x.shape[1]))
        while start < len(x):
            try:
                self._run_some(x, slice(start, start + at_once), layer, is_causal, write)
                start += at_once
            except torch.OutOfMemoryError as error:  # others use the memory too
                if at_once == 1:
                    raise self._too_little_memory(x.shape[1]) from error
                at_once //= 2

    def _run_some(self, x: Stream, windows: slice, layer: int, is_causal: bool, write: Write) -> None:
        with torch.inference_mode():
            pattern, value = self._pattern(x[windows], layer, is_causal)
            write(windows, pattern, value)
            x[windows] = self.after(x[windows], layer, z=(pattern @ value).transpose(1, 2))

    def _attended(self, query: Heads, key: Heads, value: Heads) -> Heads:
        scale = 1 / self.model.cfg.attn_scale
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)

    def _pattern(self, x: Stream, layer: int, is_causal: bool) -> tuple[Tensor, Heads]:
        """A block's attention pattern and its values."""
        query, key, value = (self.read(x, layer, letter) for letter in "QKV")
        scores = (query / self.model.cfg.attn_scale) @ key.transpose(-1, -2)
        if is_causal:
            scores.masked_fill_(torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1), float("-inf"))
        return scores.softmax(dim=-1), value

    def _moved_norm(self, value: Heads, layer: int) -> Float[Tensor, "window head key"]:
        """The norm of what each key's value moves into the stream."""
        return (value @ self.model.blocks[layer].attn.W_O).norm(dim=-1)

    def _windows_at_once(self, n_time: int) -> int:
        """How many windows' patterns are made at a time."""
        memory = self._free() // 5 if self.device.type == "cuda" else MEMORY
        return max(1, memory // self._needed(n_time))

    def _needed(self, n_time: int) -> int:
        """The bytes that one window's patterns take while a block is run."""
        return COPIES * self.sizes.n_heads * n_time**2 * self.dtype.itemsize

    def _too_little_memory(self, n_time: int) -> Refusal:
        free, needed = (each / 2**20 for each in (self._free(), self._needed(n_time)))
        return Refusal(
            f"{self.device} has {free:.0f} MiB free, and the attention of one window needs {needed:.0f}; give --device cpu (device='cpu')"
        )

    def _free(self) -> int:
        """The free bytes of a GPU, with those that torch holds and does not use."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)


def normed(layer_norm: Any, x: Tensor) -> Tensor:
    """What a LayerNorm makes of the stream, folded (without weights) or not."""
    return functional.layer_norm(x, x.shape[-1:], getattr(layer_norm, "w", None), getattr(layer_norm, "b", None), layer_norm.cfg.eps)


def begun(embedded: Stream, start: Start | None) -> Start:
    """The block to begin with, and a stream before it that may be written over. Tokens are embedded in any case, which refuses hooks."""
    return (0, embedded) if start is None else (start[0], start[1].clone())


def _write_rows(rows: np.ndarray, windows: slice, pattern: Tensor, value: Heads) -> None:
    """Write the last rows of some windows' patterns."""
    _copy(rows[windows], pattern[:, :, pattern.shape[2] - rows.shape[2] :])


def _write_sums(
    scratch: Scratch, asked: Asked, moved_norm: Callable[[Heads], Tensor], windows: slice, pattern: Tensor, value: Heads
) -> None:
    """Write the sums of some windows' patterns; computed where the patterns lie, without a loop over windows."""
    asked = asked.of(windows)
    if asked.by_value:
        pattern = pattern * moved_norm(value)[:, :, None]
        pattern = torch.nan_to_num(pattern / pattern.sum(dim=-1, keepdim=True))
    if asked.entropy:
        _copy(scratch.entropy[windows], torch.special.entr(pattern).sum(dim=-1))
    _copy(scratch.first_share[windows], pattern[..., : asked.n_first].sum(dim=-1))
    _copy(scratch.rows[windows], pattern[:, :, list(asked.rows)])
    if asked.n_left_out:
        pattern = pattern.clone()
        pattern[..., : asked.n_left_out] = 0
        pattern = torch.nan_to_num(pattern / pattern.sum(dim=-1, keepdim=True))
    if asked.n_groups:
        _write_columns(scratch, asked, windows, pattern)
    if asked.bins is not None:
        place = torch.from_numpy(asked.bins).to(pattern.device).long()[:, None] + 1  # place 0: what is not counted
        by_row = pattern.new_zeros(*pattern.shape[:3], asked.n_bins + 1, dtype=torch.float64)
        by_row.scatter_add_(
            3, place.expand_as(pattern), pattern.double()
        )  # row by row: threads that add to the same number wait for each other
        _copy(scratch.binned[windows], by_row.sum(dim=2)[..., 1:])
    if asked.coordinates is not None:
        along = torch.from_numpy(asked.coordinates).to(pattern)
        _copy(scratch.reached[windows], pattern @ along[:, None].mT)


def _write_columns(scratch: Scratch, asked: Asked, windows: slice, pattern: Tensor) -> None:
    """Write what each key receives from each column's groups, and each run of keys from each group."""
    group, column_of = (torch.from_numpy(each).to(pattern.device) for each in (asked.group, asked.column_of))
    asks = group[:, None] == torch.arange(asked.n_groups, device=pattern.device)[:, None]
    by_group = asks[:, None].to(pattern) @ pattern
    adds = column_of == torch.arange(asked.n_columns, device=pattern.device)[:, None]
    _copy(scratch.columns[windows], adds.to(pattern) @ by_group)
    if asked.runs is not None:
        start, stop = torch.from_numpy(asked.runs).to(pattern.device)[..., None].unbind(dim=2)
        key = torch.arange(pattern.shape[-1], device=pattern.device)
        _copy(scratch.on_runs[windows], by_group @ ((start <= key) & (key < stop))[:, None].to(pattern).mT)


def _copy(place: np.ndarray, values: Tensor) -> None:
    """Write a tensor of any device into an array, with no other array between."""
    torch.from_numpy(place).copy_(values)
