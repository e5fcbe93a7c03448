"""The frozen blocks run once for each window; what they leave in the residual stream is kept on disk and trained on.

Exact as long as nothing before the trained part is random: the frozen blocks run without dropout (the published code leaves it on).
"""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped

from heartlens.training.network import Network

BATCH = 64


@torch.no_grad()
def frozen_part(network: Network, tokens: Shaped[np.ndarray, "window time"], start: int, last_only: bool, path: Path) -> np.ndarray:
    """What enters the trained part, from block `start` on: tokens (from 0), else the residual stream (window, time, d_model), float32.

    Kept in `path` and mapped into memory. Where only the head is trained on the last token, that token alone is kept.
    """
    if start == 0:
        return tokens
    network.eval()
    device = next(network.parameters()).device
    n_kept = 1 if last_only and start == len(network.blocks) else tokens.shape[1]
    shape = (len(tokens), n_kept, network.ln_f.normalized_shape[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    _reserve(path)
    for first in range(0, len(tokens), BATCH):
        part = torch.from_numpy(tokens[first : first + BATCH].astype(np.int64)).to(device)
        kept[first : first + BATCH] = network.residual(part, 0, start)[:, -n_kept:].cpu().numpy()
    return kept


def _reserve(path: Path) -> None:
    """Take a file's space on the disk now. An OSError where there is too little: later, writing through memory would end the process."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def batch_of(entering: np.ndarray, chosen: np.ndarray) -> torch.Tensor:
    """The chosen windows of a frozen part, as the network takes them."""
    part = entering[chosen]
    return torch.from_numpy(part if part.dtype == np.float32 else part.astype(np.int64))
