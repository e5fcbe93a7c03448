"""What a run leaves in an `ActivationCache`, taken apart."""

import torch

from lens_tools import base, cached, equal, few, read_out, tokens, tool

KEPT = "Activations kept (`ActivationCache`)"


@tool(KEPT, '`cache["pattern", layer]`, `cache["z", layer]`, ...')
def patterns():
    """rows of attention sum to 1 and look at no later token; patterns times values are `z`"""
    pattern = cached()[1]["pattern", 1]
    equal(pattern.sum(-1), torch.ones(pattern.shape[:-1]))
    assert float(pattern.triu(1).abs().max()) == 0
    equal(torch.einsum("bhqk,bkhd->bqhd", pattern, cached()[1]["v", 1]), cached()[1]["z", 1])


@tool(KEPT, "`cache.decompose_resid`")
def decompose():
    """the parts sum to the stream"""
    equal(cached()[1].decompose_resid(layer=3).sum(0), cached()[1]["resid_pre", 3])


@tool(KEPT, "`cache.accumulated_resid(apply_ln=True) @ model.W_U + model.b_U`: the logit lens")
def logit_lens():
    """each level's stream, normed and read out by hand; the last level gives the logits"""
    levels = cached()[1].accumulated_resid(layer=-1, apply_ln=True) @ base().W_U + base().b_U
    equal(levels[2], read_out(base(), cached()[1]["resid_pre", 2]))
    equal(levels[-1], cached()[0])


@tool(KEPT, "`cache.logit_attrs`: direct logit attribution, of a model loaded with `fold_ln=True`")
def logit_attrs():
    """the terms of all parts sum to the token's logit less the unembedding's bias"""
    import heartlens

    model = heartlens.load("ecg-sim", fold_ln=True)
    with torch.no_grad():
        logits, kept = model.run_with_cache(tokens())
    parts = kept.decompose_resid(layer=-1, pos_slice=-1)
    attributed = kept.logit_attrs(parts, tokens=torch.tensor([40, 40]), pos_slice=-1, has_batch_dim=True)
    equal(attributed.sum(0), logits[:, -1, 40] - model.b_U[40])


@tool(KEPT, "`cache.logit_attrs(parts, tokens=0)` of a task head loaded with `fold_ln=True`")
def logit_attrs_of_task_head():
    """the terms of all parts sum to the last token's logit less the head's bias"""
    import heartlens

    model = heartlens.load("ecg-sim-af", fold_ln=True)
    with torch.no_grad():
        logits, kept = model.run_with_cache(tokens())
    parts = kept.decompose_resid(layer=-1, pos_slice=-1)
    attributed = kept.logit_attrs(parts, tokens=torch.tensor([0, 0]), pos_slice=-1, has_batch_dim=True)
    equal(attributed.sum(0), logits[:, -1, 0] - model.b_U[0])


@tool(
    KEPT,
    "`cache.logit_attrs` of a model as `heartlens.load` gives it",
    "load it with `fold_ln=True`; or `hl.Attribution`, whose terms are exact",
)
def logit_attrs_unfolded():
    """the same"""
    kept = cached()[1]
    attributed = kept.logit_attrs(
        kept.decompose_resid(layer=-1, pos_slice=-1), tokens=torch.tensor([40, 40]), pos_slice=-1, has_batch_dim=True
    )
    equal(attributed.sum(0), cached()[0][:, -1, 40] - base().b_U[40], "the sums of the terms")


@tool(KEPT, "`cache.stack_head_results`, `cache.compute_head_results`")
def head_results():
    """heads and biases sum to what attention wrote"""
    heads = cached()[1].stack_head_results(layer=2)
    equal(heads[4:8].sum(0) + base().b_O[1], cached()[1]["attn_out", 1])


@tool(KEPT, "`cache.get_full_resid_decomposition(expand_neurons=False)`")
def full_decomposition():
    """the parts sum to the stream"""
    equal(cached()[1].get_full_resid_decomposition(layer=3, expand_neurons=False).sum(0), cached()[1]["resid_pre", 3])


@tool(KEPT, "`cache.get_neuron_results`, `cache.stack_neuron_results`")
def neurons():
    """neurons and the bias sum to what the MLP wrote"""
    _, kept = base().run_with_cache(few())
    equal(kept.get_neuron_results(1).sum(2) + base().b_out[1], kept["mlp_out", 1])
    n_neurons = base().cfg.d_mlp
    equal(kept.stack_neuron_results(layer=2)[n_neurons:].sum(0) + base().b_out[1], kept["mlp_out", 1])


@tool(KEPT, "`cache.apply_ln_to_stack`")
def normed_stack():
    """the parts, each centred and divided by the scale of the whole stream"""
    kept = cached()[1]
    parts = kept.decompose_resid(layer=-1)
    expected = (parts - parts.mean(-1, keepdim=True)) / kept["ln_final.hook_scale"]
    equal(kept.apply_ln_to_stack(parts, layer=-1), expected)


@tool(KEPT, "`cache.stack_activation`, `remove_batch_dim`, `to`, `toggle_autodiff`")
def cache_handling():
    """the same numbers, with and without the axis of windows"""
    _, kept = base().run_with_cache(few()[:1])
    stacked = kept.stack_activation("mlp_out")
    equal(stacked[1], kept["mlp_out", 1])
    alone = kept.to("cpu").remove_batch_dim()
    equal(alone["mlp_out", 1], stacked[1, 0])
