"""Missing samples: which values stand for one, which gaps are bridged. The values are chosen here; the case is a public recording's."""

import numpy as np
import pytest

from heartlens.signals.hidden_beats import with_hidden_beats
from heartlens.signals.hints import Hints
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.missing import bridged, hinted, without_codes, without_gaps
from heartlens.signals.read import read
from heartlens.signals.recording import Recording
from heartlens.signals.simulate import ecg, ppg

RATE_HZ = 100.0
ECG = ecg.simulate(np.random.default_rng(0), 30.0)[0]
PULSES = 100_000 + np.round(2000 * ppg.simulate(np.random.default_rng(0), 60.0)[0])
LOST = slice(1000, 1012)


def with_lost(signal, value):
    signal = np.array(signal, float)
    signal[LOST] = value
    return signal


@pytest.mark.parametrize(
    ("signal", "value"),
    [(ECG, -32768), (1000 * ECG, -32768), (ECG, 32767), (ECG, -999), (ECG, -9999), (PULSES, 0), (PULSES, -1e5 + 1), (PULSES, 65535)],
)
def test_the_usual_codes_are_known_and_said(signal, value):
    value = -99999.0 if value == -1e5 + 1 else value
    signal = with_lost(signal, value)
    cleaned, notes = without_codes(signal, RATE_HZ)
    assert np.flatnonzero(np.isnan(cleaned)).tolist() == list(range(1000, 1012))
    assert notes == (f"12 samples of {value:.10g} are taken as missing",)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_codes_of_every_type_of_number(dtype):
    cleaned, _ = without_codes(with_lost(1000 * ECG, -32768).astype(dtype), RATE_HZ)
    assert np.isnan(cleaned).sum() == 12


def test_zeros_that_the_signal_jumps_into_are_missing():
    shifted = ECG + 0.7 * np.ptp(ECG)  # now never 0
    cleaned, notes = without_codes(with_lost(shifted, 0.0), RATE_HZ)
    assert np.flatnonzero(np.isnan(cleaned)).tolist() == list(range(1000, 1012))
    assert notes[0].startswith("12 samples of 0")


@pytest.mark.parametrize(
    "signal",
    [
        ECG,
        np.round(20 * ECG) / 20,  # a coarse converter: many samples are exactly 0
        np.clip(ECG, 0, None),  # a rail at 0, reached step by step
        np.clip(32767 + 30_000 * (ECG - ECG.max() + 0.1), None, 32767),  # a rail at the highest number
        np.maximum(0, np.sin(np.arange(3000) / 10)) ** 4,  # waves on a baseline of 0
        np.zeros(3000),
        np.full(3000, -32768.0),
        with_lost(-500 + 2000 * ECG, -999),  # within the signal's own range
        np.where(np.arange(3000) == 1500, -32768.0, ECG),  # once only: a spike
    ],
)
def test_what_belongs_to_the_signal_stays(signal):
    cleaned, notes = without_codes(signal, RATE_HZ)
    assert cleaned is signal
    assert notes == ()


def test_given_values_are_missing_too():
    cleaned, notes = without_codes(with_lost(ECG, 7.5), RATE_HZ, (7.5, 99.0))
    assert np.isnan(cleaned).sum() == 12
    assert notes == ("12 samples of 7.5 are taken as missing",)


def test_short_gaps_are_bridged_by_lines_and_long_ones_stay():
    signal = np.arange(3000.0)
    signal[[0, 1]] = np.nan  # at the beginning: there is nothing to draw a line from
    signal[500:520] = np.nan  # 0.2 s
    signal[1000:1021] = np.nan  # 0.21 s
    signal[2000] = np.nan
    filled, gaps = without_gaps(signal, RATE_HZ)
    assert np.flatnonzero(np.isnan(filled)).tolist() == [0, 1, *range(1000, 1021)]
    assert np.nanmax(np.abs(filled - np.arange(3000.0))) < 1e-9
    assert gaps == ((500, 520), (2000, 2001))
    recording = bridged(Recording("r", "ecg", "ii", RATE_HZ, signal, "", None, "file", "", ("read",)))
    assert recording.notes == ("read", "2 gaps of up to 0.2 s bridged by straight lines (21 of 3000 samples)")


def test_where_much_is_missing_nothing_is_made_up():
    signal = ECG.copy()
    signal[1000:1500][np.arange(500) % 30 < 15] = np.nan
    filled, _ = without_gaps(signal, RATE_HZ)
    assert np.isnan(filled[1200:1300]).sum() == np.isnan(signal[1200:1300]).sum() > 0


def test_a_signal_without_gaps_is_the_same_array():
    filled, gaps = without_gaps(ECG, RATE_HZ)
    assert filled is ECG
    assert gaps == ()


def test_turning_is_said_and_works_for_the_lowest_number():
    recording = Recording("r", "ecg", "ii", RATE_HZ, np.array([-32768, 5, 7, -32767], np.int16), "", None, "file", "")
    turned = hinted(recording, Hints(polarity="invert"))
    assert turned.signal.tolist() == [32768, -5, -7, 32767]
    assert turned.notes == ("turned upside down (--invert)",)


def test_coded_and_blank_gaps_are_read_alike(shared):
    folder = shared / "cases/06-coded-missing-samples-and-spikes"
    coded, blank = (read(folder / name, rate_hz=250) for name in ("ecg_minus32768_0.1s_each_5s.csv", "ecg_same_gaps_as_blank.csv"))
    assert len(coded) == len(blank) == 12
    assert (coded.tokens == blank.tokens).all()
    assert "300 samples of -32768 are taken as missing" in coded.notes
    assert "12 gaps of up to 0.2 s bridged by straight lines (300 of 15000 samples)" in coded.notes
    assert coded.skipped == blank.skipped == ()
    assert np.nanmax(coded.position) // 1 + 1 == 74  # one of them in a gap
    assert "beats taken to lie in bridged gaps: 1" in coded.notes
    given = read(folder / "ecg_minus32768_0.1s_each_5s.csv", rate_hz=250, missing=(-32768.0,))
    assert (given.tokens == blank.tokens).all()


def test_a_beat_in_a_gap_is_marked_only_where_it_is_due_and_no_wave_is():
    beat_s = np.delete(np.arange(0.5, 20, 0.8), [5, 12])
    names = np.array(["QRS"] * len(beat_s))
    landmarks = Landmarks("ecg", beat_s, names, beat_s - 0.05, beat_s, beat_s + 0.05, (0.0, 20.0), "test")
    gaps = ((1445, 1455), (1200, 1210))  # in a piece from 10 s on: at 4.45 s, where the sixth beat is due; and at 2 s, where none is lost
    found, n_hidden = with_hidden_beats(landmarks, gaps, 1000, 100.0)
    assert n_hidden == 1
    assert np.setdiff1d(found.beat_s, beat_s) == pytest.approx([4.5])
    assert len(found.wave) == len(beat_s)
    assert with_hidden_beats(landmarks, (), 1000, 100.0) == (landmarks, 0)


def test_lost_frames_are_bridged(shared):
    windows = read(shared / "cases/19-phone-camera-timestamps/three_lost_each_3s.csv")
    assert len(windows) == 6
    assert any(note.startswith("20 gaps of up to 0.2 s bridged") for note in windows.notes)
