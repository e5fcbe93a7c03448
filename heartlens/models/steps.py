"""Next tokens, step by step, of a model and of the same with single parts replaced: all variants, windows and draws as one batch.

Keys and values are kept, the prompt's once for all draws; prompt and continuation fit the context, so no position ever shifts and nothing
is computed twice. A token is the first whose cumulative probability exceeds a uniform number (inverse CDF).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.converters.lens import HookedTransformer
from heartlens.models import forward, hooks
from heartlens.models.readouts import TOKEN, answers
from heartlens.models.replacement import Value
from heartlens.models.sweep import HEADS, LAYER, MLP
from heartlens.refusal import Refusal

Logits = Float[Tensor, "variant window draw output"]
Rows = Float[Tensor, "row head _ _"]  # of queries, keys, values and what they mix; a row: a draw of a window of a variant
Stream = Float[Tensor, "row time d_model"]
Attend = Callable[[int, Rows, Rows, Rows], Rows]


@dataclass(frozen=True)
class Variant:
    """A model with one head, MLP or whole layer replaced (`part` as in `sweep`), or with none: `INTACT`."""

    part: str = ""
    layer: int = -1
    head: int = -1


INTACT = Variant()


def sampled(logits: Logits, uniform: Float[Tensor, "*variant window draw"]) -> Int[Tensor, "variant window draw"]:
    """The first token whose cumulative probability exceeds the uniform number."""
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    return (cumulative <= uniform[..., None]).sum(dim=-1).clamp_max(logits.shape[-1] - 1)


class Steps:
    """The variants on their way: `logits` of the next token, after the prompt and after every `advance`."""

    def __init__(
        self,
        model: HookedTransformer,
        prompts: Int[Tensor, "window time"],
        variants: Sequence[Variant],
        values: Mapping[str, Value],
        n_draws: int,
        n_steps: int,
    ) -> None:
        _refuse(model, prompts.shape[1], n_steps)
        self.model, self.variants, self.n_time, self.n_draws = model, variants, prompts.shape[1], n_draws
        self.n_windows = len(prompts)
        self._given = {name: _whole(model, name, value, len(prompts)) for name, value in values.items()}
        self._prompt: list[tuple[Rows, Rows]] = []
        x = forward.embedded(model, prompts.to(model.W_E.device)).repeat(len(variants), 1, 1)
        self.logits = self._through(x, slice(0, self.n_time), self._on_the_prompt).expand(-1, -1, n_draws, -1)
        shape = (len(x) * n_draws, model.cfg.n_heads, n_steps - 1, model.cfg.d_head)
        self._own = [(x.new_empty(shape), x.new_empty(shape)) for _ in self._prompt]
        self._n_own = 0

    def advance(self, tokens: Int[Tensor, "variant window draw"]) -> Logits:
        """The logits after one more token of each variant, window and draw."""
        x = self.model.W_E[tokens.flatten()[:, None]] + self.model.W_pos[self.n_time]
        self._n_own += 1
        self.n_time += 1
        self.logits = self._through(x, slice(self.n_time - 1, self.n_time), self._on_all)
        return self.logits

    def _through(self, x: Stream, time: slice, attend: Attend) -> Logits:
        for layer in range(self.model.cfg.n_layers):
            x = self._block(x, layer, time, attend)
        return self._by_variant(forward.outputs(self.model, x[:, -1:])[:, 0])

    def _block(self, x: Stream, layer: int, time: slice, attend: Attend) -> Stream:
        """The stream after a block, the parts that the variants lack replaced."""
        z = attend(layer, *forward.projected(self.model, x, layer)).transpose(1, 2)
        for place in self._those(HEADS, layer):
            head = self.variants[place].head
            self._by_variant(z)[place, ..., head, :] = self._value(hooks.z(layer), time)[..., head, :]
        attention = forward.attention_out(self.model, z, layer)
        for place in self._those(LAYER, layer):
            self._by_variant(attention)[place] = self._value(hooks.attn_out(layer), time)
        mid = x + attention
        mlp = forward.mlp_out(self.model, mid, layer)
        for place in (*self._those(MLP, layer), *self._those(LAYER, layer)):
            self._by_variant(mlp)[place] = self._value(hooks.mlp_out(layer), time)
        return mid + mlp

    def _by_variant(self, rows: Float[Tensor, "row ..."]) -> Float[Tensor, "variant window draw ..."]:
        """The same numbers, a view."""
        return rows.view(len(self.variants), self.n_windows, -1, *rows.shape[1:])

    def _those(self, part: str, layer: int) -> list[int]:
        """The places of the variants that lack such a part of a layer."""
        return [place for place, one in enumerate(self.variants) if (one.part, one.layer) == (part, layer)]

    def _value(self, name: str, time: slice) -> Float[Tensor, "window 1 time ..."]:
        return self._given[name][:, None, time]

    def _on_the_prompt(self, layer: int, query: Rows, key: Rows, value: Rows) -> Rows:
        """What heads take from the prompt alone; its keys and values are kept."""
        d_head = self.model.cfg.d_head
        self._prompt.append((key[..., :d_head].contiguous(), value[..., :d_head].contiguous()))
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=self._scale)[..., :d_head]

    def _on_all(self, layer: int, query: Rows, key: Rows, value: Rows) -> Rows:
        """What the newest token's heads take from the prompt, which all draws share, and from their own draw's tokens."""
        d_head, n = self.model.cfg.d_head, self._n_own
        for kept, new in zip(self._own[layer], (key, value), strict=True):
            kept[:, :, n - 1] = new[:, :, 0, :d_head]
        (prompt_key, prompt_value), (own_key, own_value) = self._prompt[layer], (kept[:, :, :n] for kept in self._own[layer])
        query = query[..., :d_head] * self._scale
        on_prompt = self._apart(self._together(query) @ prompt_key.mT)
        pattern = torch.cat([on_prompt, query @ own_key.mT], dim=-1).softmax(dim=-1)
        from_prompt = self._apart(self._together(pattern[..., :-n]) @ prompt_value)
        return from_prompt + pattern[..., -n:] @ own_value

    @property
    def _scale(self) -> float:
        return 1 / self.model.cfg.attn_scale

    def _together(self, rows: Float[Tensor, "row head 1 _"]) -> Float[Tensor, "prompt head draw _"]:
        """The draws of a prompt as rows of one matrix."""
        return rows[:, :, 0].view(-1, self.n_draws, *rows[:, :, 0].shape[1:]).transpose(1, 2)

    def _apart(self, draws: Float[Tensor, "prompt head draw _"]) -> Float[Tensor, "row head 1 _"]:
        return draws.transpose(1, 2).flatten(0, 1)[:, :, None]


def _whole(model: HookedTransformer, name: str, value: Value, n_windows: int) -> Float[Tensor, "window time ..."]:
    """A replacement for the whole context."""
    shape = (model.cfg.n_heads, model.cfg.d_head) if name.endswith("hook_z") else (model.cfg.d_model,)
    return value(model.W_E.new_zeros(n_windows, model.cfg.n_ctx, *shape)) if callable(value) else value


def refuse_task_head(model: HookedTransformer) -> None:
    """Refuses a model that says no next token."""
    if answers(model) != TOKEN:
        raise Refusal("a task head generates nothing; give its base (ecg, ppg)")


def _refuse(model: HookedTransformer, n_prompt: int, n_steps: int) -> None:
    refuse_task_head(model)
    if n_prompt < 1 or n_steps < 1 or n_prompt + n_steps > model.cfg.n_ctx:
        raise Refusal(
            f"{n_prompt} tokens and {n_steps} new ones do not fit; legal: one or more of each, together {model.cfg.n_ctx} at most"
        )
