"""How much attention falls on chosen pairs of tokens: for analyses that need no more than a rule for which pairs count."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from heartlens.windows import Windows


def attended(
    model: Any, windows: Windows, is_pair: Bool[np.ndarray, "window query key"]
) -> tuple[Float[np.ndarray, "window layer head"], Float[np.ndarray, " window"]]:
    """The attention of all heads on the chosen pairs, summed over each window, and the same of attention spread evenly over earlier tokens.

    Pairs whose key lies after their query do not count: the model is causal.
    """
    from heartlens.engine import Asked
    from heartlens.models.subject import subject_of

    subject, is_pair = subject_of(model), np.tril(is_pair)
    nobody = np.full(windows.tokens.shape, -1, np.int32)
    asked = Asked(nobody, np.empty(0, np.int32), bins=is_pair.astype(np.int16) - 1, n_bins=1)
    layers = [layer.binned[:, :, 0].copy() for layer in subject.engine.sums(subject.tokens(windows.tokens), asked)]
    n_keys = 1 + np.arange(is_pair.shape[1])
    return np.stack(layers, axis=1), (is_pair.sum(axis=2) / n_keys).sum(axis=1)


def lift_on(model: Any, windows: Windows, wave: str, n_left_out: int = 0) -> Float[np.ndarray, "window layer head"]:
    """The attention of all heads on a wave over its even share, as head_scan counts it for all asking tokens; NaN where there is none.

    `n_left_out`: so many first tokens (the sink) neither ask nor are attended to. Refuses a wave that the windows do not know.
    """
    from heartlens.engine import Asked
    from heartlens.models.subject import subject_of

    subject, n_time = subject_of(model), windows.tokens.shape[1]
    is_key = windows.inside(wave)
    is_key[:, :n_left_out] = False
    asks = ~np.isnan(windows.position)
    asks[:, :n_left_out] = False
    is_pair = np.tril(asks[:, :, None] & is_key[:, None, :])
    nobody = np.full(windows.tokens.shape, -1, np.int32)
    asked = Asked(nobody, np.empty(0, np.int32), n_left_out=n_left_out, bins=is_pair.astype(np.int16) - 1, n_bins=1, entropy=False)
    on_wave = np.stack([layer.binned[:, :, 0].copy() for layer in subject.engine.sums(subject.tokens(windows.tokens), asked)], axis=1)
    even = (is_pair.sum(axis=2) / np.maximum(1 + np.arange(n_time) - n_left_out, 1)).sum(axis=1)[:, None, None]
    return np.asarray(np.divide(on_wave, even, out=np.full(on_wave.shape, np.nan), where=even > 0))
