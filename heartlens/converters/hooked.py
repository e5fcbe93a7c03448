"""Original state dict -> HookedTransformer. What is missing, left over, mis-shaped or not finite is refused by name.

The original divides attention scores by sqrt(d_model), not sqrt(d_head); HookedTransformer's `attn_scale` says so. A wrong scale still
gives plausible output, so only the parity certificate (`certificate.py`) proves the scale. A task head is a model with `d_vocab_out`
outputs. Its unembedding is never centred: centring a single column would zero it.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from heartlens.converters.lens import BRIDGED, HookedTransformer
from heartlens.converters.sizes import Sizes, sizes_of
from heartlens.refusal import Refusal

Tensors = dict[str, Tensor]

EPSILON = 1e-5
ARCHITECTURE = {  # what HookedTransformer's configuration says of every HeartGPT model, besides sizes, norm and `attn_scale`
    "act_fn": "relu",
    "attention_dir": "causal",
    "attn_only": False,
    "attn_scores_soft_cap": -1.0,
    "gated_mlp": False,
    "n_key_value_heads": None,
    "num_experts": None,
    "parallel_attn_mlp": False,
    "positional_embedding_type": "standard",
    "scale_attn_by_inverse_layer_idx": False,
    "use_attn_scale": True,
    "use_local_attn": False,
}


def hooked_model(
    state: Mapping[str, Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    fold_ln: bool = False,
    center_writing_weights: bool = False,
    name: str = "heartgpt",
) -> HookedTransformer:
    """The HookedTransformer that computes what the original state dict computes, on the CPU, in `dtype`, in evaluation mode.

    `fold_ln` and `center_writing_weights` are TransformerLens' weight processing; done in float64, they leave every output as it is.
    """
    if BRIDGED:
        raise Refusal("TransformerLens 4 has no HookedTransformer; bridge_model makes a TransformerBridge, or install transformer-lens<4")
    config, hooked = prepared(state, dtype, fold_ln, center_writing_weights, name)
    return _filled(_empty_model(config), hooked)


def prepared(
    state: Mapping[str, Tensor], dtype: torch.dtype, fold_ln: bool, center_writing_weights: bool, name: str
) -> tuple[Any, Tensors]:
    """The configuration of the model with hook points, and its tensors under HookedTransformer's names; both processed as asked."""
    check(state)
    sizes = sizes_of(state)
    hooked = hooked_state(state, sizes)
    if fold_ln or center_writing_weights:
        hooked = _processed(hooked, _config(sizes, name, torch.float64, "LN"), fold_ln, center_writing_weights)
    return _config(sizes, name, dtype, "LNPre" if fold_ln else "LN"), hooked


def _processed(hooked: Tensors, config: Any, fold_ln: bool, center_writing_weights: bool) -> Tensors:
    """TransformerLens' own processing, step by step: its `process_weights` would first take float64 down to float32."""
    from transformer_lens.weight_processing import ProcessWeights

    hooked = {key: tensor.double() for key, tensor in hooked.items()}
    if fold_ln:
        hooked = ProcessWeights.fold_layer_norm(hooked, config, fold_biases=True, center_weights=True)
        hooked = {key: tensor for key, tensor in hooked.items() if ".ln" not in key and not key.startswith("ln_final")}
    if center_writing_weights:
        hooked = ProcessWeights.center_writing_weights(hooked, config)
    return hooked


def check(state: Mapping[str, Tensor]) -> None:
    """Refuse, by name, a state dict that is not exactly one HeartGPT model."""
    expected = sizes_of(state).shapes()
    present = [name for name in expected if name in state]
    problems = {
        "missing": [name for name in expected if name not in state],
        "left over": [name for name in state if name not in expected],
        "mis-shaped": [_mismatch(name, state[name], expected[name]) for name in present if not _fits(state[name], expected[name])],
        "not finite": [name for name in present if _fits(state[name], expected[name]) and not _is_finite(state[name])],
    }
    listed = [f"{what}: {_listed(names)}" for what, names in problems.items() if names]
    if listed:
        raise Refusal(f"not a HeartGPT state dict; {'; '.join(listed)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def hooked_state(state: Mapping[str, Tensor], sizes: Sizes) -> Tensors:
    """The tensors under HookedTransformer's names and layout; the query, key and value biases it has and the original lacks are 0."""
    hooked = {}
    for rule, names in sizes.rules():
        tensors = [rule.to_hooked(state[name]) for name in names]
        hooked[rule.hooked] = torch.stack(tensors) if rule.hooked.endswith(("W_Q", "W_K", "W_V")) else tensors[0]
    for layer in range(sizes.layers):
        projection = f"blocks.{layer}.attn.W_O"
        hooked[projection] = hooked[projection].T.reshape(sizes.heads, sizes.d_head, sizes.d_model)
        for letter in "QKV":
            hooked[f"blocks.{layer}.attn.b_{letter}"] = torch.zeros(sizes.heads, sizes.d_head, dtype=hooked[projection].dtype)
    return hooked


def settings(sizes: Sizes, name: str, dtype: torch.dtype, norm: str = "LN") -> dict[str, Any]:
    """HookedTransformer's configuration of a HeartGPT model, by name."""
    return ARCHITECTURE | {
        "n_layers": sizes.layers,
        "n_heads": sizes.heads,
        "d_model": sizes.d_model,
        "d_head": sizes.d_head,
        "d_mlp": sizes.d_mlp,
        "n_ctx": sizes.context,
        "d_vocab": sizes.vocabulary,
        "d_vocab_out": sizes.outputs,
        "normalization_type": norm,
        "eps": EPSILON,
        "attn_scale": math.sqrt(sizes.d_model),
        "dtype": dtype,
        "model_name": name,
    }


def _config(sizes: Sizes, name: str, dtype: torch.dtype, norm: str) -> Any:
    """The configuration, of the class that the installed TransformerLens has."""
    if BRIDGED:
        from transformer_lens.config import TransformerBridgeConfig as Config
    else:
        from transformer_lens import HookedTransformerConfig as Config
    return Config(**settings(sizes, name, dtype, norm), init_weights=False, device="cpu")


def _empty_model(config: Any) -> HookedTransformer:
    from transformer_lens import HookedTransformer

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="HookedTransformer is deprecated", category=DeprecationWarning)
        return HookedTransformer(config)


def _filled(model: HookedTransformer, hooked: Tensors) -> HookedTransformer:
    """The model with its parameters set. (HookedTransformer's own `load_state_dict` walks the whole model once per tensor.)"""
    constants = {key: tensor for key, tensor in model.state_dict().items() if key.endswith((".mask", ".IGNORE"))}
    torch.nn.Module.load_state_dict(model, hooked | constants)
    return model.eval()


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite as they are computed with; 1e300 is not."""
    return bool(torch.isfinite(tensor.to(torch.float32)).all())


def _fits(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    return tuple(tensor.shape) == shape and tensor.is_floating_point()


def _mismatch(name: str, tensor: Tensor, shape: tuple[int, ...]) -> str:
    return f"{name} is {tuple(tensor.shape)} {tensor.dtype}, expected floating {shape}"
