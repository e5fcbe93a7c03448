"""Experts' marks become landmarks: of files written here, and of real records."""

import re

import numpy as np
import pytest
import wfdb
from recorded import marked, record

import heartlens as hl
from heartlens.signals.landmarks import Landmarks, completed
from heartlens.signals.readers import read_recording
from heartlens.signals.readers.wfdb_marks import marks_in


def beats(first, *symbols):
    """The marks of heartbeats, one a second from sample `first` at 250 Hz, given as offsets in samples around the R peak."""
    return [(first + 250 * number + at, symbol) for number, beat in enumerate(symbols) for at, symbol in beat]


P, Q, T = [(-55, "("), (-45, "p"), (-35, ")")], [(-10, "("), (0, "N"), (12, ")")], [(50, "("), (70, "t"), (85, ")")]


def test_expert_marks_of_the_lead_become_landmarks(tmp_path):
    record(tmp_path, leads=("i", "ii"))
    marked(tmp_path, "ii", *beats(250, P + Q + T, P + Q + T, P + Q + T))
    marks = read_recording(tmp_path / "r.hea", "ii").landmarks
    assert marks.beat_s.tolist() == [1.0, 2.0, 3.0]
    assert marks.wave.tolist() == ["P", "QRS", "T"] * 3
    assert marks.onset_s[:3] == pytest.approx([0.78, 0.96, 1.2])
    assert marks.peak_s[:3] == pytest.approx([0.82, 1.0, 1.28])
    assert marks.offset_s[:3] == pytest.approx([0.86, 1.048, 1.34])
    assert marks.span_s == pytest.approx((0.78, 3.34))
    assert marks.source == "expert, annotator ii"
    assert read_recording(tmp_path / "r.hea", "i").landmarks is None


def test_brackets_of_a_neighbour_are_not_taken(tmp_path):
    record(tmp_path)
    no_onset = [mark for mark in T if mark[1] != "("]
    u_wave = [(100, "u"), (110, ")")]
    marked(tmp_path, "q1c", *beats(250, P + Q + T + u_wave, P + Q + no_onset + u_wave, P + Q + [(70, "t")] + u_wave, Q))
    marks = read_recording(tmp_path / "r.hea").landmarks
    t = marks.wave == "T"
    assert marks.onset_s[t] == pytest.approx([1.2, 2.2, 3.2])
    assert marks.offset_s[t] == pytest.approx([1.34, 2.34, 3.34])
    assert set(marks.wave) == {"P", "QRS", "T"}


def test_without_any_bracket_the_typical_width_is_taken(tmp_path):
    record(tmp_path)
    marked(tmp_path, "q1c", *beats(250, [(0, "N"), (70, "t")], [(0, "V"), (70, "t")]))
    marks = read_recording(tmp_path / "r.hea").landmarks
    assert marks.onset_s == pytest.approx([0.958, 1.182, 1.958, 2.182])
    assert marks.offset_s == pytest.approx([1.049, 1.356, 2.049, 2.356])


def test_a_biphasic_t_is_one_wave(tmp_path):
    record(tmp_path)
    marked(tmp_path, "i", *beats(250, [*Q, (50, "("), (60, "t"), (75, "t"), (85, ")")], Q))
    marks = read_recording(tmp_path / "r.hea").landmarks
    assert (marks.onset_s[1], marks.peak_s[1], marks.offset_s[1]) == pytest.approx((1.2, 1.24, 1.34))


def test_an_interval_too_long_for_the_record_limits_the_span(tmp_path):
    record(tmp_path)
    marked(tmp_path, "i", *beats(250, P + Q + T, P + Q + T, [], P + Q + T, P + Q + T, P + Q + T))
    recording = read_recording(tmp_path / "r.hea")
    assert recording.landmarks.beat_s.tolist() == [4.0, 5.0, 6.0]
    assert recording.landmarks.span_s == pytest.approx((3.78, 6.34))
    assert set(recording.landmarks.wave) == {"P", "QRS", "T"}
    assert len(recording.landmarks.wave) == 9
    assert "r: 3 of the expert's 5 beats used; elsewhere beats are unmarked" in recording.notes


