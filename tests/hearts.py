"""Signals to train on that cost nothing to make."""

import numpy as np


def heart(seed, seconds=15.0, rate_hz=100.0, sharpness=9):
    """A train of bumps: enough of a heart for a loss to fall, and with a sharpness of 101 for a reader to take it for an ECG."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.cos(2 * np.pi * rng.uniform(0.9, 1.4) * time_s) ** sharpness + rng.normal(0, 0.02, len(time_s))).astype(np.float32)
