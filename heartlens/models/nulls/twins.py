"""Weight-randomised twins: the model's architecture with weights that learnt nothing. What a twin also shows is no finding.

`random`: drawn anew as the original is initialised (normal with SD 0.02, biases 0, LayerNorm 1 and 0). `shuffled`: each tensor's own
entries in random order, so that every tensor keeps its distribution of values but not its structure. Reading: Adebayo et al. 2018,
"Sanity checks for saliency maps".
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, parameters

INITIAL_SD = 0.02


def twins(model: HookedTransformer, n_twins: int, seed: int) -> Iterator[tuple[str, HookedTransformer]]:
    """`n_twins` twins by name, random and shuffled in turn. Each is only good until the next is asked for: they share one model."""
    twin = copied(model)
    kinds: tuple[tuple[str, Callable[..., Tensor]], ...] = (("random", _drawn), ("shuffled", _shuffled))
    for index in range(n_twins):
        name, weights = kinds[index % 2]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        with torch.no_grad():
            originals = parameters(model)
            for tensor_name, changed in parameters(twin).items():
                changed.copy_(weights(tensor_name, originals[tensor_name], generator))
        yield f"{name} {index // 2}", twin


def _drawn(name: str, original: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith(".w"):
        return torch.ones_like(original)
    if name.rsplit(".", 1)[-1].startswith("b"):
        return torch.zeros_like(original)
    return torch.randn(original.shape, generator=generator).to(original) * INITIAL_SD


def _shuffled(name: str, original: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(original.numel(), generator=generator).to(original.device)
    return original.reshape(-1)[order].reshape(original.shape)
