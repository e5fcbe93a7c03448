"""The original architecture as it is trained: the published tensors, with each block's heads stacked and attention fused.

x = token + position; per block x += proj(attention(ln1(x))), x += W2 relu(W1 ln2(x)); output = head(ln_f(x)). Scores are divided by
sqrt(d_model), as published; dropout falls on the attention weights, on the projection and on the MLP. Initialised as published: normal
with standard deviation 0.02, biases 0. `state_of` and `network_of` go to the published names and layout and back, bit for bit.
"""

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from heartlens.converters.sizes import Sizes, sizes_of

State = dict[str, Tensor]
INITIAL_SD = 0.02
PARTS = ("query", "key", "value")
FAST = 16  # narrower heads are padded with zeros to this: the CPU's attention kernel then takes two thirds of the time


class Attention(nn.Module):
    """Attention of all heads of a block, causal unless `unmasked`; `last_only` asks for the last token's output alone."""

    def __init__(self, sizes: Sizes, dropout: float, unmasked: bool = False) -> None:
        super().__init__()
        self.heads, self.scale, self.dropout, self.is_causal = sizes.heads, sizes.d_model**-0.5, dropout, not unmasked
        self.padding = max(0, FAST - sizes.d_head)
        self.qkv = nn.Linear(sizes.d_model, 3 * sizes.heads * sizes.d_head, bias=False)
        self.proj = nn.Linear(sizes.heads * sizes.d_head, sizes.d_model)

    def forward(self, x: Tensor, last_only: bool = False) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        moved = self._last_only(x, dropout) if last_only else self._of_all(x, dropout)
        return functional.dropout(self.proj(moved), dropout)

    def _of_all(self, x: Tensor, dropout: float) -> Float[Tensor, "window time moved"]:
        stacked = rearrange(self.qkv(x), "window time (part head d) -> part window head time d", part=3, head=self.heads)
        query, key, value = functional.pad(stacked, (0, self.padding))
        moved = functional.scaled_dot_product_attention(query, key, value, None, dropout, self.is_causal, scale=self.scale)
        return rearrange(moved[..., : moved.shape[-1] - self.padding], "window head time d -> window time (head d)")

    def _last_only(self, x: Tensor, dropout: float) -> Float[Tensor, "window 1 moved"]:
        """One query a head: it is taken back through the key's weights to the stream, so that no key or value is ever computed."""
        query_w, key_w, value_w = rearrange(self.qkv.weight, "(part head d) m -> part head d m", part=3, head=self.heads)
        asked = torch.einsum("wm,hdm,hdn->whn", x[:, -1], query_w, key_w) * self.scale
        pattern = functional.dropout((asked @ x.transpose(1, 2)).softmax(dim=-1), dropout)
        return torch.einsum("whm,hdm->whd", pattern @ x, value_w).flatten(1)[:, None]


class Mlp(nn.Module):
    """Four times as wide inside (or as `sizes` say), ReLU."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(sizes.d_model, sizes.d_mlp), nn.ReLU(), nn.Linear(sizes.d_mlp, sizes.d_model), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """One transformer block."""

    def __init__(self, sizes: Sizes, dropout: float, unmasked: bool = False) -> None:
        super().__init__()
        self.sa, self.ffwd = Attention(sizes, dropout, unmasked), Mlp(sizes, dropout)
        self.ln1, self.ln2 = nn.LayerNorm(sizes.d_model), nn.LayerNorm(sizes.d_model)

    def forward(self, x: Tensor, last_only: bool = False) -> Tensor:
        moved = self.sa(self.ln1(x), last_only)
        x = (x[:, -1:] if last_only else x) + moved
        return x + self.ffwd(self.ln2(x))


class TaskHead(nn.Module):
    """The published name of a fine-tuned output."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(sizes.d_model, sizes.outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear1(x)


class Network(nn.Module):
    """The whole model. From `start`, the number of blocks already run, `x` is the residual stream; from 0 it is tokens.

    With `unmasked`, tokens attend to later ones too in the last block, as the published fine-tuning can have it.
    """

    def __init__(self, sizes: Sizes, dropout: float = 0.0, unmasked: bool = False) -> None:
        super().__init__()
        self.token_embedding_table = nn.Embedding(sizes.vocabulary, sizes.d_model)
        self.position_embedding_table = nn.Embedding(sizes.context, sizes.d_model)
        self.blocks = nn.ModuleList([Block(sizes, dropout, unmasked and layer == sizes.layers - 1) for layer in range(sizes.layers)])
        self.ln_f = nn.LayerNorm(sizes.d_model)
        self.lm_head: nn.Module = TaskHead(sizes) if sizes.has_task_head else nn.Linear(sizes.d_model, sizes.outputs)
        self.apply(_initialise)

    def forward(self, x: Tensor, start: int = 0, last_only: bool = False) -> Float[Tensor, "window time output"]:
        x = self.residual(x, start, len(self.blocks) - 1) if start < len(self.blocks) else x
        if start < len(self.blocks):
            x = self.blocks[-1](x, last_only)
        return self.lm_head(self.ln_f(x[:, -1:] if last_only else x))

    def residual(self, x: Tensor, start: int, stop: int) -> Float[Tensor, "window time d_model"]:
        """The residual stream before block `stop`, from what it was before block `start` (from the tokens where `start` is 0)."""
        if start == 0:
            x = self.embedded(x)
        for block in self.blocks[start:stop]:
            x = block(x)
        return x

    def embedded(self, tokens: Int[Tensor, "window time"]) -> Float[Tensor, "window time d_model"]:
        """The residual stream before the first block."""
        return self.token_embedding_table(tokens) + self.position_embedding_table.weight[: tokens.shape[1]]


def state_of(network: Network) -> State:
    """The network's tensors under the published names and in the published layout, copied to the CPU."""
    state: State = {}
    for name, tensor in network.state_dict().items():
        if ".sa.qkv." not in name:
            state[name] = tensor.detach().cpu().float().clone()
            continue
        by_part = tensor.detach().cpu().float().unflatten(0, (3, network.blocks[0].sa.heads, -1))  # type: ignore[union-attr]
        for part, of_part in zip(PARTS, by_part, strict=True):
            state |= {name.replace("qkv", f"heads.{head}.{part}"): weight.clone() for head, weight in enumerate(of_part)}
    return state


def network_of(state: Mapping[str, Tensor], dropout: float = 0.0, unmasked: bool = False) -> Network:
    """The network of a published state dict; `unmasked` as in `Network`."""
    sizes = sizes_of(state)
    network = Network(sizes, dropout, unmasked)
    stacked = {name: tensor for name, tensor in state.items() if ".sa.heads." not in name}
    for layer in range(sizes.layers):
        prefix = f"blocks.{layer}.sa"
        weights = [state[f"{prefix}.heads.{head}.{part}.weight"] for part in PARTS for head in range(sizes.heads)]
        stacked[f"{prefix}.qkv.weight"] = torch.cat(weights)
    network.load_state_dict(stacked)
    return network


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_SD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
