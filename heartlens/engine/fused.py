"""The fused engine: the compiled kernel for attention, torch for what lies between. CPU, float32, one window at a time in the cache.

One product makes the queries (already in units of log2), keys and values of a block, each contiguous along the tokens as `kernels.py` reads
them. Gradients are the torch engine's.
"""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.engine.batched import TorchEngine, begun, normed
from heartlens.engine.compiled import kernels
from heartlens.engine.protocol import Asked, LayerAttention, LayerSums, Mixed, Parts, Scratch, Start, Stream, Tokens
from heartlens.refusal import Refusal

WIDTH, BLOCK = 8, 32  # what the kernel pads head widths and tokens to, see `kernels.py`
LOG2_E = math.log2(math.e)
LARGEST = 1e15  # of queries, keys and values: products of two must be float32
NOTHING = np.empty((0, 0, 0), np.float32)
NO_RUNS = np.empty((0, 0, 2), np.int32)
NO_BINS = np.empty((0, 0, 0), np.int16)

Window = Float[Tensor, "time d_model"]  # one window's stream
Read = tuple[np.ndarray, np.ndarray, np.ndarray]  # queries, keys and values, each (1, head, d, time)


class FusedEngine(TorchEngine):
    """See the module's first lines, and `protocol.Engine` for the methods."""

    name = "fused"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        _refuse_other_numbers(model)
        self._kernels = kernels()

    def embed(self, tokens: Tokens) -> Stream:
        _refuse_other_numbers(self.model)
        return super().embed(tokens)

    def parts(self, x: Stream, layer: int) -> Parts:
        with torch.inference_mode():
            block, buffers = _Block(self.model, layer), _Buffers(self.model, x.shape[1])
            z, mid, post = self._empty_z(x), torch.empty_like(x), torch.empty_like(x)
            for w, window in enumerate(x):
                self._kernels.attention_output(*block.read(window, buffers), x.shape[1], 0, True, z[w : w + 1].numpy())
                mid[w], post[w] = block.after(window, z[w], buffers)
        return Parts(self._narrow(z), mid, post)

    def mixed(self, x: Stream, layer: int) -> Mixed:
        with torch.inference_mode():
            block, buffers, z = _Block(self.model, layer), _Buffers(self.model, x.shape[1]), self._empty_z(x)
            for w, window in enumerate(x):
                self._kernels.attention_output(*block.read(window, buffers), x.shape[1], 0, True, z[w : w + 1].numpy())
        return self._narrow(z)

    def after(self, x: Stream, layer: int, *, z: Mixed | None = None, attention: Stream | None = None, mlp: Stream | None = None) -> Stream:
        with torch.inference_mode():
            if attention is not None or mlp is not None:
                return super().after(x, layer, z=z, attention=attention, mlp=mlp)
            z, block, post = self.mixed(x, layer) if z is None else z, _Block(self.model, layer), torch.empty_like(x)
            buffers = _Buffers(self.model, x.shape[1])
            for w, window in enumerate(x):
                post[w] = block.after(window, z[w], buffers)[1]
        return post

    def run_blocks(self, x: Stream, start: int, stop: int | None = None) -> Stream:
        with torch.inference_mode():
            blocks = [_Block(self.model, layer) for layer in range(start, self.sizes.n_layers if stop is None else stop)]
            z, post, buffers = self._empty_z(x[:1]), torch.empty_like(x), _Buffers(self.model, x.shape[1])
            for w, window in enumerate(x):
                for block in blocks:
                    self._kernels.attention_output(*block.read(window, buffers), x.shape[1], 0, True, z.numpy())
                    _, window = block.after(window, z[0], buffers)
                post[w] = window
        return post

    def last_token(self, x: Stream) -> Float[Tensor, "window 1 d_model"]:
        with torch.inference_mode():
            n_time, block = x.shape[1], _Block(self.model, self.sizes.n_layers - 1)
            z, post, buffers = self._empty_z(x[:1, -1:]), torch.empty_like(x[:, -1:]), _Buffers(self.model, n_time)
            for w, window in enumerate(x):
                self._kernels.attention_output(*block.read(window, buffers), n_time, n_time - 1, True, z.numpy())
                post[w] = block.after(window[-1:], z[0], buffers)[1]
        return post

    def attended(self, x: Stream, layer: int, changed: Stream, reader: str, head: int) -> Float[Tensor, "window query d_head"]:
        with torch.inference_mode():
            n_time, block = changed.shape[1], _Block(self.model, layer, head)
            z, buffers, other_buffers = (
                torch.empty(*changed.shape[:2], 1, block.width),
                *(_Buffers(self.model, n_time, 1) for _ in range(2)),
            )
            for w, other in enumerate(changed):
                unchanged, new = block.read(x[w % len(x)], buffers), block.read(other, other_buffers)
                read = (new[place] if letter == reader else unchanged[place] for place, letter in enumerate("QKV"))
                self._kernels.attention_output(*read, n_time, 0, True, z[w : w + 1].numpy())
        return z[:, :, 0, : self.sizes.d_head]

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        n_time, n_layers, n_heads = tokens.shape[1], self.sizes.n_layers, self.sizes.n_heads
        row_of = np.full(n_time, -1)
        row_of[list(asked.rows)] = np.arange(len(asked.rows))
        row_of = row_of if asked.rows else row_of[:0]
        with torch.inference_mode():
            x, buffers = self.embed(tokens), _Buffers(self.model, n_time)
            z = self._empty_z(x[:1])
        for layer in range(n_layers):
            is_causal = not (last_block_unmasked and layer == n_layers - 1)
            scratch = Scratch(asked, n_heads, n_time, spare=-n_time % BLOCK)
            with torch.inference_mode():
                block = _Block(self.model, layer)
                for w, window in enumerate(x):
                    place, (query, key, value) = slice(w, w + 1), block.read(window, buffers)
                    importance = self._moved_norms(value, layer) if asked.by_value else NOTHING
                    bins = NO_BINS if asked.bins is None else asked.bins[place]
                    coordinates = NOTHING if asked.coordinates is None else asked.coordinates[place]
                    runs = NO_RUNS if asked.runs is None else asked.runs[place]
                    entropy = scratch.entropy[place] if asked.entropy else NOTHING
                    self._kernels.attention_sums(
                        *(query, key, value, n_time, is_causal),
                        *(
                            asked.group[place],
                            asked.column_of,
                            runs,
                            asked.n_left_out,
                            asked.n_first,
                            importance,
                            bins,
                            coordinates,
                            row_of,
                        ),
                        *(z.numpy(), scratch.columns[place], scratch.on_runs[place], entropy, scratch.first_share[place]),
                        *(scratch.binned[place], scratch.reached[place], scratch.rows[place]),
                    )
                    if layer < n_layers - 1:
                        x[w] = block.after(window, z[0], buffers)[1]
            if asked.rows:
                scratch.rows[:] = scratch.rows[:, :, row_of[list(asked.rows)]]  # where a row is asked for twice, the kernel wrote the last
            yield scratch.of_layer(layer)

    def attention(
        self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False, start: Start | None = None
    ) -> Iterator[LayerAttention]:
        n_windows, n_time = tokens.shape
        n_layers, n_heads = self.sizes.n_layers, self.sizes.n_heads
        n_rows = n_time if n_rows is None else n_rows
        with torch.inference_mode():
            first, x = begun(self.embed(tokens), start)
            z, buffers = self._empty_z(x[:1]), _Buffers(self.model, n_time)
        for layer in range(first, n_layers):
            is_causal = not (last_block_unmasked and layer == n_layers - 1)
            pattern = np.empty((n_windows, n_heads, n_rows, n_time), np.float32)
            with torch.inference_mode():
                block = _Block(self.model, layer)
                for w, window in enumerate(x):
                    place = slice(w, w + 1)
                    rows = (n_time, n_time - n_rows, is_causal)
                    self._kernels.attention_patterns(*block.read(window, buffers), *rows, z.numpy(), pattern[place])
                    if layer < n_layers - 1:
                        x[w] = block.after(window, z[0], buffers)[1]
            yield LayerAttention(layer, pattern)

    def _empty_z(self, x: Stream) -> Float[Tensor, "window query head width"]:
        return torch.empty(*x.shape[:2], self.sizes.n_heads, padded(self.sizes.d_head))

    def _narrow(self, z: Float[Tensor, "window query head width"]) -> Mixed:
        """Without the padding of the heads."""
        return z if z.shape[-1] == self.sizes.d_head else z[..., : self.sizes.d_head].contiguous()

    def _moved_norms(self, value: np.ndarray, layer: int) -> np.ndarray:
        values = torch.from_numpy(value[:, :, : self.sizes.d_head]).transpose(2, 3)
        return np.asarray(self._moved_norm(values, layer).numpy())


