"""A long recording read in pieces gives what it gives read whole: windows, tokens, labels and landmarks, over the seams too.

Only a beat that the recording's end cuts off may hang on the piece, as the detector's threshold still remembers a little of all before.
"""

from dataclasses import replace

import numpy as np
import pytest

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import pieces, windowing
from heartlens.signals.beats import at_rate
from heartlens.signals.delineate import delineate
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.pieces import MARGIN_S, pieces_of
from heartlens.signals.recording import Recording
from heartlens.signals.simulate import ecg, ppg
from heartlens.signals.windowing import Choice, windows_of
from heartlens.windows import concatenate

SIMULATE = {"ecg": ecg.simulate, "ppg": ppg.simulate}
WHOLE_S, SHORT_S = 1e9, 150.0
HOUR_S, HOUR_PIECE_S = 3600.0, 300.0


def recording(kind, signal, rate_hz=None, landmarks=None):
    return Recording("r", kind, "lead", rate_hz or KINDS[kind].rate_hz, signal, "", landmarks, "file", "0" * 8)


def read(monkeypatch, given, length_s, **choice):
    monkeypatch.setattr(pieces, "PIECE_S", length_s)
    return list(windows_of(given, given.kind, Choice(**choice)))


def same_but_for_the_last_bits(one, other):
    for name in ("tokens", "record", "wave", "segment"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("start_s", "low", "high", "position"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9)
    return (one.skipped, one.notes, one.sources) == (other.skipped, other.notes, other.sources)


@pytest.fixture(scope="module", params=[("ecg", "sinus"), ("ecg", "af"), ("ecg", "ectopy"), ("ppg", "sinus"), ("ppg", "af")], ids="-".join)
def hour(request):
    kind, rhythm = request.param
    return recording(kind, SIMULATE[kind](np.random.default_rng(5), HOUR_S if request.param == ("ecg", "sinus") else 600.0, rhythm)[0])


def piece_s(given):
    return HOUR_PIECE_S if len(given.signal) == HOUR_S * given.rate_hz else SHORT_S


def test_an_hour_in_pieces_is_the_hour_whole(hour, monkeypatch):
    whole, parts = concatenate(read(monkeypatch, hour, WHOLE_S)), read(monkeypatch, hour, piece_s(hour))
    assert len(parts) == len(hour.signal) / hour.rate_hz / piece_s(hour)
    together = concatenate(parts)
    assert same_but_for_the_last_bits(whole, together)
    length_s = CONTEXT / KINDS[hour.kind].rate_hz
    np.testing.assert_allclose(together.start_s, np.arange(len(hour.signal) / hour.rate_hz / length_s) * length_s)


def test_windows_chosen_from_all_pieces_are_those_chosen_from_the_whole(monkeypatch):
    given = recording("ecg", ecg.simulate(np.random.default_rng(1), 600.0)[0])
    together = concatenate(read(monkeypatch, given, 120.0))
    few = concatenate(read(monkeypatch, given, 120.0, max_windows=31))
    assert same_but_for_the_last_bits(
        few, replace(together[np.linspace(0, len(together) - 1, 31).round().astype(int)], skipped=few.skipped)
    )
    assert few.skipped == (("more than max_windows", len(together) - 31),)


def test_the_landmarks_of_the_pieces_are_those_of_the_whole(hour, monkeypatch):
    """Each mark within a sample of the detectors; most are equal, but what is a summit of two equal samples may hang on the last bit."""
    monkeypatch.setattr(pieces, "PIECE_S", piece_s(hour))
    stretch = slice(0, len(hour.signal))
    divided = pieces_of(stretch, hour.rate_hz, hour.kind, (0.0, len(hour.signal) / hour.rate_hz), "r", CONTEXT, 0)
    whole = delineate(hour.signal, hour.rate_hz, hour.kind)
    beats, marks, names = [], [], []
    for piece, landmarks, _ in windowing._detected_in(hour, hour.kind, divided, windowing.Lost()):
        start_s, (first_s, end_s) = piece.samples.start / hour.rate_hz, piece.own_s
        beats.append(landmarks.beat_s[(landmarks.beat_s >= first_s) & (landmarks.beat_s < end_s)] + start_s)
        own = (landmarks.peak_s >= first_s) & (landmarks.peak_s < end_s)
        marks.append(np.stack([landmarks.onset_s, landmarks.peak_s, landmarks.offset_s])[:, own] + start_s)
        names.append(landmarks.wave[own])
    np.testing.assert_allclose(np.concatenate(beats), whole.beat_s, atol=1e-9)
    assert (np.concatenate(names) == whole.wave).all()
    off_s = np.abs(np.concatenate(marks, axis=1) - [whole.onset_s, whole.peak_s, whole.offset_s])
    assert off_s.max() < 0.0041
    assert (off_s < 1e-9).mean() > 0.999


def test_no_window_is_lost_or_doubled_whatever_stride_rate_and_draw(monkeypatch):
    signal = ecg.simulate(np.random.default_rng(1), 250.0)[0]
    for rate_hz, choice in ((360.0, {"stride": 137}), (128.0, {"draw": 3}), (257.0, {}), (125.0, {"bandpass": True}), (100.7, {})):
        given = recording("ecg", at_rate(signal, 100.0, rate_hz), rate_hz)
        whole, parts = (concatenate(read(monkeypatch, given, length_s, **choice)) for length_s in (WHOLE_S, 80.0))
        np.testing.assert_allclose(parts.start_s, whole.start_s, atol=1e-9)
        assert (parts.tokens != whole.tokens).mean() < (1e-4 if "bandpass" in choice else 1e-12)
        assert (parts.wave != whole.wave).mean() < 1e-3


def test_parts_stay_small_however_many_windows_there_are(monkeypatch):
    given = recording("ecg", ecg.simulate(np.random.default_rng(1), 120.0)[0])
    parts = read(monkeypatch, given, WHOLE_S, stride=5)
    assert max(map(len, parts)) == windowing.MOST_AT_ONCE
    starts = concatenate(parts).start_s
    np.testing.assert_allclose(starts, np.arange(len(starts)) * 0.05)
    assert len(starts) == 2301


def test_an_experts_marks_are_used_in_every_piece(monkeypatch):
    signal, marks = ecg.simulate(np.random.default_rng(2), 500.0)
    given = recording("ecg", signal, landmarks=marks)
    whole, parts = (concatenate(read(monkeypatch, given, length_s, landmarks="expert")) for length_s in (WHOLE_S, 100.0))
    assert same_but_for_the_last_bits(whole, parts)
    assert whole.start_s[0] >= marks.span_s[0]


def test_noise_within_a_long_recording_costs_its_own_windows_only(monkeypatch):
    signal = ecg.simulate(np.random.default_rng(3), 1050.0)[0]
    noisy = signal.copy()
    noisy[45_000:60_000] = np.random.default_rng(4).normal(0, 0.3, 15_000)  # the fourth piece of seven
    clean, rest = (concatenate(read(monkeypatch, recording("ecg", each), SHORT_S)) for each in (signal, noisy))
    assert dict(rest.skipped) == {"noise": 30}
    kept = (clean.start_s < 440) | (clean.start_s >= 610)
    spared = (rest.start_s < 440) | (rest.start_s >= 610)
    assert (rest.wave[spared] == clean.wave[kept]).mean() > 0.999
    assert (np.diff(rest.start_s) > 5.1).sum() == 1


def test_a_recording_is_judged_as_one(monkeypatch):
    """Where a lead whose QRS points down is upright for a while, its QRS is still looked for below, as it is in the whole."""
    turned = -ecg.simulate(np.random.default_rng(6), 750.0)[0]
    turned[30_000:45_000] *= -1  # the third piece of five
    whole, parts = (concatenate(read(monkeypatch, recording("ecg", turned), length_s)) for length_s in (WHOLE_S, SHORT_S))
    assert (parts.start_s == whole.start_s).all()
    assert (parts.wave != whole.wave).mean() < 1e-3
    habits = windowing._habits(recording("ecg", turned), "ecg", pieces_of(slice(0, 75_000), 100.0, "ecg", (0.0, 750.0), "r", 500, 0))
    assert habits.qrs.points_down
    assert habits.p_sign == -1


def test_what_no_piece_can_use_is_refused(monkeypatch):
    noise = np.random.default_rng(0).normal(size=60_000)
    with pytest.raises(Refusal, match=r"file: no usable window \(no waves found: 120\); no beats found"):
        read(monkeypatch, recording("ecg", noise), SHORT_S, polarity="as-is")
    with pytest.raises(Refusal, match=r"file: no usable window \(noise: 120\)"):
        read(monkeypatch, recording("ecg", noise), SHORT_S)


def test_windows_come_while_the_rest_is_not_yet_read(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_S", SHORT_S)
    delineated = []

    def noticed(signal, rate_hz, kind, habits):
        delineated.append(len(signal))
        end_s = len(signal) / rate_hz
        beat_s = np.arange(0.5, end_s, 0.8)
        return Landmarks(kind, beat_s, np.array(["QRS"] * len(beat_s)), beat_s - 0.05, beat_s, beat_s + 0.05, (0.0, end_s), "test")

    monkeypatch.setattr(windowing, "landmarks_of", noticed)
    parts = windows_of(recording("ecg", ecg.simulate(np.random.default_rng(1), 1200.0)[0]), "ecg", Choice())
    next(parts)
    assert len(delineated) == 2
    assert max(delineated) <= (SHORT_S + 2 * MARGIN_S + 5) * 100
    assert [len(part) for part in parts] == [30] * 7


def test_a_signal_of_whole_numbers_is_read_as_such(monkeypatch):
    signal = ecg.simulate(np.random.default_rng(1), 60.0)[0]
    counts = np.round(1000 * signal).astype(np.int16)
    given = recording("ecg", counts)
    (windows,) = read(monkeypatch, given, WHOLE_S)
    (doubles,) = read(monkeypatch, replace(given, signal=counts.astype(float)), WHOLE_S)
    assert same_but_for_the_last_bits(windows, doubles)
