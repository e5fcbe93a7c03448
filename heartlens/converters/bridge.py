"""Original state dict -> native TransformerBridge, for TransformerLens 4, which has no HookedTransformer any more.

The same checks, names, layouts and weight processing as in `hooked.py`. TransformerLens' own processing of a bridge (`process_weights`,
`enable_compatibility_mode`) would zero the unembedding of a task head with one output, so folding is done before the bridge is filled.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from heartlens.converters.hooked import hooked_model, prepared
from heartlens.converters.lens import BRIDGED, HookedTransformer, parameters
from heartlens.refusal import Refusal


def bridge_model(
    state: Mapping[str, Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    fold_ln: bool = False,
    center_writing_weights: bool = False,
    name: str = "heartgpt",
) -> HookedTransformer:
    """The TransformerBridge that computes what the original state dict computes; options as of `hooked_model`."""
    if not BRIDGED:
        raise Refusal("a TransformerBridge of a HeartGPT model needs transformer-lens>=4.3; hooked_model makes a HookedTransformer")
    config, tensors = prepared(state, dtype, fold_ln, center_writing_weights, name)
    return _filled(_empty_bridge(config), tensors)


converted_model = bridge_model if BRIDGED else hooked_model  # whichever the installed TransformerLens has


def _empty_bridge(config: Any) -> HookedTransformer:
    from transformer_lens.model_bridge.sources.native import boot

    return boot(config, device=config.device, dtype=config.dtype, model_name=config.model_name).eval()


def _filled(bridge: HookedTransformer, tensors: Mapping[str, Tensor]) -> HookedTransformer:
    views = parameters(bridge)
    unlike = views.keys() ^ tensors.keys()
    if unlike:
        raise Refusal(f"this TransformerLens keeps other tensors than the model has: {', '.join(sorted(unlike)[:4])}; install 4.3")
    with torch.no_grad():
        for name, view in views.items():
            view.copy_(tensors[name])
    return bridge
