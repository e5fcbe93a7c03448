"""Does an edited signal look like a recording? How straight it is and how much power it has at high frequencies, where it was edited.

A piece is PIECE tokens in a row. *Straightness* is the mean, over a window's pieces, of the standard deviation about each piece's own
line (small: straight); *high-frequency power* is the mean square of second differences, a high-pass filter whose gain is
(2 sin(pi f / rate))^4. Arrays in, arrays out; `edit_aucs` compares windows with edited ones.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from heartlens.measures.detection import auc

PIECE = 10  # tokens

Tokens = UInt8[np.ndarray, "window time"]
Inside = Bool[np.ndarray, "window time"]
ByWindow = Float[np.ndarray, " _"]


def straightness(tokens: Tokens, inside: Inside) -> ByWindow:
    """The mean deviation, in tokens, of a window's pieces that lie `inside` from their lines; NaN in windows without such a piece."""
    pieces = np.lib.stride_tricks.sliding_window_view(tokens.astype(float), PIECE, axis=1)
    whole = np.all(np.lib.stride_tricks.sliding_window_view(inside, PIECE, axis=1), axis=2)
    time = np.arange(PIECE) - (PIECE - 1) / 2
    centred = pieces - pieces.mean(axis=2, keepdims=True)
    slope = centred @ time / (time @ time)
    deviation = (centred - slope[..., None] * time).std(axis=2)
    n_pieces = whole.sum(axis=1)
    return np.divide(np.where(whole, deviation, 0.0).sum(axis=1), n_pieces, out=np.full(len(tokens), np.nan), where=n_pieces > 0)


def high_frequency_power(tokens: Tokens, inside: Inside) -> ByWindow:
    """The mean square of the second differences of each window's tokens `inside`; NaN in windows without three such tokens in a row."""
    whole = inside[:, :-2] & inside[:, 1:-1] & inside[:, 2:]
    square, n_known = np.where(whole, np.diff(tokens.astype(float), n=2, axis=1) ** 2, 0.0).sum(axis=1), whole.sum(axis=1)
    return np.divide(square, n_known, out=np.full(len(tokens), np.nan), where=n_known > 0)


def edit_aucs(genuine: Tokens, genuine_inside: Inside, edited: Tokens, edited_inside: Inside) -> dict[str, float]:
    """How well each statistic of one window tells edited from genuine windows: 0.5 not at all, 1 always (whichever side is larger).

    `inside`: the tokens that are compared, such as those that an edit filled with those of genuine baseline. Windows without a piece
    inside are left out; NaN where one side then has none.
    """
    aucs = {}
    for name, statistic in STATISTICS.items():
        left, right = statistic(genuine, genuine_inside), statistic(edited, edited_inside)
        aucs[name] = _auc(left[~np.isnan(left)], right[~np.isnan(right)])
    return aucs


STATISTICS = {"straightness": straightness, "high-frequency power": high_frequency_power}


def _auc(genuine: ByWindow, edited: ByWindow) -> float:
    area = auc(np.concatenate([genuine, edited]), np.arange(len(genuine) + len(edited)) >= len(genuine))
    return max(area, 1 - area)
