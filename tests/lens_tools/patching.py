"""Activation patching, compared with `heartlens.patched`."""

import torch
from torch import Tensor

from lens_tools import base, equal, few, tool


def pair():
    """A clean and a corrupted run of FEW tokens: two windows; the metric is a logit of the last token."""
    with torch.no_grad():
        _, clean = base().run_with_cache(few()[:1])
    return few()[1:], clean, lambda logits: logits[0, -1, 40]


def patched_at(name: str, index, value: Tensor) -> Tensor:
    """The metric where one activation is replaced, by `heartlens.patched`."""
    import heartlens

    corrupted, _, metric = pair()
    with torch.no_grad():
        passing = base().run_with_cache(corrupted)[1][name].clone()
        passing[index] = value[index]
        with heartlens.patched(base(), {name: passing}, may_equal=True):
            return metric(base()(corrupted))


def compared(function: str, point: str, layer: int, index, place: tuple[int, ...]) -> None:
    from transformer_lens import patching

    corrupted, clean, metric = pair()
    with torch.no_grad():
        value = getattr(patching, function)(base(), corrupted, clean, metric)
    name = f"blocks.{layer}.{point}"
    equal(value[place], patched_at(name, index, clean[name]))


EVERY = slice(None)
BY_PLACE = {"resid_pre": "hook_resid_pre", "resid_mid": "hook_resid_mid", "attn_out": "hook_attn_out", "mlp_out": "hook_mlp_out"}
BY_HEAD = {"out": "z", "q": "q", "k": "k", "v": "v"}
for _function, _point in BY_PLACE.items():

    @tool("Patching", f"`patching.get_act_patch_{_function}`")
    def by_place(function=_function, point=_point):
        """`heartlens.patched` of one place in one layer"""
        compared(f"get_act_patch_{function}", point, 2, (EVERY, 3), (2, 3))


for _function, _point in BY_HEAD.items():

    @tool("Patching", f"`patching.get_act_patch_attn_head_{_function}_all_pos`, `..._by_pos`")
    def by_head(function=_function, point=_point):
        """`heartlens.patched` of one head, at all places and at one"""
        compared(f"get_act_patch_attn_head_{function}_all_pos", f"attn.hook_{point}", 2, (EVERY, EVERY, 1), (2, 1))
        compared(f"get_act_patch_attn_head_{function}_by_pos", f"attn.hook_{point}", 2, (EVERY, 3, 1), (2, 3, 1))


@tool("Patching", "`patching.get_act_patch_attn_head_pattern_all_pos`, `..._by_pos`, `..._dest_src_pos`")
def by_pattern():
    """`heartlens.patched` of a head's attention: whole, one row, one entry"""
    name, start = "attn.hook_pattern", "get_act_patch_attn_head_pattern_"
    compared(f"{start}all_pos", name, 2, (EVERY, 1), (2, 1))
    compared(f"{start}by_pos", name, 2, (EVERY, 1, 3), (2, 1, 3))
    compared(f"{start}dest_src_pos", name, 2, (EVERY, 1, 3, 2), (2, 1, 3, 2))


@tool("Patching", "`patching.get_act_patch_block_every`, `get_act_patch_attn_head_all_pos_every`, `..._by_pos_every`")
def every():
    """the functions above, stacked"""
    from transformer_lens import patching

    corrupted, clean, metric = pair()
    with torch.no_grad():
        blocks = patching.get_act_patch_block_every(base(), corrupted, clean, metric)
        heads = patching.get_act_patch_attn_head_all_pos_every(base(), corrupted, clean, metric)
        places = patching.get_act_patch_attn_head_by_pos_every(base(), corrupted, clean, metric)
    equal(blocks[1, 2, 3], patched_at("blocks.2.hook_attn_out", (EVERY, 3), clean["attn_out", 2]))
    equal(heads[0, 2, 1], patched_at("blocks.2.attn.hook_z", (EVERY, EVERY, 1), clean["z", 2]))
    assert places.shape[:2] == (5, base().cfg.n_layers)
