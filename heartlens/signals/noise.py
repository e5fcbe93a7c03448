"""Windows with noise added: white and Gaussian, at a stated ratio of the window's variance to the noise's, tokenised anew."""

from dataclasses import replace

import numpy as np

from heartlens.axes import LEVELS
from heartlens.signals.tokens import tokenise
from heartlens.windows import Windows


def noisy(windows: Windows, snr_db: float, seed: int = 0) -> Windows:
    """The windows with noise at `snr_db`, drawn from `seed` and each window's identity; landmarks stay, low and high are the noisy ones."""
    signal = windows.tokens / LEVELS
    sd = signal.std(axis=1, keepdims=True) * 10 ** (-snr_db / 20)
    noise = [np.random.default_rng([seed, int(identity, 16)]).standard_normal(signal.shape[1]) for identity in windows.identity]
    changed = signal + sd * np.array(noise)
    low, span = windows.low, windows.high - windows.low
    tokens = np.array([tokenise(row) for row in changed]).astype(np.uint8)
    note = f"white noise added at {snr_db:g} dB"
    bounds = {"low": low + span * changed.min(axis=1), "high": low + span * changed.max(axis=1)}
    return replace(windows, tokens=tokens, **bounds, notes=(*windows.notes, note))
