"""The published next-token model and its generation loop, as its authors wrote them: the oracle of generation, and what is timed against.

Every head is a module of its own, every position's logits are computed at every step, and nothing is kept between two tokens. From the
description of the original (Davies et al., arXiv 2407.20775) and of the code it derives from (Karpathy's nanoGPT lecture).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional

from heartlens.converters.sizes import Sizes, sizes_of


class Head(nn.Module):
    """Causal attention of one head."""

    tril: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(sizes.d_model, sizes.d_head, bias=False) for _ in range(3))
        self.register_buffer("tril", torch.tril(torch.ones(sizes.context, sizes.context)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        _, n_time, n_channels = x.shape
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * n_channels**-0.5
        scores = scores.masked_fill(self.tril[:n_time, :n_time] == 0, float("-inf"))
        return functional.softmax(scores, dim=-1) @ self.value(x)


class Heads(nn.Module):
    """A block's heads, one after the other."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = nn.ModuleList([Head(sizes) for _ in range(sizes.heads)])
        self.proj = nn.Linear(sizes.heads * sizes.d_head, sizes.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class FeedForward(nn.Module):
    """A block's MLP."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(sizes.d_model, sizes.d_mlp), nn.ReLU(), nn.Linear(sizes.d_mlp, sizes.d_model))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """One transformer block."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sa, self.ffwd = Heads(sizes), FeedForward(sizes)
        self.ln1, self.ln2 = nn.LayerNorm(sizes.d_model), nn.LayerNorm(sizes.d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.sa(self.ln1(x))
        return x + self.ffwd(self.ln2(x))


class Published(nn.Module):
    """The original next-token model of a published state dict; `generate` is its loop."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        sizes = sizes_of(state)
        self.n_context = sizes.context
        self.token_embedding_table = nn.Embedding(sizes.vocabulary, sizes.d_model)
        self.position_embedding_table = nn.Embedding(sizes.context, sizes.d_model)
        self.blocks = nn.Sequential(*[Block(sizes) for _ in range(sizes.layers)])
        self.ln_f, self.lm_head = nn.LayerNorm(sizes.d_model), nn.Linear(sizes.d_model, sizes.outputs)
        self.load_state_dict(state)
        self.eval()

    def forward(self, tokens: Int[Tensor, "window time"]) -> Float[Tensor, "window time output"]:
        x = self.token_embedding_table(tokens) + self.position_embedding_table(torch.arange(tokens.shape[1]))
        return self.lm_head(self.ln_f(self.blocks(x)))

    @torch.no_grad()
    def generate(
        self, tokens: Int[Tensor, "window time"], n_new: int, temperature: float = 1.0, top_k: int | None = None
    ) -> Int[Tensor, "window grown"]:
        """The tokens and `n_new` after them, drawn from torch's own generator; temperature and top-k as in nanoGPT."""
        for _ in range(n_new):
            logits = self(tokens[:, -self.n_context :])[:, -1, :] / temperature
            if top_k is not None:
                logits[logits < torch.topk(logits, top_k)[0][:, [-1]]] = float("-inf")
            drawn = torch.multinomial(functional.softmax(logits, dim=-1), num_samples=1)
            tokens = torch.cat((tokens, drawn), dim=1)
        return tokens


def published_tokens(published: Published, context: Integer[np.ndarray, " time"], n_new: int, seed: int, **options: Any) -> list[int]:
    """What the loop generates after one context with that seed."""
    torch.manual_seed(seed)
    return published.generate(torch.tensor(context, dtype=torch.int64)[None], n_new, **options)[0, len(context) :].tolist()
