"""HookedTransformer -> original state dict, bit for bit, for models that the original architecture can express."""

import torch
from torch import Tensor
from transformer_lens import HookedTransformer

from heartlens.converters.sizes import Sizes
from heartlens.refusal import Refusal

State = dict[str, Tensor]


def original_state(model: HookedTransformer) -> State:
    """The model's tensors under the published names and layout (without the constant masks). Refuses a model that was processed."""
    _refuse_inexpressible(model)
    sizes = sizes_of_model(model)
    hooked = model.state_dict()
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


def _refuse_inexpressible(model: HookedTransformer) -> None:
    if model.cfg.normalization_type != "LN" or model.cfg.act_fn != "relu":
        raise Refusal(
            f"the original has LayerNorm with weights and ReLU; this model has {model.cfg.normalization_type} and {model.cfg.act_fn}; "
            "export a model loaded without fold_ln"
        )
    for name, tensor in model.state_dict().items():
        if name.endswith(("b_Q", "b_K", "b_V")) and bool(torch.any(tensor != 0)):
            raise Refusal(f"{name} is not zero; the original has no query, key or value bias; export a model loaded without fold_ln")
