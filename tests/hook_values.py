"""The original architecture in plain tensors: what passes each of HookedTransformer's hook points, with an edit at any one of them."""

import math

import torch


def points_of(state, tokens, edited=None, edit=None, unmasked=None):
    """`logits` and what passes each hook point, by name, in double precision; `edit` changes what passes `edited`."""
    w = {name: tensor.double() for name, tensor in state.items()}
    n_time = tokens.shape[1]
    future = torch.ones(n_time, n_time, dtype=torch.bool).triu(1)
    passed = {}

    def passing(name, x):
        passed[name] = edit(x) if name == edited else x
        return passed[name]

    def normed(x, own, name):
        centred = x - x.mean(-1, keepdim=True)
        scale = passing(f"{name}.hook_scale", (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt())
        return passing(f"{name}.hook_normalized", centred / scale) * w[f"{own}.weight"] + w[f"{own}.bias"]

    def by_head(x, block, name):
        heads = sorted(key for key in w if key.startswith(f"{block}.sa.heads.") and key.endswith(f"{name}.weight"))
        return torch.stack([x @ w[head].T for head in heads], dim=2)

    x = passing("hook_embed", w["token_embedding_table.weight"][tokens])
    x = x + passing("hook_pos_embed", w["position_embedding_table.weight"][:n_time].expand_as(x))
    layer = 0
    while f"blocks.{layer}.ln1.weight" in w:
        block = f"blocks.{layer}"
        x = passing(f"{block}.hook_resid_pre", x)
        read = normed(x, f"{block}.ln1", f"{block}.ln1")
        q, k, v = (passing(f"{block}.attn.hook_{part[0]}", by_head(read, block, part)) for part in ("query", "key", "value"))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(x.shape[-1])
        visible = scores if layer == unmasked else scores.masked_fill(future, -math.inf)
        pattern = passing(f"{block}.attn.hook_pattern", visible.softmax(-1))
        z = passing(f"{block}.attn.hook_z", torch.einsum("bhqk,bkhd->bqhd", pattern, v))
        x = x + passing(f"{block}.hook_attn_out", z.flatten(2) @ w[f"{block}.sa.proj.weight"].T + w[f"{block}.sa.proj.bias"])
        read = normed(passing(f"{block}.hook_mlp_in", x), f"{block}.ln2", f"{block}.ln2")
        hidden = passing(f"{block}.mlp.hook_pre", read @ w[f"{block}.ffwd.net.0.weight"].T + w[f"{block}.ffwd.net.0.bias"])
        hidden = passing(f"{block}.mlp.hook_post", hidden.relu())
        x = x + passing(f"{block}.hook_mlp_out", hidden @ w[f"{block}.ffwd.net.2.weight"].T + w[f"{block}.ffwd.net.2.bias"])
        x = passing(f"{block}.hook_resid_post", x)
        layer += 1
    x = passing("unembed.hook_in", normed(x, "ln_f", "ln_final"))
    head = "lm_head" if "lm_head.weight" in w else "lm_head.linear1.0"
    passed["logits"] = passing("unembed.hook_out", x @ w[f"{head}.weight"].T + w[f"{head}.bias"])
    return passed
