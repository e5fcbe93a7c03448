"""Models that learnt nothing, of the model's architecture. An effect that twins show too is not a finding.

*Twins*: each tensor's own entries in random order; every tensor keeps its distribution of values but not its structure. Twins decide.
*Initial* models are drawn anew as the original was initialised (normal with SD 0.02, biases 0, LayerNorm 1 and 0): their attention is
almost even, so they decide nothing and are shown for comparison. Both are without the parts that
the model is without (`without`). Reading: Adebayo et al. 2018, "Sanity checks for saliency maps".
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, parameters
from heartlens.models.without import silence, silenced

INITIAL_SD = 0.02


def twins(model: HookedTransformer, n_twins: int, seed: int) -> Iterator[tuple[str, HookedTransformer]]:
    """`n_twins` twins by name, each a model of its own."""
    return _models(model, "shuffled", _shuffled, n_twins, seed)


def initial(model: HookedTransformer, n_models: int, seed: int) -> Iterator[tuple[str, HookedTransformer]]:
    """`n_models` freshly initialised models by name, each a model of its own."""
    return _models(model, "random", _drawn, n_models, seed)


def _models(
    model: HookedTransformer, kind: str, weights: Callable[..., Tensor], n_models: int, seed: int
) -> Iterator[tuple[str, HookedTransformer]]:
    without = silenced(model)
    originals = parameters(model) | without.before
    for index in range(n_models):
        changed = copied(model)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        with torch.no_grad():
            for tensor_name, tensor in parameters(changed).items():
                tensor.copy_(weights(tensor_name, originals[tensor_name], generator))
        silence(changed, without.parts)
        yield f"{kind} {index}", changed


def _drawn(name: str, original: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith(".w"):
        return torch.ones_like(original)
    if name.rsplit(".", 1)[-1].startswith("b"):
        return torch.zeros_like(original)
    return torch.randn(original.shape, generator=generator).to(original) * INITIAL_SD


def _shuffled(name: str, original: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(original.numel(), generator=generator).to(original.device)
    return original.reshape(-1)[order].reshape(original.shape)
