"""The original architecture in plain PyTorch, from a description of it: the oracle conversions are proven against. No TransformerLens.

Pre-LN decoder: x = token + position; per block x += proj(concat_h softmax(mask(q k^T / sqrt(d_model))) v), then x += W2 relu(W1 ln2(x));
logits = head(ln_f(x)). Source: Davies et al., arXiv 2407.20775.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heartlens.converters.sizes import Sizes, sizes_of


@dataclass(frozen=True)
class Activations:
    """What the original computes on the way: logits, every attention pattern, the residual stream before and after each block."""

    logits: Float[Tensor, "window time output"]
    attention: Float[Tensor, "layer window head query key"]
    residual: Float[Tensor, "level window time d_model"]


@torch.no_grad()
def reference_forward(state: Mapping[str, Tensor], tokens: Int[Tensor, "window time"], dtype: torch.dtype = torch.float32) -> Activations:
    """Run the original architecture on `tokens` in `dtype`."""
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    sizes = sizes_of(state)
    x = state["token_embedding_table.weight"][tokens] + state["position_embedding_table.weight"][: tokens.shape[1]]
    residual, attention = [x], []
    for layer in range(sizes.layers):
        block = {name.removeprefix(f"blocks.{layer}."): tensor for name, tensor in state.items() if name.startswith(f"blocks.{layer}.")}
        moved, patterns = _attention(block, _norm(x, block, "ln1"), sizes)
        x = x + moved
        x = x + _mlp(block, _norm(x, block, "ln2"))
        residual.append(x)
        attention.append(patterns)
    head = "lm_head.linear1.0" if sizes.has_task_head else "lm_head"
    logits = functional.linear(_norm(x, state, "ln_f"), state[f"{head}.weight"], state[f"{head}.bias"])
    return Activations(logits, torch.stack(attention), torch.stack(residual))


def _attention(block: Mapping[str, Tensor], x: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
    time = x.shape[1]
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    patterns, values = [], []
    for head in range(sizes.heads):
        query, key, value = (functional.linear(x, block[f"sa.heads.{head}.{name}.weight"]) for name in ("query", "key", "value"))
        scores = query @ key.transpose(-2, -1) * sizes.d_model**-0.5
        pattern = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        patterns.append(pattern)
        values.append(pattern @ value)
    moved = functional.linear(torch.cat(values, dim=-1), block["sa.proj.weight"], block["sa.proj.bias"])
    return moved, torch.stack(patterns, dim=1)


def _mlp(block: Mapping[str, Tensor], x: Tensor) -> Tensor:
    hidden = functional.relu(functional.linear(x, block["ffwd.net.0.weight"], block["ffwd.net.0.bias"]))
    return functional.linear(hidden, block["ffwd.net.2.weight"], block["ffwd.net.2.bias"])


def _norm(x: Tensor, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])
