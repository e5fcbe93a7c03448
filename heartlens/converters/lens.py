"""The TransformerLens that is installed, 3.9 or 4, and what must be done differently with the models of each.

Version 3.9 has HookedTransformer; version 4 has TransformerBridge in its place, with the same hook names but weights, blocks and masks of
its own. `HookedTransformer` here is the class of the installed version, so that one annotation fits both. All that heartlens knows of a
bridge is in this module and in `bridge.py`; whoever runs a model's own blocks asks here and works with either kind.
"""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer
else:
    HookedTransformer = torch.nn.Module


def _major_version() -> int:
    """Which TransformerLens is installed: 3, 4 ...; 3 where none is."""
    try:
        return int(version("transformer-lens").split(".")[0])
    except PackageNotFoundError:
        return 3


BRIDGED = _major_version() >= 4

__all__ = ["BRIDGED", "HookedTransformer"]

LINEAR, STACKED = "out into -> into out", "(head d_head) d_model -> head d_model d_head"
BEFORE = {"embed.W_E": ("embed.weight", ""), "pos_embed.W_pos": ("pos_embed.weight", "")}
BLOCK = {  # HookedTransformer's tensor: the bridge's, and the einops pattern between; in 3.9's order, by which twins draw
    "ln1.w": ("ln1.weight", ""),
    "ln1.b": ("ln1.bias", ""),
    "ln2.w": ("ln2.weight", ""),
    "ln2.b": ("ln2.bias", ""),
    "attn.W_Q": ("attn.q.weight", STACKED),
    "attn.W_O": ("attn.o.weight", "d_model (head d_head) -> head d_head d_model"),
    "attn.b_Q": ("attn.q.bias", "(head d_head) -> head d_head"),
    "attn.b_O": ("attn.o.bias", ""),
    "attn.W_K": ("attn.k.weight", STACKED),
    "attn.W_V": ("attn.v.weight", STACKED),
    "attn.b_K": ("attn.k.bias", "(head d_head) -> head d_head"),
    "attn.b_V": ("attn.v.bias", "(head d_head) -> head d_head"),
    "mlp.W_in": ("mlp.in.weight", LINEAR),
    "mlp.b_in": ("mlp.in.bias", ""),
    "mlp.W_out": ("mlp.out.weight", LINEAR),
    "mlp.b_out": ("mlp.out.bias", ""),
}
AFTER = {
    "ln_final.w": ("ln_final.weight", ""),
    "ln_final.b": ("ln_final.bias", ""),
    "unembed.W_U": ("unembed.weight", LINEAR),
    "unembed.b_U": ("unembed.bias", ""),
}
NEVER_FIRES = "TransformerLens 4 cannot make it fire on a native model; edit hook_z, hook_q, hook_k or hook_v"
UNEDITABLE = {  # the last part of the hook points of a bridge at which an edit would do nothing, or not what it does in 3.9: why
    "hook_attn_scores": "it holds the attention pattern there, and an edit changes nothing; edit hook_pattern",
    "hook_resid_mid": "it is only what the MLP reads there, and the stream would go past the edit; edit hook_attn_out",
    **dict.fromkeys(("hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in"), NEVER_FIRES),
}
UNREADABLE = {"hook_attn_scores": UNEDITABLE["hook_attn_scores"]}


def is_bridge(model: Any) -> bool:
    """Whether a model is one of TransformerLens 4."""
    return type(model).__name__ == "TransformerBridge"


def parameters(model: HookedTransformer) -> dict[str, Tensor]:
    """Every weight by HookedTransformer's name and in its layout, in one order for both versions; of a bridge views, to change in place."""
    tensors = _views(model) if is_bridge(model) else dict(model.named_parameters())
    in_blocks = (f"blocks.{layer}.{name}" for layer in range(model.cfg.n_layers) for name in BLOCK)
    return {name: tensors[name] for name in dict.fromkeys([*BEFORE, *in_blocks, *AFTER, *tensors]) if name in tensors}