def _refuse_other_numbers(model: Any) -> None:
    """Refuses weights that are not all float32 on the CPU."""
    # a third of the time of model.parameters(), at every step of a generation
    for weight in chain.from_iterable(module.parameters(recurse=False) for module in model.modules()):
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            kind = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}"
            raise Refusal(f"the fused engine computes float32 on the CPU, this model is {kind}; give --engine torch (engine='torch')")


class _Buffers:
    """Memory that windows of one length use in turn, so that it stays in the processor's cache."""

    def __init__(self, model: Any, n_time: int, n_heads: int | None = None) -> None:
        cfg, n_padded = model.cfg, n_time + -n_time % BLOCK
        self.stream = torch.zeros(n_padded, cfg.d_model)
        self.read = torch.empty(3, 1, cfg.n_heads if n_heads is None else n_heads, padded(cfg.d_head), n_padded)
        self.mid, self.hidden, self.post = (
            torch.empty(n_time, cfg.d_model),
            torch.empty(n_time, cfg.d_mlp),
            torch.empty(n_time, cfg.d_model),
        )


class _Block:
    """A block's weights as the kernel and one window at a time want them, taken from the model as it is now.

    What its methods give lies in the buffers they are given, until these are used again.
    """

    def __init__(self, model: Any, layer: int, head: int | None = None) -> None:
        block = model.blocks[layer]
        attention, heads = block.attn, slice(None) if head is None else slice(head, head + 1)
        n_heads, d_model, d_head = attention.W_Q[heads].shape
        self.width = padded(d_head)
        wide = attention.W_Q.new_zeros(3, n_heads, self.width, d_model + 1)
        for place, (letter, factor) in enumerate((("Q", LOG2_E / model.cfg.attn_scale), ("K", 1.0), ("V", 1.0))):
            wide[place, :, :d_head, :-1] = getattr(attention, f"W_{letter}")[heads].transpose(1, 2) * factor
            wide[place, :, :d_head, -1] = getattr(attention, f"b_{letter}")[heads] * factor
        flat = wide.flatten(0, 2)
        self.weight, self.bias = flat[:, :-1].contiguous(), flat[:, -1:]
        self.d_head, self.W_O, self.b_O = d_head, attention.W_O.reshape(-1, d_model), attention.b_O
        self.ln1, self.ln2, self.mlp = block.ln1, block.ln2, block.mlp

    def read(self, x: Window, buffers: _Buffers) -> Read:
        """What the heads read of the stream: queries in units of log2, keys and values, time padded to whole blocks."""
        buffers.stream[: len(x)] = normed(self.ln1, x)
        flat = torch.addmm(self.bias, self.weight, buffers.stream.T, out=buffers.read.view(len(self.weight), -1))
        least, most = torch.aminmax(flat)
        if not max(-least, most) < LARGEST:  # also true of NaN, which the kernel would treat as a number
            raise Refusal(
                f"queries, keys or values of this model are not finite, or beyond {LARGEST:g}; give --engine torch (engine='torch')"
            )
        query, key, value = buffers.read.numpy()
        return query, key, value

    def after(self, x: Window, z: Float[Tensor, "time head d"], buffers: _Buffers) -> tuple[Window, Window]:
        """The stream after attention and after the MLP, if `z` is what the heads mix."""
        mid, hidden, post = (buffer[: len(x)] for buffer in (buffers.mid, buffers.hidden, buffers.post))
        torch.addmm(self.b_O, z[..., : self.d_head].reshape(len(x), -1), self.W_O, out=mid).add_(x)
        torch.addmm(self.mlp.b_in, normed(self.ln2, mid), self.mlp.W_in, out=hidden).relu_()
        return mid, torch.addmm(self.mlp.b_out, hidden, self.mlp.W_out, out=post).add_(mid)


def padded(d_head: int) -> int:
    """The width of a head as the kernel reads it: the next multiple of WIDTH.

    >>> padded(8), padded(12)
    (8, 16)
    """
    return -(-d_head // WIDTH) * WIDTH
