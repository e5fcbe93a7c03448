"""The residual stream by level is the one of the original network."""

import numpy as np
import torch
from originals import tiny_model, tiny_state, tiny_tokens

from heartlens.models.residual import level_names, residual_by_level


def test_the_levels_are_the_embedding_and_what_each_block_leaves():
    model, tokens = tiny_model(dtype=torch.float32), tiny_tokens(tiny_state())
    found = residual_by_level(model, tokens.numpy().astype(np.uint8))
    _, cache = model.run_with_cache(tokens)
    assert len(found) == len(level_names(model.cfg.n_layers)) == model.cfg.n_layers + 1
    embedding = model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    np.testing.assert_allclose(found[0], embedding.detach().numpy(), atol=1e-6)
    for layer in range(model.cfg.n_layers):
        np.testing.assert_allclose(found[layer + 1], cache["resid_post", layer].numpy(), atol=1e-6)
