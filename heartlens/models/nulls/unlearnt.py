"""Models that learnt nothing, of several kinds, to be put on trial as if each were the model (`heartlens.trial`).

*shuffled*: each tensor's entries in random order, as twins are. *random x S*: drawn as the original was initialised, S times as large, so
that attention is anything from even to sharp. *rows*: each matrix's rows in random order, vectors as they are. *layers*: the trained blocks
in random order: they still hold trained heads, so a yes of them need not be false; they are reported apart.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from heartlens.converters.lens import HookedTransformer, copied, parameters
from heartlens.models.nulls.twins import initial, twins

Models = Iterator[tuple[str, HookedTransformer]]
SCALES = (1, 5, 20)


def random_models(model: HookedTransformer, n_models: int, seed: int, scale: float) -> Models:
    """`n_models` freshly initialised models by name, matrices `scale` times as large."""
    for name, drawn in initial(model, n_models, seed):
        with torch.no_grad():
            for tensor_name, tensor in parameters(drawn).items():
                if not tensor_name.endswith(".w"):
                    tensor.mul_(scale)
        yield name, drawn


def rows_permuted(model: HookedTransformer, n_models: int, seed: int) -> Models:
    """`n_models` models by name, the rows of every matrix (of every head) in random order."""
    return _rearranged(model, n_models, seed, "rows", _rows_in_random_order)


def layers_permuted(model: HookedTransformer, n_models: int, seed: int) -> Models:
    """`n_models` models by name, the blocks in random order, never the original one."""
    return _rearranged(model, n_models, seed, "layers", _blocks_in_random_order)


def _rearranged(
    model: HookedTransformer,
    n_models: int,
    seed: int,
    kind: str,
    rearrange: Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]],
) -> Models:
    originals = parameters(model)
    for index in range(n_models):
        changed = copied(model)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        rearranged = rearrange(originals, generator)
        with torch.no_grad():
            for name, tensor in parameters(changed).items():
                tensor.copy_(rearranged[name])
        yield f"{kind} {index}", changed


def _rows_in_random_order(originals: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    def permuted(tensor: Tensor) -> Tensor:
        if tensor.ndim < 2:
            return tensor
        n_rows = tensor.shape[-2]
        matrices = tensor.reshape(-1, n_rows, tensor.shape[-1])
        return torch.stack([matrix[torch.randperm(n_rows, generator=generator)] for matrix in matrices]).reshape(tensor.shape)

    return {name: permuted(tensor) for name, tensor in originals.items()}


def _blocks_in_random_order(originals: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    n_layers = 1 + max(int(name.split(".")[1]) for name in originals if name.startswith("blocks."))
    order = list(range(n_layers))
    while n_layers > 1 and order == list(range(n_layers)):
        order = torch.randperm(n_layers, generator=generator).tolist()

    def source(name: str) -> str:
        parts = name.split(".")
        return ".".join([parts[0], str(order[int(parts[1])]), *parts[2:]]) if parts[0] == "blocks" else name

    return {name: originals[source(name)] for name in originals}


LEARNT_NOTHING: dict[str, Callable[[HookedTransformer, int, int], Models]] = {
    "shuffled": twins,
    **{f"random x {scale}": lambda model, n, seed, scale=scale: random_models(model, n, seed, scale) for scale in SCALES},  # type: ignore[misc]
    "rows": rows_permuted,
    "layers": layers_permuted,
}
