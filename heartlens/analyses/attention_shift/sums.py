"""What an attention shift sums over the windows of a chunk: the change of each head's row, by wave, lag, irregularity and feature."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT
from heartlens.measures import attention as measures
from heartlens.measures.irregularity import above_median, irregularity, whole, without_p
from heartlens.measures.shift import contrast_weights, lag_masks
from heartlens.windows import Windows

EDGES = (0.0, 0.05, 0.1, 0.2, 0.4)  # of the irregularity's bins; the last has no end
FEATURES = {"ecg": ("irregular", "no_p"), "ppg": ("irregular",)}
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Keys:
    """What is known of the keys of some windows: the mean even row, weights of the contrasts, and which lie in which wave, bin, lag."""

    even: Float[np.ndarray, "window key"]
    waves: Float[np.ndarray, "window rotation wave key"]
    weights: Float[np.ndarray, "window feature shuffle key"]
    lags: Float[np.ndarray, "window lag key"]
    bins: Float[np.ndarray, "window irregularity key"]
    irregularity: Float[np.ndarray, "window cycle"]


def keys_of(
    windows: Windows, asks: Float[np.ndarray, "window query"], interval: str, least: float, n_rotations: int, n_shuffles: int, n_lags: int
) -> Keys:
    """What is known of the keys, from the labels alone."""
    n_rows = asks.shape[1]
    even = (asks / np.arange(CONTEXT - n_rows + 1, CONTEXT + 1)) @ np.tri(CONTEXT)[-n_rows:]
    labels = measures.labels(windows, n_rotations=n_rotations, n_phases=1)
    of_cycles, cycle = irregularity(windows, interval), windows.cycle.astype(int)
    state_of = {"irregular": lambda: above_median(of_cycles, least), "no_p": lambda: without_p(windows)}
    states = [whole(state_of[name](), windows) for name in FEATURES[windows.kind]]
    weights = [contrast_weights(state, cycle, even, windows.identity, n_shuffles) for state in states]
    of_each_key = of_keys(of_cycles, cycle)
    bins = np.where(np.isnan(of_each_key), -1, np.digitize(of_each_key, EDGES) - 1)
    masks = (bins[:, None] == np.arange(len(EDGES))[:, None]).astype(float)
    return Keys(even, labels.rotated.astype(float), np.stack(weights, axis=1), lag_masks(cycle, n_lags), masks, of_cycles)


def of_keys(values: Float[np.ndarray, "window cycle"], cycle: np.ndarray) -> Float[np.ndarray, "window key"]:
    """Each key's value, that of its cycle; NaN where it has none."""
    return np.where(cycle >= 0, np.take_along_axis(values, np.maximum(cycle, 0).astype(int), axis=1), np.nan)


def asked(windows: Windows, row: str) -> Float[np.ndarray, "window query"]:
    """What each asking token (the last, or all) counts in its window's mean row; 0 throughout where no cycle is known."""
    is_asking = ~np.isnan(windows.position)
    if row == "last":  # its own cycle may be unknown, as at the end of a recording; the cycles of its keys matter
        is_asking = is_asking.any(axis=1, keepdims=True)
    return is_asking / np.maximum(is_asking.sum(axis=1, keepdims=True), 1)


def mean_row(
    pattern: Float[np.ndarray, "_ head query key"], asks: Float[np.ndarray, "window query"]
) -> Float[np.ndarray, "window head key"]:
    """The mean over the asking tokens of what each gives to every key."""
    return np.matmul(asks[:, None, None], pattern)[:, :, 0]


def of_layer(change: np.ndarray, moved: np.ndarray, before: np.ndarray, asks: np.ndarray, keys: Keys) -> Arrays:
    """One layer's sums by window: where the change of the mean row (`moved`) falls; `before` is the base's row."""
    return {
        "base_share": np.einsum("bhk,bwk->bwh", before, keys.waves[:, 0]),
        "shift": np.einsum("bhk,brwk->bwrh", moved, keys.waves, optimize=True),
        "gained": np.einsum("bhq,bq->bh", np.maximum(change, 0).sum(axis=-1, dtype=np.float64), asks),
        "lost": np.einsum("bhq,bq->bh", np.maximum(-change, 0).sum(axis=-1, dtype=np.float64), asks),
        "sink_shift": moved[:, :, 0],
        "shift_by_irregularity": np.einsum("bhk,bik->bih", moved, keys.bins),
        "shift_by_lag": np.einsum("bhk,blk->blh", moved, keys.lags),
        "contrast": np.einsum("bhk,bfsk->bfsh", moved, keys.weights, optimize=True),
    }


def of_windows(keys: Keys, asks: np.ndarray) -> Arrays:
    """The sums that need no attention, by window."""
    return {
        "even_share": np.einsum("bk,bwk->bw", keys.even, keys.waves[:, 0]),
        "even_by_irregularity": np.einsum("bk,bik->bi", keys.even, keys.bins),
        "n_tokens": keys.bins.sum(axis=-1),
        "even_by_lag": np.einsum("bk,blk->bl", keys.even, keys.lags),
        "even_contrast": np.einsum("bk,bfsk,blk->bfsl", keys.even, keys.weights, keys.lags, optimize=True),
        "n_contrast": keys.weights[:, :, 0].any(axis=-1).astype(float),
        "total_irregularity": np.nansum(keys.irregularity, axis=1),
        "n_cycles": (~np.isnan(keys.irregularity)).sum(axis=1).astype(float),
        "n_rows": asks.any(axis=1).astype(float),
        "n_windows": np.ones(len(asks)),
    }
