"""The fused engine: the compiled kernel for attention, torch for what lies between. CPU, float32, one window at a time in the cache.

One product makes the queries (already in units of log2), keys and values of a block, each contiguous along the tokens as `kernels.py` reads
them. Gradients are the torch engine's.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from heartlens.engine.batched import TorchEngine, normed
from heartlens.engine.compiled import kernels
from heartlens.engine.protocol import Asked, LayerAttention, LayerSums, Mixed, Parts, Scratch, Stream, Tokens
from heartlens.refusal import Refusal

WIDTH, BLOCK = 8, 32  # what the kernel pads head widths and tokens to, see `kernels.py`
LOG2_E = math.log2(math.e)
NOTHING = np.empty((0, 0, 0), np.float32)
NO_BINS = np.empty((0, 0, 0), np.int16)


class FusedEngine(TorchEngine):
    """See the module's first lines, and `protocol.Engine` for the methods."""

    name = "fused"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if self.device.type != "cpu" or self.dtype != torch.float32:
            kind = f"{str(self.dtype).removeprefix('torch.')} on {self.device.type}"
            raise Refusal(f"the fused engine computes float32 on the CPU, this model is {kind}; give --engine torch (engine='torch')")
        self._kernels = kernels()

    def parts(self, x: Stream, layer: int) -> Parts:
        with torch.inference_mode():
            z, mid, post = self.mixed(x, layer), torch.empty_like(x), torch.empty_like(x)
            for w in range(len(x)):
                mid[w] = x[w] + self.attention_out(z[w : w + 1], layer)[0]
                post[w] = mid[w] + self.mlp_out(mid[w : w + 1], layer)[0]
        return Parts(z, mid, post)

    def after_attention(self, x: Stream, z: Mixed, layer: int) -> Stream:
        with torch.inference_mode():
            post = torch.empty_like(x)
            for w in range(len(x)):
                post[w] = super().after_attention(x[w : w + 1], z[w : w + 1], layer)[0]
        return post

    def mixed(self, x: Stream, layer: int) -> Mixed:
        return self._mixed(x, layer, 0)

    def last_token(self, x: Stream) -> Float[Tensor, "window 1 d_model"]:
        layer = self.sizes.n_layers - 1
        return self.after_attention(x[:, -1:].contiguous(), self._mixed(x, layer, x.shape[1] - 1), layer)

    def attended(self, x: Stream, layer: int, changed: Stream, reader: str, head: int) -> Float[Tensor, "window query d_head"]:
        with torch.inference_mode():
            n_windows, n_time, _ = changed.shape
            projections = [_packed(self.model.blocks[layer].attn, self.model.cfg.attn_scale, letter, head) for letter in "QKV"]
            z = torch.empty(n_windows, n_time, 1, len(projections[0][0]))
            norm = self.model.blocks[layer].ln1
            own, other = normed(norm, x), normed(norm, changed)
            for w in range(n_windows):
                streams = [other[w] if letter == reader else own[w % len(own)] for letter in "QKV"]
                arrays = [_projected(projection, stream, 1) for projection, stream in zip(projections, streams, strict=True)]
                self._kernels.attention_output(*arrays, n_time, 0, True, z[w : w + 1].numpy())
        return z[:, :, 0, : self.sizes.d_head]

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        n_time, n_layers, n_heads = tokens.shape[1], self.sizes.n_layers, self.sizes.n_heads
        row_of = np.full(n_time, -1)
        row_of[list(asked.rows)] = np.arange(len(asked.rows))
        row_of = row_of if asked.rows else row_of[:0]
        with torch.inference_mode():
            x = self.embed(tokens)
        for layer in range(n_layers):
            is_causal = not (last_block_unmasked and layer == n_layers - 1)
            scratch = Scratch(asked, n_heads, n_time, spare=-n_time % BLOCK)
            with torch.inference_mode():
                for w, (query, key, value) in enumerate(self._projected(x, layer)):
                    one = slice(w, w + 1)
                    z = torch.empty(1, n_time, n_heads, query.shape[2])
                    importance = self._moved_norm(value, layer) if asked.by_value else NOTHING
                    bins = NO_BINS if asked.bins is None else asked.bins[one]
                    coordinates = NOTHING if asked.coordinates is None else asked.coordinates[one]
                    self._kernels.attention_sums(
                        *(query, key, value, n_time, is_causal),
                        *(asked.group[one], asked.n_left_out, asked.n_first, importance, bins, coordinates, row_of),
                        *(z.numpy(), scratch.columns[one], scratch.entropy[one], scratch.first_share[one]),
                        *(scratch.binned[one], scratch.reached[one], scratch.rows[one]),
                    )
                    if layer < n_layers - 1:
                        x[one] = TorchEngine.after_attention(self, x[one], z[..., : self.sizes.d_head], layer)
            yield scratch.of_layer(layer)

    def attention(self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False) -> Iterator[LayerAttention]:
        n_windows, n_time = tokens.shape
        n_layers, n_heads = self.sizes.n_layers, self.sizes.n_heads
        n_rows = n_time if n_rows is None else n_rows
        with torch.inference_mode():
            x = self.embed(tokens)
        for layer in range(n_layers):
            is_causal = not (last_block_unmasked and layer == n_layers - 1)
            pattern = np.empty((n_windows, n_heads, n_rows, n_time), np.float32)
            entropy = np.empty((n_windows, n_heads, n_time), np.float32)
            with torch.inference_mode():
                for w, (query, key, value) in enumerate(self._projected(x, layer)):
                    one = slice(w, w + 1)
                    z = torch.empty(1, n_time, n_heads, query.shape[2])
                    arrays = (query, key, value, n_time, n_time - n_rows, is_causal, z.numpy(), pattern[one], entropy[one])
                    self._kernels.attention_patterns(*arrays)
                    if layer < n_layers - 1:
                        x[one] = TorchEngine.after_attention(self, x[one], z[..., : self.sizes.d_head], layer)
            yield LayerAttention(layer, pattern, entropy)

    def _mixed(self, x: Stream, layer: int, first_query: int) -> Mixed:
        """What each head mixes for the queries from `first_query` on."""
        with torch.inference_mode():
            width = padded(self.sizes.d_head)
            z = torch.empty(len(x), x.shape[1] - first_query, self.sizes.n_heads, width)
            for w, (query, key, value) in enumerate(self._projected(x, layer)):
                self._kernels.attention_output(query, key, value, x.shape[1], first_query, True, z[w : w + 1].numpy())
        return z if width == self.sizes.d_head else z[..., : self.sizes.d_head].contiguous()

    def _projected(self, x: Stream, layer: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Each window's queries, keys and values, (1, head, d, time)."""
        block, n_heads = self.model.blocks[layer], self.sizes.n_heads
        packed = [_packed(block.attn, self.model.cfg.attn_scale, letter) for letter in "QKV"]
        weight, bias = (torch.cat(each) for each in zip(*packed, strict=True))
        for stream in x:
            both = _projected((weight, bias), normed(block.ln1, stream), 3 * n_heads)
            yield both[:, :n_heads], both[:, n_heads : 2 * n_heads], both[:, 2 * n_heads :]

    def _moved_norm(self, value: Any, layer: int) -> Any:
        if isinstance(value, Tensor):
            return super()._moved_norm(value, layer)
        values = torch.from_numpy(value[:, :, : self.sizes.d_head]).transpose(2, 3)  # those of padding too
        return super()._moved_norm(values, layer).numpy()


def padded(d_head: int) -> int:
    """The width of a head as the kernel reads it: the next multiple of WIDTH.

    >>> padded(8), padded(12)
    (8, 16)
    """
    return -(-d_head // WIDTH) * WIDTH


def _packed(attention: Any, scale: float, letter: str, head: int | None = None) -> tuple[Tensor, Tensor]:
    """The weights and biases of all heads' (or one head's) queries, keys or values, (head x d, d_model); queries in units of log2."""
    weight, bias = getattr(attention, f"W_{letter}"), getattr(attention, f"b_{letter}")
    if head is not None:
        weight, bias = weight[head : head + 1], bias[head : head + 1]
    n_heads, d_model, d_head = weight.shape
    factor = LOG2_E / scale if letter == "Q" else 1.0
    wide = weight.new_zeros(n_heads, padded(d_head), d_model + 1)
    wide[:, :d_head, :-1] = weight.transpose(1, 2) * factor
    wide[:, :d_head, -1] = bias * factor
    flat = wide.flatten(0, 1)
    return flat[:, :-1], flat[:, -1:]


def _projected(projection: tuple[Tensor, Tensor], stream: Float[Tensor, "time d_model"], n_heads: int) -> np.ndarray:
    """What `n_heads` heads read of a normed stream, (1, head, d, time), time padded to whole blocks."""
    weight, bias = projection
    stream = functional.pad(stream, (0, 0, 0, -len(stream) % BLOCK))
    return torch.addmm(bias, weight, stream.T).view(1, n_heads, -1, len(stream)).numpy()
