"""Let a next-token model go on, intact and with single parts replaced, with the same random numbers.

The numbers are of the window's identity, the draw and the step alone: variants share them (common random numbers), and no batch decides
what comes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8

from heartlens.converters.lens import HookedTransformer
from heartlens.models.ablations import values_of
from heartlens.models.replacement import Reference, Value
from heartlens.models.steps import INTACT, Steps, Variant, sampled
from heartlens.models.sweep import HEADS, LAYER, MLP
from heartlens.windows import Windows

Uniforms = Float[np.ndarray, "*variant window draw step"]  # of all variants, or of each its own


def variants_of(model: HookedTransformer) -> tuple[Variant, ...]:
    """Every head, layer by layer, then every MLP, then every layer."""
    layers = range(model.cfg.n_layers)
    heads = [Variant(HEADS, layer, head) for layer in layers for head in range(model.cfg.n_heads)]
    return (*heads, *(Variant(part, layer) for part in (MLP, LAYER) for layer in layers))


def uniforms(identity: Shaped[np.ndarray, " window"], n_draws: int, n_steps: int, seed: int) -> Float[np.ndarray, "window draw step"]:
    """The random numbers of each window, draw and step: of none but these and the seed."""
    return np.array(
        [[np.random.default_rng([seed, int(str(one), 16), draw]).random(n_steps) for draw in range(n_draws)] for one in identity]
    )


def continued(
    model: HookedTransformer,
    prompts: UInt8[np.ndarray, "window time"],
    drawn: Uniforms,
    variants: Sequence[Variant] = (INTACT,),
    values: Mapping[str, Value] | None = None,
) -> UInt8[np.ndarray, "variant window draw step"]:
    """What each variant generates after the prompts. `values` names, as `replacements` does, what replaces the variants' parts.

    Refuses a task head, which says no next token, a model with hooks, and more tokens than the context holds.
    """
    n_draws, n_steps = drawn.shape[-2:]
    uniform = torch.from_numpy(drawn).to(model.W_E.device)
    with torch.inference_mode():
        going = Steps(model, torch.from_numpy(prompts.astype(np.int64)), variants, values or {}, n_draws, n_steps)
        tokens = [sampled(going.logits, uniform[..., 0])]
        for step in range(1, n_steps):
            tokens.append(sampled(going.advance(tokens[-1]), uniform[..., step]))
    return torch.stack(tokens, dim=-1).cpu().numpy().astype(np.uint8)


def variants_continued(
    model: HookedTransformer, windows: Windows, how: str, reference: Reference | None, n_prompt: int, n_draws: int, seed: int
) -> UInt8[np.ndarray, "variant window draw step"]:
    """The rest of each window as the model generates it: intact, intact with other random numbers, then without each of `variants_of`."""
    variants = (INTACT, INTACT, *variants_of(model))
    made = []
    for one in windows.chunks(1):  # the keys and values of all variants and draws of one window are 0.3 GB
        drawn = uniforms(one.identity, 2 * n_draws, one.tokens.shape[1] - n_prompt, seed)
        sets = np.stack([drawn[:, n_draws:] if place == 1 else drawn[:, :n_draws] for place in range(len(variants))])
        made.append(continued(model, one.tokens[:, :n_prompt], sets, variants, values_of(model, how, reference, one)))
    return np.concatenate(made, axis=1)
