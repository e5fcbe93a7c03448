"""Which models the fused and the torch engine compute exactly: HeartGPT's architecture, of any size, without hooks."""

import sys
from typing import Any

from torch.nn import functional

from heartlens.converters.hooked import ARCHITECTURE
from heartlens.converters.lens import BRIDGED, is_unmasked
from heartlens.converters.weights import Weights
from heartlens.refusal import Refusal

FLAGS = ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "use_hook_tokens")
USUAL = {  # settings that HeartGPT models leave alone, and that change what a model computes
    "clip_qkv": None,
    "load_in_4bit": False,
    "original_architecture": None,
    "output_logits_soft_cap": -1.0,
    "post_embedding_ln": False,
    "use_attention_sinks": False,
    "use_logn_attn": False,
    "use_normalization_before_and_after": False,
    "use_qk_norm": False,
}
BLOCKS = ("Attention", "LayerNorm", "LayerNormPre", "MLP", "TransformerBlock")
MODULES = (*BLOCKS, "Embed", "HookPoint", "PosEmbed", "TypedModuleList", "Unembed")  # of TransformerLens, as they come
MASKED = "its attention mask is overridden"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def why_not_plain(model: Any) -> str:
    """What of the model these engines do not compute; empty where they compute all of it."""
    if isinstance(model, Weights):
        return MASKED if any(map(is_unmasked, model.blocks)) else ""
    if not _is_hooked_transformer(model):
        return f"it is a {type(model).__name__}, no HookedTransformer of TransformerLens 3"
    cfg = model.cfg
    settings = (ARCHITECTURE | USUAL).items()
    unlike = [f"{name}={getattr(cfg, name)}" for name, legal in settings if getattr(cfg, name, legal) != legal]
    if cfg.normalization_type not in ("LN", "LNPre"):
        unlike.append(f"normalization_type={cfg.normalization_type}")
    if unlike:
        return f"its architecture is another than HeartGPT's ({', '.join(unlike)})"
    flags = [flag for flag in FLAGS if getattr(cfg, flag)]
    if flags:
        return f"its {', '.join(flags)} is set"
    if any(block.attn._attention_dir_override for block in model.blocks):
        return MASKED
    modules = dict(model.named_modules())
    hooked = [name for name, module in modules.items() if any(getattr(module, hooks) for hooks in HOOKS)]
    if hooked:
        return f"it has hooks (at {', '.join(name or 'the model itself' for name in hooked[:3])})"
    changed = [name for name, module in modules.items() if name and _is_changed(module, cfg)]
    if changed:
        return f"its {', '.join(changed[:3])} computes in another way than its configuration says"
    return "it is in training mode, where dropout acts" if model.training and getattr(cfg, "dropout", 0) else ""


def _is_hooked_transformer(model: Any) -> bool:
    """Whether it is one of TransformerLens 3, without importing that: who has one has imported it."""
    return not BRIDGED and isinstance(model, getattr(sys.modules.get("transformer_lens"), "HookedTransformer", ()))


def _is_changed(module: Any, cfg: Any) -> bool:
    """Whether this module was replaced by another, or computes something else than its weights and configuration say."""
    kind = type(module)
    if not (kind.__name__ in MODULES and kind.__module__.startswith("transformer_lens.")) or "forward" in vars(module):
        return True
    configured = {"attn_scale": cfg.attn_scale, "eps": cfg.eps, "act_fn": functional.relu}
    return any(getattr(module, name, value) != value for name, value in configured.items())


def refuse_unlike(model: Any) -> None:
    """Refuses a model that these engines do not compute exactly."""
    reason = why_not_plain(model)
    if reason:
        raise Refusal(f"the fused and the torch engine do not run this model: {reason}; give --engine hooked (engine='hooked')")
