"""The residual stream by level: the embedding (tokens and positions), then after each block, as in the published similarity screen."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from transformer_lens import HookedTransformer


def level_names(n_layers: int) -> list[str]:
    """The names of the levels.

    >>> level_names(2)
    ['embedding', 'block 1', 'block 2']
    """
    return ["embedding", *(f"block {layer + 1}" for layer in range(n_layers))]


def residual_by_level(model: HookedTransformer, tokens: UInt8[np.ndarray, "window time"]) -> Float[np.ndarray, "level window time d_model"]:
    """The residual stream at every level, float32; hooks that were set act."""
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(model.cfg.n_layers))]
    asked = torch.from_numpy(tokens.astype(np.int64)).to(model.W_E.device)
    with torch.inference_mode():
        _, cache = model.run_with_cache(asked, return_type=None, names_filter=names)
    return np.stack([cache[name].float().cpu().numpy() for name in names])
