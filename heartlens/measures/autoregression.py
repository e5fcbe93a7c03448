"""Tokens predicted linearly from those before them, and how likely every next token then is.

The expected next token is least squares on the last `order` tokens and a constant; a window's first tokens, which have fewer before
them, have weights of their own (the largest of ORDERS that fits). The error around it is no Gaussian: its histogram is taken in
N_SCALES x N_SLOPES cells, by how far off one is likely to be (a second regression, of the log of the error's size on those of recent
errors and steps: ARCH, Engle 1982) and by which way and how steeply the signal is expected to go. Its bins widen with the error. A
cell's histogram is filled up with PRIOR errors drawn from all cells, as a small one must not be sure; P is renormalised over the tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

ORDERS = (1, 2, 4, 8, 16, 32, 64, 128)
RECENT = (1, 2, 4, 8, 16, 32)  # tokens over which the size of errors and steps is averaged
N_SCALES, N_SLOPES = 12, 5
PRIOR = 100.0
PER_TOKEN = 8  # places of the expected value within a token; also the finest bin of the error
WIDENING = 0.08  # each bin of the error is this much wider than the one before it, at the far end
SMALL = 0.3  # tokens: what rounding alone makes an error of
RIDGE = 1e-6

Tokens = UInt8[np.ndarray, "window time"]
Steps = Float[np.ndarray, "window step"]
Traits = Float32[np.ndarray, "trait window step"]
Sizes = Float32[np.ndarray, " trait"]


@dataclass(frozen=True)
class Autoregression:
    """A fitted forecast: linear weights by order, the weights of the error's size, the cells' edges, and P(token | cell, expected)."""

    weights: dict[int, Float[np.ndarray, " term"]]
    sizes: Sizes
    scale_edges: Float[np.ndarray, " scale_edge"]
    slope_edges: Float[np.ndarray, " slope_edge"]
    table: Float[np.ndarray, "cell place token"]

    def probability(self, tokens: Tokens) -> Steps:
        """The probability that was given to each token but the first of a window."""
        expected = _expected(tokens, self.weights)
        scale, slope = _scale_and_slope(tokens, expected, _traits(tokens, expected), self.sizes)
        n_places = self.table.shape[1]
        place = np.clip(np.rint(expected * PER_TOKEN), 0, n_places - 1).astype(int)
        return self.table[_cell(scale, slope, self.scale_edges, self.slope_edges), place, tokens[:, 1:]]


def fitted(tokens: Tokens, order: int, vocabulary: int) -> Autoregression:
    """The autoregression of at most `order` terms that fits `tokens` best."""
    weights = _weights(tokens, [each for each in ORDERS if each <= order and each < tokens.shape[1]])
    expected = _expected(tokens, weights)
    error = tokens[:, 1:] - expected
    traits = _traits(tokens, expected)
    by_trait, size = traits.reshape(len(traits), -1), np.log(SMALL + np.abs(error)).astype(np.float32).ravel()
    ridge = np.float32(RIDGE * len(size)) * np.eye(len(traits), dtype=np.float32)
    sizes = np.linalg.solve(by_trait @ by_trait.T + ridge, by_trait @ size)
    scale, slope = _scale_and_slope(tokens, expected, traits, sizes)
    scale_edges, slope_edges = (np.quantile(trait, np.arange(1, n) / n) for trait, n in ((scale, N_SCALES), (slope, N_SLOPES)))
    table = _table(error, _cell(scale, slope, scale_edges, slope_edges), vocabulary)
    return Autoregression(weights, sizes, scale_edges, slope_edges, table)


def _weights(tokens: Tokens, orders: list[int]) -> dict[int, Float[np.ndarray, " term"]]:
    """For each order the weights of the last token, the one before it ..., and of the constant."""
    most = orders[-1]
    products = np.zeros((most + 2, most + 2))  # of the next token, the `most` before it and one, with each other
    for part in np.array_split(tokens, 1 + len(tokens) // 64):
        window = np.lib.stride_tricks.sliding_window_view(part.astype(float), most + 1, axis=1).reshape(-1, most + 1)
        terms = np.concatenate([window[:, ::-1], np.ones((len(window), 1))], axis=1)
        products += terms.T @ terms
    weights = {}
    for order in orders:
        used = np.r_[1 : order + 1, most + 1]
        weights[order] = np.linalg.solve(products[np.ix_(used, used)] + RIDGE * products[-1, -1] * np.eye(order + 1), products[used, 0])
    return weights


def _expected(tokens: Tokens, weights: dict[int, Float[np.ndarray, " term"]]) -> Steps:
    """What is expected of each token but the first, in tokens."""
    before = tokens[:, :-1].astype(float)
    expected = np.empty(before.shape)
    for order, weight in weights.items():
        if order <= before.shape[1]:
            runs = np.lib.stride_tricks.sliding_window_view(before, order, axis=1)
            expected[:, order - 1 :] = np.einsum("wso,o->ws", runs, weight[-2::-1]) + weight[-1]
    return expected


def _traits(tokens: Tokens, expected: Steps) -> Traits:
    """What the size of the next error follows: one, logs of the mean size of recent errors and steps, and of the expected step."""
    before = tokens[:, :-1].astype(np.float32)
    error = np.abs(before - np.pad(expected[:, :-1], ((0, 0), (1, 0))))
    error[:, 0] = 0  # nothing was expected of the first token
    step = np.abs(np.diff(before, axis=1, prepend=before[:, :1]))
    sizes = [_recent_mean(size, n) for size in (error, step) for n in RECENT]
    logs = [np.log(SMALL + size.astype(np.float32)) for size in (*sizes, np.abs(expected - before))]
    return np.stack([np.ones_like(before), *logs])


def _recent_mean(size: Float[np.ndarray, "window step"], n: int) -> Steps:
    """The mean of the last `n` values, of as many as there are at first."""
    total = np.cumsum(size, axis=1, dtype=float)
    total[:, n:] -= total[:, :-n].copy()
    return np.maximum(total, 0) / np.minimum(np.arange(1, size.shape[1] + 1), n)


def _scale_and_slope(tokens: Tokens, expected: Steps, traits: Traits, sizes: Sizes) -> tuple[Steps, Steps]:
    """How large the log of each error is expected to be, and the expected step in units of it."""
    scale = np.tensordot(sizes, traits, 1).astype(float)
    return scale, (expected - tokens[:, :-1]) / np.exp(scale)


def _cell(scale: Steps, slope: Steps, scale_edges: np.ndarray, slope_edges: np.ndarray) -> Int[np.ndarray, "window step"]:
    return np.searchsorted(scale_edges, scale) * N_SLOPES + np.searchsorted(slope_edges, slope)


def _table(error: Steps, cell: Int[np.ndarray, "window step"], vocabulary: int) -> Float[np.ndarray, "cell place token"]:
    """P(token | cell, place of the expected value): the density of the error at their distance, to sum to 1 over the tokens."""
    edges = _error_edges(vocabulary)
    width, n_cells = np.diff(edges), N_SCALES * N_SLOPES
    bins = np.clip(np.searchsorted(edges, error, side="right") - 1, 0, len(width) - 1)
    count = np.bincount((cell * len(width) + bins).ravel(), minlength=n_cells * len(width)).reshape(n_cells, -1)
    overall = count.sum(axis=0) + width / width.mean() / 4  # no error has probability 0
    chance = count + PRIOR * overall / overall.sum()
    token, place = np.arange(vocabulary), np.arange((vocabulary - 1) * PER_TOKEN + 1)
    table = (chance / width)[:, np.searchsorted(edges, token - place[:, None] / PER_TOKEN, side="right") - 1]
    return table / table.sum(axis=-1, keepdims=True)


def _error_edges(vocabulary: int) -> Float[np.ndarray, " edge"]:
    """Edges of bins 1 / PER_TOKEN wide around 0, wider further out, over all errors there can be."""
    finest = 1 / PER_TOKEN / WIDENING
    n = int(np.ceil(np.arcsinh(vocabulary / finest) / WIDENING))
    return finest * np.sinh(WIDENING * (np.arange(-n - 1, n + 1) + 0.5))
