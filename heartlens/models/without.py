"""A model without some of its parts, for every engine: the numbers of `ablated(..., how="zero")`, by weights that are zero."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, parameters
from heartlens.parts import Part, listed, sorted_parts
from heartlens.refusal import Refusal


@dataclass(frozen=True)
class Silenced:
    """The parts that a model is without, and the weights that it had there."""

    parts: tuple[Part, ...]
    before: dict[str, Tensor]


def without(model: HookedTransformer, parts: Sequence[Part] | None) -> HookedTransformer:
    """A copy of the model in which these parts add zero to the stream; the model itself where there are none.

    A head's output weights are zero, an MLP's output weights and bias, of a whole layer both and the attention's output bias. The copy says
    so in the provenance of what is measured with it. Refuses parts that the model lacks, and parts that add nothing as it is.
    """
    if not parts:
        return model
    cfg, parts = model.cfg, tuple(sorted_parts(parts))
    missing = [part for part in parts if part.layer >= cfg.n_layers or (part.head or 0) >= cfg.n_heads]
    if missing:
        raise Refusal(f"--ablate {listed(missing)}: this model has layers 1 to {cfg.n_layers}, heads 1 to {cfg.n_heads}")
    changed = copied(model)
    before = {name: tensor.detach().clone() for part in parts for name, tensor in _written(changed, part).items()}
    for part in parts:
        if not any(tensor.any() for tensor in _zeroed(changed, part)):
            raise Refusal(f"--ablate {part}: it adds nothing to the stream of this model, so its numbers would not change")
    silence(changed, parts)
    changed.silenced = Silenced(parts, before)
    changed.edits_in_force = (lambda: f"ablated {listed(parts)}, zero",)
    return changed


def silence(model: HookedTransformer, parts: Sequence[Part]) -> None:
    """Set to zero, in place, what these parts add to the stream."""
    with torch.no_grad():
        for part in parts:
            for tensor in _zeroed(model, part):
                tensor.zero_()


def silenced(model: HookedTransformer) -> Silenced:
    """What a model is without, by `without`."""
    return getattr(model, "silenced", Silenced((), {}))


def _written(model: HookedTransformer, part: Part) -> dict[str, Tensor]:
    """The whole tensors that the part writes with, by name."""
    mlp, attention = ["mlp.W_out", "mlp.b_out"], ["attn.W_O", "attn.b_O"]
    names = mlp if part.is_mlp else attention + mlp if part.head is None else attention[:1]
    own = parameters(model)
    return {name: own[name] for name in (f"blocks.{part.layer}.{last}" for last in names)}


def _zeroed(model: HookedTransformer, part: Part) -> list[Tensor]:
    """What of these tensors is the part's: of attention's output weights, a head's own."""
    return [tensor if part.head is None else tensor[part.head] for tensor in _written(model, part).values()]
