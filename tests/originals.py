"""Tiny random originals of odd sizes: state dicts under the published names, tokens that fit them, and files that hold them."""

import io
import zipfile

import numpy as np
import torch

from heartlens.converters.bridge import converted_model
from heartlens.converters.lens import BRIDGED


def tiny_state(seed=0, *, layers=2, heads=3, d_model=12, d_head=4, d_mlp=20, vocabulary=17, context=40, task_outputs=None):
    """A random state dict under the published names, wide enough that attention is far from uniform."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 0.7

    state = {"token_embedding_table.weight": draw(vocabulary, d_model), "position_embedding_table.weight": draw(context, d_model)}
    for block in (f"blocks.{layer}" for layer in range(layers)):
        for name in ("query", "key", "value"):
            state |= {f"{block}.sa.heads.{head}.{name}.weight": draw(d_head, d_model) for head in range(heads)}
        state |= {f"{block}.sa.proj.weight": draw(d_model, heads * d_head), f"{block}.sa.proj.bias": draw(d_model)}
        state |= {f"{block}.ffwd.net.0.weight": draw(d_mlp, d_model), f"{block}.ffwd.net.0.bias": draw(d_mlp)}
        state |= {f"{block}.ffwd.net.2.weight": draw(d_model, d_mlp), f"{block}.ffwd.net.2.bias": draw(d_model)}
        for norm in ("ln1", "ln2"):
            state |= {f"{block}.{norm}.weight": 1 + draw(d_model), f"{block}.{norm}.bias": draw(d_model)}
    head = "lm_head" if task_outputs is None else "lm_head.linear1.0"
    outputs = vocabulary if task_outputs is None else task_outputs
    state |= {"ln_f.weight": 1 + draw(d_model), "ln_f.bias": draw(d_model)}
    return state | {f"{head}.weight": draw(outputs, d_model), f"{head}.bias": draw(outputs)}


def tiny_tokens(state, seed=1, n_windows=3, n_time=None):
    """Random tokens that fit the state dict."""
    vocabulary, context = (len(state[f"{name}_embedding_table.weight"]) for name in ("token", "position"))
    return torch.from_numpy(np.random.default_rng(seed).integers(vocabulary, size=(n_windows, n_time or context)))


def tiny_model(seed=0, dtype=torch.float64, **options):
    """The model with hook points of a tiny random original."""
    return converted_model(tiny_state(seed), dtype=dtype, **options)


def scale_attention(model, divisor):
    """Make every layer divide its attention scores by another number."""
    for block in model.blocks:
        if BRIDGED:
            block.attn.original_component.scale = divisor
        else:
            block.attn.attn_scale = divisor


def pickled(content):
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped(members):
    """A zip of `members`, contents by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
