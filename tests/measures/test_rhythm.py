"""Rate and period of stretches whose rhythm is known, and of what a model generates."""

import numpy as np
import pytest
from planted import model_of, random_state

from heartlens.measures.rhythm import rhythm_of
from heartlens.models.continuation import continued
from heartlens.models.edit import ablated
from heartlens.models.planted import CopiesValue, Raises, planted
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.training import generation
from heartlens.training.network import network_of


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_rate_and_period_of_people_are_their_beats(kind):
    for window in range(3):
        windows = simulated(kind, 3, 1, seed=5)
        position = windows.position[window]
        interval_s = 1 / (np.ptp(position) / 499 * windows.rate_hz)
        found = rhythm_of(windows.tokens[window], kind)
        assert found.period_s == pytest.approx(interval_s, rel=0.1)
        assert found.rate_bpm == pytest.approx(60 / interval_s, rel=0.1)


def test_a_period_needs_no_beats():
    """A repeated ramp is no heart, but it repeats after 0.8 s."""
    ramp = np.tile(np.linspace(0, 100, 80), 7)[:500].astype(np.uint8)
    assert rhythm_of(ramp, "ecg").period_s == pytest.approx(0.8)


def test_what_does_not_repeat_has_no_rhythm():
    noise = np.random.default_rng(0).integers(0, 101, 500).astype(np.uint8)
    assert np.isnan(rhythm_of(noise, "ecg").period_s)
    flat = np.zeros(500, np.uint8)
    assert np.isnan([rhythm_of(flat, "ecg").rate_bpm, rhythm_of(flat, "ecg").period_s]).all()


def test_a_hooked_model_generates_as_the_original_does_and_as_its_hooks_say():
    state = random_state()
    model, windows = model_of(state), simulated("ecg", 1, 1, seed=0)
    expected = generation.continued(network_of(state), windows.tokens, 4, seed=4)
    assert np.array_equal(continued(model, windows.tokens, 4, seed=4), expected)
    with ablated(model, heads=[(0, 0), (0, 1), (1, 0), (1, 1)], mlps=[0, 1]):
        assert not np.array_equal(continued(model, windows.tokens, 4, seed=4), expected)


def test_a_planted_copier_goes_on_with_what_it_saw():
    """A copied token is e^20 likelier than any other, so the last 500 tokens less one cycle decide what comes."""
    windows = regular("ecg", 1)
    model = planted({(1, 3): CopiesValue(margin=20.0)}, windows)
    assert continued(model, windows.tokens, 1, seed=0)[0, -1] == windows.tokens[0, 500 - 80]


def test_a_task_head_generates_nothing():
    windows = regular("ecg", 1)
    with pytest.raises(Refusal, match="generates nothing"):
        continued(planted({(1, 3): Raises(6.0, "P")}, windows), windows.tokens, 1, seed=0)
