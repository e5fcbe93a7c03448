"""
What a model is worth without a head
====================================

An AF detector without each of its heads in turn: the area under the ROC curve on simulated people with and without fibrillation.
"""

import numpy as np
import torch

import heartlens as hl
from heartlens import figures
from heartlens.measures.detection import auc

model = hl.load("ecg-sim-af")
sinus, af = (hl.simulated("ecg", n_records=12, windows_per_record=1, rhythm=rhythm, seed=5) for rhythm in ("sinus", "af"))
tokens = torch.from_numpy(np.concatenate([sinus.tokens, af.tokens]).astype("int64"))
has_af = np.repeat([False, True], [len(sinus), len(af)])


def area() -> float:
    """The AUC of the logit at the last token."""
    with torch.inference_mode():
        return auc(model(tokens)[:, -1, 0].double().numpy(), has_af)


whole = area()
n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
without = np.empty((n_layers, n_heads))
for layer in range(n_layers):
    for head in range(n_heads):
        with hl.ablated(model, heads=[(layer, head)]):
            without[layer, head] = area()
print(f"with all heads: {whole:.3f}; without one of them: {without.min():.3f} to {without.max():.3f}")

# %%
# The change of the AUC, head by head. Whether a change is more than chance is what :doc:`/analyses/ablation` asks.

with figures.style():
    page = figures.page(figures.COLUMN_MM, 60)
    axes = page.subplots()
    image = figures.signed_map(axes, without - whole, np.zeros_like(without, bool))
    axes.set(xlabel="head", ylabel="layer")
    page.colorbar(image, ax=axes, label="change of the AUC")
