"""
The same recording without its P waves
======================================

An edit of the signal, a sham that changes about as much elsewhere, and what both do to the logit of an AF detector.
"""

import numpy as np
import torch

import heartlens as hl
from heartlens import figures
from heartlens.signals.counterfactuals import has_wave, with_flat_baseline, without_p

model = hl.load("ecg-sim-af")
windows = hl.simulated("ecg", n_records=10, windows_per_record=1, seed=3)
windows = windows[has_wave(windows, "P")]
versions = {"as it is": windows, "without P waves": without_p(windows), "baseline flattened (sham)": with_flat_baseline(windows)}
with torch.inference_mode():
    for name, version in versions.items():
        logit = model(torch.from_numpy(version.tokens.astype("int64")))[:, -1, 0].numpy()
        print(f"{name:28} mean logit {logit.mean():+.2f}, from {logit.min():+.2f} to {logit.max():+.2f}")

# %%
# The first window, in all three versions:

time_s = np.arange(500) / windows.rate_hz
with figures.style():
    page = figures.page(figures.PAGE_MM, 90)
    panels = page.subplots(3, 1, sharex=True)
    for axes, (name, version) in zip(panels, versions.items(), strict=True):
        figures.trace(axes, time_s, version.tokens[0])
        axes.set(title=name)
    panels[-1].set(xlabel="time (s)")
