"""How much a change alters a figure of merit, each record with and without the change: effect, 95 % interval over records, p-value.

*Means* (`p_values_of_change`): p is the larger of two. One is of random signs (Pitman 1937; the observed arrangement counts once, Phipson &
Smyth 2010), exact where changes are as likely to be positive as negative. The other is of t corrected for skewness (Hall 1992, with the
sample's skewness times 1 + 6 / n, since few values show too little of a long tail), against Student's t. Share of p <= 0.05 where the mean
change is 0, and where it is 3 standard errors above (20,000 samples; skewness 0, 1.8, 2, 6.2):

    records            8                   12                  20                  50                  200
    normal             .031 power .53      .037 power .67      .042 power .77      .046 power .83      .048 power .85
    lognormal (0.5)    .044 power .84      .042 power .91      .042 power .91      .040 power .90      .043 power .88
    exponential        .040 power .91      .033 power .95      .033 power .95      .037 power .92      .040 power .89
    lognormal (1)      .062 power .95      .051 power .97      .046 power .98      .047 power .98      .043 power .95

Random signs alone, or t: up to .106 (exponential) and .169 (lognormal); Johnson's t (1978) .109, bootstrap-t .100 (lognormal, 8 records).

*Other figures of merit* (`change`): the interval is effect +- Student's t times the jackknife's standard error, strata apart, with
Satterthwaite's degrees of freedom; of an AUC, which few records change in few steps, one step more on both sides. It covers the true
change of an AUC from 0.87 to 0.80 in 0.94 to 0.98 of samples of 8 + 8 to 30 + 30 persons (correlation of the scores 0.5 to 0.97; without
the step 0.89 at 8 + 8). p is of swapping the two versions within records. A figure is a function of how much each version of each record
weighs, so that all draws are one matrix product.

*Ratios of effects* have Fieller's interval (1954): it covers a true ratio of 20 in 0.93 to 0.98 of samples of 8 to 50 records.
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
    """A figure without and with the change; of the difference standard error and interval (NaN without two records in each stratum), p."""

    before: float
    after: float
    error: float
    low: float
    high: float
    p_value: float

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
    strata = tuple(np.flatnonzero(stratum == members) for members in np.unique(stratum))
    weights = np.zeros((n_resamples, len(stratum)))
    for members in strata:
        weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), n_resamples)
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


def auc_step(positive: Bool[np.ndarray, " record"], negative: Bool[np.ndarray, " record"]) -> float:
    """By how much one pair of a positive and a negative record changes an AUC; 0 where there is no pair."""
    n_pairs = int(positive.sum()) * int(negative.sum())
    return 1 / n_pairs if n_pairs else 0.0


def calibration_error(probability: Pair, positive: Bool[np.ndarray, " record"], n_bins: int = 10) -> Merit:
    """How far the observed fraction lies from the predicted probability, by bin of probability, in the mean over records (Naeini 2015)."""
    place = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    off = np.where(place[..., None] == np.arange(n_bins), (probability - positive)[..., None], 0.0)
    off = off.reshape(-1, n_bins)
    return lambda weights: over(np.abs(weights.reshape(len(weights), -1) @ off).sum(axis=1), weights.sum(axis=(1, 2)))


def change(merit: Merit, drawn: Draws, step: float = 0.0) -> Change:
    """What the change does to a figure of merit over the records. `step`: by how much one pair of records changes it (`auc_step`)."""
    everyone = np.ones((1, drawn.n_records))
    before, after = (float(merit(_version(everyone, version))[0]) for version in (0, 1))
    moved = merit(drawn.swapped) - merit(drawn.swapped[:, ::-1])
    is_less = np.abs(moved) < abs(after - before) - TIE * max(abs(before), abs(after))
    reached = len(moved) - int(is_less.sum())  # a swap after which there is no figure is not known to change it less
    is_tested = drawn.n_records > 1 and np.isfinite(after - before)
    p_value = (1 + reached) / (1 + len(moved)) if is_tested else np.nan
    return Change(before, after, *_interval(merit, drawn, step), p_value)


def settled(after: ByRecord, before: ByRecord) -> ByRecord:
    """The change; 0 where it is less than TIE of the value before, because that is rounding, which must not decide a test."""
    changed = after - before
    return np.where(np.abs(changed) > TIE * np.abs(before), changed, 0.0)


def p_values_of_change(changed: ByRecord, *, seed: int, n_permutations: int = 9999) -> Ratio:
    """Whether the mean change differs from 0, two-sided, skewed changes allowed for: see the module's first lines.

    NaN where fewer than two records have a value (a change that is a number); where nothing changed p is 1.
    """
    return np.fmax(sign_flip_p_values(changed, seed=seed, n_permutations=n_permutations), _skewed_t_p_values(changed))


def sign_flip_p_values(changed: ByRecord, *, seed: int, n_permutations: int = 9999) -> Ratio:
    """How often the sum over records is as large, either way, when each record's change has a random sign.

    Right only where changes are symmetric about their mean; of skewed ones see `p_values_of_change`. NaN where fewer than two records have
    a value (a change that is a number); where nothing changed p is 1.
    """
    is_number = np.isfinite(changed).reshape(len(changed), -1)
    flat = np.where(is_number, changed.reshape(is_number.shape), 0.0)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n_permutations, len(flat)))
    observed = np.abs(flat.sum(axis=0)) * (1 - TIE)
    reached = np.zeros(observed.shape)
    for part in np.array_split(signs, max(1, n_permutations // 500)):
        reached += (np.abs(part @ flat) >= observed).sum(axis=0)
    p_value = np.where(is_number.sum(axis=0) >= 2, (1 + reached) / (1 + n_permutations), np.nan)
    return np.asarray(p_value).reshape(changed.shape[1:])


def _skewed_t_p_values(changed: ByRecord) -> Ratio:
    """Of Hall's transformation of t (1992), h = t + a (t^2 + 1/2) / 3 + a^2 t^3 / 27 with a = skewness / sqrt(n).

    0 where all changes are equal and not 0, NaN with fewer than three records, where random signs alone decide.
    """
    from scipy.stats import t as student

    is_number = np.isfinite(changed)
    n = is_number.sum(axis=0).astype(float)
    n_three = np.maximum(n, 3)
    mean = np.where(is_number, changed, 0.0).sum(axis=0) / n_three
    centred = np.where(is_number, changed - mean, 0.0)
    square, cube = ((centred**power).sum(axis=0) / n_three for power in (2, 3))
    error = np.sqrt(square / (n_three - 1))
    spread = error > TIE * np.abs(mean)
    t = over(mean, np.where(spread, error, 0.0))
    skewness = over(cube, np.where(spread, square**1.5, 0.0)) * np.sqrt(n_three * (n_three - 1)) / (n_three - 2)
    a = skewness * (1 + 6 / n_three) / np.sqrt(n_three)
    h = t + a * (t**2 + 0.5) / 3 + a**2 * t**3 / 27
    p_value = np.where(spread, 2 * student.sf(np.abs(h), n_three - 1), 0.0)
    return np.where(n >= 3, p_value, np.nan)


def ratio_of_effects(top: Ratios, bottom: Ratios) -> tuple[Ratio, Ratio, Ratio]:
    """One ratio of sums over records over another, and its 95 % interval: (ratio, low, high).

    The interval is Fieller's (1954): all ratios r for which upper - r lower is not beyond Student's t times its standard error, which is
    that of the records' influences, each divided by 1 - its share of the sum below (leverage, HC3). Where the lower effect may be 0 the
    interval is unbounded: -inf to inf (it may exclude a stretch in its middle, which is not given). NaN without effects or with fewer than
    three records.
    """
    from scipy.stats import t as student

    n_records, shape = top.shape[1], top.shape[2:]
    top, bottom = (np.broadcast_to(each, (2, n_records, *shape)).reshape(2, n_records, -1) for each in (top, bottom))
    effect = over(top.sum(axis=1), bottom.sum(axis=1))
    value = over(effect[0], effect[1])
    share = over(bottom, bottom.sum(axis=1, keepdims=True))
    influence = np.nan_to_num(share * (over(top, bottom) - effect[:, None]) / np.clip(1 - share, 1e-9, None))
    (upper_variance, covariance), (_, lower_variance) = np.einsum("irs,jrs->ijs", influence, influence)
    n_with = (bottom > 0).all(axis=0).sum(axis=0)
    quantile = student.ppf(0.975, np.maximum(n_with - 1, 1))
    a, b, c = (
        product - quantile**2 * variance
        for product, variance in (
            (effect[1] ** 2, lower_variance),
            (effect[0] * effect[1], covariance),
            (effect[0] ** 2, upper_variance),
        )
    )
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    low, high = (np.where(a > 0, over(b + sign * root, a), sign * np.inf) for sign in (-1, 1))
    is_defined = np.isfinite(value) & (n_with >= 3)
    return value.reshape(shape), np.where(is_defined, low, np.nan).reshape(shape), np.where(is_defined, high, np.nan).reshape(shape)


def _interval(merit: Merit, drawn: Draws, step: float) -> tuple[float, float, float]:
    """The jackknife's standard error of several samples (Davison & Hinkley 1997, 2.7), and the interval of the difference.

    That is the difference +- (Student's t times the error + `step`).
    """
    from scipy.stats import t as student

    observed = float(_difference(merit, np.ones((1, drawn.n_records)))[0])
    if min(map(len, drawn.strata), default=0) < 2 or not np.isfinite(observed):
        return np.nan, np.nan, np.nan
    without = _difference(merit, 1 - np.eye(drawn.n_records))
    variances = np.array([(len(members) - 1) * without[members].var() for members in drawn.strata])
    if not np.isfinite(variances).all():  # without one of the records there is no figure: that record alone decides
        return np.nan, np.nan, np.nan
    freedom = over(variances.sum() ** 2, (variances**2 / [len(members) - 1 for members in drawn.strata]).sum())
    error = float(np.sqrt(variances.sum()))
    margin = float(student.ppf(0.975, freedom)) * error + step if error else step
    return error, observed - margin, observed + margin


def _difference(merit: Merit, weights: Float[np.ndarray, "draw record"]) -> DrawnValues:
    return merit(_version(weights, 1)) - merit(_version(weights, 0))


def _version(weights: Float[np.ndarray, "draw record"], version: int) -> Weights:
    """The records' weights, all on one version."""
    pair = [np.zeros_like(weights), np.zeros_like(weights)]
    pair[version] = weights
    return np.stack(pair, axis=1)
