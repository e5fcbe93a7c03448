"""How much an edit of the signal changes what a model is given: its embeddings."""

import numpy as np
import torch
from jaxtyping import Float, UInt8

from heartlens.engine import Engine
from heartlens.refusal import Refusal

Tokens = UInt8[np.ndarray, "_ _"]  # windows by time
N_AT_ONCE = 64  # windows whose embeddings are held together


def embedding_dose(engine: Engine, before: Tokens, after: Tokens) -> Float[np.ndarray, " _"]:
    """The length of the change of each token's embedding, summed over each window. Refuses unequal numbers of windows.

    Position embeddings cancel. In units of the embedding; a token that does not change adds 0.
    """
    if before.shape != after.shape:
        raise Refusal(f"a dose is between as many windows; given {len(before)} and {len(after)}")
    total = np.zeros(len(before))
    with torch.inference_mode():
        for first in range(0, len(before), N_AT_ONCE):
            some = slice(first, first + N_AT_ONCE)
            left, right = (
                engine.embed(torch.from_numpy(tokens[some].astype(np.int64)).to(engine.device)).double() for tokens in (before, after)
            )
            total[some] = (right - left).norm(dim=-1).sum(dim=-1).cpu().numpy()
    return total
