"""Twins of a fine-tuned model: its base, changed at random as much as fine-tuning changed it. What they show, any such change would."""

from collections.abc import Iterator

import torch
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, is_unmasked, parameters, unmask
from heartlens.models.origin import origin_of


def perturbed(model: HookedTransformer, base: HookedTransformer, n_twins: int, seed: int) -> Iterator[tuple[str, HookedTransformer]]:
    """`n_twins` twins by name, each a model of its own.

    To every tensor that differs between model and base a normal change of the same Frobenius norm is added, to every head's slice one of
    that slice's; a tensor that differs in shape (another output) stays the base's. A twin has the model's origin and card, so that it has
    its base.
    """
    tuned, originals = parameters(model), parameters(base)
    for index in range(n_twins):
        twin = copied(base)
        twin.origin, twin.card, twin.file = origin_of(model), getattr(model, "card", {}), getattr(model, "file", None)
        if is_unmasked(model.blocks[-1]):
            unmask(twin.blocks[-1])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        with torch.no_grad():
            for name, changed in parameters(twin).items():
                new, original = tuned[name], originals[name]
                if new.shape == original.shape and not torch.equal(new, original):
                    changed.copy_(original + _as_large(new - original, generator))
        yield f"perturbed {index}", twin


def _as_large(change: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the norm of `change`, slice by slice where heads are stacked (three axes)."""
    drawn = torch.randn(change.shape, generator=generator).to(change)
    axes = tuple(range(1 if change.ndim == 3 else 0, change.ndim))
    return drawn * (change.norm(dim=axes, keepdim=True) / drawn.norm(dim=axes, keepdim=True))
