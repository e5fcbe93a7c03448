"""What heads carry, against the model with hooks: in several layers, where what lies downstream reacts."""

import numpy as np
import torch
from planted import model_of, random_state

from heartlens.engine import engine_of
from heartlens.models import hooks
from heartlens.models.edit import patched
from heartlens.models.interventions.head_swap import carried_by_head, last_logits
from heartlens.signals.simulate import simulated

N_LAYERS, N_HEADS = 3, 2
INTO = simulated("ecg", 2, 1).tokens
SOURCE = INTO[:, ::-1].copy()


def test_what_a_head_carries_is_a_hooked_runs():
    model = model_of(random_state(layers=N_LAYERS, heads=N_HEADS, d_head=8, scale=0.4, task_head=True), dtype=torch.float64)
    into, source = (torch.from_numpy(each.astype(np.int64)) for each in (INTO, SOURCE))
    known = hooks.activations(model, source, [hooks.z(layer) for layer in range(N_LAYERS)])
    found = carried_by_head(engine_of(model), INTO, SOURCE)
    with torch.inference_mode():
        before = model(into)[:, -1, 0].numpy()
        np.testing.assert_allclose(last_logits(engine_of(model), INTO), before, atol=1e-9)
        for layer, head in np.ndindex(N_LAYERS, N_HEADS):
            with patched(model, {hooks.z(layer): known[hooks.z(layer)]}, heads=[(layer, head)]):
                expected = model(into)[:, -1, 0].numpy() - before
            np.testing.assert_allclose(found[:, layer, head], expected, atol=1e-9)
    assert np.abs(found).min() > 1e-6
