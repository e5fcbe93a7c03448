"""Readouts by arithmetic: from outputs that say a known thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.models.origin import Origin
from heartlens.models.planted import Raises, planted
from heartlens.models.readouts import BEAT, LAST, TOKEN, beat_tokens, readings, readouts_of, true_beats
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

ECG = regular("ecg", 2)
PPG = regular("ppg", 2)


@pytest.fixture(scope="module")
def base():
    return subject_of(model_of(random_state()))


@pytest.fixture(scope="module")
def detector():
    model = planted({(1, 3): Raises(6.0, "systolic_peak")}, PPG)
    model.origin = replace(model.origin, task="beat (every token)")
    return subject_of(model)


def sure_of(value, sureness=50.0):
    """Outputs that say `value` (window time) with certainty at each token: of the next one."""
    return torch.nn.functional.one_hot(torch.from_numpy(value.astype(np.int64)), 101)[None].float() * sureness


def mean(found, name):
    top, bottom = found.of(name)
    return top.sum(axis=1) / bottom.sum()


def test_a_certain_and_right_forecast_has_no_error(base):
    found = readings(base, sure_of(np.roll(ECG.tokens, -1, axis=1)), ECG)
    assert found.top == pytest.approx(0, abs=1e-3)
    assert found.bottom[:, found.names.index("crps")].tolist() == [499, 499]


def test_a_certain_and_wrong_forecast_errs_by_the_distance(base):
    """CRPS of a certain forecast is its absolute error (Gneiting & Raftery 2007); its cross-entropy the sureness."""
    said = np.where(ECG.tokens >= 50, ECG.tokens - 3.0, ECG.tokens + 3.0)
    found = readings(base, sure_of(np.roll(said, -1, axis=1)), ECG)
    for name in ("amplitude_error", "crps", "crps_QRS", "amplitude_error_P"):
        assert mean(found, name) == pytest.approx(3, rel=1e-4)
    assert mean(found, "cross_entropy_T") == pytest.approx(50, rel=1e-4)
    height = (ECG.high - ECG.low) / 100
    top, _ = found.of("amplitude_error_mv")
    assert top[0] == pytest.approx(3 * 499 * height, rel=1e-4)


def test_an_even_forecast_by_arithmetic(base):
    found = readings(base, torch.zeros(2, 2, 500, 101), ECG)
    true = ECG.tokens[:, 1:].astype(float)
    assert mean(found, "cross_entropy") == pytest.approx(np.log(101), rel=1e-6)
    assert mean(found, "amplitude_error") == pytest.approx(np.abs(50 - true).mean(), rel=1e-5)
    level = np.arange(101)
    crps = (((level + 1) / 101 - (true[..., None] <= level)) ** 2).sum(axis=-1)
    assert mean(found, "crps") == pytest.approx(crps.mean(), rel=1e-5)
    assert found.of("crps_P")[0][1] == pytest.approx((crps * ECG.inside("P")[:, 1:]).sum(axis=1), rel=1e-5)


def test_waves_are_those_of_the_predicted_token(base):
    """Right everywhere but at the QRS: all of the loss is there."""
    said = np.where(ECG.inside("QRS"), (ECG.tokens + 7) % 101, ECG.tokens)
    found = readings(base, sure_of(np.roll(said, -1, axis=1)), ECG)
    assert mean(found, "cross_entropy_QRS") == pytest.approx(50, rel=1e-4)
    assert mean(found, "cross_entropy_P") == pytest.approx(0, abs=1e-4)
    n_qrs = ECG.inside("QRS")[:, 1:].sum()
    assert mean(found, "cross_entropy") == pytest.approx(50 * n_qrs / 998, rel=1e-4)


def test_the_last_tokens_logit_and_probability():
    model = planted({(1, 3): Raises(6.0, "P")}, ECG)
    subject = subject_of(model)
    assert subject.answers == LAST
    assert readouts_of(subject, ECG) == ("task_logit", "task_probability")
    model.origin = replace(model.origin, task="atrial fibrillation (last token)")
    outputs = torch.full((1, 2, 500, 1), -9.0)
    outputs[0, :, -1, 0] = torch.tensor([0.0, np.log(3.0)])
    found = readings(subject_of(model), outputs, ECG)
    assert found.names == ("af_logit", "af_probability")
    assert found.of("af_probability")[0][0] == pytest.approx([0.5, 0.75])
    assert np.array_equal(found.bottom, np.ones((2, 2)))


def test_true_beats_are_r_peaks_and_systolic_peaks():
    ecg = simulated("ecg", 1, 1, seed=3)
    peaks = true_beats(ecg)[0]
    assert len(peaks) == int(np.floor(ecg.position[0, -1]) - np.floor(ecg.position[0, 0]))
    positions = np.interp(peaks, np.arange(500), ecg.position[0])
    assert positions == pytest.approx(np.round(positions))
    ppg = simulated("ppg", 3, 1, seed=3)
    for beats, tokens in zip(true_beats(ppg), ppg.tokens.astype(float), strict=True):
        inner = beats[(beats > 10) & (beats < 489)].round().astype(int)
        around = np.stack([tokens[inner + step] for step in range(-10, 11)])
        assert (np.abs(around.argmax(axis=0) - 10) <= 2).all()  # a maximum within two tokens, noise and all


def test_a_wave_that_the_window_cuts_has_its_beat_where_the_peak_is():
    inside = np.zeros((1, 500), bool)
    inside[0, :5], inside[0, 100:107], inside[0, 498:] = True, True, True
    wave = np.where(inside, 1, -1).astype(np.int8)
    assert true_beats(replace(PPG[:1], wave=wave))[0].tolist() == [1.0, 103.0]  # the last peak lies beyond the window


def test_beats_missed_and_invented_are_counted(detector):
    assert detector.answers == BEAT
    windows = simulated("ppg", 2, 1, seed=1)
    outputs = torch.full((3, 2, 500, 1), -12.0)
    for window, beats in enumerate(true_beats(windows)):
        beats = beat_tokens(beats)
        outputs[0, window, beats, 0] = 3.0
        outputs[1, window, beats[1:], 0] = 3.0  # one missed
        outputs[2, window, beats, 0] = 3.0
        outputs[2, window, (beats[2] + beats[3]) // 2, 0] = 3.0  # one invented
    found = readings(detector, outputs, windows)
    n_edge = sum(int(((beats.round() < 1) | (beats.round() > 498)).sum()) for beats in true_beats(windows))
    assert found.of("beat_misses")[0].sum(axis=1).tolist() == [n_edge, n_edge + 2, n_edge]
    assert found.of("beat_extras")[0].sum(axis=1).tolist() == [0, 0, 2]
    assert mean(found, "beat_probability")[0] == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-6)


def test_beats_are_ranked_and_counted_by_arithmetic(detector):
    """One window of 7 tokens' tolerance: probabilities of 1/2 at two of its beats, 1/5 at one far token, 0 elsewhere."""
    windows = simulated("ppg", 1, 1, seed=1)
    beats = true_beats(windows)[0]
    at = beat_tokens(beats[(beats > 20) & (beats < 480)])
    assert len(at) > 3
    middle = (at[0] + at[1]) // 2
    far = np.abs(np.arange(500)[:, None] - beats).min(axis=1) > 7.5
    assert far[middle]
    outputs = torch.full((1, 1, 500, 1), -np.inf)
    outputs[0, 0, at[:2], 0] = 0.0
    outputs[0, 0, middle, 0] = float(np.log(0.2 / 0.8))
    found, n, n_far = readings(detector, outputs, windows), len(beats), far.sum()
    assert mean(found, "beat_sensitivity").item() == pytest.approx(2 / n)
    assert mean(found, "beat_misses").item() == pytest.approx(1 - 2 / n)
    assert mean(found, "beat_specificity").item() == pytest.approx(1 - 1 / n_far)
    assert mean(found, "beat_expected").item() == pytest.approx(1.2 / n)
    assert mean(found, "beat_probability").item() == pytest.approx(1 / n)
    ties = (n_far - 1) / 2  # of each beat that has 0 with every far token that has 0
    assert mean(found, "beat_auc").item() == pytest.approx((2 * n_far + (n - 2) * ties) / (n * n_far))


def test_what_is_found_where_nothing_is_known_is_no_extra(detector):
    outputs = torch.full((1, 2, 500, 1), -12.0)
    outputs[0, :, 250, 0] = 3.0
    blind = replace(PPG, position=np.full((2, 500), np.nan), wave=np.full((2, 500), -1, np.int8))
    found = readings(detector, outputs, blind)
    assert found.of("beat_extras")[0].tolist() == [[0.0, 0.0]]
    assert not found.bottom.any()
    assert not found.top.any()


def test_unknown_readouts_and_several_outputs_are_refused(base):
    found = readings(base, torch.zeros(1, 2, 500, 101), ECG)
    with pytest.raises(Refusal, match=r"unknown readout 'af_logit'.*legal: cross_entropy"):
        found.of("af_logit")
    assert base.answers == TOKEN
    several = model_of(random_state())
    several.origin = Origin("mine", "ecg", "three rhythms (last token)", "", "", "", "", "none")
    with pytest.raises(Refusal, match="101 outputs"):
        assert subject_of(several).answers
