"""What each head carries of the difference between two windows: the last logit with one head's mixture (z) taken from the other."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from heartlens.checkpoints.registry import ALIASES
from heartlens.converters.lens import HookedTransformer
from heartlens.models import forward, hooks, sweep
from heartlens.models.origin import origin_of
from heartlens.refusal import Refusal

Tokens = UInt8[np.ndarray, "window time"]


def refuse_without_last_logit(model: Any) -> None:
    """Refuse a model that has no task head with one output read at the last token."""
    origin = origin_of(model)
    if model.cfg.d_vocab_out != 1 or "beat" in (origin.task or ""):
        legal = ", ".join(name for name in ALIASES if name.endswith("-af"))
        raise Refusal(f"{origin.checkpoint} has no task head that reads the last token; legal: {legal}, or your own of that kind")


def last_logits(model: HookedTransformer, tokens: Tokens) -> Float[np.ndarray, " window"]:
    """The task head's logit at the last token of each window. Refuses a model with hooks."""
    with torch.inference_mode():
        return _logit(sweep.intact(model, _asked(model, tokens), last_only=True)).reshape(-1)


def carried_by_head(model: HookedTransformer, into: Tokens, source: Tokens) -> Float[np.ndarray, "window layer head"]:
    """The change of the last token's logit on each window of `into` when one head at a time mixes what it mixes on its window of `source`.

    All positions of the head are taken over; what lies behind it computes on. The changes of several heads need not add up.
    """
    with torch.inference_mode():
        there = _mixed(model, _asked(model, source))
        whole = _logit(sweep.intact(model, _asked(model, into), last_only=True))
        layers = sweep.swept(model, _asked(model, into), there, parts=(sweep.HEADS,), last_only=True)
        return np.stack([_logit(layer.outputs)[..., 0].T for layer in layers], axis=1) - whole.reshape(-1, 1, 1)


def _mixed(model: HookedTransformer, tokens: Tensor) -> dict[str, Any]:
    """Every layer's z on the tokens."""
    x, found = forward.embedded(model, tokens), {}
    for layer in range(model.cfg.n_layers):
        parts = forward.block_parts(model, x, layer)
        x, found[hooks.z(layer)] = parts.post, parts.z
    return found


def _asked(model: HookedTransformer, tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64)).to(model.W_E.device)


def _logit(output: Tensor) -> np.ndarray:
    """A one-output model's outputs without that axis, in double precision."""
    return output[..., 0].double().cpu().numpy()
