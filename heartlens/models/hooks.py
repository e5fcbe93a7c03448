"""The names of the hook points, spelled once; and which of them fire only after a flag of the model is set."""

import re
from collections.abc import Mapping

import torch

from heartlens.converters.lens import BRIDGED, UNREADABLE, HookedTransformer
from heartlens.converters.weights import Weights, hooked_of
from heartlens.refusal import Refusal

FLAGS = {  # hook points that never fire by default: the flag that each takes
    "hook_result": "use_attn_result",
    "hook_q_input": "use_split_qkv_input",
    "hook_k_input": "use_split_qkv_input",
    "hook_v_input": "use_split_qkv_input",
    "hook_attn_in": "use_attn_in",
    "hook_mlp_in": "use_hook_mlp_in",
}
HEAD_AXIS = {  # of what passes a hook point: usually window, time, head, ...; attention has window, head, query, key
    "hook_attn_scores": 1,
    "hook_pattern": 1,
    **dict.fromkeys(("hook_q", "hook_k", "hook_v", "hook_z", "hook_result", "hook_q_input", "hook_k_input", "hook_v_input"), 2),
    "hook_attn_in": 2,
}
ENDS = ("hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized", "unembed.hook_in", "unembed.hook_out")
IN_BLOCK = (
    *("hook_resid_pre", "ln1.hook_scale", "ln1.hook_normalized", "hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input"),
    *(f"attn.hook_{what}" for what in ("q", "k", "v", "attn_scores", "pattern", "z", "result")),
    *("hook_attn_out", "hook_resid_mid", "hook_mlp_in", "ln2.hook_scale", "ln2.hook_normalized", "mlp.hook_pre", "mlp.hook_post"),
    *("hook_mlp_out", "hook_resid_post"),
)


def names(n_layers: int) -> set[str]:
    """Every hook point of a HookedTransformer of a HeartGPT model."""
    return {*ENDS, *(f"blocks.{layer}.{name}" for layer in range(n_layers) for name in IN_BLOCK)}


def z(layer: int) -> str:
    """What each head has mixed, before its output weights: (window, time, head, d_head)."""
    return f"blocks.{layer}.attn.hook_z"


def pattern(layer: int) -> str:
    """Attention: (window, head, query, key)."""
    return f"blocks.{layer}.attn.hook_pattern"


def attn_out(layer: int) -> str:
    """What a layer's heads and their bias add to the stream: (window, time, d_model)."""
    return f"blocks.{layer}.hook_attn_out"


def mlp_out(layer: int) -> str:
    """What a layer's MLP adds to the stream: (window, time, d_model)."""
    return f"blocks.{layer}.hook_mlp_out"


def resid_pre(layer: int) -> str:
    """The stream before a layer: (window, time, d_model)."""
    return f"blocks.{layer}.hook_resid_pre"


def resid_mid(layer: int) -> str:
    """The stream between a layer's attention and its MLP: (window, time, d_model)."""
    return f"blocks.{layer}.hook_resid_mid"


def resid_post(layer: int) -> str:
    """The stream after a layer: (window, time, d_model)."""
    return f"blocks.{layer}.hook_resid_post"


def layer_of(name: str) -> int | None:
    """The layer a hook point belongs to, None where it belongs to none.

    >>> layer_of("blocks.7.attn.hook_z"), layer_of("hook_embed")
    (7, None)
    """
    match = re.match(r"blocks\.(\d+)\.", name)
    return int(match[1]) if match else None


def refuse_on_bridge(name: str, reasons: Mapping[str, str], verb: str) -> None:
    """Refuse a hook point that a model of TransformerLens 4 has, but that does not do there what it does in 3.9."""
    why = reasons.get(name.rsplit(".", 1)[-1])
    if BRIDGED and why:
        raise Refusal(f"{name} cannot be {verb} in a TransformerBridge (TransformerLens 4): {why}, or install transformer-lens<4")


def activations(model: HookedTransformer, tokens: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    """What passes the named hook points on `tokens`, without gradients; hooks that were set act. A KeyError names one that did not fire.

    Refuses a hook point where a TransformerBridge passes something else than its name says.
    """
    for name in names:
        refuse_on_bridge(name, UNREADABLE, "read")
    model = hooked_of(model) if isinstance(model, Weights) else model
    with torch.inference_mode():
        _, cache = model.run_with_cache(tokens, return_type=None, names_filter=names)
    return {name: cache[name] for name in names}
