"""The torch engine: the same numbers as HookedTransformer's blocks in any precision, on any device, many windows at once; differentiable.

Attention's output comes from torch's own kernel; where sums or patterns are asked for, patterns are made for as many windows at a time as
the memory holds.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from heartlens.engine.plain import refuse_unlike
from heartlens.engine.protocol import Asked, Heads, LayerAttention, LayerSums, Mixed, Parts, Scratch, Sizes, Stream, Tokens, write_columns
from heartlens.refusal import Refusal

MEMORY = 256 * 2**20  # bytes of patterns at a time on a CPU; on a GPU a fifth of what is free
COPIES = 5  # of one layer's patterns that are alive at once: scores, weights, logarithms, without the sink, products


class TorchEngine:
    """See the module's first lines, and `protocol.Engine` for the methods."""

    name = "torch"

    def __init__(self, model: Any) -> None:
        refuse_unlike(model)
        self.model, self.sizes = model, Sizes.of(model.cfg)

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return self.model.W_E.device

    @property
    def dtype(self) -> torch.dtype:
        """The model's precision now."""
        return self.model.W_E.dtype

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

    def outputs(self, x: Stream) -> Float[Tensor, "window time output"]:
        return self.unembedded(self.normed(x))

    def normed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return normed(self.model.ln_final, x)

    def unembedded(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... output"]:
        return normed @ self.model.W_U + self.model.b_U

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        n_windows, n_time = tokens.shape
        at_once = self._windows_at_once(n_time)
        with torch.inference_mode():
            x = self.embed(tokens)
        for layer in range(self.sizes.n_layers):
            is_causal = not (last_block_unmasked and layer == self.sizes.n_layers - 1)
            scratch = Scratch(asked, self.sizes.n_heads, n_time, np.float64 if self.dtype == torch.float64 else np.float32)
            with torch.inference_mode():
                for start in range(0, n_windows, at_once):
                    own = slice(start, start + at_once)
                    pattern, entropy, value = self._pattern(x[own], layer, is_causal)
                    _write_sums(scratch, own, pattern, entropy, self._moved_norm(value, layer), asked.of(own))
                    x[own] = self.after(x[own], layer, z=(pattern @ value).transpose(1, 2))
            yield scratch.of_layer(layer)

    def attention(self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False) -> Iterator[LayerAttention]:
        n_windows, n_time = tokens.shape
        at_once = self._windows_at_once(n_time)
        with torch.inference_mode():
            x = self.embed(tokens)
        for layer in range(self.sizes.n_layers):
            is_causal = not (last_block_unmasked and layer == self.sizes.n_layers - 1)
            rows, entropies = [], []
            with torch.inference_mode():
                for start in range(0, n_windows, at_once):
                    own = slice(start, start + at_once)
                    pattern, entropy, value = self._pattern(x[own], layer, is_causal)
                    rows.append(pattern[:, :, n_time - (n_rows or n_time) :].cpu().numpy())
                    entropies.append(entropy.cpu().numpy())
                    x[own] = self.after(x[own], layer, z=(pattern @ value).transpose(1, 2))
            yield LayerAttention(layer, np.concatenate(rows), np.concatenate(entropies))

    def _attended(self, query: Heads, key: Heads, value: Heads) -> Heads:
        scale = 1 / self.model.cfg.attn_scale
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)

    def _pattern(self, x: Stream, layer: int, is_causal: bool) -> tuple[Tensor, Tensor, Heads]:
        """A block's attention pattern, the entropy of its rows, and its values."""
        query, key, value = (self.read(x, layer, letter) for letter in "QKV")
        scores = (query / self.model.cfg.attn_scale) @ key.transpose(-1, -2)
        if is_causal:
            scores.masked_fill_(torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1), float("-inf"))
        pattern = scores.softmax(dim=-1)
        return pattern, torch.special.entr(pattern).sum(dim=-1), value

    def _moved_norm(self, value: Heads, layer: int) -> Float[Tensor, "window head key"]:
        """The norm of what each key's value moves into the stream."""
        return (value @ self.model.blocks[layer].attn.W_O).norm(dim=-1)

    def _windows_at_once(self, n_time: int) -> int:
        """How many windows' patterns the memory holds. Refuses a device that cannot hold one's."""
        of_one = COPIES * self.sizes.n_heads * n_time**2 * self.dtype.itemsize
        if self.device.type != "cuda":
            return max(1, MEMORY // of_one)
        free, _ = torch.cuda.mem_get_info(self.device)
        if of_one > free:
            raise Refusal(f"one window needs {of_one / 2**20:.0f} MiB on {self.device}, and {free / 2**20:.0f} are free; give --device cpu")
        return max(1, int(free / 5) // of_one)


def normed(layer_norm: Any, x: Tensor) -> Tensor:
    """What a LayerNorm makes of the stream, folded (without weights) or not."""
    return functional.layer_norm(x, x.shape[-1:], getattr(layer_norm, "w", None), getattr(layer_norm, "b", None), layer_norm.cfg.eps)


def _write_sums(scratch: Scratch, own: slice, pattern: Tensor, entropy: Tensor, moved_norm: Tensor, asked: Asked) -> None:
    """Write the sums of some windows' patterns; computed where the patterns lie."""
    if asked.by_value:
        pattern = pattern * moved_norm[:, :, None]
        pattern = torch.nan_to_num(pattern / pattern.sum(dim=-1, keepdim=True))
        entropy = torch.special.entr(pattern).sum(dim=-1)
    scratch.entropy[own] = entropy.cpu().numpy()
    scratch.first_share[own] = pattern[..., : asked.n_first].sum(dim=-1).cpu().numpy()
    scratch.rows[own] = pattern[:, :, list(asked.rows)].cpu().numpy()
    if asked.n_left_out:
        pattern = pattern.clone()
        pattern[..., : asked.n_left_out] = 0
        pattern = torch.nan_to_num(pattern / pattern.sum(dim=-1, keepdim=True))
    group = torch.from_numpy(asked.group).to(pattern.device)
    member = (group[:, None, None] == torch.arange(asked.n_groups, device=pattern.device)[:, None]).to(pattern)
    for window, by_group in enumerate((member @ pattern).cpu().numpy(), start=own.start):
        write_columns(scratch, window, by_group, asked, own.start)
    if asked.bins is not None:
        place = torch.from_numpy(asked.bins).to(pattern.device).long()
        counted = place >= 0
        for window in range(len(pattern)):
            weights = pattern[window][:, counted[window]].double()
            total = weights.new_zeros(len(weights), asked.n_bins).index_add_(1, place[window][counted[window]], weights)
            scratch.binned[own][window] = total.cpu().numpy()
    if asked.coordinates is not None:
        along = torch.from_numpy(asked.coordinates).to(pattern)
        scratch.reached[own] = (pattern @ along[:, None].transpose(-1, -2)).cpu().numpy()
