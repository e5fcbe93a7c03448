"""Rate and period of stretches whose rhythm is known, and of what a model generates."""

import numpy as np
import pytest
from scipy.signal import lfilter

from heartlens.axes import KINDS
from heartlens.measures.rhythm import _period_s, rhythm_of, rhythms_of, slowest_bpm
from heartlens.models.interventions.continuation import continued, uniforms
from heartlens.models.planted import CopiesValue, planted
from heartlens.models.subject import subject_of
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular


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


def test_a_rate_is_of_the_median_interval():
    """Where a line stands for one beat, one interval is twice as long, and the rate the same."""
    windows = simulated("ecg", 1, 1, seed=5)
    beats = np.interp(np.arange(np.ceil(windows.position[0, 0]), 99), windows.position[0], np.arange(500))
    interval, time = beats[2] - beats[1], np.arange(500)
    kept = np.abs(time - beats[2]) > 0.4 * interval
    lacking = np.interp(time, time[kept], windows.tokens[0, kept]).astype(np.uint8)
    assert rhythm_of(lacking, "ecg").rate_bpm == pytest.approx(6000 / interval, rel=0.1)


def test_two_beats_are_no_rate():
    windows = simulated("ecg", 1, 1, seed=5)
    beats = np.interp(np.arange(np.ceil(windows.position[0, 0]), 99), windows.position[0], np.arange(500))
    end = int(beats[1:3].mean())
    two = np.where(np.arange(500) < end, windows.tokens[0], windows.tokens[0, end])
    assert np.isnan(rhythm_of(two, "ecg").rate_bpm)


def bumps(*places):
    """Narrow bumps of these heights at these tokens."""
    found = np.zeros(500)
    for place, height in places:
        found[place - 3 : place + 4] += height * np.hanning(9)[1:-1]
    return found.astype(np.uint8)


def test_every_lag_is_weighed_by_its_overlap():
    """High and low bumps in turn, 60 tokens apart: only after 120 it is the same again, though fewer samples overlap."""
    turns = bumps(*((20 + 60 * n, 90 if n % 2 else 45) for n in range(8)))
    assert rhythm_of(turns, "ecg").period_s == pytest.approx(1.2)


def test_periods_are_those_of_legal_heart_rates():
    """At 300 a minute the first legal multiple is found; at 24.5 a minute none."""
    assert rhythm_of(bumps(*((10 + 20 * n, 90) for n in range(24))), "ecg").period_s == pytest.approx(0.4)
    assert np.isnan(rhythm_of(bumps((100, 90), (345, 90)), "ecg").period_s)
    assert rhythm_of(bumps(*((10 + 195 * n, 90) for n in range(3))), "ecg").period_s == pytest.approx(1.95)  # 31 a minute
    assert rhythm_of(bumps(*((10 + 26 * n, 90) for n in range(18))), "ecg").period_s == pytest.approx(0.26)  # 231 a minute


@pytest.mark.parametrize(
    ("kind", "n_tokens", "bpm"), [("ecg", 500, 30), ("ecg", 250, 60), ("ecg", 100, 150), ("ppg", 250, 30), ("ppg", 100, 75)]
)
def test_a_stretch_tells_the_slowest_rate_that_it_can_show(kind, n_tokens, bpm):
    """2.5 periods of 60 a minute are 2.5 s."""
    assert slowest_bpm(n_tokens, kind) == bpm
    silent = str(rhythm_of(np.zeros(n_tokens, np.uint8), kind))
    assert ("stretch too short for slower than" in silent) == (bpm > 30)


NOISES = {
    **{f"of phi {phi}": ([1.0], [1.0, -phi]) for phi in (0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)},
    "pink": ([0.049922035, -0.095993537, 0.050612699, -0.004408786], [1.0, -2.494956002, 2.017265875, -0.522189400]),  # Kellet's filter
}


@pytest.mark.parametrize(("kind", "n_tokens"), [("ecg", 250), ("ecg", 500), ("ppg", 100), ("ppg", 250), ("ppg", 500)])
@pytest.mark.parametrize("noise", list(NOISES))
def test_noise_does_not_repeat_whatever_its_correlation(noise, kind, n_tokens):
    """At most 5 % of stretches; of 300 this allows 20 to a share of 5 %, of which more occur once in 12 such tests."""
    white = np.random.default_rng(0).normal(size=(300, 2000 + n_tokens))
    signal = lfilter(*NOISES[noise], white, axis=1)[:, 2000:]
    low, high = (end(axis=1, keepdims=True) for end in (signal.min, signal.max))
    tokens = np.round(100 * (signal - low) / (high - low)).astype(np.uint8)
    periods = [_period_s(stretch.astype(float), KINDS[kind].rate_hz) for stretch in tokens]
    assert np.isfinite(periods).mean() <= 0.05


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_hearts_do(kind):
    """Of stretches of half a window that hold 2.5 beats or more."""
    windows = simulated(kind, 40, 1, seed=1)
    interval_s = (499 / np.ptp(windows.position, axis=1)) / windows.rate_hz
    seen = interval_s < 60 / slowest_bpm(250, kind)
    periods = rhythms_of(windows.tokens[seen, 250:], kind)[:, 1]
    assert seen.sum() > 25
    assert (np.abs(periods / interval_s[seen] - 1) < 0.1).mean() >= 0.95


def test_what_does_not_repeat_has_no_rhythm():
    noise = np.random.default_rng(0).integers(0, 101, 500).astype(np.uint8)
    assert np.isnan(rhythm_of(noise, "ecg").period_s)
    flat = np.zeros(500, np.uint8)
    assert np.isnan([rhythm_of(flat, "ecg").rate_bpm, rhythm_of(flat, "ecg").period_s]).all()


def test_a_planted_copier_goes_on_with_what_it_saw():
    """A copied token is e^20 likelier than any other, so every token is the one a cycle before it."""
    windows = regular("ppg", 1, periodic=True)
    model = planted({(1, 3): CopiesValue(margin=20.0)}, windows)
    made = continued(subject_of(model), windows.tokens[:, :380], uniforms(windows.identity, 1, 120, seed=0))[0, 0, 0]
    assert np.array_equal(made, windows.tokens[0, 380:])
    assert rhythms_of(np.stack([made, made]), "ppg")[:, 1] == pytest.approx(44 / 50)
