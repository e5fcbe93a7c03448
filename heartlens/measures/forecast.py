"""What a next-token model must beat: three simple forecasts without any knowledge of hearts, in nats per token.

Each is fitted to training windows and asked, at every token of other windows but the first, how likely that token was given those before
it in its window; a window's figure is the mean of -log P. *Last value*: the difference to the token before. *Autoregression*: linear in the
tokens before (its own module). *N-gram*: counts of runs of tokens, backing off to shorter ones (Witten & Bell 1991). What each leaves
open (smoothing, order, length of context) is chosen on every third of the training records, fitted to the others; then it is
fitted to all of them. The test windows choose nothing.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64, Shaped, UInt8

from heartlens.measures.autoregression import ORDERS, fitted
from heartlens.refusal import Refusal

Tokens = UInt8[np.ndarray, "window time"]
Train = UInt8[np.ndarray, "train_window train_time"]  # of any number and length
Steps = Float[np.ndarray, "window step"]
HELD_BACK = 3  # one training record in so many chooses


def baselines(
    train: Train,
    test: Tokens,
    train_record: Shaped[np.ndarray, " train_window"],
    vocabulary: int = 101,
) -> dict[str, Float[np.ndarray, " window"]]:
    """The cross-entropy in nats per token of each test window, by forecast. Refuses tokens outside the vocabulary, and a single record."""
    _refuse_unusable("training", train, vocabulary)
    _refuse_unusable("test", test, vocabulary)
    setting = settings(train, train_record, vocabulary)
    return {name: nats(probability(train, test, setting[name], vocabulary)) for name, (probability, _) in FORECASTS.items()}


def settings(train: Train, train_record: Shaped[np.ndarray, " train_window"], vocabulary: int = 101) -> dict[str, float]:
    """What each forecast leaves open, as the training records held back would have it."""
    names = np.unique(train_record)
    if len(names) < 2:
        raise Refusal(f"the baselines need training windows of at least 2 records, one of them to choose by; {len(names)} was given")
    is_held = np.isin(train_record, names[::HELD_BACK])

    def cost(probability: Callable[..., Steps], setting: float) -> float:
        return float(nats(probability(train[~is_held], train[is_held], setting, vocabulary)).mean())

    return {name: min(legal, key=lambda each: cost(probability, each)) for name, (probability, legal) in FORECASTS.items()}


def nats(probability: Steps) -> Float[np.ndarray, " window"]:
    """The mean of -log P over each window's tokens."""
    return -np.log(probability).mean(axis=1)


def _last_value(train: Train, test: Tokens, alpha: float, vocabulary: int) -> Steps:
    """The share of the difference among training differences, `alpha` added to each, over those that lead to a token."""
    steps = np.diff(train.astype(int), axis=1) + vocabulary - 1
    count = np.bincount(steps.ravel(), minlength=2 * vocabulary - 1) + alpha
    token = np.arange(vocabulary)
    chance = count[token - token[:, None] + vocabulary - 1]
    return (chance / chance.sum(axis=1, keepdims=True))[test[:, :-1], test[:, 1:]]


def _autoregression(train: Train, test: Tokens, order: int, vocabulary: int) -> Steps:
    return fitted(train, order, vocabulary).probability(test)


def _n_gram(train: Train, test: Tokens, n_context: int, vocabulary: int) -> Steps:
    """P(token | context) = (its count + n_kinds P(token | shorter context)) / (all counts + n_kinds), n_kinds: how many tokens followed."""
    chance = np.full((len(test), test.shape[1] - 1), 1 / vocabulary)
    for n in range(min(n_context, train.shape[1] - 1, test.shape[1] - 1) + 1):
        run, count = np.unique(_runs(train, n, vocabulary), return_counts=True)
        context, first = np.unique(run // vocabulary, return_index=True)
        total, n_kinds = np.add.reduceat(count, first), np.diff(np.append(first, len(run)))
        asked = _runs(test, n, vocabulary)[:, 1 if n == 0 else 0 :]
        seen, kinds = (_looked_up(asked // vocabulary, context, values) for values in (total, n_kinds))
        shorter = chance[:, max(n - 1, 0) :]
        longer = (_looked_up(asked, run, count) + kinds * shorter) / np.maximum(seen + kinds, 1)
        shorter[:] = np.where(seen > 0, longer, shorter)
    return chance


def _runs(tokens: Tokens, n_context: int, vocabulary: int) -> Int64[np.ndarray, "window run"]:
    """Every run of `n_context` + 1 tokens as one number, the last token its last digit."""
    n_runs = tokens.shape[1] - n_context
    runs = np.zeros((len(tokens), n_runs), np.int64)
    for place in range(n_context + 1):
        runs = runs * vocabulary + tokens[:, place : place + n_runs]
    return runs


def _looked_up(key: Int64[np.ndarray, "window run"], keys: np.ndarray, values: np.ndarray) -> Int64[np.ndarray, "window run"]:
    """The value of each key, 0 of one that is not among the sorted `keys`."""
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    return np.where(keys[place] == key, values[place], 0)


def _refuse_unusable(what: str, tokens: Tokens, vocabulary: int) -> None:
    if tokens.shape[1] < 2:
        raise Refusal(f"{what} windows of {tokens.shape[1]} tokens hold nothing to predict; give at least 2")
    if tokens.size and tokens.max() >= vocabulary:
        raise Refusal(f"{what} token {tokens.max()} is not among the {vocabulary} of the vocabulary; give tokens 0 to {vocabulary - 1}")


FORECASTS: dict[str, tuple[Callable[..., Steps], tuple[float, ...]]] = {  # name: P of each token but the first, legal settings
    "last value": (_last_value, (0.01, 0.1, 1.0, 10.0)),
    "autoregression": (_autoregression, ORDERS),
    "n-gram": (_n_gram, (1, 2, 3, 4, 5)),
}
