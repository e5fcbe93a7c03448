"""The published tokeniser and its inverse: the last 500 samples, min-max scaled to 0..1, times 100, rounded half to even.

Computed in the input's own dtype, as the original does with numpy (integers divide in float64), so that ties fall the same way.
"""

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from heartlens.axes import CONTEXT, LEVELS
from heartlens.refusal import Refusal

Tokens = UInt8[np.ndarray, " time"]


def tokenise(samples: Shaped[np.ndarray, "..."]) -> Tokens:
    """Tokens 0..LEVELS of the last CONTEXT samples of one signal (a vector, a column or a row).

    Refuses more than one signal, fewer samples than a window, samples that are not finite, and a flat window.

    >>> tokenise(np.arange(500.0))[[0, 1, 5, 499]]
    array([  0,   0,   1, 100], dtype=uint8)
    """
    window = _last_window(samples)
    if np.ptp(window) == 0:
        raise Refusal(f"the window is flat (every sample is {window[0]:g}); a window must hold at least two different values")
    return tokenised(window[None])[0]


def tokenised(windows: Shaped[np.ndarray, "window time"]) -> UInt8[np.ndarray, "window time"]:
    """The tokens of finite windows, none of them flat, as `tokenise` makes them of each."""
    low, high = windows.min(axis=1, keepdims=True), windows.max(axis=1, keepdims=True)
    return np.round((windows - low) / (high - low) * LEVELS).astype(np.uint8)


def amplitude(tokens: Shaped[np.ndarray, "*batch time"], low: object, high: object) -> Float[np.ndarray, "*batch time"]:
    """The amplitude at the middle of each token's bin, from the window's smallest and largest sample; the inverse of `tokenise`.

    >>> amplitude(np.array([0, 50, 100]), low=-1.0, high=1.0)
    array([-1.,  0.,  1.])
    """
    low, high = np.asarray(low, float)[..., None], np.asarray(high, float)[..., None]
    return np.asarray(low + np.asarray(tokens, float) / LEVELS * (high - low)).reshape(np.shape(tokens))


def _last_window(samples: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, " time"]:
    if samples.size != max(samples.shape, default=0):
        raise Refusal(f"expected one signal, got an array of shape {samples.shape}; give one column or one row")
    if samples.size < CONTEXT:
        raise Refusal(f"the signal has {samples.size} samples at the model's rate; a window needs {CONTEXT}")
    window = samples.reshape(-1)[-CONTEXT:]
    if not np.isfinite(window).all():
        raise Refusal(f"{int((~np.isfinite(window)).sum())} of the window's {CONTEXT} samples are missing or infinite")
    return window
