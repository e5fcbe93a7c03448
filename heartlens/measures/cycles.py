"""How many cycles back attention reaches, and to which place in them: sums of attention by distance in cycles. Arrays in, arrays out.

The distance of a key is `position(query) - position(key)`: 1.0 is the same phase one cycle earlier, whatever the heart rate. Distances are
counted in bins of 1 / N_PER_CYCLE of a cycle around each multiple of it; `lag = round(distance)`, so that phase differences reach from -1/2
to 1/2. Everything is linear in the pattern, so the same code run on the even pattern gives the *even share*.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from heartlens.windows import Windows

N_PER_CYCLE = 25  # odd, so that a lag's bins lie evenly to both sides of it
NOT_COUNTED = -1
Pattern = Float[np.ndarray, "#window head query key"]
OneHead = Float[np.ndarray, "#window 1 query key"]
Distances = Int[np.ndarray, "window query key"]
ByBin = Float[np.ndarray, "... distance"]


def n_bins(n_lags: int) -> int:
    """The number of bins from distance 0 to half a cycle beyond lag `n_lags - 1`."""
    return (n_lags - 1) * N_PER_CYCLE + N_PER_CYCLE // 2 + 1


def distances(position: Float[np.ndarray, "window time"], n_lags: int, n_sink: int) -> Distances:
    """Each earlier key's bin; NOT_COUNTED for later keys, the first `n_sink` keys, unknown positions and keys that are too far back."""
    n_time = position.shape[1]
    cycles = position[:, :, None] - position[:, None, :]
    counted = ~np.isnan(cycles) & np.tri(n_time, dtype=bool) & (np.arange(n_time) >= n_sink)
    bins = np.where(counted, np.floor(np.nan_to_num(cycles) * N_PER_CYCLE + 0.5), NOT_COUNTED).astype(np.int64)
    return np.where(bins < n_bins(n_lags), bins, NOT_COUNTED)


def even_by_distance(bins: Distances, n_lags: int, n_sink: int) -> Float[np.ndarray, "window distance"]:
    """Even attention at each distance, summed over the queries: each token's spread evenly over the keys causality allows but the sink."""
    length, n_keys = n_bins(n_lags), np.maximum(np.arange(bins.shape[1]) + 1 - n_sink, 1)
    sums = np.zeros((len(bins), length))
    for of_window, window_bins in zip(sums, bins, strict=True):
        query, key = np.nonzero(window_bins >= 0)
        of_window += np.bincount(window_bins[query, key], weights=1 / n_keys[query], minlength=length)
    return sums


def coordinates(windows: Windows) -> Float[np.ndarray, "window 2 key"]:
    """What a row's weighted mean is asked of: whether a key's position is known, and its position from the window's first on."""
    is_known = ~np.isnan(windows.position)
    return np.stack([is_known, np.nan_to_num(_from_first(windows))], axis=1).astype(np.float32)


def looked_back(
    reached: Float[np.ndarray, "window head query 2"], windows: Windows, asked: Bool[np.ndarray, "window query"]
) -> tuple[Float[np.ndarray, "window head"], Float[np.ndarray, "window head"]]:
    """The attention times its distance in cycles, and the attention, both summed over asking tokens and keys of known position.

    `reached` is what each row gives to the two `coordinates`.
    """
    weight, moment = np.moveaxis(reached.astype(np.float64), -1, 0)
    position = np.nan_to_num(_from_first(windows))
    bottom = np.einsum("bhq,bq->bh", weight, asked.astype(float))
    return np.einsum("bhq,bq->bh", weight, asked * position) - np.einsum("bhq,bq->bh", moment, asked.astype(float)), bottom


def _from_first(windows: Windows) -> Float[np.ndarray, "window time"]:
    """Positions within the window: those of a long recording are too large for float32."""
    return windows.position - np.fmin.reduce(windows.position, axis=1, keepdims=True)


def by_lag(by_bin: ByBin) -> Float[np.ndarray, "... lag"]:
    """The sum over each lag's bins: half a cycle to either side of it, lag 0 half a cycle back."""
    half = N_PER_CYCLE // 2
    padded = np.concatenate([np.zeros((*by_bin.shape[:-1], half)), by_bin], axis=-1)
    return padded.reshape(*by_bin.shape[:-1], -1, N_PER_CYCLE).sum(axis=-1)


def by_phase_difference(by_bin: ByBin) -> Float[np.ndarray, "... phase"]:
    """The sum over all lags but 0, by phase difference (bin 1: the key lies 1 / N_PER_CYCLE of a cycle earlier in its own cycle)."""
    half = N_PER_CYCLE // 2
    earlier = by_bin[..., half + 1 :]
    folded = earlier.reshape(*by_bin.shape[:-1], -1, N_PER_CYCLE).sum(axis=-2)
    return np.roll(folded, -half, axis=-1)


def same_phase(differences: Float[np.ndarray, "... phase"], half_width: int) -> Float[np.ndarray, "rotation ..."]:
    """The sum within `half_width` bins of each phase difference; rotation 0 is the same phase, rotation r a difference of r bins."""
    window = np.zeros(differences.shape[-1])
    window[np.arange(-half_width, half_width + 1)] = 1
    return np.stack([differences @ np.roll(window, turn) for turn in range(len(window))])


def rolled_out(pattern: Pattern, before: OneHead | None) -> OneHead:
    """Attention rollout up to this layer, as one head: half the mean over heads, half the token itself, times what came before.

    Abnar & Zuidema 2020, "Quantifying attention flow in transformers".
    """
    of_layer = (pattern.mean(axis=1, keepdims=True) + np.eye(pattern.shape[-1], dtype=pattern.dtype)) / 2
    return of_layer if before is None else of_layer @ before
