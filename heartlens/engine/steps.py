"""Next tokens, step by step, of a model and of the same with single parts replaced: all variants, prompts and draws as one batch.

The keys and values of every layer are kept, a prompt's once for all of its draws. Prompt and continuation fit the context, so no position
ever shifts and nothing is computed twice. The fused engine takes its steps in `step_kernel.py`, with the weights as they were when the
steps began; the torch engine takes them in torch, on any device and in any precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.engine.batched import TorchEngine
from heartlens.engine.compiled import step_kernel
from heartlens.engine.fused import BLOCK, LOG2_E, FusedEngine, padded
from heartlens.engine.plain import refuse_unlike
from heartlens.engine.protocol import Engine, Heads, Mixed, Stream, Tokens
from heartlens.refusal import Refusal

HEADS, MLP, LAYER = "heads", "mlp", "layer"  # what of a layer a variant has replaced
Z, ATTENTION_OUT, MLP_OUT = "z", "attention_out", "mlp_out"  # what takes its place: what heads mix, what a layer adds to the stream
Logits = Float[Tensor, "variant window draw output"]
Given = Mapping[tuple[str, int], Tensor]  # what takes the place of a layer's Z, ATTENTION_OUT or MLP_OUT: (window, time, ...)


@dataclass(frozen=True)
class Variant:
    """A model with one head, MLP or whole layer replaced (`part`: HEADS, MLP, LAYER), or with nothing replaced: `INTACT`."""

    part: str = ""
    layer: int = -1
    head: int = -1


INTACT = Variant()


def steps_of(
    engine: Engine, prompts: Tokens, n_draws: int, n_steps: int, variants: Sequence[Variant] = (INTACT,), given: Given | None = None
) -> "Steps":
    """The steps of `n_draws` continuations of each prompt and variant, of `n_steps` tokens at most, all but the last within the context.

    `given` is what replaces the variants' parts, at every token. Refuses an engine that keeps no keys and values (hooked), and a task head.
    """
    if not isinstance(engine, TorchEngine):
        refuse_unlike(engine.model)
        raise Refusal(f"the {engine.name} engine keeps no keys and values; give --engine fused or torch")
    refuse_task_head(engine)
    kind = CompiledSteps if isinstance(engine, FusedEngine) else Steps
    with torch.inference_mode():
        return kind(engine, prompts, n_draws, n_steps, variants, given or {})


def refuse_task_head(engine: Engine) -> None:
    """Refuses a model that does not predict the next token."""
    if engine.sizes.d_vocab_out != engine.sizes.d_vocab:
        raise Refusal("a task head generates nothing; give its base (ecg, ppg)")


class Steps:
    """The variants on their way: `logits` of the next token, after the prompt and after every `advance`. `steps_of` makes them."""

    def __init__(self, engine: TorchEngine, prompts: Tokens, n_draws: int, n_steps: int, variants: Sequence[Variant], given: Given) -> None:
        self.engine, self.variants, self.n_draws, self.n_windows = engine, variants, n_draws, len(prompts)
        self.n_prompt, self.n_own, self._given = prompts.shape[1], 0, given
        self._make_room(len(variants) * len(prompts), n_steps - 1)
        x = engine.embed(prompts).repeat(len(variants), 1, 1)
        for layer in range(engine.sizes.n_layers):
            self._keep_prompt(layer, engine.read(x, layer, "K"), engine.read(x, layer, "V"))
            x = self._after(x, engine.mixed(x, layer), layer, slice(0, self.n_prompt))
        self.logits = self._by_variant(engine.outputs(x[:, -1:])[:, 0]).expand(-1, -1, n_draws, -1)

    def advance(self, tokens: Int[Tensor, "variant window draw"]) -> Logits:
        """The logits after one more token of each variant, window and draw."""
        self.n_own += 1
        with torch.inference_mode():
            self.logits = self._by_variant(self._next(tokens.flatten()))
        return self.logits

    def _make_room(self, n_prompts: int, n_own: int) -> None:
        sizes, engine = self.engine.sizes, self.engine
        shape = (n_prompts * self.n_draws, sizes.n_heads, n_own, sizes.d_head)
        self._own = [torch.empty(2, *shape, dtype=engine.dtype, device=engine.device) for _ in range(sizes.n_layers)]
        self._prompt: list[tuple[Heads, Heads]] = []

    def _keep_prompt(self, layer: int, key: Heads, value: Heads) -> None:
        self._prompt.append((key.contiguous(), value.contiguous()))

    def _next(self, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row output"]:
        """The logits after one more token of each row."""
        model, time = self.engine.model, self.n_prompt + self.n_own - 1
        x = (model.W_E[tokens.to(self.engine.device)] + model.W_pos[time])[:, None]
        for layer in range(self.engine.sizes.n_layers):
            query, key, value = (self.engine.read(x, layer, letter) for letter in "QKV")
            z = self._attended(layer, query / model.cfg.attn_scale, key, value).transpose(1, 2)
            x = self._after(x, z, layer, slice(time, time + 1))
        return self.engine.outputs(x)[:, 0]

    def _after(self, x: Stream, z: Mixed, layer: int, time: slice) -> Stream:
        """The stream after a block, the parts that the variants lack replaced."""
        for place in self._lacking(HEADS, layer):
            head = self.variants[place].head
            self._by_variant(z)[place, ..., head, :] = self._value(Z, layer, time)[..., head, :]
        attention = self.engine.attention_out(z, layer)
        for place in self._lacking(LAYER, layer):
            self._by_variant(attention)[place] = self._value(ATTENTION_OUT, layer, time)
        mid = x + attention
        mlp = self.engine.mlp_out(mid, layer)
        for place in (*self._lacking(MLP, layer), *self._lacking(LAYER, layer)):
            self._by_variant(mlp)[place] = self._value(MLP_OUT, layer, time)
        return mid + mlp

    def _attended(self, layer: int, query: Heads, key: Heads, value: Heads) -> Heads:
        """What the newest token's heads take from the prompt, which all draws share, and from their own draw's tokens."""
        n = self.n_own
        self._own[layer][0, :, :, n - 1], self._own[layer][1, :, :, n - 1] = key[:, :, 0], value[:, :, 0]
        (prompt_key, prompt_value), (own_key, own_value) = self._prompt[layer], self._own[layer][:, :, :, :n]
        on_prompt = self._apart(self._together(query) @ prompt_key.mT)
        pattern = torch.cat([on_prompt, query @ own_key.mT], dim=-1).softmax(dim=-1)
        from_prompt = self._apart(self._together(pattern[..., :-n]) @ prompt_value)
        return from_prompt + pattern[..., -n:] @ own_value

    def _by_variant(self, rows: Float[Tensor, "row ..."]) -> Float[Tensor, "variant window draw ..."]:
        """The same numbers, a view."""
        return rows.view(len(self.variants), self.n_windows, -1, *rows.shape[1:])

    def _lacking(self, part: str, layer: int) -> list[int]:
        """The places of the variants that lack such a part of a layer."""
        return [place for place, variant in enumerate(self.variants) if (variant.part, variant.layer) == (part, layer)]

    def _value(self, name: str, layer: int, time: slice) -> Float[Tensor, "window 1 time ..."]:
        return self._given[name, layer][:, None, time]

    def _together(self, rows: Float[Tensor, "row head 1 _"]) -> Float[Tensor, "prompt head draw _"]:
        """The draws of a prompt as rows of one matrix."""
        return rows[:, :, 0].view(-1, self.n_draws, *rows[:, :, 0].shape[1:]).transpose(1, 2)

    def _apart(self, draws: Float[Tensor, "prompt head draw _"]) -> Float[Tensor, "row head 1 _"]:
        return draws.transpose(1, 2).flatten(0, 1)[:, :, None]


class CompiledSteps(Steps):
    """The same in the compiled kernel."""

    def _make_room(self, n_prompts: int, n_own: int) -> None:
        self._kernel, sizes = step_kernel(), self.engine.sizes
        self._packed = self._kernel.Packed(*packed_weights(self.engine.model))

        def room(n_rows: int, n_time: int) -> np.ndarray:
            return np.zeros((sizes.n_layers, n_rows, sizes.n_heads, padded(sizes.d_head), _whole(n_time)), np.float32)

        self._prompt_key, self._prompt_value = room(n_prompts, self.n_prompt), room(n_prompts, self.n_prompt)
        self._own_key, self._own_value = room(n_prompts * self.n_draws, n_own), room(n_prompts * self.n_draws, n_own)
        self._replaced = self._replacements(n_own)

    def _keep_prompt(self, layer: int, key: Heads, value: Heads) -> None:
        for room, heads in ((self._prompt_key, key), (self._prompt_value, value)):
            room[layer, :, :, : self.engine.sizes.d_head, : self.n_prompt] = heads.transpose(2, 3).numpy()

    def _next(self, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row output"]:
        cfg, (places, values) = self.engine.model.cfg, self._replaced
        logits = np.empty((len(tokens), self._packed.unembed.shape[1]), np.float32)
        self._kernel.step(
            *(self._packed, self._kernel.Replaced(*places, *(value[self.n_own - 1] for value in values))),
            *(cfg.d_model, cfg.n_heads, np.float32(cfg.eps), tokens.numpy()),
            *(self._prompt_key, self._prompt_value, self.n_prompt, self._own_key, self._own_value, self.n_own, logits),
        )
        return torch.from_numpy(logits)[:, : cfg.d_vocab_out]

    def _replacements(self, n_own: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What each prompt of each variant lacks (part, layer, head), and what takes its place: z, attention and MLP, by token."""
        kernel, sizes = self._kernel, self.engine.sizes
        code = {"": kernel.NOTHING, HEADS: kernel.HEAD, MLP: kernel.MLP, LAYER: kernel.LAYER}
        lacking = [(code[variant.part], variant.layer, variant.head) for variant in self.variants for _ in range(self.n_windows)]
        n_prompts = len(lacking) if self._given else 0
        z = np.zeros((n_own, n_prompts, sizes.d_head), np.float32)
        attention, mlp = (np.zeros((n_own, n_prompts, _whole(sizes.d_model)), np.float32) for _ in range(2))
        time = slice(self.n_prompt, self.n_prompt + n_own)
        for place, variant in enumerate(self.variants):
            rows = slice(place * self.n_windows, (place + 1) * self.n_windows)
            if variant.part == HEADS:
                z[:, rows] = self._given[Z, variant.layer][:, time, variant.head].transpose(0, 1).numpy()
            if variant.part == LAYER:
                attention[:, rows, : sizes.d_model] = self._given[ATTENTION_OUT, variant.layer][:, time].transpose(0, 1).numpy()
            if variant.part in (MLP, LAYER):
                mlp[:, rows, : sizes.d_model] = self._given[MLP_OUT, variant.layer][:, time].transpose(0, 1).numpy()
        return [np.ascontiguousarray(column) for column in np.array(lacking, np.int64).T], [z, attention, mlp]


