"""What a change of attention falls on: contrasts between cycles, freed from how near they are, and their two-sided test. Arrays only.

A contrast is the change on the cycles that have a feature minus that on those that have not, each over its even share: `sum_yes change /
sum_yes even - sum_no change / sum_no even`, so 1 is one even share (1/500 for a last token). Its null: which cycles have the feature is
shuffled within each window. Recency is taken out before: what the other records' change at the same lags alone would give.
"""

import numpy as np
from jaxtyping import Float, Int

from heartlens.measures.resample import rotation_p_values

Even = Float[np.ndarray, "window key"]
ByRecord = Float[np.ndarray, "record ..."]


def contrast_weights(
    state: Int[np.ndarray, "window cycle"], cycle: Int[np.ndarray, "window key"], even: Even, identity: np.ndarray, n_shuffles: int
) -> Float[np.ndarray, "window shuffle key"]:
    """What each key's change counts in the contrast, for each shuffle of the states known in a window (shuffle 0: as they are).

    0 everywhere for a window that lacks cycles of one of the states. The shuffles depend on the window's identity alone.
    """
    rows = zip(state, cycle, even, identity, strict=True)
    return np.stack([_weights(_shuffled(states, name, n_shuffles), cycles, share) for states, cycles, share, name in rows])


def _shuffled(state: np.ndarray, identity: str, n_shuffles: int) -> np.ndarray:
    """The states of a window's cycles, (shuffle, cycle), those that are known in random order from the second row on."""
    rng, known_cycles = np.random.default_rng(int(str(identity), 16)), np.flatnonzero(state >= 0)
    drawn = np.tile(state, (n_shuffles, 1))
    drawn[1:, known_cycles] = rng.permuted(drawn[1:, known_cycles], axis=1)
    return drawn


def _weights(state: np.ndarray, cycle: np.ndarray, even: np.ndarray) -> np.ndarray:
    """(shuffle, key); all 0 where there are no cycles of one of the states."""
    of_key = np.where(cycle >= 0, state[:, cycle], -1)
    yes, no = of_key == 1, of_key == 0
    total_yes, total_no = (np.where(chosen, even, 0.0).sum(axis=1, keepdims=True) for chosen in (yes, no))
    both = (total_yes > 0) & (total_no > 0)
    return np.where(both, yes / np.where(both, total_yes, 1.0) - no / np.where(both, total_no, 1.0), 0.0)


def lag_masks(cycle: Int[np.ndarray, "window key"], n_lags: int) -> Float[np.ndarray, "window lag key"]:
    """Which keys lie how many cycles before the window's last one; the last lag holds all cycles farther off."""
    lag = np.where(cycle >= 0, np.minimum(cycle.max(axis=1, keepdims=True) - cycle, n_lags - 1), -1)
    return (lag[:, None] == np.arange(n_lags)[:, None]).astype(float)


def without_recency(
    contrast: Float[np.ndarray, "record shuffle feature head"],
    even_on_lag: Float[np.ndarray, "record shuffle feature lag"],
    by_lag: Float[np.ndarray, "record lag head"],
    even_by_lag: Float[np.ndarray, "record lag"],
) -> Float[np.ndarray, "record shuffle feature head"]:
    """Each record's contrast minus what the other records' mean change at each lag would give it; a lone record's as it is.

    A record's own lags are left out: with few windows they contain the contrast itself.
    """
    others, even_others = (each.sum(axis=0) - each for each in (by_lag, even_by_lag))
    seen = even_others > 1e-9 * even_by_lag.sum(axis=0)  # larger than the rounding error of the subtraction
    expected = np.divide(others, even_others[..., None], out=np.zeros_like(others), where=seen[..., None])
    return contrast - np.einsum("rsfl,rlh->rsfh", even_on_lag, expected)


def two_sided_p_values(top: ByRecord, bottom: ByRecord, *, seed: int, n_permutations: int) -> Float[np.ndarray, "..."]:
    """Twice the smaller one-sided p of `rotation_p_values` (axes: record, shuffle, ...), for means of either sign.

    `bottom` is 1 for a record that counts and 0 otherwise. A constant lifts every mean above 0, because that test's tolerance for ties is
    relative; where all changes are 0, p is 1.
    """
    bottom = np.broadcast_to(bottom, top.shape)
    lift = 2 * np.abs(top).max(axis=(0, 1)) * bottom
    high, low = (rotation_p_values(lift + sign * top, bottom, seed=seed, n_permutations=n_permutations) for sign in (1, -1))
    return np.minimum(1.0, 2 * np.minimum(high, low))
