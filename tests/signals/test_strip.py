"""A recording as a strip: its windows are those of the tasks and of `read`, its skipped times are the bad ones, no peak is lost."""

import argparse

import numpy as np
import pytest

from heartlens.signals.files import Files
from heartlens.signals.read import read
from heartlens.signals.simulate.recording import simulated_csv
from heartlens.signals.strip import strip_of
from heartlens.tasks.recordings import recordings_of, window_of


def written(tmp_path, text, name="one.csv"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def strip(path, kind, **hints):
    files = Files((path,), kind=kind, **hints)
    return strip_of(files.recording(files.names()[0]), kind)


def test_a_window_has_the_tokens_of_the_tasks_and_the_waves_of_read(tmp_path):
    path = written(tmp_path, simulated_csv("ecg", "ectopy", seed=2, duration_s=30))
    own, windows = strip(path, "ecg"), read(path, kind="ecg")
    (prepared,) = recordings_of(Files((path,), kind="ecg"), "ecg")
    for place, start_s in enumerate(windows.start_s):
        window = own.window_at(float(start_s))
        task = window_of(prepared, "ecg", argparse.Namespace(at=float(start_s), window=None))
        assert np.array_equal(window.tokens[0], task.tokens)
        assert np.array_equal(window.wave[0], windows.wave[place])
        assert np.allclose(window.position[0], windows.position[place], equal_nan=True)
        assert np.array_equal(own.samples_at(float(start_s)), task.samples)


def test_real_records_give_the_windows_of_read(shared):
    path = str(shared / "data/ludb/1.hea")
    own, windows = strip(path, "ecg"), read(path, kind="ecg")
    window = own.window_at(float(windows.start_s[0]))
    assert np.array_equal(window.wave[0], windows.wave[0])
    assert "expert" in own.marked_by


def test_what_is_skipped_is_where_the_signal_is_missing(tmp_path):
    lines = simulated_csv("ecg", duration_s=30).splitlines()
    for number in range(1201, 1801):  # 12 to 18 s
        lines[number] = lines[number].split(",")[0] + ","
    own = strip(written(tmp_path, "\n".join(lines)), "ecg")
    assert [(first, last) for first, last, _ in own.skipped] == [(pytest.approx(12, abs=0.02), pytest.approx(18, abs=0.02))]
    assert own.skipped[0][2] == "missing samples"
    assert own.nearest_start_s(13.0) == pytest.approx(18, abs=0.02) or own.nearest_start_s(13.0) == pytest.approx(7, abs=0.02)
    with pytest.raises(ValueError, match="a window cannot begin at 10 s"):
        own.window_at(10.0)


def test_the_overview_holds_every_peak(tmp_path):
    own = strip(written(tmp_path, simulated_csv("ppg", duration_s=60)), "ppg")
    least, largest = own.overview(0, own.duration_s, 13)
    parts = [own.raw[round(place * len(own.raw) / 13) : round((place + 1) * len(own.raw) / 13)] for place in range(13)]
    assert largest == pytest.approx([part.max() for part in parts])
    assert least == pytest.approx([part.min() for part in parts])


def test_another_kind_is_refused(tmp_path):
    files = Files((written(tmp_path, simulated_csv("ecg", duration_s=10)),), kind="ecg")
    with pytest.raises(ValueError, match="is ECG, and this model reads PPG"):
        strip_of(files.recording(files.names()[0]), "ppg")


def test_beats_are_those_of_the_landmarks(tmp_path):
    own = strip(written(tmp_path, simulated_csv("ecg", duration_s=20)), "ecg")
    beats = own.beats_s()
    assert np.all(np.diff(beats) > 0.3)
    at_peaks = [own.raw[max(round(beat * 100) - 3, 0) : round(beat * 100) + 4].max() for beat in beats]
    assert min(at_peaks) > 0.5 * own.raw.max()
