"""The residual stream by level: the embedding (tokens and positions), then after each block, as in the published similarity screen."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from heartlens.converters.lens import HookedTransformer
from heartlens.models.fused import fused_residual, is_plain


def level_names(n_layers: int) -> list[str]:
    """The names of the levels.

    >>> level_names(2)
    ['embedding', 'block 1', 'block 2']
    """
    return ["embedding", *(f"block {layer + 1}" for layer in range(n_layers))]


def residual_by_level(model: HookedTransformer, tokens: UInt8[np.ndarray, "window time"]) -> Float[np.ndarray, "level window time d_model"]:
    """The residual stream at every level, float32; hooks that were set act."""
    asked = torch.from_numpy(tokens.astype(np.int64)).to(model.W_E.device)
    with torch.inference_mode():
        levels = fused_residual(model, asked) if is_plain(model) else hooked_residual(model, asked)
        return np.stack([level.float().cpu().numpy() for level in levels])


def hooked_residual(model: HookedTransformer, tokens: Int[Tensor, "window time"]) -> list[Float[Tensor, "window time d_model"]]:
    """The same through the model's own blocks, so that hooks act."""
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(model.cfg.n_layers))]
    _, cache = model.run_with_cache(tokens, return_type=None, names_filter=names)
    return [cache[name] for name in names]
