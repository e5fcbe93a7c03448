"""The residual stream by level: the embedding (tokens and positions), then after each block, as in the published similarity screen."""

import numpy as np
import torch
from jaxtyping import Float, UInt8

from heartlens.models.subject import Subject


def level_names(n_layers: int) -> list[str]:
    """The names of the levels.

    >>> level_names(2)
    ['embedding', 'block 1', 'block 2']
    """
    return ["embedding", *(f"block {layer + 1}" for layer in range(n_layers))]


def position_embedding(subject: Subject, n_time: int) -> Float[np.ndarray, "time d_model"]:
    """The embedding of the first positions, without tokens, float32."""
    return np.asarray(subject.weights.W_pos[:n_time].detach().float().cpu().numpy())


def residual_by_level(subject: Subject, tokens: UInt8[np.ndarray, "window time"]) -> Float[np.ndarray, "level window time d_model"]:
    """The residual stream at every level, float32; hooks that were set act."""
    engine = subject.engine
    with torch.inference_mode():
        levels = [engine.embed(subject.tokens(tokens))]
        for layer in range(subject.sizes.n_layers):
            levels.append(engine.after(levels[-1], layer))
        return torch.stack(levels).float().cpu().numpy()
