"""What runs a model. `engine_of` picks the first that computes the model exactly: the fused kernel, torch, the model's own blocks."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from heartlens.options import ENGINES
from heartlens.refusal import Refusal, unknown

if TYPE_CHECKING:
    from heartlens.engine.protocol import Asked, Engine, LayerAttention, LayerSums, Mixed, Parts, Sizes, Stream, Tokens

WARNED: set[str] = set()  # the reasons printed so far why the fused engine is not used

__all__ = ["Asked", "Engine", "LayerAttention", "LayerSums", "Mixed", "Parts", "Sizes", "Stream", "Tokens", "engine_of"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # imported when first asked for: torch takes seconds, and the process that compiles the kernels does without it
    return getattr(import_module("heartlens.engine.protocol"), name)


def engine_of(model: Any, name: str = "auto") -> "Engine":
    """The engine of that name for the model. Refuses an unknown name, and an engine that does not compute this model exactly.

    auto: fused on a CPU in float32, torch for other devices and precisions, hooked for a model with hooks or of another architecture. Where
    the fused kernel cannot be compiled, torch is used and stderr says so.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return _automatic(model) if name == "auto" else _named(model, name)


def _named(model: Any, name: str) -> "Engine":
    if name == "fused":
        from heartlens.engine.fused import FusedEngine

        return FusedEngine(model)
    if name == "torch":
        from heartlens.engine.batched import TorchEngine

        return TorchEngine(model)
    from heartlens.engine.hooked import HookedEngine

    return HookedEngine(model)


def _automatic(model: Any) -> "Engine":
    import torch

    from heartlens.engine.plain import why_not_plain

    if why_not_plain(model):
        return _named(model, "hooked")
    if model.W_E.device.type != "cpu" or model.W_E.dtype != torch.float32:
        return _named(model, "torch")
    try:
        return _named(model, "fused")
    except Refusal as refusal:
        if str(refusal) not in WARNED:
            WARNED.add(str(refusal))
            print(f"heartlens: {refusal}; the torch engine answers instead", file=sys.stderr)
        return _named(model, "torch")
