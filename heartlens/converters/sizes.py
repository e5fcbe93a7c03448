"""The sizes of a HeartGPT model, read from its tensors' shapes, and the shapes that follow from the sizes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from heartlens.converters.names import EMBEDDINGS, FINAL_NORM, NEXT_TOKEN, PER_BLOCK, PER_HEAD, PROJECTION, TASK_HEAD, Rule
from heartlens.refusal import Refusal


@dataclass(frozen=True)
class Sizes:
    """Everything that tells one HeartGPT architecture from another."""

    layers: int
    heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocabulary: int
    context: int
    outputs: int
    has_task_head: bool

    def rules(self) -> Iterator[tuple[Rule, list[str]]]:
        """Every rule with its block filled in, and the original names it covers (one per head, or one)."""
        for rule in (*EMBEDDINGS, *FINAL_NORM, *(TASK_HEAD if self.has_task_head else NEXT_TOKEN)):
            yield rule, [rule.original]
        for layer in range(self.layers):
            for rule in (*PER_BLOCK, PROJECTION):
                yield _in_layer(rule, layer), [rule.original.format(layer=layer)]
            for rule in PER_HEAD:
                yield _in_layer(rule, layer), [rule.original.format(layer=layer, head=head) for head in range(self.heads)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor of the original, by name."""
        return {name: self._shape(name) for _, names in self.rules() for name in names}

    def _shape(self, name: str) -> tuple[int, ...]:
        ends = {
            "token_embedding_table.weight": (self.vocabulary, self.d_model),
            "position_embedding_table.weight": (self.context, self.d_model),
            "query.weight": (self.d_head, self.d_model),
            "key.weight": (self.d_head, self.d_model),
            "value.weight": (self.d_head, self.d_model),
            "proj.weight": (self.d_model, self.heads * self.d_head),
            "net.0.weight": (self.d_mlp, self.d_model),
            "net.0.bias": (self.d_mlp,),
            "net.2.weight": (self.d_model, self.d_mlp),
            "lm_head.weight": (self.outputs, self.d_model),
            "lm_head.bias": (self.outputs,),
            "lm_head.linear1.0.weight": (self.outputs, self.d_model),
            "lm_head.linear1.0.bias": (self.outputs,),
        }
        return next((shape for end, shape in ends.items() if name.endswith(end)), (self.d_model,))


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes an original state dict has. Refuses by name what a size cannot be read from."""
    vocabulary, d_model = _shape_2d(state, "token_embedding_table.weight")
    context, _ = _shape_2d(state, "position_embedding_table.weight")
    d_head, _ = _shape_2d(state, "blocks.0.sa.heads.0.query.weight")
    d_mlp, _ = _shape_2d(state, "blocks.0.ffwd.net.0.weight")
    has_task_head = "lm_head.linear1.0.weight" in state
    outputs, _ = _shape_2d(state, "lm_head.linear1.0.weight" if has_task_head else "lm_head.weight")
    layers = _count(state, r"blocks\.(\d+)\.")
    heads = _count(state, r"blocks\.0\.sa\.heads\.(\d+)\.")
    if layers * heads > len(state):
        raise Refusal(f"not a HeartGPT state dict: {layers} layers of {heads} heads, but {len(state)} tensors")
    return Sizes(layers, heads, d_model, d_head, d_mlp, vocabulary, context, outputs, has_task_head)


def _in_layer(rule: Rule, layer: int) -> Rule:
    return Rule(rule.original, rule.hooked.format(layer=layer), rule.pattern)


def _shape_2d(state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in state:
        raise Refusal(f"not a HeartGPT state dict: tensor {name!r} is missing")
    if state[name].ndim != 2:
        raise Refusal(f"tensor {name!r} has shape {tuple(state[name].shape)}; a matrix is expected")
    return tuple(state[name].shape)  # type: ignore[return-value]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for match in (re.match(pattern, name) for name in state) if match})
