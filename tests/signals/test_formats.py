"""A record in every format gives the same tokens; its unit, rate and person are the file's."""

import numpy as np
import pytest
import wfdb
from formats import GAIN, WRITERS
from scipy.signal import resample_poly

import heartlens as hl
from heartlens.signals.readers import read_recording
from heartlens.signals.simulate import ecg

UNITS = {"v4.mat": "", "v5.mat": "", "v73.mat": "", "a.parquet": "", "hl7.xml": "uV", "muse.xml": "uV"}  # where it is not mV


def beating(seconds=20):
    """A simulated ECG in two leads, in numbers of 5 uV."""
    signal, _ = ecg.simulate(np.random.default_rng(4), float(seconds))
    numbers = np.round(resample_poly(signal, 5, 1) * GAIN).astype(np.int64)
    return {"I": numbers, "II": np.roll(numbers, 77)}


@pytest.fixture(params=["simulated", "ludb", "mitdb"])
def leads(request):
    """Numbers of 5 uV by lead, and their rate."""
    if request.param == "simulated":
        return beating(), 500
    shared = request.getfixturevalue("shared")
    name, channels, rate_hz, n = {"ludb": ("ludb/1", [0, 1], 500, 5000), "mitdb": ("mitdb/100", [0, 1], 360, 7200)}[request.param]
    signal = wfdb.rdrecord(str(shared / "data" / name), channels=channels, sampto=n).p_signal
    return dict(zip(("I", "II"), np.round(signal.T * GAIN).astype(np.int64), strict=True)), rate_hz


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_format_gives_the_same_tokens(tmp_path, leads, name):
    (signals, rate_hz), path = leads, tmp_path / name
    WRITERS[name](path, signals, rate_hz)
    for lead in ("I", "II"):
        np.save(tmp_path / f"{lead}.npy", signals[lead] / GAIN)
        expected = hl.read(tmp_path / f"{lead}.npy", rate_hz=rate_hz, kind="ecg")
        windows = hl.read(path, lead=lead)
        np.testing.assert_array_equal(windows.tokens, expected.tokens)
        recording = read_recording(path, lead)
        scale = 1000 if recording.unit == "uV" else 1
        np.testing.assert_allclose(recording.signal, signals[lead] / GAIN * scale, rtol=1e-9, atol=1e-9)
        assert recording.rate_hz == pytest.approx(rate_hz)
        assert (recording.lead, recording.kind) == (lead, "ecg")
        assert recording.unit == {"v4.mat": "", "v5.mat": "", "v73.mat": "", "a.parquet": "", "hl7.xml": "uV", "muse.xml": "uV"}.get(
            name, "mV"
        )
        assert recording.person == ("P7" if name in ("a.ecg", "a.dcm", "hl7.xml", "muse.xml") else "")
    assert read_recording(path).lead == "I"
