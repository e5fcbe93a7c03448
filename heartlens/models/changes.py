"""What fine-tuning changed of the weights: relative Frobenius norms of the difference to the base, by tensor and by head."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, parameters
from heartlens.converters.original import refuse_inexpressible, sizes_of_model
from heartlens.models.pairs import base_of
from heartlens.models.subject import Subject
from heartlens.models.without import silenced, without
from heartlens.parts import Part

PARTS = ("Q", "K", "V", "O")
IN_HEADS = ("W_Q", "W_K", "W_V")  # tensors whose first axis are the heads, of which the original has one each


def base_beside(subject: Subject, name: str) -> Subject:
    """The model's base in the model's own precision and on its device, so that equal weights give equal numbers to the last bit.

    It is without the parts that the model is without.
    """
    return subject.beside(_moved(base_of(subject, name), subject.engine.dtype, subject.engine.device, silenced(subject.weights).parts))


@lru_cache(maxsize=4)
def _moved(base: HookedTransformer, dtype: torch.dtype, device: torch.device, parts: tuple[Part, ...]) -> HookedTransformer:
    base = without(base, parts)
    if (base.W_E.dtype, base.W_E.device) == (dtype, device):
        return base
    return copied(base).to(dtype).to(device)


def n_alike(subject: Subject, base: Subject) -> int:
    """How many first blocks compute the same in both from the same tokens, so that only the blocks after them need be computed twice.

    The last block never counts, which may see later tokens in one of them; nor any block where hooks may act.
    """
    if "hooked" in (subject.engine.name, base.engine.name):
        return 0
    own, other = parameters(subject.weights), parameters(base.weights)
    differ = [name for name in own if name.startswith(("embed", "pos_embed", "blocks")) and not torch.equal(own[name], other[name])]
    if any(not name.startswith("blocks") for name in differ):
        return 0
    return min([subject.sizes.n_layers - 1, *(int(name.split(".")[1]) for name in differ)])


def head_changes(model: HookedTransformer, base: HookedTransformer) -> Float[np.ndarray, "layer head part"]:
    """How much of each head's Q, K, V and O changed, |new - old| / |old|: exactly 0 where nothing did."""
    stacks = [(getattr(model, f"W_{part}"), getattr(base, f"W_{part}")) for part in PARTS]
    return np.stack([relative(new.detach(), old.detach(), first=2).cpu().numpy() for new, old in stacks], axis=-1).astype(float)


def tensor_changes(model: HookedTransformer, base: HookedTransformer) -> dict[str, float]:
    """The same of every tensor of the base, by its published name, in order; NaN for one that the model has not in that shape.

    So model and twins, which have the base's output, have changes of the same names.
    """
    refuse_inexpressible(model)
    new, old = parameters(model), parameters(base)
    changes: dict[str, float] = {}
    for rule, names in sizes_of_model(base).rules():  # several names where a tensor holds the heads' one after the other
        tensor = new[rule.hooked]
        if tensor.shape != old[rule.hooked].shape:
            change = [float("nan")] * len(names)
        elif torch.equal(tensor, old[rule.hooked]):
            change = [0.0] * len(names)
        else:
            change = relative(tensor, old[rule.hooked], first=int(rule.hooked.endswith(IN_HEADS))).reshape(-1).tolist()
        changes |= dict(zip(names, change, strict=True))
    return changes


def relative(new: Tensor, old: Tensor, first: int) -> Tensor:
    """|new - old| / |old| over the axes from `first` on; 0 where nothing changed, infinite where the old ones were 0."""
    change, size = ((each.double() ** 2).flatten(first).sum(-1).sqrt() for each in (new.double() - old.double(), old))
    return torch.where(change > 0, change / size, torch.zeros_like(change)).detach()
