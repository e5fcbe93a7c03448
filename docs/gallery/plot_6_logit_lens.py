"""
TransformerLens tools on these models
=====================================

The logit lens with TransformerLens' own :code:`accumulated_resid`: how well each level predicts the next token. Which other tools work is
:doc:`a table </transformerlens_tools>`.
"""

import torch

import heartlens as hl
from heartlens import figures

model = hl.load("ecg-sim")
windows = hl.simulated("ecg", n_records=6, windows_per_record=1)
tokens = torch.from_numpy(windows.tokens.astype("int64"))
with torch.inference_mode():
    logits, cache = model.run_with_cache(tokens)
    levels, labels = cache.accumulated_resid(layer=-1, incl_mid=True, apply_ln=True, return_labels=True)
    lens = levels @ model.W_U + model.b_U
    truth = tokens[:, 1:].expand(len(lens), -1, -1)
    nats = -lens[:, :, :-1].log_softmax(-1).gather(-1, truth[..., None])[..., 0]
    loss = nats.mean((1, 2)).numpy()
    assert abs(loss[-1] - float(model(tokens, return_type="loss"))) < 1e-4  # the last level is the model's output

for label, nats_of_level in zip(labels, loss, strict=True):
    print(f"{label:12} {nats_of_level:.2f} nats a token")

with figures.style():
    page = figures.page(figures.COLUMN_MM, 55)
    axes = page.subplots()
    axes.plot(loss, marker="o", markersize=3)
    axes.set_xticks(range(len(labels)), labels, rotation=60)
    axes.set(ylabel="nats a token", xlabel="level")
