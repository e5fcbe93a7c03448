"""HookedTransformer or TransformerBridge -> original state dict, bit for bit, for models that the original architecture can express."""

import math

import torch
from torch import Tensor

from heartlens.converters.hooked import ARCHITECTURE, EPSILON
from heartlens.converters.lens import HookedTransformer, parameters
from heartlens.converters.sizes import Sizes
from heartlens.refusal import Refusal

State = dict[str, Tensor]


def original_state(model: HookedTransformer) -> State:
    """The model's tensors under the published names and layout (without the constant masks). Refuses a model that was processed."""
    refuse_inexpressible(model)
    sizes = sizes_of_model(model)
    hooked = parameters(model)
    original: State = {}
    for rule, names in sizes.rules():
        tensor = hooked[rule.hooked]
        if rule.hooked.endswith("W_O"):
            tensor = tensor.reshape(-1, sizes.d_model).T
        parts = tensor if rule.hooked.endswith(("W_Q", "W_K", "W_V")) else [tensor]
        original |= {name: rule.to_original(part).detach().cpu().clone() for name, part in zip(names, parts, strict=True)}
    return original


def sizes_of_model(model: HookedTransformer) -> Sizes:
    """The sizes in the model's configuration; outputs that are not the vocabulary are a task head."""
    cfg = model.cfg
    return Sizes(
        cfg.n_layers,
        cfg.n_heads,
        cfg.d_model,
        cfg.d_head,
        cfg.d_mlp,
        cfg.d_vocab,
        cfg.n_ctx,
        cfg.d_vocab_out,
        cfg.d_vocab_out != cfg.d_vocab,
    )


def refuse_inexpressible(model: HookedTransformer) -> None:
    """Refuse a model that the original architecture cannot express."""
    cfg = model.cfg
    for setting, legal in {**ARCHITECTURE, "normalization_type": "LN", "eps": EPSILON}.items():
        if getattr(cfg, setting) != legal:
            raise Refusal(f"the original has {setting} {legal}, this model {getattr(cfg, setting)}; export a model loaded without fold_ln")
    if not math.isclose(cfg.attn_scale, math.sqrt(cfg.d_model)):
        raise Refusal(
            f"the original divides attention scores by sqrt(d_model), this model by {cfg.attn_scale}; set attn_scale or scale W_Q"
        )
    for name, tensor in parameters(model).items():
        if name.endswith(("b_Q", "b_K", "b_V")) and bool(torch.any(tensor != 0)):
            raise Refusal(f"{name} is not zero; the original has no query, key or value bias; export a model loaded without fold_ln")
