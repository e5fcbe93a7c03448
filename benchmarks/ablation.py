"""A sweep of all heads: each taken away in turn, every logit of every window. Against SDPA forwards, and one hooked run for each head.

One thread. The sweep gets a chunk of windows at a time, as analyses do.
"""

from collections.abc import Iterator
from typing import Any

import torch
from forward import sdpa_forward
from setting import Setting
from table import Row, at_most
from timing import medians, one_core

from heartlens.engine import engine_of
from heartlens.gather import CHUNK
from heartlens.models import hooks
from heartlens.models.interventions.replacement import replacements
from heartlens.models.interventions.sweep import HEADS, swept

MOST_FORWARDS, MOST_DIFFERENCE = 16, 1e-4


def rows(setting: Setting) -> Iterator[Row]:
    """The sweep's CPU time in forwards, and its largest difference from hooked runs."""
    model = setting.model
    n_heads, tokens = model.cfg.n_layers * model.cfg.n_heads, setting.tokens(CHUNK if setting.is_quick else 2 * CHUNK)
    works = {
        "sweep": lambda: [len(sweep(model, chunk)) for chunk in tokens.split(CHUNK)],
        "forward": lambda: [sdpa_forward(model, window).shape for window in tokens.split(1)],
        "hooked": lambda: [without_head(model, window, 0, 0).shape for window in tokens.split(1)],
    }
    with torch.inference_mode(), one_core():
        taken = {name: each.cpu_s for name, each in medians(works, setting.n_rounds).items()}
        difference = largest_difference(model, tokens[:1], 1 if setting.is_quick else model.cfg.n_layers)
    forwards, hooked = taken["sweep"] / taken["forward"], n_heads * taken["hooked"] / taken["sweep"]
    against = f"{forwards:.1f} SDPA forwards; {hooked:.0f} times faster than {n_heads} hooked runs (one timed)"
    yield Row(
        f"zero ablation of each of {n_heads} heads, all logits",
        f"{1000 * taken['sweep'] / len(tokens):.0f} ms CPU a window",
        against,
        at_most(MOST_FORWARDS, forwards, " SDPA forwards"),
    )
    yield Row("  largest difference of a logit from hooked runs", f"{difference:.1e}", "", at_most(MOST_DIFFERENCE, difference))


def sweep(model: Any, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The logits with each head ablated in turn, layer by layer: (head, window, time, output)."""
    names = [hooks.z(layer) for layer in range(model.cfg.n_layers)]
    return [of_layer.outputs for of_layer in swept(engine_of(model), tokens, replacements(model, names, "zero"), (HEADS,))]


def without_head(model: Any, tokens: torch.Tensor, layer: int, head: int) -> torch.Tensor:
    """The logits with one head ablated, as TransformerLens is used."""

    def zeroed(z: torch.Tensor, hook: Any) -> torch.Tensor:
        z[:, :, head] = 0.0
        return z

    return model.run_with_hooks(tokens, fwd_hooks=[(hooks.z(layer), zeroed)])


def largest_difference(model: Any, tokens: torch.Tensor, n_layers: int) -> float:
    """The largest difference of any logit between the sweep and hooked runs, over the heads of the first layers."""
    return max(
        float((output - without_head(model, tokens, layer, head)).abs().max())
        for layer, outputs in enumerate(sweep(model, tokens)[:n_layers])
        for head, output in enumerate(outputs)
    )
