"""The forecasts against processes whose entropy is known, against the definition by counting, and as distributions that sum to 1."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as deadlines
from hypothesis import strategies as st

from heartlens.measures.autoregression import fitted
from heartlens.measures.forecast import FORECASTS, baselines, nats, settings
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

GAUSS = 0.5 * np.log(2 * np.pi * np.e)  # the entropy of a normal of deviation 1


def windows(process, n_windows, seed, n_before=100):
    """Windows of 500 tokens of `process(rng, values, i)`, which gives the next value of all windows."""
    rng = np.random.default_rng(seed)
    values = np.full((n_windows, n_before + 500), 50.0)
    for i in range(2, values.shape[1]):
        values[:, i] = process(rng, values, i)
    return np.clip(np.rint(values[:, n_before:]), 0, 100).astype(np.uint8)


def second_order(rng, values, i):
    """Around 50, damped swings of about 13 tokens; innovations of deviation 4 make a deviation of 11."""
    return 50 + 1.6 * (values[:, i - 1] - 50) - 0.8 * (values[:, i - 2] - 50) + rng.normal(0, 4, len(values))


def restless(rng, values, i):
    """Innovations whose deviation is the size of the last step, but within 1.5 and 12."""
    return 50 + 0.5 * (values[:, i - 1] - 50) + rng.normal(0, 1, len(values)) * last_step(values[:, i - 2 : i])[:, 0]


def last_step(values):
    return np.clip(np.abs(np.diff(values.astype(float), axis=1)), 1.5, 12)


def cost(name, setting, train, test, vocabulary=101):
    """Nats per token under one setting, chosen here."""
    probability, _ = FORECASTS[name]
    return float(nats(probability(train, test, setting, vocabulary)).mean())


def of_records(process, n_windows=180, seed=0):
    return windows(process, n_windows, seed), windows(process, 60, seed + 1), np.arange(n_windows) // 4


def repeated(n_windows, seed):
    """A pattern of seven tokens, begun anywhere."""
    pattern = np.array([10, 80, 30, 30, 90, 10, 55], np.uint8)
    return pattern[(np.random.default_rng(seed).integers(7, size=(n_windows, 1)) + np.arange(500)) % 7]


@pytest.fixture(scope="module")
def hearts():
    return simulated("ppg", n_records=8, windows_per_record=3)


@pytest.mark.parametrize("n_before", [1, 2, 9, 40, 140])
@pytest.mark.parametrize("name", list(FORECASTS))
def test_the_probabilities_of_all_tokens_sum_to_1(hearts, name, n_before):
    probability, legal = FORECASTS[name]
    every = np.repeat(hearts.tokens[-3:, : n_before + 1], 101, axis=0)
    every[:, -1] = np.tile(np.arange(101), 3)
    for setting in (legal[0], legal[-1]):
        given = probability(hearts.tokens[:-3], every, setting, 101)
        assert given[:, -1].reshape(3, 101).sum(axis=1) == pytest.approx(1)
        assert given[:, -1].min() > 0


@pytest.mark.parametrize("name", list(FORECASTS))
def test_what_comes_later_and_other_windows_change_nothing(hearts, name):
    probability, legal = FORECASTS[name]
    whole = probability(hearts.tokens[:-3], hearts.tokens[-3:], legal[-1], 101)
    part = probability(hearts.tokens[:-3], hearts.tokens[-2:-1, :200], legal[-1], 101)
    assert part[0] == pytest.approx(whole[1, :199])


def test_nothing_is_gained_on_noise():
    """Uniform tokens cost log 101 each, up to 2 % more where counts are fitted to noise; less would be a leak.

    The last value does worse, by arithmetic: differences of uniform tokens are triangular, which is not uniform given the last one.
    """
    rng = np.random.default_rng(0)
    train, test = (rng.integers(101, size=(n, 500)).astype(np.uint8) for n in (300, 60))
    triangle = 101.0 - np.abs(np.arange(101) - np.arange(101)[:, None])
    assert cost("last value", 1.0, train, test) == pytest.approx(-np.log(triangle / triangle.sum(1, keepdims=True)).mean(), rel=0.01)
    for name, setting in (("autoregression", 8), ("n-gram", 1)):
        assert np.log(101) - 0.003 < cost(name, setting, train, test) < np.log(101) * 1.02


def test_a_pattern_without_chance_costs_nothing():
    found = baselines(repeated(60, 0), repeated(20, 1), np.arange(60))
    assert found["n-gram"].mean() < 0.01  # log 7 / 499 for the unknown beginning, and a little for what was never seen
    assert found["last value"].mean() > 0.5  # 30 is followed by 30 and by 90, and a difference says little


def test_the_autoregression_finds_all_of_a_linear_process():
    train, test, record = of_records(second_order)
    found = {name: each.mean() for name, each in baselines(train, test, record).items()}
    entropy = GAUSS + np.log(4)
    assert found["autoregression"] == pytest.approx(entropy, rel=0.02)
    assert entropy - 0.01 < found["autoregression"] < found["n-gram"] < found["last value"]
    weights = fitted(train, 2, 101).weights[2]
    assert weights == pytest.approx([1.6, -0.8, 0.2 * 50], abs=0.05, rel=0.02)


def test_the_autoregression_knows_when_it_is_unsure():
    """A normal of one width would cost half the log of the mean square, which here is 0.47 nats more than the mean of the logs."""
    train, test, _ = of_records(restless)
    deviation = last_step(test[:, :-1])
    entropy, one_width = GAUSS + np.log(deviation).mean(), GAUSS + np.log((deviation**2).mean()) / 2
    found = cost("autoregression", 2, train, test)
    assert entropy - 0.02 < found < (entropy + one_width) / 2  # most of what there is to gain: the cells are coarse


def test_the_last_value_by_hand():
    probability, _ = FORECASTS["last value"]
    train = np.array([[0, 1, 2, 3, 2]], np.uint8)  # differences: +1 three times, -1 once
    found = probability(train, np.array([[1, 2, 2, 3, 0]], np.uint8), 0.5, 4)
    # from 1 to 2: (3 + .5) of -1: 1.5, 0: .5, +1: 3.5, +2: .5; from 2: -2: .5, -1: 1.5, 0: .5, +1: 3.5; from 3: -3 to 0: .5 .5 1.5 .5
    assert found[0] == pytest.approx([3.5 / 6, 0.5 / 6, 3.5 / 6, 0.5 / 3])


def witten_bell(text, context, token, vocabulary):
    """By the definition, counting the runs in every row of `text`; an unseen context says nothing."""
    shorter = witten_bell(text, context[1:], token, vocabulary) if context else 1 / vocabulary
    n = len(context)
    after = Counter(row[i + n] for row in text for i in range(len(row) - n) if tuple(row[i : i + n]) == context)
    total, kinds = after.total(), len(after)
    return (after[token] + kinds * shorter) / (total + kinds) if total else shorter


ROWS = st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4)


@deadlines(deadline=None)
@given(ROWS, ROWS, st.integers(1, 4))
def test_the_n_gram_counts(train, test, n_context):
    probability, _ = FORECASTS["n-gram"]
    found = probability(np.array(train, np.uint8), np.array(test, np.uint8), n_context, 4)
    expected = [[witten_bell(train, tuple(row[max(i - n_context, 0) : i]), row[i], 4) for i in range(1, 6)] for row in test]
    assert found == pytest.approx(np.array(expected))


def test_settings_are_chosen_on_records_that_were_not_seen():
    """Every record repeats its own random text: long contexts know a record that was seen, and nothing of another."""
    text = np.random.default_rng(0).integers(12, size=(12, 300)).astype(np.uint8)
    tokens, record = np.repeat(text, 4, axis=0), np.repeat(np.arange(12), 4)
    assert settings(tokens, record, 12)["n-gram"] == 1
    assert settings(tokens, np.arange(48), 12)["n-gram"] > 1  # as though every window were another record


def test_a_forecast_is_one_number_a_window(hearts):
    found = baselines(hearts.tokens[:-3], hearts.tokens[-3:], hearts.record[:-3])
    assert {name: each.shape for name, each in found.items()} == dict.fromkeys(("last value", "autoregression", "n-gram"), (3,))
    assert found["autoregression"].mean() < found["last value"].mean() < np.log(101)


def test_windows_may_be_shorter_than_the_longest_order():
    tokens = windows(second_order, 40, 0)[:, :30]
    assert max(fitted(tokens, 128, 101).weights) == 16
    assert baselines(tokens, tokens[:5, :10], np.arange(40))["autoregression"].shape == (5,)


@pytest.mark.parametrize(
    ("train", "test", "record", "why"),
    [
        (np.zeros((4, 9)), np.full((2, 9), 101), np.arange(4), "test token 101 is not among the 101"),
        (np.full((4, 9), 102), np.zeros((2, 9)), np.arange(4), "training token 102"),
        (np.zeros((4, 9)), np.zeros((2, 9)), np.zeros(4), "at least 2 records"),
        (np.zeros((4, 9)), np.zeros((2, 1)), np.arange(4), "test windows of 1 tokens hold nothing to predict"),
    ],
)
def test_what_cannot_be_forecast_is_refused(train, test, record, why):
    with pytest.raises(Refusal, match=why):
        baselines(train.astype(np.uint8), test.astype(np.uint8), record)
