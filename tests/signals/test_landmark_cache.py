"""Landmarks kept on disk are those of the detectors, whatever happens to the disk."""

import os
import stat

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals import landmark_cache
from heartlens.signals.delineate import delineate, habits_of
from heartlens.signals.landmark_cache import landmarks_of
from heartlens.signals.read import read
from heartlens.signals.simulate import ecg, ppg

ECG = ecg.simulate(np.random.default_rng(0), 30.0)[0]
PPG = ppg.simulate(np.random.default_rng(0), 30.0)[0]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("HEARTLENS_NO_LANDMARK_CACHE")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/landmarks"


@pytest.fixture
def delineated(monkeypatch):
    """The signals that were delineated, not looked up."""
    signals = []

    def noticed(*given):
        signals.append(given)
        return delineate(*given)

    monkeypatch.setattr(landmark_cache, "delineate", noticed)
    return signals


def same(one, other):
    for name in ("beat_s", "wave", "onset_s", "peak_s", "offset_s"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    return (one.kind, one.span_s, one.source) == (other.kind, other.span_s, other.source)


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("signal", "rate_hz", "kind"), [(ECG, 100.0, "ecg"), (PPG, 50.0, "ppg")])
def test_what_is_kept_is_what_was_found(signal, rate_hz, kind, folder, delineated):
    true = delineate(signal, rate_hz, kind)
    assert all(same(landmarks_of(signal, rate_hz, kind), true) for _ in range(3))
    assert len(delineated) == 1
    assert [entry.stat().st_size < 4000 for entry in entries(folder)] == [True]


def test_another_signal_rate_kind_or_habit_is_another_entry(folder, delineated):
    other = ECG.copy()
    other[1500] += 1e-9
    habits = habits_of(ECG, 100.0, "ecg")
    asked = [(ECG, 100.0, "ecg"), (other, 100.0, "ecg"), (ECG, 100.5, "ecg"), (ECG, 100.0, "ecg", habits)]
    asked += [(ECG, 100.0, "ecg", habits._replace(p_sign=-1)), (PPG, 50.0, "ppg"), (PPG, 50.0, "ppg", habits_of(PPG, 50.0, "ppg"))]
    asked += [(PPG, 50.0, "ppg", asked[-1][3]._replace(pulse=asked[-1][3].pulse + 1e-12))]
    for _ in range(2):
        assert all(same(landmarks_of(*each), delineate(*each)) for each in asked)
    assert len(delineated) == len(entries(folder)) == len(asked)


def test_other_detectors_do_not_see_what_these_found(delineated, monkeypatch):
    landmarks_of(ECG, 100.0, "ecg")
    monkeypatch.setattr(landmark_cache, "detectors_version", lambda: "another")
    landmarks_of(ECG, 100.0, "ecg")
    assert len(delineated) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "one bit", "other content"])
def test_a_damaged_entry_is_made_anew(damage, folder, delineated):
    true = landmarks_of(ECG, 100.0, "ecg")
    (entry,) = entries(folder)
    content = bytearray(entry.read_bytes())
    content[700] ^= damage == "one bit"
    entry.write_bytes({"cut": content[:-100], "empty": b"", "one bit": content, "other content": b"text" * 50}[damage])
    assert same(landmarks_of(ECG, 100.0, "ecg"), true)
    assert same(landmarks_of(ECG, 100.0, "ecg"), true)
    assert len(delineated) == 2


@pytest.mark.parametrize("disk", ["read-only", "a file", "full"])
def test_where_nothing_can_be_kept_it_is_found_every_time(disk, folder, delineated, monkeypatch, tmp_path):
    if disk == "read-only":
        (tmp_path / "cache").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    elif disk == "a file":
        (tmp_path / "cache").write_text("")

    def no_space(content, path, **_):
        raise OSError(28, "No space left on device")

    if disk == "full" or (os.geteuid() == 0 and disk == "read-only"):  # root writes anywhere
        monkeypatch.setattr(landmark_cache, "write_whole", no_space)
    true = delineate(ECG, 100.0, "ecg")
    assert all(same(landmarks_of(ECG, 100.0, "ecg"), true) for _ in range(2))
    assert len(delineated) == 2


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    monkeypatch.setattr(landmark_cache, "N_FOLDERS", 1)
    signals = [ECG + level for level in range(6)]
    for number, signal in enumerate(signals[:4]):
        landmarks_of(signal, 100.0, "ecg")
        newest = max(entries(folder), key=lambda entry: entry.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    first = min(entries(folder), key=lambda entry: entry.stat().st_mtime)
    second = sorted(entries(folder), key=lambda entry: entry.stat().st_mtime)[1]
    monkeypatch.setattr(landmark_cache, "MOST_BYTES", sum(entry.stat().st_size for entry in entries(folder)) + 500)
    landmarks_of(signals[0], 100.0, "ecg")  # used again
    landmarks_of(signals[4], 100.0, "ecg")
    assert first.exists()
    assert not second.exists()
    landmarks_of(signals[5], 100.0, "ecg")
    assert sum(entry.stat().st_size for entry in entries(folder)) <= landmark_cache.MOST_BYTES


def test_it_can_be_switched_off(folder, delineated, monkeypatch):
    monkeypatch.setenv("HEARTLENS_NO_LANDMARK_CACHE", "1")
    for _ in range(2):
        landmarks_of(ECG, 100.0, "ecg")
    assert len(delineated) == 2
    assert not folder.exists()


def test_a_refusal_is_the_same_the_second_time(folder):
    for _ in range(2):
        with pytest.raises(Refusal, match="no beats found"):
            landmarks_of(np.random.default_rng(0).normal(size=3000), 100.0, "ecg")
    assert not folder.exists()


def test_reading_again_gives_the_same_windows(folder, delineated, tmp_path):
    np.save(tmp_path / "a.npy", ECG)
    first, second = (read(tmp_path / "a.npy", rate_hz=100, kind="ecg") for _ in range(2))
    assert len(delineated) == 1
    assert (first.wave == second.wave).all()
    np.testing.assert_array_equal(first.position, second.position)
    assert (first.notes, first.sources) == (second.notes, second.sources)
