"""
How a signal goes on, with and without a layer
==============================================

Continuations of one window by the published loop, and by a model without the attention and the MLP of one layer, with the same random
numbers.
"""

import numpy as np

import heartlens as hl
from heartlens import figures
from heartlens.engine.generation import generated

model = hl.load("ecg-sim")
windows = hl.simulated("ecg", n_records=1, windows_per_record=1, seed=2)
context = windows.tokens[:, :300]
whole = generated(model, context, 200, seed=1, n_samples=5)[0]
with hl.ablated(model, layers=[1]):
    without = generated(model, context, 200, seed=1, n_samples=5)[0]

with figures.style():
    page = figures.page(figures.PAGE_MM, 80)
    panels = page.subplots(2, 1, sharex=True)
    for axes, new, title in zip(panels, (whole, without), ("all layers", "without layer 2"), strict=True):
        axes.plot(np.arange(300) / 100, context[0], color="black", linewidth=0.8)
        axes.plot(np.arange(300, 500) / 100, new.T, color=figures.PALETTE[0], linewidth=0.5, alpha=0.6)
        axes.set(title=title, ylabel="token", ylim=(-5, 104))
    panels[-1].set(xlabel="time (s)")