def test_the_atr_beats_decide_where_there_are_some(tmp_path):
    record(tmp_path)
    marked(tmp_path, "q1c", *beats(250, Q, Q, [], Q, Q, Q))
    marked(tmp_path, "atr", *beats(253, *[[(0, "N")]] * 2, [], *[[(0, "N")]] * 3))
    assert len(read_recording(tmp_path / "r.hea").landmarks.beat_s) == 5
    marked(tmp_path, "atr", *sorted([*beats(253, *[[(0, "N")]] * 6), (1375, "V")]))
    assert read_recording(tmp_path / "r.hea").landmarks.beat_s.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("marks", "note"),
    [([(99999, "N"), (100200, "N")], r"the marks in r\.i cannot be read"), ([(9, "N")], r"the marks in r\.i hold 1 beats")],
)
def test_marks_that_cannot_be_used_are_noted(tmp_path, marks, note):
    record(tmp_path)
    marked(tmp_path, "i", *marks)
    recording = read_recording(tmp_path / "r.hea")
    assert recording.landmarks is None
    assert any(re.search(note, line) for line in recording.notes)


def test_ludb(shared):
    recording = read_recording(shared / "data/ludb/1.hea")
    assert (recording.name, recording.rate_hz, len(recording.signal), recording.unit) == ("ludb/1", 500.0, 5000, "mV")
    assert recording.signal[0] == pytest.approx((-120 - 6) / 1716)
    assert recording.landmarks.beat_s[0] == 664 / 500
    assert recording.landmarks.span_s == (641 / 500, 3996 / 500)
    assert [int((recording.landmarks.wave == wave).sum()) for wave in ("P", "QRS", "T")] == [5, 6, 5]


def test_every_ludb_lead_has_waves_in_order(shared):
    for header in sorted((shared / "data/ludb").glob("*.hea"))[::5]:
        marks = read_recording(header, "ii").landmarks
        assert (marks.onset_s <= marks.peak_s).all()
        assert (marks.peak_s <= marks.offset_s).all()
        assert (marks.offset_s - marks.onset_s < 0.5).all()


def test_qtdb_keeps_its_30_beats_and_sel221_only_a_run_without_unmarked_ones(shared):
    marks = read_recording(shared / "data/qtdb/sel100.hea").landmarks
    assert len(marks.beat_s) == 30
    assert marks.span_s == (601.088, 624.784)
    partial = read_recording(shared / "data/qtdb/sel221.hea").landmarks
    atr = wfdb.rdann(str(shared / "data/qtdb/sel221"), "atr").sample / 250
    inside = atr[(atr > partial.beat_s[0] - 0.1) & (atr < partial.beat_s[-1] + 0.1)]
    assert len(inside) == len(partial.beat_s) >= 10
    assert np.abs(inside - partial.beat_s).max() < 0.1


def test_a_run_before_an_unmarked_beat_ends_with_its_own_waves(tmp_path):
    record(tmp_path)
    marked(tmp_path, "i", *beats(250, P + Q + T, P + Q + T, P + Q + T, [], P + Q + T))
    marks = read_recording(tmp_path / "r.hea").landmarks
    assert marks.span_s == pytest.approx((0.78, 3.34))
    assert marks.peak_s.max() == pytest.approx(3.28)


@pytest.mark.parametrize("clock_hz", [125, 250, 1000, 3600])
def test_marks_with_a_clock_of_their_own(tmp_path, clock_hz):
    record(tmp_path)
    samples = np.array([1.0, 2.0, 3.0, 4.0]) * clock_hz
    wfdb.wrann("r", "new", samples.astype(int), ["N", "t", "N", "t"], fs=clock_hz, write_dir=str(tmp_path))
    (tmp_path / "r.new").rename(tmp_path / "r.i")
    marks = read_recording(tmp_path / "r.hea").landmarks
    assert marks.beat_s.tolist() == [1.0, 3.0]
    assert marks.peak_s.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_marks_count_frames_where_a_frame_has_several_samples(tmp_path):
    record(tmp_path)
    header = (tmp_path / "r.hea").read_text().replace("r 2 250 2500", "r 1 125 2500").replace("r.dat 16 ", "r.dat 16x2 ", 1)
    line, signal, *_ = header.splitlines()
    fields = signal.split()
    (tmp_path / "r.hea").write_text(f"{line}\n{' '.join([*fields[:6], '0', *fields[7:]])}\n")
    marked(tmp_path, "i", (125, "N"), (250, "N"))
    recording = read_recording(tmp_path / "r.hea")
    assert (recording.rate_hz, recording.landmarks.beat_s.tolist()) == (250, [1.0, 2.0])


