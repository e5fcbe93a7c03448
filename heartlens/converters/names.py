"""The one table of names: original HeartGPT tensor <-> HookedTransformer tensor, and how the layout changes.

The original keeps each head's query, key and value as a Linear of its own (weight: d_head x d_model) and one output projection
(weight: d_model x (head d_head)); HookedTransformer stacks heads and multiplies from the left. Patterns are einops', read left to right
on the way in and right to left on the way back; `{layer}` and `{head}` run over all blocks and heads.
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """One original tensor, its name and place in HookedTransformer, and the einops pattern from one to the other."""

    original: str
    hooked: str
    pattern: str = ""

    def to_hooked(self, tensor: Tensor) -> Tensor:
        """The tensor in HookedTransformer's layout."""
        return rearrange(tensor, self.pattern) if self.pattern else tensor

    def to_original(self, tensor: Tensor) -> Tensor:
        """The tensor in the original's layout."""
        left, right = self.pattern.split(" -> ") if self.pattern else ("", "")
        return rearrange(tensor, f"{right} -> {left}") if self.pattern else tensor


LINEAR = "out into -> into out"

EMBEDDINGS = (
    Rule("token_embedding_table.weight", "embed.W_E"),
    Rule("position_embedding_table.weight", "pos_embed.W_pos"),
)
PER_HEAD = tuple(
    Rule(f"blocks.{{layer}}.sa.heads.{{head}}.{name}.weight", f"blocks.{{layer}}.attn.W_{letter}", LINEAR)
    for name, letter in (("query", "Q"), ("key", "K"), ("value", "V"))
)
PROJECTION = Rule("blocks.{layer}.sa.proj.weight", "blocks.{layer}.attn.W_O")
PER_BLOCK = (
    Rule("blocks.{layer}.sa.proj.bias", "blocks.{layer}.attn.b_O"),
    Rule("blocks.{layer}.ffwd.net.0.weight", "blocks.{layer}.mlp.W_in", LINEAR),
    Rule("blocks.{layer}.ffwd.net.0.bias", "blocks.{layer}.mlp.b_in"),
    Rule("blocks.{layer}.ffwd.net.2.weight", "blocks.{layer}.mlp.W_out", LINEAR),
    Rule("blocks.{layer}.ffwd.net.2.bias", "blocks.{layer}.mlp.b_out"),
    Rule("blocks.{layer}.ln1.weight", "blocks.{layer}.ln1.w"),
    Rule("blocks.{layer}.ln1.bias", "blocks.{layer}.ln1.b"),
    Rule("blocks.{layer}.ln2.weight", "blocks.{layer}.ln2.w"),
    Rule("blocks.{layer}.ln2.bias", "blocks.{layer}.ln2.b"),
)
FINAL_NORM = (Rule("ln_f.weight", "ln_final.w"), Rule("ln_f.bias", "ln_final.b"))
NEXT_TOKEN = (Rule("lm_head.weight", "unembed.W_U", LINEAR), Rule("lm_head.bias", "unembed.b_U"))
TASK_HEAD = (Rule("lm_head.linear1.0.weight", "unembed.W_U", LINEAR), Rule("lm_head.linear1.0.bias", "unembed.b_U"))
