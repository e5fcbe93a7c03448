"""Which parts of the last block fine-tuning changed the logit by: of the recording, and of what it differs in from its counterfactual."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from heartlens.analyses.patching.pairs import Pairs
from heartlens.axes import head_label

SIDES = ("clean", "corrupt")


def base_for(subject: Any, name: str) -> Any:
    """The base to compare a task head's model with; None for a base model, for the name `none`, and where auto finds no base."""
    from heartlens.models.changes import base_beside
    from heartlens.models.pairs import UnknownBase

    if name == "none" or subject.origin.task is None:
        return None
    try:
        return base_beside(subject, name)
    except UnknownBase:
        return None


def swapped_parts(subject: Any) -> list[str]:
    """The names of the parts that are swapped, in order."""
    last = subject.sizes.n_layers - 1
    return [*(head_label(last, head) for head in range(subject.sizes.n_heads)), "attention bias", "MLP", "final norm"]


def cross_model(subject: Any, base: Any, pairs: Pairs, asked: Bool[np.ndarray, "window time"]) -> dict[str, np.ndarray]:
    """Each part's share of the change of the mean logit at the tokens `asked`, (window, side, swapped), and the logit with base blocks."""
    from heartlens.models.interventions.difference import shares_of

    by_side = [shares_of(subject.engine, base.engine, side.tokens, asked) for side in (pairs.clean, pairs.corrupt)]
    shares = [np.concatenate([side.heads, side.others], axis=1) for side in by_side]
    return {"cross_model": np.stack(shares, axis=1), "base_logit": np.stack([side.base for side in by_side], axis=1)}
