"""The tensors of a HeartGPT model under HookedTransformer's names, without hook points: what the fused and the torch engine read.

Commands load these: importing TransformerLens takes seconds, and only what sets hooks needs it. `hooked_of` makes the model that has them.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from heartlens.converters.bridge import converted_model
from heartlens.converters.hooked import check, hooked_state, settings
from heartlens.converters.lens import HookedTransformer, is_unmasked, unmask
from heartlens.converters.original import original_state
from heartlens.converters.sizes import sizes_of

ENDS = {"W_E": "embed", "W_pos": "pos_embed", "W_U": "unembed", "b_U": "unembed"}
STACKED = ("W_Q", "W_K", "W_V", "W_O")


class Weights(nn.Module):
    """A tree of modules and parameters as HookedTransformer has it, with its `cfg`. It computes nothing itself: an engine does."""

    def __init__(self, tensors: Mapping[str, Tensor], cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg
        self.blocks = nn.ModuleList(nn.Module() for _ in range(cfg.n_layers))
        for name, tensor in tensors.items():
            path, leaf = name.rsplit(".", 1)
            own = tensor.to(cfg.dtype, memory_format=torch.contiguous_format, copy=True)  # other strides give other last bits on some CPUs
            _module_at(self, path).register_parameter(leaf, nn.Parameter(own))
        for block in self.blocks:
            attention: Any = block.attn
            attention._attention_dir_override = None  # `lens.unmask` sets it
        for norm in (self.ln_final, *(norm for block in self.blocks for norm in (block.ln1, block.ln2))):
            norm.cfg, norm.eps = cfg, cfg.eps
        self.eval()

    def __getattr__(self, name: str) -> Any:
        """HookedTransformer's short names: `W_E`, and of all blocks `W_Q`."""
        if name in ENDS:
            return getattr(super().__getattr__(ENDS[name]), name)
        if name in STACKED:
            return torch.stack([getattr(block.attn, name) for block in self.blocks])
        return super().__getattr__(name)


def weights_of(state: Mapping[str, Tensor], *, name: str = "heartgpt", dtype: torch.dtype = torch.float32) -> Weights:
    """The tensors of an original state dict. Refuses what is not exactly one HeartGPT model."""
    check(state)
    sizes = sizes_of(state)
    return Weights(hooked_state(state, sizes), SimpleNamespace(**settings(sizes, name, dtype)))


def hooked_of(weights: Weights) -> HookedTransformer:
    """The HookedTransformer of the same tensors (TransformerLens 4: a bridge), on the same device, with the same attributes."""
    model = converted_model(original_state(weights), dtype=weights.W_E.dtype, name=weights.cfg.model_name)
    for own, block in zip(weights.blocks, model.blocks, strict=True):
        if is_unmasked(own):
            unmask(block)
    for name in ("origin", "card", "file", "silenced", "edits_in_force"):
        if hasattr(weights, name):
            setattr(model, name, getattr(weights, name))
    device = weights.W_E.device
    return model if device.type == "cpu" else model.to(device, print_details=False)


def _module_at(root: nn.Module, path: str) -> nn.Module:
    """The module of this dotted path, made where it is not there."""
    for name in path.split("."):
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    return root
