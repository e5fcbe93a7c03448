"""Noise of a stated strength on the tokens of one's choice."""

import numpy as np
from jaxtyping import Bool

from heartlens.axes import LEVELS
from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals.kept import refuse_unable
from heartlens.signals.counterfactuals.scale import Strength, edited, of_each, strength_note
from heartlens.windows import Windows


def with_noise(
    windows: Windows,
    snr_db: float = 10.0,
    at: Bool[np.ndarray, "window time"] | None = None,
    seed: int = 0,
    strength: Strength = 1.0,
    *,
    rescale: bool = True,
) -> Windows:
    """The windows with white Gaussian noise on the tokens `at` (None: all), drawn from `seed` and each window's identity.

    `snr_db`: the window's variance over the noise's squares summed over `at`, by the length of the whole window; so the same noise falls
    on few tokens as on many. `strength`: what the noise is multiplied by, 0 to 10. Without `rescale`, what would leave 0 to LEVELS is
    folded back. Refuses windows that have no token in `at`.
    """
    if not np.isfinite(snr_db):
        raise Refusal(f"snr-db is {snr_db}; legal: any number of decibels")
    support = np.ones(windows.tokens.shape, bool) if at is None else at
    refuse_unable(windows, np.asarray(support.any(axis=1)), "no token to add noise to")
    sd = windows.tokens.std(axis=1) * 10 ** (-snr_db / 20) / np.sqrt(support.mean(axis=1)) * of_each(strength, windows, 10.0)
    drawn = [np.random.default_rng([seed, int(identity, 16)]).standard_normal(support.shape[1]) for identity in windows.identity]
    noisy = windows.tokens + sd[:, None] * np.array(drawn)
    level = np.where(support, noisy if rescale else _folded(noisy), windows.tokens)
    where = "" if at is None else f" on {100 * support.mean():.0f} % of the tokens"
    return edited(windows, level, support, f"noise added at {snr_db:g} dB{where}{strength_note(strength)}", rescale=rescale)


def _folded(level: np.ndarray) -> np.ndarray:
    """Levels beyond either end reflected at it, as often as it takes."""
    return LEVELS - np.abs(LEVELS - np.mod(level, 2 * LEVELS))
