"""Weights, products of weights, and their processing."""

import torch
from torch import Tensor

from lens_tools import N_TOKENS, Wrong, base, cached, detector, equal, fresh, tokens, tool


@tool("Weights", "`model.W_Q`, `W_K`, `W_V`, `W_O`, `W_in`, `W_out`, `b_*`, `W_E`, `W_pos`, `W_U`")
def weights():
    """attention scores made of them (scaled by the square root of d_model, as the original's) are those of the run"""
    layer, head = 1, 2
    norm = base().blocks[layer].ln1
    normal = cached()[1][f"blocks.{layer}.ln1.hook_normalized"] * norm.w + norm.b
    queries, keys = (normal @ W[layer, head] for W in (base().W_Q, base().W_K))
    scores = queries @ keys.transpose(-1, -2) / base().cfg.d_model ** 0.5
    below = torch.tril(torch.ones(N_TOKENS, N_TOKENS, dtype=torch.bool))
    equal(scores[:, below], cached()[1]["attn_scores", layer][:, head][:, below])


@tool("Weights", "`model.QK`, `model.OV`, `FactoredMatrix` (`AB`, `svd`, `norm`, `make_even`, `@`)")
def factored():
    """the products written out, and `torch.linalg.svd` of them"""
    whole = base().W_V[1, 2] @ base().W_O[1, 2]
    value = base().OV[1, 2]
    equal(value.AB, whole)
    equal(value.S[: base().cfg.d_head], torch.linalg.svd(whole)[1][: base().cfg.d_head])
    U, S, V = value.svd()
    equal(U @ torch.diag(S) @ V.T, whole)
    equal(value.norm(), whole.norm())
    equal(value.make_even().AB, whole)
    equal((value @ base().W_U).AB, whole @ base().W_U)
    equal(base().QK[1, 2].AB, base().W_Q[1, 2] @ base().W_K[1, 2].T)


@tool("Weights", "`FactoredMatrix.eigenvalues`")
def eigenvalues():
    """those of the product that `torch.linalg.eigvals` finds"""
    value = base().OV[1, 2]
    whole = torch.linalg.eigvals(value.AB).abs().sort(descending=True).values[: base().cfg.d_head]
    equal(value.eigenvalues.abs().sort(descending=True).values, whole)


@tool("Weights", '`model.all_composition_scores("V")`, `"Q"`, `"K"`')
def composition():
    """the norm of the product of two heads' matrices over the product of their norms"""
    scores = base().all_composition_scores("V")
    one, two = (base().W_V[layer, head] @ base().W_O[layer, head] for layer, head in ((0, 1), (2, 3)))
    equal(scores[0, 1, 2, 3], (one @ two).norm() / one.norm() / two.norm())
    read = base().W_Q[2, 3] @ base().W_K[2, 3].T
    equal(base().all_composition_scores("Q")[0, 1, 2, 3], (one @ read).norm() / one.norm() / read.norm())
    equal(base().all_composition_scores("K")[0, 1, 2, 3], (one @ read.T).norm() / one.norm() / read.norm())


@tool("Weights", "`SVDInterpreter` of a next-token model (`OV`, `w_in`, `w_out`)")
def singular_vectors():
    """the right singular vectors of the head's matrix times the unembedding, up to sign"""
    from transformer_lens import SVDInterpreter

    model = fresh()
    value = SVDInterpreter(model).get_singular_vectors("OV", layer_index=1, head_index=2, num_vectors=3)[:, 0]
    expected = (model.OV[1, 2].svd()[2].T[:3] @ model.W_U).T
    equal(value.abs(), expected.abs(), tolerance=1e-3)
    equal(
        SVDInterpreter(model).get_singular_vectors("w_out", layer_index=1, num_vectors=3)[:, 0].abs(),
        (torch.linalg.svd(model.W_out[1])[2][:3] @ model.W_U).abs().T,
        tolerance=1e-3,
    )


@tool("Weights", "`SVDInterpreter` of a model with a task head", "`model.OV[layer, head].svd()` and `@ model.W_U`")
def singular_vectors_of_task_head():
    """the same"""
    from transformer_lens import SVDInterpreter

    SVDInterpreter(fresh("af")).get_singular_vectors("OV", layer_index=1, head_index=2, num_vectors=3)


@tool("Weights", "`model.accumulated_bias(layer)`")
def accumulated_bias():
    """the sum of the biases of attention and MLP before it"""
    equal(base().accumulated_bias(2), base().b_O[:2].sum(0) + base().b_out[:2].sum(0))


def processed(model, **options) -> Tensor:
    """The log-probabilities after `process_weights_`."""
    model.process_weights_(**options)
    with torch.no_grad():
        return model(tokens()).log_softmax(-1)


@tool("Weights", "`model.process_weights_()` of a next-token model")
def process_weights():
    """log-probabilities stay as they are (logits may move by a constant at every token)"""
    equal(processed(fresh()), cached()[0].log_softmax(-1))


@tool(
    "Weights",
    "`model.process_weights_()` of a model with a task head",
    "`heartlens.load(name, fold_ln=True, center_writing_weights=True)`, which leaves every output as it is",
)
def process_weights_of_task_head():
    """the logit of the last token stays as it is"""
    model = fresh("af")
    with torch.no_grad():
        before = detector()(tokens())[:, -1, 0]
        model.process_weights_()
        after = model(tokens())[:, -1, 0]
    if float(after.abs().max()) == 0:
        raise Wrong("every logit becomes exactly 0: centring the one column of the unembedding leaves nothing")
    equal(after, before)


@tool("Weights", "`process_weights_(center_unembed=False)` of a model with a task head", "`heartlens.load(name, fold_ln=True)`")
def process_weights_uncentred():
    """the logit of the last token stays as it is"""
    model = fresh("af")
    with torch.no_grad():
        before = detector()(tokens())[:, -1, 0]
        model.process_weights_(center_unembed=False)
        equal(model(tokens())[:, -1, 0], before, "the logits")


@tool("Weights", "`heartlens.load(name, fold_ln=True, center_writing_weights=True)`")
def folded_when_loaded():
    """outputs of both kinds of model stay as they are"""
    import heartlens

    with torch.no_grad():
        for name, model in (("ecg-sim", base()), ("ecg-sim-af", detector())):
            equal(heartlens.load(name, fold_ln=True, center_writing_weights=True)(tokens()), model(tokens()))


@tool("Weights", "`process_weights_(refactor_factored_attn_matrices=True)`")
def refactored():
    """log-probabilities stay as they are"""
    equal(processed(fresh(), refactor_factored_attn_matrices=True), cached()[0].log_softmax(-1), tolerance=1e-3)
