"""The first step of both detectors against the program that published it."""

import warnings

import numpy as np
import pytest

from heartlens.signals.beats import ECG_RATE_HZ, PPG_RATE_HZ, PULSE_BAND_HZ, at_rate, band
from heartlens.signals.peak_detectors import pulse_candidates, qrs_candidates
from heartlens.signals.simulate import ecg, ppg

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=20_000)
ODD = {
    "noise": NOISE,
    "random walk": np.cumsum(NOISE),
    "silence": np.zeros(5000),
    "beats with pauses": np.concatenate([np.zeros(3000), NOISE[:300], np.zeros(9000), NOISE[:10]]),
    "steps": np.repeat(NOISE[:40], 500),
}


@pytest.fixture(scope="module")
def neurokit2():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("neurokit2")


@pytest.mark.parametrize("rhythm", ["sinus", "af", "ectopy"])
def test_simulated_hearts(neurokit2, rhythm):
    heart = at_rate(ecg.simulate(np.random.default_rng(1), 60.0, rhythm)[0], 100.0, ECG_RATE_HZ)
    theirs = neurokit2.ecg_findpeaks(heart, sampling_rate=ECG_RATE_HZ, method="rodrigues2021")["ECG_R_Peaks"]
    assert (qrs_candidates(heart, ECG_RATE_HZ) == theirs).all()
    for begin in (0, 37, 74, 111):  # within a systole, before it, after it
        pulse = band(at_rate(ppg.simulate(np.random.default_rng(1), 60.0, rhythm)[0], 50.0, PPG_RATE_HZ), PPG_RATE_HZ, PULSE_BAND_HZ)[
            begin:
        ]
        theirs = neurokit2.ppg_findpeaks(pulse, sampling_rate=PPG_RATE_HZ, method="elgendi")["PPG_Peaks"]
        assert (pulse_candidates(pulse, PPG_RATE_HZ) == theirs).all()


@pytest.mark.parametrize("name", list(ODD))
def test_signals_that_are_none(neurokit2, name):
    signal = ODD[name]
    theirs = neurokit2.ecg_findpeaks(signal, sampling_rate=ECG_RATE_HZ, method="rodrigues2021")["ECG_R_Peaks"]
    assert np.array_equal(qrs_candidates(signal, ECG_RATE_HZ), theirs)
    if name != "silence":
        theirs = neurokit2.ppg_findpeaks(signal, sampling_rate=PPG_RATE_HZ, method="elgendi")["PPG_Peaks"]
        assert np.array_equal(pulse_candidates(signal, PPG_RATE_HZ), theirs)


def test_where_there_is_next_to_nothing():
    for signal in (np.ones(3), np.zeros(5000)):
        assert len(pulse_candidates(signal, PPG_RATE_HZ)) == 0
    assert len(qrs_candidates(np.zeros(5), ECG_RATE_HZ)) == 0