def test_case_09_both_clocks_give_the_same_times(shared):
    fine, same = (
        read_recording(shared / f"cases/09-marks-with-own-time-resolution/qlong_{name}.hea").landmarks for name in ("fine", "same")
    )
    assert fine.beat_s[0] == 2.232
    assert 60 / np.median(np.diff(fine.beat_s)) == pytest.approx(75, abs=1)
    np.testing.assert_allclose(fine.peak_s, same.peak_s, atol=1e-9)
    np.testing.assert_array_equal(fine.beat_s, same.beat_s)


@pytest.mark.parametrize("annotator", ["i", "q1c"])
@pytest.mark.parametrize("brackets", [False, True])
def test_beats_alone_are_beats_alone_whatever_the_file_is_called(tmp_path, annotator, brackets):
    record(tmp_path)
    marked(tmp_path, annotator, *beats(250, *([Q if brackets else [(0, "N")]] * 5)))
    recording = read_recording(tmp_path / "r.hea")
    assert recording.landmarks.looked_at == ("QRS",)
    assert set(recording.landmarks.wave) == {"QRS"}
    assert f"r.{annotator} marks beats alone: P and T are the detector's, where it finds them" in recording.notes


def test_marks_without_any_p_wave_say_so(tmp_path):
    record(tmp_path)
    marked(tmp_path, "i", *beats(250, Q + T, Q + T, Q + T))
    recording = read_recording(tmp_path / "r.hea")
    assert recording.landmarks.looked_at is None
    assert "r.i marks no P wave: there is none in these windows" in recording.notes


def test_case_11_the_beats_are_the_experts_and_p_and_t_the_detectors(shared):
    folder = shared / "cases/11-beat-marks-named-like-the-lead"
    expert, detected = hl.read(folder / "f01.hea"), hl.read(folder / "f02.hea")
    assert any("expert, annotator ecg (beats); P and T:" in note for note in expert.notes)
    marked_s = wfdb.rdann(str(folder / "f01"), "ecg").sample / 360
    for window, start_s in enumerate(expert.start_s):
        own = marked_s[(marked_s > start_s + 0.1) & (marked_s < start_s + 4.9)]
        tokens = np.round((own - start_s) * 100).astype(int)
        assert (expert.wave[window, tokens] == 1).all()
    share = [[(windows.wave == wave).mean() for wave in (0, 2)] for windows in (expert, detected)]
    np.testing.assert_allclose(*share, atol=0.02)


def test_a_detectors_waves_are_kept_at_the_experts_beats_only():
    beats_alone = landmarks(["QRS"] * 3, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    found = [("P", 0.8), ("QRS", 1.02), ("T", 1.3), ("P", 1.35), ("QRS", 1.5), ("T", 1.7), ("P", 1.8), ("QRS", 2.0), ("T", 2.3), ("P", 2.8)]
    detected = landmarks([name for name, _ in found], [time for _, time in found], [1.02, 1.5, 2.0])
    both = completed(beats_alone, detected)
    assert both.beat_s.tolist() == [1.0, 2.0, 3.0]
    assert both.looked_at is None
    assert list(zip(both.wave, both.peak_s, strict=True)) == [
        ("P", 0.8), ("QRS", 1.0), ("T", 1.3), ("P", 1.8), ("QRS", 2.0), ("T", 2.3), ("QRS", 3.0)
    ]  # fmt: skip


def landmarks(names, peak_s, beat_s):
    peaks = np.array(peak_s)
    return Landmarks("ecg", np.array(beat_s), np.array(names), peaks - 0.04, peaks, peaks + 0.04, (0.0, 4.0), "test", ("QRS",))


def test_a_lead_whose_name_is_a_path_opens_no_file(tmp_path):
    (tmp_path / "a").mkdir()
    record(tmp_path / "a", leads=("../r.x",))
    assert read_recording(tmp_path / "a/r.hea").landmarks is None


def test_marks_are_read_as_wfdb_reads_them(shared):
    files = [path for path in sorted((shared / "data").glob("*db/*")) if path.suffix in (".atr", ".i", ".q1c", ".v3", ".avr")]
    assert len(files) > 100
    for file in files:
        marks, expected = marks_in(file), wfdb.rdann(str(file.with_suffix("")), file.suffix[1:])
        assert marks.sample.tolist() == expected.sample.tolist()
        assert "".join(marks.symbols) == "".join(expected.symbol)


@pytest.mark.parametrize("content", [b"", b"\0", b"\x01", b"abc", b"\x00\xec", b"\x00\xec\x00\x00", b"\xff\xff\x00"])
def test_what_is_no_file_of_marks_is_none(tmp_path, content):
    (tmp_path / "r.i").write_bytes(content)
    assert marks_in(tmp_path / "r.i") is None
