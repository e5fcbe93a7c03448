"""
What one token looks at
=======================

The attention of the last token of a window, mean over the heads of each layer, drawn on the signal. One window is an illustration: for a
claim over people use an analysis.
"""

import numpy as np
import torch

import heartlens as hl
from heartlens import figures
from heartlens.models import hooks

model = hl.load("ecg-sim")
windows = hl.simulated("ecg", n_records=1, windows_per_record=1)
tokens = torch.from_numpy(windows.tokens.astype("int64"))
_, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))

time_s = np.arange(500) / windows.rate_hz
with figures.style():
    page = figures.page(figures.PAGE_MM, 110)
    panels = page.subplots(model.cfg.n_layers, 1, sharex=True)
    for layer, axes in enumerate(panels):
        row = cache[hooks.pattern(layer)][0, :, -1].mean(0).numpy()  # mean over heads, of the last token's row
        right = figures.attended_signal(axes, time_s, windows.tokens[0], row * len(row))  # 1: what even attention gives
        right.set_ylabel("lift")
        axes.set(ylabel=f"layer {layer + 1}")
    panels[-1].set(xlabel="time (s)")
