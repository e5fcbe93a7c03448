"""The same recording is known at another rate or gain and in parts; others, however alike, are not taken for it."""

import numpy as np
import pytest
from scipy.signal import resample_poly

import heartlens as hl
from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording
from heartlens.signals.sameness import Known, sketch_of
from heartlens.signals.search import find
from heartlens.signals.simulate import ecg, ppg


def beating(number, seconds=30.0, kind=ecg):
    signal, _ = kind.simulate(np.random.default_rng(number), seconds)
    return signal


def shared(signal, rate_hz, other, other_hz):
    known = Known()
    known.add("first", sketch_of(signal, rate_hz))
    return known.shared_with(sketch_of(other, other_hz))


def upsampled(number, factor=5):
    return resample_poly(beating(number), factor, 1)


CHANGES = {
    "another rate": lambda signal: (resample_poly(signal, 18, 25), 360.0),
    "half the rate": lambda signal: (resample_poly(signal, 1, 2), 250.0),
    "a gain and an offset": lambda signal: (signal * 1000 - 77, 500.0),
    "whole numbers": lambda signal: (np.round(signal * 200), 500.0),
    "single precision": lambda signal: (signal.astype(np.float32), 500.0),
    "its end": lambda signal: (signal[9123:], 500.0),
    "its middle, at another rate": lambda signal: (resample_poly(signal[3001:9001], 1, 4), 125.0),
    "a gap inside": lambda signal: (np.insert(signal, 7000, np.full(5000, np.nan)), 500.0),
    "another baseline": lambda signal: (signal + 0.2 * np.sin(np.arange(len(signal)) / 2000), 500.0),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_is_the_same(change):
    signal = upsampled(1)
    (found,) = shared(signal, 500.0, *CHANGES[change](signal))
    assert found.share > 0.9


def test_what_two_recordings_have_in_common_is_measured():
    signal = upsampled(2)
    (found,) = shared(signal[:10000], 500.0, signal[6000:], 500.0)
    assert found.seconds == pytest.approx(8, abs=0.01)
    assert found.share == pytest.approx(8 / 18, abs=0.01)


@pytest.mark.parametrize("kind", [ecg, ppg])
def test_other_hearts_are_others(kind):
    known, rate_hz = Known(), 100.0 if kind is ecg else 50.0
    for number in range(40):
        sketch = sketch_of(beating(number, 20.0, kind), rate_hz)
        assert known.shared_with(sketch) == []
        known.add(str(number), sketch)


@pytest.mark.parametrize("signal", [np.zeros(5000), np.full(5000, np.nan), np.empty(0), np.arange(3.0), np.arange(5000.0)])
def test_what_has_no_beats_has_no_places(signal):
    sketch = sketch_of(signal, 500.0)
    assert shared(signal, 500.0, signal, 500.0) == []
    assert sketch.length_s == len(signal) / 500


def test_no_two_recordings_of_the_corpora_are_taken_for_one_but_those_that_are(shared_looks):
    known, pairs = Known(), []
    for name, sketch in shared_looks:
        pairs += [(name, other.name, round(other.share, 2)) for other in known.shared_with(sketch)]
        known.add(name, sketch)
    # sel100 was cut from MIT-BIH 100, and the two of the challenge overlap: their samples correlate by 0.999998 and more
    assert pairs == [("qtdb/sel100", "mitdb/100", 1.0), ("cinc2015/a558s", "cinc2015/a556s", 0.37)]


@pytest.fixture
def shared_looks(request):
    data = request.getfixturevalue("shared") / "data"
    hints = {"bidmc": {"rate_hz": 125, "lead": "pleth"}, "cinc2015": {"rate_hz": 250, "lead": "II"}, "ppgbp": {}, "welltory": {}}
    looks = []
    for corpus in ("ludb", "mitdb", "qtdb", "bidmc", "cinc2015", "cinc2017", "ppgbp", "welltory"):
        for file in find(data / corpus):
            try:
                recording = read_recording(file.path, **hints.get(corpus, {}))
            except Refusal:
                continue
            if len(recording.signal) > 1000 and not file.path.stem.endswith("derived_beats"):
                looks.append((recording.name, sketch_of(recording.signal, recording.rate_hz)))
    return looks


def test_case_12_one_recording_in_segments_and_whole_counts_once(shared):
    folder = shared / "cases"
    windows = hl.read([folder / "12-one-recording-in-segments", folder / "12-one-recording-in-segments-whole"])
    assert len(windows.records) == 1
    assert any("left out, the same recording under another name" in note for note in windows.notes)


def test_of_a_recording_and_its_parts_the_whole_stays(tmp_path):
    signal = upsampled(3)
    np.save(tmp_path / "a_part.npy", signal[2000:9000])
    np.save(tmp_path / "b_part.npy", signal[8000:] * 3)
    np.save(tmp_path / "whole.npy", signal)
    windows = hl.read(tmp_path, rate_hz=500, kind="ecg")
    assert windows.records == [f"{tmp_path.name}/whole"]
