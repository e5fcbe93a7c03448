"""Let a next-token model go on: each token drawn from its distribution at temperature 1, the context its last 500 tokens, as published."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional

from heartlens.axes import CONTEXT
from heartlens.training.network import Network


@torch.no_grad()
def continued(network: Network, tokens: UInt8[np.ndarray, "window time"], n_new: int, seed: int) -> UInt8[np.ndarray, "window grown"]:
    """The windows with `n_new` generated tokens after them. The same `seed`, the same tokens."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    grown = torch.from_numpy(tokens.astype(np.int64))
    for _ in range(n_new):
        logits = network(grown[:, -CONTEXT:], last_only=True)[:, 0]
        grown = torch.cat([grown, torch.multinomial(functional.softmax(logits.float(), dim=-1), 1, generator=generator)], dim=1)
    return grown.numpy().astype(np.uint8)
