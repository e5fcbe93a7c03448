"""Which models the fused and the torch engine compute exactly: HeartGPT's architecture, of any size, that nobody hooks into."""

from typing import Any

from heartlens.converters.hooked import ARCHITECTURE
from heartlens.refusal import Refusal

FLAGS = ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in")


def why_not_plain(model: Any) -> str:
    """What of the model these engines do not compute; empty where they compute all of it."""
    cfg = model.cfg
    if not hasattr(model, "W_E") or not hasattr(model.blocks[0], "attn") or not hasattr(model.blocks[0].attn, "_attention_dir_override"):
        return "it is no HookedTransformer"
    unlike = [f"{name}={getattr(cfg, name, None)}" for name, legal in ARCHITECTURE.items() if getattr(cfg, name, None) != legal]
    if cfg.normalization_type not in ("LN", "LNPre"):
        unlike.append(f"normalization_type={cfg.normalization_type}")
    if unlike:
        return f"its architecture is another than HeartGPT's ({', '.join(unlike)})"
    flags = [flag for flag in FLAGS if getattr(cfg, flag)]
    if flags:
        return f"its {', '.join(flags)} is set"
    if any(block.attn._attention_dir_override for block in model.blocks):
        return "its attention mask is overridden"
    hooked = [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]
    if hooked:
        return f"it has hooks (at {', '.join(name or 'the model itself' for name in hooked[:3])})"
    return "it is in training mode, where dropout acts" if model.training and getattr(cfg, "dropout", 0) else ""


def refuse_unlike(model: Any) -> None:
    """Refuses a model that these engines do not compute exactly."""
    reason = why_not_plain(model)
    if reason:
        raise Refusal(f"the fused and the torch engine do not run this model: {reason}; give --engine hooked (engine='hooked')")