def packed_weights(model: Any) -> list[np.ndarray]:
    """The model's weights as `step_kernel.Packed` names them, copied."""
    blocks, cfg = model.blocks, model.cfg
    read = [torch.stack([_read(block.attn, letter, cfg.attn_scale) for letter in "QKV"]).flatten(0, 2) for block in blocks]
    write = [functional.pad(block.attn.W_O, (0, 0, 0, padded(cfg.d_head) - cfg.d_head)).flatten(0, 1) for block in blocks]
    tensors = [
        *(_wide(model.W_E), _wide(model.W_pos)),
        torch.stack([_norm(block.ln1, cfg.d_model) for block in blocks]),
        *(torch.stack([_square(weight[:, :-1].T) for weight in read]), torch.stack([_wide(weight[:, -1]) for weight in read])),
        *(torch.stack([_square(weight) for weight in write]), torch.stack([_wide(block.attn.b_O) for block in blocks])),
        torch.stack([_norm(block.ln2, cfg.d_model) for block in blocks]),
        *(torch.stack([_square(block.mlp.W_in) for block in blocks]), torch.stack([_wide(block.mlp.b_in) for block in blocks])),
        *(torch.stack([_square(block.mlp.W_out) for block in blocks]), torch.stack([_wide(block.mlp.b_out) for block in blocks])),
        _norm(model.ln_final, cfg.d_model),
        *(_square(model.W_U), _wide(model.b_U)),
    ]
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _read(attention: Any, letter: str, scale: float) -> Float[Tensor, "head d d_model_and_bias"]:
    """The weights of all heads' queries, keys or values, the bias last, with padded heads; queries in units of log2."""
    weight, bias = getattr(attention, f"W_{letter}").transpose(1, 2), getattr(attention, f"b_{letter}")
    with_bias = torch.cat([weight, bias[..., None]], dim=-1) * (LOG2_E / scale if letter == "Q" else 1.0)
    return functional.pad(with_bias, (0, 0, 0, padded(weight.shape[1]) - weight.shape[1]))


def _whole(n: int) -> int:
    return -(-n // BLOCK) * BLOCK


def _wide(tensor: Tensor) -> Tensor:
    """A copy with the last axis padded with zeros to whole blocks."""
    wide = tensor.new_zeros(*tensor.shape[:-1], _whole(tensor.shape[-1]))
    wide[..., : tensor.shape[-1]] = tensor
    return wide


def _square(weight: Float[Tensor, "input output"]) -> Tensor:
    """A copy with both axes padded."""
    return _wide(_wide(weight).T.contiguous()).T


def _norm(layer_norm: Any, d_model: int) -> Float[Tensor, "2 _"]:
    """A LayerNorm's weight and bias; those of a folded one are 1 and 0."""
    weight, bias = getattr(layer_norm, "w", torch.ones(d_model)), getattr(layer_norm, "b", torch.zeros(d_model))
    return _wide(torch.stack([weight, bias]))
