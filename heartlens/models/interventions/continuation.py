"""Let a next-token model go on, intact and with single parts replaced, with the same random numbers.

The numbers are of the window's identity, the draw and the step alone: variants share them (common random numbers), and no batch decides
what comes.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from heartlens.engine import Sizes
from heartlens.engine.steps import ATTENTION_OUT, HEADS, INTACT, LAYER, MLP, MLP_OUT, Logits, Steps, Variant, Z, steps_of
from heartlens.models import hooks
from heartlens.models.interventions.replacement import Value
from heartlens.models.subject import TOKEN, Subject
from heartlens.refusal import Refusal
from heartlens.windows import Windows

Uniforms = Float[np.ndarray, "*variant window draw step"]  # of all variants, or of each its own


def variants_of(sizes: Sizes) -> tuple[Variant, ...]:
    """Every head, layer by layer, then every MLP, then every layer."""
    layers = range(sizes.n_layers)
    heads = [Variant(HEADS, layer, head) for layer in layers for head in range(sizes.n_heads)]
    return (*heads, *(Variant(part, layer) for part in (MLP, LAYER) for layer in layers))


def uniforms(identity: Shaped[np.ndarray, " window"], n_draws: int, n_steps: int, seed: int) -> Float[np.ndarray, "window draw step"]:
    """The random numbers of each window, draw and step; they depend on these and the seed alone."""
    return np.array(
        [[np.random.default_rng([seed, int(str(window), 16), draw]).random(n_steps) for draw in range(n_draws)] for window in identity]
    )


def sampled(logits: Logits, uniform: Float[Tensor, "*variant window draw"]) -> Int[Tensor, "variant window draw"]:
    """The first token whose cumulative probability exceeds the uniform number (inverse CDF)."""
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    return (cumulative <= uniform[..., None]).sum(dim=-1).clamp_max(logits.shape[-1] - 1)


def started(
    subject: Subject,
    prompts: Int[Tensor, "window time"],
    variants: Sequence[Variant],
    values: Mapping[str, Value],
    n_draws: int,
    n_steps: int,
) -> Steps:
    """The steps of each variant after the prompts; `values` as in `continued`, which says what is refused."""
    refuse_task_head(subject)
    n_prompt, n_ctx = prompts.shape[1], subject.sizes.n_ctx
    if n_prompt < 1 or n_steps < 1 or n_prompt + n_steps > n_ctx:
        raise Refusal(f"{n_prompt} tokens and {n_steps} new ones do not fit; legal: one or more of each, together {n_ctx} at most")
    given = {}
    for layer in range(subject.sizes.n_layers):
        for what, name in ((Z, hooks.z(layer)), (ATTENTION_OUT, hooks.attn_out(layer)), (MLP_OUT, hooks.mlp_out(layer))):
            if name in values:
                given[what, layer] = _whole(subject, name, values[name], len(prompts))
    return steps_of(subject.engine, prompts, n_draws, n_steps, variants, given)


def continued(
    subject: Subject,
    prompts: UInt8[np.ndarray, "window time"],
    drawn: Uniforms,
    variants: Sequence[Variant] = (INTACT,),
    values: Mapping[str, Value] | None = None,
) -> UInt8[np.ndarray, "variant window draw step"]:
    """What each variant generates after the prompts. `values` names, as `replacements` does, what replaces the variants' parts.

    Refuses a task head, which predicts no next token, a model with hooks, and more tokens than the context holds.
    """
    n_draws, n_steps = drawn.shape[-2:]
    uniform = torch.from_numpy(drawn).to(subject.engine.device)
    with torch.inference_mode():
        steps = started(subject, torch.from_numpy(prompts.astype(np.int64)), variants, values or {}, n_draws, n_steps)
        tokens = [sampled(steps.logits, uniform[..., 0])]
        for step in range(1, n_steps):
            tokens.append(sampled(steps.advance(tokens[-1]), uniform[..., step]))
    return torch.stack(tokens, dim=-1).cpu().numpy().astype(np.uint8)


def refuse_task_head(subject: Subject) -> None:
    """Refuses a model that does not predict the next token."""
    if subject.answers != TOKEN:
        raise Refusal("a task head generates nothing; give its base (ecg, ppg)")


def variants_continued(
    subject: Subject, windows: Windows, values: Callable[[Windows], Mapping[str, Value]] | None, n_prompt: int, n_draws: int, seed: int
) -> UInt8[np.ndarray, "variant window draw step"]:
    """The rest of each window as the model generates it: intact, intact with other random numbers, then without each of `variants_of`.

    `values` gives what replaces a part on some windows; where it is None, the intact continuations are all.
    """
    variants = (INTACT, INTACT, *(variants_of(subject.sizes) if values else ()))
    made = []
    for window in windows.chunks(1):  # the keys and values of all variants and draws of one window are 0.3 GB
        drawn = uniforms(window.identity, 2 * n_draws, window.tokens.shape[1] - n_prompt, seed)
        sets = np.stack([drawn[:, n_draws:] if place == 1 else drawn[:, :n_draws] for place in range(len(variants))])
        made.append(continued(subject, window.tokens[:, :n_prompt], sets, variants, values(window) if values else None))
    return np.concatenate(made, axis=1)


def _whole(subject: Subject, name: str, value: Value, n_windows: int) -> Float[Tensor, "window time ..."]:
    """A replacement for the whole context."""
    shape = (subject.sizes.n_heads, subject.sizes.d_head) if name == hooks.z(hooks.layer_of(name) or 0) else (subject.sizes.d_model,)
    return (
        value(torch.zeros(n_windows, subject.sizes.n_ctx, *shape, dtype=subject.engine.dtype, device=subject.engine.device))
        if callable(value)
        else value
    )