def embedding(model: HookedTransformer, tokens: Int[Tensor, "window time"]) -> Float[Tensor, "window time d_model"]:
    """The stream before the first block; hooks on it act."""
    if BRIDGED:
        return model.embed(tokens) + model.pos_embed(torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens))
    if getattr(model.cfg, "use_hook_tokens", False):
        tokens = model.hook_tokens(tokens)
    embedded = model.hook_embed(model.embed(tokens))
    if model.cfg.positional_embedding_type != "standard":  # rotary: positions come in within the blocks
        return embedded
    return embedded + model.hook_pos_embed(model.pos_embed(tokens))


def epsilon(model: HookedTransformer) -> float:
    """What a model's norms add to the variance."""
    return float(model.ln_final.original_component.eps if is_bridge(model) else model.ln_final.eps)


def stream_after(block: Any, stream: Float[Tensor, "window time d_model"]) -> Float[Tensor, "window time d_model"]:
    """The stream after a block of either kind of model; hooks in it act."""
    return block(stream)[0] if BRIDGED else block(stream)


def unmask(block: Any) -> None:
    """Let the block attend forward too, for good."""
    attention, name, wanted, _ = _mask(block)
    setattr(attention, name, wanted)


def is_unmasked(block: Any) -> bool:
    """Whether the block attends forward too."""
    attention, name, wanted, _ = _mask(block)
    return bool(getattr(attention, name) == wanted)


def _mask(block: Any) -> tuple[Any, str, Any, Any]:
    """Where a block's mask is set, what unmasks it, and what it is set to."""
    bridged = getattr(block.attn, "original_component", None)
    owner, name, wanted = (bridged, "causal", False) if bridged is not None else (block.attn, "_attention_dir_override", "bidirectional")
    return owner, name, wanted, getattr(owner, name)


@contextmanager
def unmasked(block: Any) -> Iterator[None]:
    """The block attends forward too, and afterwards as before."""
    attention, name, wanted, before = _mask(block)
    setattr(attention, name, wanted)
    try:
        yield
    finally:
        setattr(attention, name, before)


@contextmanager
def acting(hook_point: Any, act: Callable[[Tensor], Tensor | None], *, first: bool = False) -> Iterator[None]:
    """`act` on what passes a hook point, in HookedTransformer's shape; what it returns takes its place.

    It acts after the hooks that were set before or, with `first`, before them.

    Set as a permanent hook, so that `reset_hooks` within the body leaves it; a hook of PyTorch's own would see a bridge's inner shapes.
    """
    hook_point.add_hook(lambda passing, hook: act(passing), is_permanent=True, prepend=first)
    handle = hook_point.fwd_hooks[0 if first else -1]
    try:
        yield
    finally:
        handle.hook.remove()
        hook_point.fwd_hooks = [other for other in hook_point.fwd_hooks if other is not handle]


def copied(model: HookedTransformer) -> HookedTransformer:
    """A copy that shares nothing with the model."""
    twin = copy.deepcopy(model)
    for block in twin.blocks if is_bridge(model) else ():
        block._teardown_capture_hooks()  # they still point into the model that was copied; the next forward sets them anew
    return twin


def _views(bridge: HookedTransformer) -> dict[str, Tensor]:
    """A bridge's tensors as HookedTransformer names and lays them out; one that the tables lack keeps its own name."""
    names = {theirs: (ours, pattern) for table in (BEFORE, BLOCK, AFTER) for ours, (theirs, pattern) in table.items()}
    views = {}
    for name, tensor in bridge.state_dict(keep_vars=True).items():
        place, theirs = re.fullmatch(r"(blocks\.\d+\.|)(.+)", name).groups()  # type: ignore[union-attr]
        ours, pattern = names.get(theirs, (theirs, ""))
        sizes = {"head": bridge.cfg.n_heads} if "(head" in pattern else {}
        views[place + ours] = rearrange(tensor, pattern, **sizes) if pattern else tensor
    return views
