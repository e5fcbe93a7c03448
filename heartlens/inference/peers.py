"""Does a part stand out from the parts of its size? Its effect against what the others of its size show, their spread included.

Parts (heads) that add more to the stream tend to do more when they are taken away, so a part is compared with a line: the effects of the
other parts, by least squares on the logarithm of their size, with a spread between parts that grows as a power of the size, the likeliest
of POWERS. The excess over the line is divided by the standard error of a new part's effect: the spread, the part's own uncertainty over
units and that of the line (the studentised deleted residual of a meta-regression; Viechtbauer & Cheung 2010). Several parts that stand out
would hide each other, so the most deviant are set aside one by one, at most a quarter of all, as far down as one still exceeds its limit
(generalised extreme studentised deviate, Rosner 1983); the others are the peers. Limits are corrected over all parts (Bonferroni), so that
of parts whose effects differ at random, normally, some part stands out in at most 5 % of studies; of heavier tails the farthest are told
apart more often (docs/calibration.md).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from heartlens.inference.nulls import ALPHA

POWERS = (0.0, 0.5, 1.0, 1.5, 2.0)
MOST_SET_ASIDE = 0.25  # of the parts
LEAST_OTHERS = 3  # parts, to draw a line and have a spread
LEAST_SIZE = 0.01  # of the largest: smaller parts count as of this size

ByPart = Float[np.ndarray, "part *statistic"]
Effects = Float[np.ndarray, " part"]


@dataclass(frozen=True)
class Excess:
    """What peers of its size let expect of each part, the interval of its effect less that, and the studentised excess.

    The intervals are simultaneous: in at most 5 % of studies does any leave out 0 although no part stands out. NaN where a part's effect
    or error is unknown, or fewer than LEAST_OTHERS others are known.
    """

    expected: ByPart
    low: ByPart
    high: ByPart
    studentised: ByPart


def excess_over_peers(effect: ByPart, error: ByPart, size: Float[np.ndarray, " part"]) -> Excess:
    """How far each part's effect, with its standard error over units, lies from what other parts of its size show."""
    log_size = np.log(np.maximum(size, LEAST_SIZE * size.max())) if size.max() > 0 else np.zeros(len(size))
    flat_effect, flat_error = (np.reshape(values, (len(size), -1)) for values in (effect, error))
    columns = np.full((4, *flat_effect.shape), np.nan)
    for column in range(flat_effect.shape[1]):
        is_known = np.isfinite(flat_effect[:, column]) & np.isfinite(flat_error[:, column])
        if is_known.sum() > LEAST_OTHERS:
            columns[:, is_known, column] = _excess(flat_effect[is_known, column], flat_error[is_known, column], log_size[is_known])
    return Excess(*columns.reshape(4, *effect.shape))


def _excess(effect: Effects, error: Effects, log_size: Effects) -> tuple[Effects, Effects, Effects, Effects]:
    """Expected effect, interval of the excess, and studentised excess of parts all of which are known."""
    is_peer, peers = np.ones(len(effect), bool), np.ones(len(effect), bool)
    for _ in range(int(MOST_SET_ASIDE * len(effect))):
        _, deviation, limit = _against(effect, error, log_size, is_peer)
        deviation = np.where(is_peer, np.abs(deviation), -1.0)
        farthest = int(deviation.argmax())
        is_peer = is_peer & (np.arange(len(effect)) != farthest)
        if deviation[farthest] > limit[farthest]:
            peers = is_peer
    apart, deviation, limit = _against(effect, error, log_size, peers)
    with np.errstate(divide="ignore", invalid="ignore"):
        standard_error = np.where(np.isinf(deviation) | (apart == 0), 0.0, apart / deviation)
    return effect - apart, apart - limit * standard_error, apart + limit * standard_error, deviation


def _against(effect: Effects, error: Effects, log_size: Effects, is_peer: Bool[np.ndarray, " part"]) -> tuple[Effects, Effects, Effects]:
    """Of each part its excess over the line of the peers but itself, the same studentised, and the limit for that."""
    from scipy.stats import t

    weight = np.exp(-2 * _power(effect[is_peer], log_size[is_peer]) * log_size)
    others = (is_peer & ~np.eye(len(effect), dtype=bool)) * weight  # (part, one of its others): weights
    total, n_others = others.sum(axis=1), is_peer.sum() - is_peer
    mean_size, mean_effect = others @ log_size / total, others @ effect / total
    sizes, effects = log_size - mean_size[:, None], effect - mean_effect[:, None]
    spread_of_size = (others * sizes**2).sum(axis=1)
    has_slope = spread_of_size > 1e-12 * total
    spread_of_size = np.where(has_slope, spread_of_size, np.inf)  # without a slope nothing below depends on the size
    slope = (others * sizes * effects).sum(axis=1) / spread_of_size
    freedom = n_others - 1 - has_slope
    spread = (others * (effects - slope[:, None] * sizes) ** 2).sum(axis=1) / freedom  # squared, where the weight is 1
    own_size = log_size - mean_size
    apart = effect - mean_effect - slope * own_size
    of_line = 1 / total + own_size**2 / spread_of_size
    between = np.maximum(spread - (others @ error**2) / n_others, 0.0)  # without the others' own uncertainty
    variance = np.maximum(spread / weight, between / weight + error**2) + spread * of_line
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.where(apart == 0, 0.0, apart / np.sqrt(variance))
    return apart, deviation, t.ppf(1 - ALPHA / (2 * (n_others + 1)), freedom)


def _power(effect: Effects, log_size: Effects) -> float:
    """The likeliest power of the size with which the spread of the effects grows."""

    powers = np.array(POWERS)[:, None]
    weight = np.exp(-2 * powers * log_size)
    total = weight.sum(axis=1, keepdims=True)
    sizes, effects = (values - (weight * values).sum(axis=1, keepdims=True) / total for values in (log_size, effect))
    spread_of_size = (weight * sizes**2).sum(axis=1, keepdims=True)
    slope = (weight * sizes * effects).sum(axis=1, keepdims=True) / np.where(spread_of_size > 1e-12 * total, spread_of_size, np.inf)
    squares = (weight * (effects - slope * sizes) ** 2).sum(axis=1)
    log_likelihood = -len(effect) / 2 * np.log(np.maximum(squares, 1e-300)) - powers[:, 0] * log_size.sum()
    return POWERS[int(log_likelihood.argmax())]
