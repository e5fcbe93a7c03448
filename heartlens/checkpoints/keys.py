"""Which of a file's contents are the weights: a plain state dict, one of a module that was wrapped, or one inside a training dictionary.

`torch.compile` writes `_orig_mod.` into every name, `DataParallel` and the like `module.` before it. A training script keeps the weights
under a key of its own beside counts and the optimiser's state; `file.pth#key` names it where there are several.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heartlens.refusal import Refusal, unknown

State = dict[str, Tensor]
COMPILED = "_orig_mod."
WRAPPED = "module."
EMBEDDING = "token_embedding_table.weight"  # every model of this kind has it
COUNTERS = ("n_averaged",)  # what torch's AveragedModel keeps among the weights
MOST_TENSORS = 20_000  # ECG-PT has 245
MOST_SHOWN = 8


def weights_in(content: Any, key: str | None, path: Path, max_bytes: int) -> tuple[State, str]:
    """The tensors by the names of the original, and the key that they were under ("" for none).

    Refuses what holds no state dict, several without a key that chooses, and tensors that claim more than they hold.
    """
    holders = _state_dicts(content)
    if key is not None:
        if key not in holders:
            raise Refusal(f"{path}: {unknown('key', key, sorted(holders) or ['none, it is a plain state dict'])}")
        return _plain(holders[key], path, max_bytes), key
    if _is_state_dict(content):
        return _plain(content, path, max_bytes), ""
    models = {name: state for name, state in holders.items() if any(str(each).endswith(EMBEDDING) for each in state)} or holders
    if len(models) > 1:
        names = ", ".join(sorted(models)[:MOST_SHOWN])
        raise Refusal(f"{path} holds several state dicts ({names}); name one: {path.name}#{sorted(models)[0]}")
    if not models:
        held = type(content).__name__ if not isinstance(content, dict) else "a dict that is empty or holds other things than tensors"
        raise Refusal(f"{path} holds {held}, not a state dict of tensors by name; save it with torch.save(model.state_dict(), path)")
    name, state = next(iter(models.items()))
    return _plain(state, path, max_bytes), name


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, dict) and bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _state_dicts(content: Any) -> dict[str, dict[Any, Tensor]]:
    """The state dicts that a dictionary holds, also one level deeper, by their keys."""
    if not isinstance(content, dict):
        return {}
    states = {str(key): value for key, value in content.items() if _is_state_dict(value)}
    for key, value in content.items():
        if isinstance(value, dict) and str(key) not in states:
            states |= {f"{key}.{inner}": state for inner, state in value.items() if _is_state_dict(state)}
    return states


def _plain(state: dict[Any, Tensor], path: Path, max_bytes: int) -> State:
    if len(state) > MOST_TENSORS:
        raise Refusal(f"{path} holds {len(state)} tensors; that is no HeartGPT checkpoint (at most {MOST_TENSORS})")
    total = 0
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise Refusal(f"{path}: {str(name)[:80]} is no plain tensor ({tensor.layout}, {tensor.device.type})")
        n_bytes = tensor.numel() * tensor.element_size()
        total += n_bytes
        if n_bytes > tensor.untyped_storage().nbytes():
            raise Refusal(f"{path}: {str(name)[:80]} claims {tuple(tensor.shape)}, more numbers than the file holds")
    if total > max_bytes:
        raise Refusal(f"{path} unpacks to {total >> 20} MiB; that is no HeartGPT checkpoint (at most {max_bytes >> 20} MiB)")
    named = {str(name).replace(COMPILED, ""): tensor for name, tensor in state.items()}
    while named and all(name.startswith(WRAPPED) or name in COUNTERS for name in named) and not set(named) <= set(COUNTERS):
        named = {name.removeprefix(WRAPPED): tensor for name, tensor in named.items() if name not in COUNTERS}
    if len(named) < len([name for name in state if str(name) not in COUNTERS]):
        raise Refusal(f"{path}: two tensors have one name without {COMPILED} and {WRAPPED}")
    return named
