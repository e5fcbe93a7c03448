"""Generation: the tokens that the published sliding-window loop draws, from kept keys and values.

The published loop: the logits at the last of the last 500 tokens, softmax, `torch.multinomial`, append. Sample i of a context is that
loop's run after `torch.manual_seed(seed + i)`: every row draws with a generator of its own, so the result does not depend on the batch.
The logits equal the loop's up to rounding; only a draw that is a tie within that rounding can differ, as it can between two processors.
Until the context is full, a new token costs one step (`steps.py`). After that all positions shift with every token, and each step is a pass
over all 500 tokens. The hooked engine always makes such passes, so that the user's hooks act on every token.
Temperature and top-k as in nanoGPT (Karpathy): logits / temperature, then the k largest alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt8
from torch import Tensor

from heartlens.engine import engine_of
from heartlens.engine.batched import COPIES, MEMORY
from heartlens.engine.protocol import Engine
from heartlens.engine.steps import refuse_task_head, steps_of
from heartlens.refusal import Refusal

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.001, 1000.0
MOST_SEED = 2**63 - 1  # that a torch.Generator takes


def generated(
    model: Any,
    contexts: Integer[np.ndarray, "context time"],
    n_new: int,
    *,
    seed: int,
    n_samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    engine: str = "auto",
) -> UInt8[np.ndarray, "context sample new"]:
    """The `n_new` tokens that a next-token model (or an engine that runs one) generates after each context, `n_samples` times.

    Of a context the last 500 tokens count. `temperature` 0 takes the likeliest token. A model with hooks is run by the hooked engine, where
    they act. Refuses task heads, tokens outside the vocabulary, and illegal numbers.
    """
    running: Engine = model if hasattr(model, "sums") else engine_of(model, engine)
    refuse_task_head(running)
    drawing = Drawing(running.sizes.d_vocab_out, seed, n_samples, temperature, top_k)
    _refuse_unfit(contexts, n_new, running.sizes.d_vocab)
    prompts = torch.from_numpy(contexts[:, -running.sizes.n_ctx :].astype(np.int64))
    rows_at_once = max(1, MEMORY // _bytes_of_row(running))
    samples_at_once = min(n_samples, rows_at_once)
    contexts_at_once = max(1, rows_at_once // samples_at_once)
    new = np.empty((len(contexts), n_samples, n_new), np.uint8)
    for context in range(0, len(contexts), contexts_at_once):
        for sample in range(0, n_samples, samples_at_once):
            batch = slice(context, context + contexts_at_once), slice(sample, sample + samples_at_once)
            for step, tokens in enumerate(_continued(running, prompts[batch[0]], n_new, drawing, range(n_samples)[batch[1]])):
                new[(*batch, step)] = tokens.numpy()
    return new


def growing(
    engine: Engine,
    context: Integer[np.ndarray, " time"],
    n_new: int,
    *,
    seed: int,
    n_samples: int,
    temperature: float,
    top_k: int | None = None,
) -> Iterator[UInt8[np.ndarray, " sample"]]:
    """The tokens of `generated` for one context, one step after the other, of all samples. Refuses what `generated` refuses."""
    refuse_task_head(engine)
    drawing = Drawing(engine.sizes.d_vocab_out, seed, n_samples, temperature, top_k)
    _refuse_unfit(context[None], n_new, engine.sizes.d_vocab)
    prompt = torch.from_numpy(context[None, -engine.sizes.n_ctx :].astype(np.int64))
    for tokens in _continued(engine, prompt, n_new, drawing, range(n_samples)):
        yield tokens[0].numpy().astype(np.uint8)


@dataclass(frozen=True)
class Drawing:
    """How a token is drawn from logits. Refuses settings that are not legal."""

    n_tokens: int
    seed: int
    n_samples: int = 1
    temperature: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise Refusal(f"n_samples {self.n_samples}; legal: 1 or more")
        if not 0 <= self.seed <= MOST_SEED - self.n_samples:
            raise Refusal(f"seed {self.seed}; legal: 0 to {MOST_SEED - self.n_samples}")
        if self.temperature != 0 and not LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE:
            legal = f"0 (the likeliest token), or {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}"
            raise Refusal(f"temperature {self.temperature:g}; legal: {legal}")
        if self.top_k is not None and not 1 <= self.top_k <= self.n_tokens:
            raise Refusal(f"top_k {self.top_k}; legal: 1 to {self.n_tokens}, as many as the model has tokens, or none")

    def generators(self, samples: Sequence[int]) -> list[torch.Generator]:
        """The random numbers of each sample, as `torch.manual_seed` would set them."""
        return [torch.Generator().manual_seed(self.seed + sample) for sample in samples]

    def drawn(self, logits: Float[Tensor, "row output"], generators: Sequence[torch.Generator]) -> Int[Tensor, " row"]:
        """A token for each row, drawn with its own generator, on the CPU in float32 as published. Refuses logits that are not finite."""
        logits = logits.float().cpu()
        if not bool(torch.isfinite(logits).all()):
            raise Refusal("the model's outputs are not finite; nothing can be drawn from them; check its weights")
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        logits = logits / self.temperature
        if self.top_k is not None:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], float("-inf"))
        rows = zip(logits.softmax(dim=-1), generators, strict=True)
        return torch.cat([torch.multinomial(probability, 1, generator=generator) for probability, generator in rows])


def last_outputs(engine: Engine, tokens: Int[Tensor, "row time"]) -> Float[Tensor, "row output"]:
    """The outputs at the last token, from a pass over all of them."""
    x = engine.run_blocks(engine.embed(tokens), 0, engine.sizes.n_layers - 1)
    return engine.outputs(engine.last_token(x))[:, 0]


def _continued(
    engine: Engine, prompts: Int[Tensor, "context time"], n_new: int, drawing: Drawing, samples: Sequence[int]
) -> Iterator[Int[Tensor, "context sample"]]:
    """One new token after another of each context and sample."""
    n_contexts, n_samples, n_ctx = len(prompts), len(samples), engine.sizes.n_ctx
    generators = [generator for _ in prompts for generator in drawing.generators(samples)]
    grown = torch.empty(n_contexts * n_samples, prompts.shape[1] + n_new, dtype=torch.int64)
    grown[:, : prompts.shape[1]] = prompts.repeat_interleave(n_samples, dim=0)
    n_steps = min(n_new, n_ctx - prompts.shape[1] + 1)
    if engine.name == "hooked" or n_steps == 1:  # for one token, keys and values need not be kept
        n_steps = 0
    for n_drawn in range(n_new):
        end = prompts.shape[1] + n_drawn
        with torch.inference_mode():
            if n_drawn >= n_steps:
                logits = last_outputs(engine, grown[:, max(0, end - n_ctx) : end])
            elif n_drawn == 0:
                steps = steps_of(engine, prompts, n_samples, n_steps)
                logits = steps.logits.flatten(0, 2)
            else:
                logits = steps.advance(grown[:, end - 1].view(1, n_contexts, n_samples)).flatten(0, 2)
            grown[:, end] = drawing.drawn(logits, generators)
        yield grown[:, end].view(n_contexts, n_samples)


def _bytes_of_row(engine: Engine) -> int:
    """What one row needs: its keys and values, or the patterns of a hooked pass."""
    sizes = engine.sizes
    kept = 2 * sizes.n_layers * sizes.n_heads * sizes.d_head * sizes.n_ctx
    patterns = COPIES * sizes.n_heads * sizes.n_ctx**2
    return (patterns if engine.name == "hooked" else kept) * engine.dtype.itemsize


def _refuse_unfit(contexts: Integer[np.ndarray, "context time"], n_new: int, vocabulary: int) -> None:
    if contexts.ndim != 2 or contexts.size == 0:
        raise Refusal(f"contexts of shape {contexts.shape}; legal: (context, time), with one context and one token or more")
    if n_new < 1:
        raise Refusal(f"n_new {n_new}; legal: 1 or more")
    if vocabulary > 256:
        raise Refusal(f"the model has {vocabulary} tokens; legal: 256 at most")
    if contexts.min() < 0 or contexts.max() >= vocabulary:
        raise Refusal(f"the contexts hold tokens from {contexts.min()} to {contexts.max()}; the model's are 0 to {vocabulary - 1}")
