"""Let a HookedTransformer go on: each token drawn from its distribution, the context its last 500 tokens. Hooks that were set act.

With `training.generation` the same tokens for the same seed; this one is for models that something was taken from (`edit.ablated`).
"""

import numpy as np
import torch
from jaxtyping import UInt8
from transformer_lens import HookedTransformer

from heartlens.models.readouts import TOKEN, answers
from heartlens.refusal import Refusal


def continued(
    model: HookedTransformer, tokens: UInt8[np.ndarray, "window time"], n_new: int, seed: int
) -> UInt8[np.ndarray, "window grown"]:
    """The windows with `n_new` generated tokens after them. Refuses a task head, which says no next token."""
    if answers(model) != TOKEN:
        raise Refusal("a task head generates nothing; give its base (ecg, ppg)")
    generator = torch.Generator().manual_seed(seed)
    grown = torch.from_numpy(tokens.astype(np.int64))
    with torch.inference_mode():
        for _ in range(n_new):
            logits = model(grown[:, -model.cfg.n_ctx :].to(model.W_E.device))[:, -1].float().cpu()
            grown = torch.cat([grown, torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)], dim=1)
    return grown.numpy().astype(np.uint8)
