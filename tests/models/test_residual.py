"""The residual stream by level is the one of the original network."""

import numpy as np
import torch
from originals import tiny_model, tiny_state, tiny_tokens

from heartlens.engine.plain import why_not_plain
from heartlens.models.residual import level_names, residual_by_level
from heartlens.models.subject import subject_of


def test_the_levels_are_the_embedding_and_what_each_block_leaves():
    model, tokens = tiny_model(), tiny_tokens(tiny_state())
    found = residual_by_level(subject_of(model), tokens.numpy().astype(np.uint8))
    assert not why_not_plain(model)
    _, cache = model.run_with_cache(tokens)
    assert len(found) == len(level_names(model.cfg.n_layers)) == model.cfg.n_layers + 1
    embedding = model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    np.testing.assert_allclose(found[0], embedding.detach().numpy(), rtol=1e-6, atol=1e-6)
    for layer in range(model.cfg.n_layers):
        np.testing.assert_allclose(found[layer + 1], cache["resid_post", layer].numpy(), rtol=1e-6, atol=1e-6)


def test_a_hook_acts_on_what_follows():
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state()).numpy().astype(np.uint8)
    free = residual_by_level(subject_of(model), tokens)
    model.add_perma_hook("blocks.0.hook_mlp_out", lambda moved, hook: torch.zeros_like(moved))
    held = residual_by_level(subject_of(model), tokens)
    assert (held[0] == free[0]).all()
    assert np.abs(held[1:] - free[1:]).max(axis=(1, 2, 3)).min() > 1e-2
