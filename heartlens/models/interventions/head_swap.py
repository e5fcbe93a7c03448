"""What each head carries of the difference between two windows: the last logit with one head's mixture (z) taken from the other."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from heartlens.checkpoints.registry import ALIASES
from heartlens.engine import Engine
from heartlens.models.interventions import sweep
from heartlens.models.interventions.replacement import activations_of_parts
from heartlens.models.subject import LAST, Subject
from heartlens.refusal import Refusal

Tokens = UInt8[np.ndarray, "window time"]


def refuse_without_last_logit(subject: Subject) -> None:
    """Refuse a model that has no task head with one output read at the last token."""
    origin = subject.origin
    if subject.sizes.d_vocab_out != 1 or subject.answers != LAST:
        legal = ", ".join(name for name in ALIASES if name.endswith("-af"))
        raise Refusal(f"{origin.checkpoint} has no task head that reads the last token; legal: {legal}, or your own of that kind")


def last_logits(engine: Engine, tokens: Tokens) -> Float[np.ndarray, " window"]:
    """The task head's logit at the last token of each window. Refuses a model with hooks."""
    with torch.inference_mode():
        return _logit(sweep.intact(engine, _asked(engine, tokens), last_only=True)).reshape(-1)


def carried_by_head(engine: Engine, into: Tokens, source: Tokens) -> Float[np.ndarray, "window layer head"]:
    """The change of the last token's logit on each window of `into` when one head at a time mixes what it mixes on its window of `source`.

    All positions of the head are taken over; what lies behind it computes on. The changes of several heads need not add up.
    """
    with torch.inference_mode():
        source_activations = activations_of_parts(engine, _asked(engine, source))
        whole = _logit(sweep.intact(engine, _asked(engine, into), last_only=True))
        layers = sweep.swept(engine, _asked(engine, into), source_activations, parts=(sweep.HEADS,), last_only=True)
        return np.stack([_logit(layer.outputs)[..., 0].T for layer in layers], axis=1) - whole.reshape(-1, 1, 1)


def _asked(engine: Engine, tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64)).to(engine.device)


def _logit(output: Tensor) -> np.ndarray:
    """A one-output model's outputs without that axis, in double precision."""
    return output[..., 0].double().cpu().numpy()
