"""How much a change alters a figure of merit, each record with and without the change: effect, 95 % interval over records, p-value.

`p` is two-sided: how often swapping the two versions within records, independently, moves the figure as much (Pitman 1937; the observed
arrangement counts once, Phipson & Smyth 2010). Intervals are BCa (Efron 1987) over records, resampled within strata (labels), so that no
resample lacks one. A figure is a function of how much each version of each record weighs, so that all draws are one matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from heartlens.measures.resample import over

ByRecord = Float[np.ndarray, "record *statistic"]
Ratio = Float[np.ndarray, "*statistic"]
Ratios = Float[np.ndarray, "2 record *statistic"]  # of what is divided, and of what divides it
TIE = 1e-6  # changes this small, relative to what is changed, are rounding

Pair = Float[np.ndarray, "2 record"]  # without the change, with it
Weights = Float[np.ndarray, "draw 2 record"]
DrawnValues = Float[np.ndarray, " draw"]
Merit = Callable[[Weights], DrawnValues]


@dataclass(frozen=True)
class Change:
    """A figure without and with the change, their difference and its interval (NaN without two records in each stratum) and p-value.

    `drawn` are the differences in the resamples, the same resamples for all changes of one `Draws`.
    """

    before: float
    after: float
    low: float
    high: float
    p_value: float
    drawn: Float[np.ndarray, " resample"]

    @property
    def effect(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Draws:
    """Which versions of records are swapped, and how much each record weighs in each resample; one of these for many changes."""

    swapped: Weights
    weights: Float[np.ndarray, "resample record"]
    strata: tuple[np.ndarray, ...]

    @property
    def n_records(self) -> int:
        return self.weights.shape[1]


def draws(stratum: Int[np.ndarray, " record"], *, seed: int, n_resamples: int = 2000, n_permutations: int = 9999) -> Draws:
    """Draws over the records, resampled within each stratum."""
    rng = np.random.default_rng(seed)
    swapped = (rng.random((n_permutations, len(stratum))) < 0.5).astype(float)
    strata = tuple(np.flatnonzero(stratum == one) for one in np.unique(stratum))
    weights = np.zeros((n_resamples, len(stratum)))
    for one in strata:
        weights[:, one] = rng.multinomial(len(one), np.full(len(one), 1 / len(one)), n_resamples)
    return Draws(np.stack([1 - swapped, swapped], axis=1), weights, strata)


def ratio(top: Pair, bottom: Pair) -> Merit:
    """The ratio of sums over records: sensitivity, F1, a mean."""
    return lambda weights: over(*(weights.reshape(len(weights), -1) @ side.ravel() for side in (top, bottom)))


def auc(score: Pair, positive: Bool[np.ndarray, " record"]) -> Merit:
    """How often a positive record scores higher than a negative one, ties half (Mann & Whitney 1947)."""
    high, low = score[:, positive].ravel(), score[:, ~positive].ravel()
    wins = (high[:, None] > low) + (high[:, None] == low) / 2

    def merit(weights: Weights) -> DrawnValues:
        of_high, of_low = (weights[..., which].reshape(len(weights), -1) for which in (positive, ~positive))
        return over(((of_high @ wins) * of_low).sum(axis=1), of_high.sum(axis=1) * of_low.sum(axis=1))

    return merit


def calibration_error(probability: Pair, positive: Bool[np.ndarray, " record"], n_bins: int = 10) -> Merit:
    """How far what came true lies from what was said, by bin of probability, in the mean over records (Naeini 2015)."""
    place = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    off = np.where(place[..., None] == np.arange(n_bins), (probability - positive)[..., None], 0.0)
    off = off.reshape(-1, n_bins)
    return lambda weights: over(np.abs(weights.reshape(len(weights), -1) @ off).sum(axis=1), weights.sum(axis=(1, 2)))


def change(merit: Merit, drawn: Draws) -> Change:
    """What the change does to a figure of merit over the records."""
    everyone = np.ones((1, drawn.n_records))
    before, after = (float(merit(_version(everyone, version))[0]) for version in (0, 1))
    moved = merit(drawn.swapped) - merit(drawn.swapped[:, ::-1])
    reached = int((np.abs(moved) >= abs(after - before) - TIE * max(abs(before), abs(after))).sum())
    is_tested = drawn.n_records > 1 and np.isfinite(after - before)
    p_value = (1 + reached) / (1 + len(moved)) if is_tested else np.nan
    resampled = _difference(merit, drawn.weights)
    return Change(before, after, *_interval(merit, drawn, resampled), p_value, resampled)


def settled(after: ByRecord, before: ByRecord) -> ByRecord:
    """What changed; 0 where it is less than TIE of what was there before, which is rounding and must decide no test."""
    changed = after - before
    return np.where(np.abs(changed) > TIE * np.abs(before), changed, 0.0)


def sign_flip_p_values(changed: ByRecord, *, seed: int, n_permutations: int = 9999) -> Ratio:
    """How often the sum over records is as large, either way, when each record's change has a random sign.

    NaN where fewer than two records have a say (their change is a number); where nothing changed p is 1.
    """
    known = np.isfinite(changed).reshape(len(changed), -1)
    flat = np.where(known, changed.reshape(known.shape), 0.0)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n_permutations, len(flat)))
    observed = np.abs(flat.sum(axis=0)) * (1 - TIE)
    reached = np.zeros(observed.shape)
    for part in np.array_split(signs, max(1, n_permutations // 500)):
        reached += (np.abs(part @ flat) >= observed).sum(axis=0)
    p_value = np.where(known.sum(axis=0) >= 2, (1 + reached) / (1 + n_permutations), np.nan)
    return np.asarray(p_value).reshape(changed.shape[1:])


def nearest(norm: Float[np.ndarray, " head"], n_matched: int) -> Int[np.ndarray, "head control"]:
    """For each head the `n_matched` others of the nearest norms, its controls; all others where there are fewer."""
    apart = np.abs(norm[:, None] - norm)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, : min(n_matched, len(norm) - 1)]


def ratio_of_effects(top: Ratios, bottom: Ratios, *, seed: int, n_resamples: int = 2000) -> tuple[Ratio, Ratio, Ratio]:
    """One ratio of sums over records over another, and its 95 % interval (percentiles of resampled records): (ratio, low, high).

    NaN where the interval of the lower one holds 0, since then any ratio is possible; no interval with fewer than two records.
    """
    n_records, shape = top.shape[1], top.shape[2:]
    top, bottom = (np.broadcast_to(each, (2, n_records, *shape)).reshape(2, n_records, -1) for each in (top, bottom))
    upper, lower = (over(a.sum(axis=0), b.sum(axis=0)) for a, b in zip(top, bottom, strict=True))
    weights = np.random.default_rng(seed).multinomial(n_records, np.full(n_records, 1 / n_records), n_resamples).astype(float)
    drawn = [over(weights @ a, weights @ b) for a, b in zip(top, bottom, strict=True)]
    sure = (n_records < 2) | ((_tails(drawn[1]) * np.sign(lower)).min(axis=0) > 0)
    value = np.where(sure, over(upper, lower), np.nan)
    low, high = np.where(sure & (n_records > 1), _tails(over(*drawn)), np.nan)
    return value.reshape(shape), low.reshape(shape), high.reshape(shape)


def _interval(merit: Merit, drawn: Draws, resampled: DrawnValues) -> tuple[float, float]:
    """The BCa interval of the difference."""
    from scipy.special import ndtr, ndtri

    observed = _difference(merit, np.ones((1, drawn.n_records)))[0]
    known = resampled[np.isfinite(resampled)]
    if min(map(len, drawn.strata), default=0) < 2 or not len(known) or not np.isfinite(observed):
        return np.nan, np.nan
    least = 1 / (len(known) + 1)
    bias = ndtri(np.clip((known < observed).mean() + (known == observed).mean() / 2, least, 1 - least))
    tails = bias + ndtri(np.array([0.025, 0.975]))
    low, high = np.quantile(known, ndtr(bias + tails / (1 - _acceleration(merit, drawn) * tails)))
    return float(low), float(high)


def _acceleration(merit: Merit, drawn: Draws) -> float:
    """The skewness of the records' influences, of several samples (Davison & Hinkley 1997, section 5.3)."""
    without = _difference(merit, 1 - np.eye(drawn.n_records))
    influence = np.nan_to_num(np.concatenate([(np.nanmean(without[one]) - without[one]) * (1 - 1 / len(one)) for one in drawn.strata]))
    spread = 6 * (influence**2).sum() ** 1.5
    return float((influence**3).sum() / spread) if spread > 0 else 0.0


def _difference(merit: Merit, weights: Float[np.ndarray, "draw record"]) -> DrawnValues:
    return merit(_version(weights, 1)) - merit(_version(weights, 0))


def _version(weights: Float[np.ndarray, "draw record"], version: int) -> Weights:
    """The records' weights, all on one version."""
    pair = [np.zeros_like(weights), np.zeros_like(weights)]
    pair[version] = weights
    return np.stack(pair, axis=1)


def _tails(drawn: np.ndarray) -> np.ndarray:
    """The 2.5 and 97.5 % quantiles of each column's known values; NaN of a column without any."""
    known = np.isfinite(drawn).any(axis=0)
    tails = np.full((2, drawn.shape[1]), np.nan)
    if known.any():
        tails[:, known] = np.nanquantile(drawn[:, known], [0.025, 0.975], axis=0)
    return tails
