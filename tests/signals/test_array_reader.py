"""NumPy files of one channel, and those that are not."""

import shutil

import numpy as np
import pytest
from recorded import SAMPLES

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording


@pytest.mark.parametrize("array", [SAMPLES, SAMPLES[:, None], SAMPLES[None], (SAMPLES * 1000).astype(np.int16), SAMPLES.astype(np.float32)])
def test_npy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    recording = read_recording(tmp_path / "a.npy", rate_hz=50, lead="PPG")
    assert (recording.signal == array.reshape(-1)).all()
    assert (recording.kind, recording.rate_hz) == ("ppg", 50.0)


def test_npz_gives_the_array_that_the_lead_names(tmp_path):
    np.savez(tmp_path / "a.npz", II=SAMPLES, V5=-SAMPLES)
    assert (read_recording(tmp_path / "a.npz", "v5", rate_hz=100).signal == -SAMPLES).all()
    assert read_recording(tmp_path / "a.npz", None, rate_hz=100).notes == ("lead II taken of II, V5",)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 9)), r"expected one signal, got an array of shape \(2, 9\)"),
        (np.zeros(0), "the file is empty"),
        (np.array(["a", "b"]), "not numbers"),
        (np.zeros(9, complex), "not numbers"),
        (np.array([{}]), "not a NumPy file of numbers"),
    ],
)
def test_npy_refusals(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(Refusal, match=message):
        read_recording(tmp_path / "a.npy", rate_hz=100)


def test_more_npy_refusals(tmp_path):
    np.save(tmp_path / "a.npy", SAMPLES)
    with pytest.raises(Refusal, match="missing rate"):
        read_recording(tmp_path / "a.npy")
    shutil.copy(tmp_path / "a.npy", tmp_path / "b.npz")
    with pytest.raises(Refusal, match=r"not a \.npz file"):
        read_recording(tmp_path / "b.npz", rate_hz=100)
    np.savez(tmp_path / "c.npz", I=SAMPLES)
    shutil.copy(tmp_path / "c.npz", tmp_path / "c.npy")
    with pytest.raises(Refusal, match=r"not a \.npy file"):
        read_recording(tmp_path / "c.npy", rate_hz=100)
    (tmp_path / "d.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    with pytest.raises(Refusal, match="not a NumPy file"):
        read_recording(tmp_path / "d.npy", rate_hz=100)
    np.savez(tmp_path / "e.npz")
    with pytest.raises(Refusal, match="the file is empty"):
        read_recording(tmp_path / "e.npz", rate_hz=100)


def test_a_long_npy_file_stays_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("heartlens.signals.readers.array.MAPPED", 1000)
    counts = np.arange(3000, dtype=np.int16)[:, None] % 700
    np.save(tmp_path / "a.npy", counts)
    recording = read_recording(tmp_path / "a.npy", rate_hz=100, kind="ecg")
    assert isinstance(recording.signal, np.memmap)
    assert (recording.samples(slice(100, 2000)) == counts[100:2000, 0]).all()
    assert recording.samples(slice(0, 1)).dtype == np.float64
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1000])
    with pytest.raises(Refusal, match=r"a\.npy: not a NumPy file of numbers"):
        read_recording(tmp_path / "a.npy", rate_hz=100, kind="ecg")
