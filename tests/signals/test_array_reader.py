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


def test_a_rate_that_the_archive_names(tmp_path):
    np.savez(tmp_path / "a.npz", ecg_mV=SAMPLES, fs=np.array(250))
    recording = read_recording(tmp_path / "a.npz")
    assert (recording.rate_hz, recording.lead, recording.unit, recording.kind) == (250.0, "ecg_mV", "mV", "ecg")
    assert read_recording(tmp_path / "a.npz", rate_hz=500).rate_hz == 500


def test_claims_of_more_than_there_is(tmp_path):
    np.save(tmp_path / "a.npy", SAMPLES)
    content = (tmp_path / "a.npy").read_bytes()
    for shape in (b"(99999999999999,)", b"(-5,), "):
        (tmp_path / "b.npy").write_bytes(content.replace(b"(2000,)", shape).replace(b" " * (len(shape) - 7), b"", 1))
        with pytest.raises(Refusal, match="not a NumPy file of numbers"):
            read_recording(tmp_path / "b.npy", rate_hz=100)
    np.savez_compressed(tmp_path / "bomb.npz", ecg=np.zeros(2**24))
    with pytest.raises(Refusal, match=r"unpacks to 128 MB from 0\.1\d MB; save it as \.npy"):
        read_recording(tmp_path / "bomb.npz", rate_hz=100)


def test_mutated_files_are_read_or_refused(tmp_path):
    """Every byte of the headers changed, and cuts: nothing but refusals."""
    np.save(tmp_path / "a.npy", SAMPLES[:20])
    np.savez_compressed(tmp_path / "a.npz", II=SAMPLES[:20])
    draw = np.random.default_rng(11)
    for name in ("a.npy", "a.npz"):
        content = (tmp_path / name).read_bytes()
        for _ in range(300):
            mutated = bytearray(content)
            for place in draw.integers(0, len(mutated), draw.integers(1, 4)):
                mutated[place] = draw.integers(0, 256)
            changed = tmp_path / f"m{name}"
            changed.write_bytes(bytes(mutated[: draw.integers(1, len(mutated) + 1)] if draw.random() < 0.2 else mutated))
            try:
                read_recording(changed, "II" if name == "a.npz" else None, rate_hz=100)
            except Refusal as refusal:
                told = str(refusal)
            else:
                told = ""
            assert "\n" not in told
