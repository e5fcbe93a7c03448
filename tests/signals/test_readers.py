"""Each reader on files written here with known content, on damaged ones, and on real records."""

import hashlib
import re
import shutil

import numpy as np
import pytest
import wfdb

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording

SAMPLES = np.round(np.random.default_rng(0).normal(size=2000), 3)


def written(path, *lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(str(line) for line in lines))
    return path


def table(folder, header, *columns):
    return written(folder / "a.csv", header, *(",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)))


def record(folder, leads=("i", "ii"), rate_hz=250, n=2500, **options):
    signal = np.random.default_rng(1).normal(size=(n, len(leads)))
    wfdb.wrsamp("r", rate_hz, ["mV"] * len(leads), list(leads), signal, fmt=["16"] * len(leads), write_dir=str(folder), **options)
    return signal


def marked(folder, annotator, *marks):
    """Annotations (sample, symbol) beside the record."""
    samples, symbols = zip(*marks, strict=True)
    wfdb.wrann("r", "new", np.array(samples), list(symbols), write_dir=str(folder))
    (folder / "r.new").rename(folder / f"r.{annotator}")  # wfdb writes no q1c


@pytest.mark.parametrize("line_end", ["\n", ","])
def test_csv_column_or_row_without_header(tmp_path, line_end):
    path = written(tmp_path / "a.csv", line_end.join(map(str, SAMPLES)))
    recording = read_recording(path, rate_hz=100)
    assert (recording.signal == SAMPLES).all()
    assert (recording.rate_hz, recording.lead, recording.kind, recording.landmarks) == (100.0, "column 0", None, None)
    assert recording.name == f"{tmp_path.name}/a"
    assert recording.source == str(path)
    assert recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("header", "per_s", "said"),
    [
        ("Time [s], II", 1, ()),
        ("time_ms,II", 1000, ()),
        ("t,II", 1, ("seconds",)),
        ("Time,II", 1000, ("milliseconds",)),
        ("time (ms),II", 1000, ()),
    ],
)
def test_csv_time_column_tells_the_rate(tmp_path, header, per_s, said):
    recording = read_recording(table(tmp_path, header, np.arange(2000) / 125 * per_s, SAMPLES))
    assert recording.rate_hz == pytest.approx(125)
    assert (recording.signal == SAMPLES).all()
    assert recording.kind == "ecg"
    assert [word in note for word, note in zip(said, recording.notes, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(("rate_hz", "digits"), [(360, 3), (125, 2), (500, 3)])
def test_csv_rounded_times_are_even_times(tmp_path, rate_hz, digits):
    recording = read_recording(table(tmp_path, "time_s,II", np.round(np.arange(2000) / rate_hz, digits), SAMPLES))
    assert recording.rate_hz == pytest.approx(rate_hz, rel=1e-3)
    assert (recording.signal == SAMPLES).all()


def test_csv_uneven_times_are_interpolated_and_gaps_are_missing(tmp_path):
    time_s = np.arange(1000) / 30 + np.random.default_rng(3).uniform(-0.008, 0.008, 1000)
    time_s[600:] += 1.0
    recording = read_recording(table(tmp_path, "time [s],PPG", time_s, np.sin(time_s * 6)))
    assert recording.rate_hz == pytest.approx(30, rel=0.01)
    grid_s = time_s[0] + np.arange(len(recording.signal)) / recording.rate_hz
    gap = (grid_s > time_s[599] + 1e-6) & (grid_s < time_s[600] - 1e-6)
    assert (np.isnan(recording.signal) == gap).all()
    assert np.abs(recording.signal - np.sin(grid_s * 6))[~gap].max() < 0.01
    assert any("interpolated at 30" in note or "interpolated at 29" in note for note in recording.notes)


def test_csv_missing_samples_stay_in_their_place(tmp_path):
    path = written(tmp_path / "a.csv", "", "ppg", 1, "", 3, "-", 5, "nan", 7, "", "")
    assert read_recording(path, rate_hz=50).signal.tolist() == pytest.approx([1, np.nan, 3, np.nan, 5, np.nan, 7], nan_ok=True)


@pytest.mark.parametrize(
    ("header", "lead", "kind", "index", "note"),
    [
        ("RESP,II,I", None, None, 2, "lead I taken of RESP, II, I"),
        ("V,MLII", None, "ecg", 1, "lead MLII taken"),
        ("RESP,V5,II", "v5", None, 1, None),
        ("RESP, V5 ,II", 1, None, 1, None),
        ("RESP,V5,II", "2", None, 2, None),
        ("II,PLETH", None, "ppg", 1, "lead PLETH taken"),
        ("II,PLETH", None, None, 0, "lead II taken"),
        ("R,G,B", None, "ppg", 0, "lead R taken of R, G, B"),
        ("R;G", None, None, 0, None),
    ],
)
def test_the_lead(tmp_path, header, lead, kind, index, note):
    columns = np.random.default_rng(4).integers(0, 99, (10, header.count(",") + 1)).astype(float)
    path = table(tmp_path, header, *columns.T)
    recording = read_recording(path, lead, rate_hz=100, kind=kind)
    assert (recording.signal == columns[:, index]).all()
    assert note is None or recording.notes[0].startswith(note)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "a.csv: the file is empty"),
        ("\n\n", {}, "the file is empty"),
        ("I\n", {}, "no rows of numbers"),
        ("1\n2\nx\n", {}, "column 0 holds 'x', which is not a number"),
        ("hello\nworld\n", {}, "hello holds 'world'"),
        ("1\n2\n3\n", {"rate_hz": None}, "missing rate"),
        ("1\n2\n3\n", {"rate_hz": 0.0}, "the rate is 0 Hz"),
        ("1\n2\n3\n", {"rate_hz": -5.0}, "the rate is -5 Hz"),
        ("1\n2\n3\n", {"rate_hz": np.inf}, "the rate is inf Hz"),
        ("1\n2\n3\n", {"rate_hz": np.nan}, "the rate is nan Hz"),
        ("time [s],I\n0,1\n.01,2\n.02,3\n", {"rate_hz": 125.0}, "the file says 100 Hz, but 125 Hz was given"),
        ("time,I\n0,1\n2,2\n1,3\n", {}, "times in 'time' must ascend"),
        ("time,I\n0,1\n,2\n1,3\n", {}, "times in 'time' must ascend and none may be missing"),
        ("time,I\n1,1\n1,2\n1,3\n", {}, "most times are equal"),
        ("time\n1\n2\n", {}, "only a time column"),
        ("I,aVR\n1,2\n", {"lead": "aVL"}, "unknown lead 'aVL'; did you mean 'aVR'? legal: I, aVR"),
        ("I,aVR\n1,2\n", {"lead": 2}, "unknown lead '2'"),
        ("I,II\n1,2\n3,4,5\n", {}, "not a table of numbers"),
    ],
)
def test_csv_refusals(tmp_path, content, options, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(Refusal, match=message.replace("?", r"\?")):
        read_recording(path, **{"rate_hz": 100.0} | options)


def test_csv_that_is_not_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81" * 9)
    with pytest.raises(Refusal, match=r"not a text file"):
        read_recording(tmp_path / "a.csv", rate_hz=100)


@pytest.mark.parametrize("array", [SAMPLES, SAMPLES[:, None], SAMPLES[None], (SAMPLES * 1000).astype(np.int16), SAMPLES.astype(np.float32)])
def test_npy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    recording = read_recording(tmp_path / "a.npy", rate_hz=50, lead="PPG")
    assert (recording.signal == array.reshape(-1)).all()
    assert (recording.kind, recording.rate_hz) == ("ppg", 50.0)


def test_npz_gives_the_array_that_the_lead_names(tmp_path):
    np.savez(tmp_path / "a.npz", II=SAMPLES, V5=-SAMPLES)
    assert (read_recording(tmp_path / "a.npz", "v5", 100).signal == -SAMPLES).all()
    assert read_recording(tmp_path / "a.npz", None, 100).notes == ("lead II taken of II, V5",)


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


@pytest.mark.parametrize("given", ["r.hea", "r.dat", "r"])
def test_wfdb_by_header_signal_file_or_bare_name(tmp_path, given):
    signal = record(tmp_path)
    recording = read_recording(tmp_path / given)
    assert recording.signal == pytest.approx(signal[:, 0], abs=1e-3)
    assert (recording.lead, recording.unit, recording.rate_hz, recording.kind) == ("i", "mV", 250.0, "ecg")
    assert recording.name == f"{tmp_path.name}/r"
    assert recording.sha256 == hashlib.sha256((tmp_path / "r.dat").read_bytes()).hexdigest()
    assert recording.notes == ("lead i taken of i, ii",)


def test_wfdb_missing_samples_are_nan(tmp_path):
    signal = SAMPLES.copy()
    signal[100:110] = np.nan
    wfdb.wrsamp("r", 250, ["mV"], ["PLETH"], signal[:, None], fmt=["16"], write_dir=str(tmp_path))
    recording = read_recording(tmp_path / "r.hea")
    assert (np.isnan(recording.signal) == np.isnan(signal)).all()
    assert recording.kind == "ppg"


def test_wfdb_header_with_a_date_that_wfdb_cannot_parse(tmp_path):
    signal = record(tmp_path)
    header = (tmp_path / "r.hea").read_text().splitlines()
    (tmp_path / "r.hea").write_text("\n".join([header[0] + " 2014-05-08 05:05:15", *header[1:]]))
    assert read_recording(tmp_path / "r.hea").signal == pytest.approx(signal[:, 0], abs=1e-3)


def test_wfdb_damage_is_found_by_the_checksum(tmp_path):
    record(tmp_path)
    content = bytearray((tmp_path / "r.dat").read_bytes())
    content[1234] ^= 1
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(Refusal, match=r"r\.dat: damaged; the samples of ii do not add up to the checksum in r\.hea"):
        read_recording(tmp_path / "r.hea")


def test_wfdb_without_checksum_is_noted(tmp_path):
    record(tmp_path, leads=("i",))
    fields = (tmp_path / "r.hea").read_text().split("\n")
    line = fields[1].split()
    line[6] = "0"
    (tmp_path / "r.hea").write_text(f"{fields[0]}\n{' '.join(line)}\n")
    assert read_recording(tmp_path / "r.hea").notes == ("no checksum in the header: the samples could not be verified",)


def test_wfdb_refusals(tmp_path):
    record(tmp_path)
    with pytest.raises(Refusal, match="unknown lead 'iv'; did you mean"):
        read_recording(tmp_path / "r.hea", "iv")
    with pytest.raises(Refusal, match="the file says 250 Hz, but 360 Hz was given"):
        read_recording(tmp_path / "r.hea", rate_hz=360)
    content = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(content[:5000])
    with pytest.raises(Refusal, match=r"r\.hea: not a WFDB record that can be read"):
        read_recording(tmp_path / "r.hea")
    (tmp_path / "r.dat").unlink()
    with pytest.raises(Refusal, match=r"r\.dat: cannot be read \(No such file"):
        read_recording(tmp_path / "r.hea")
    for text in ("", "# nothing", "r 2 250 100"):
        (tmp_path / "r.hea").write_text(text)
        with pytest.raises(Refusal, match=r"r\.hea: not a WFDB header of signals"):
            read_recording(tmp_path / "r.hea")
    (tmp_path / "r.hea").write_text("r/2 1 250 100\na 50\nb 50\n")
    with pytest.raises(Refusal, match="several segments"):
        read_recording(tmp_path / "r.hea")


def test_files_that_no_reader_knows(tmp_path):
    with pytest.raises(Refusal, match="no such file or folder"):
        read_recording(tmp_path / "absent.csv")
    with pytest.raises(Refusal, match=r"no reader for \.txt; legal: \.csv, "):
        read_recording(written(tmp_path / "a.txt", 1))


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


def test_mitdb_bidmc_welltory_and_cinc2017(shared):
    data = shared / "data"
    assert read_recording(data / "mitdb/100.hea").lead == "MLII"
    bidmc = read_recording(data / "bidmc/bidmc_27_Signals.csv", "pleth", 125)
    assert (bidmc.rate_hz, len(bidmc.signal), bidmc.kind) == (125.0, 60001, "ppg")
    assert not np.isnan(bidmc.signal).any()
    welltory = read_recording(data / "welltory/subject_03/PPG.csv", kind="ppg")
    assert welltory.rate_hz == pytest.approx(30, abs=1)
    assert len(welltory.signal) / welltory.rate_hz == pytest.approx(73.984, abs=0.1)
    assert read_recording(data / "cinc2017/A00001.hea").signal[0] == pytest.approx(-0.127)


def test_a_run_before_an_unmarked_beat_ends_with_its_own_waves(tmp_path):
    record(tmp_path)
    marked(tmp_path, "i", *beats(250, P + Q + T, P + Q + T, P + Q + T, [], P + Q + T))
    marks = read_recording(tmp_path / "r.hea").landmarks
    assert marks.span_s == pytest.approx((0.78, 3.34))
    assert marks.peak_s.max() == pytest.approx(3.28)


@pytest.mark.parametrize("counted_as", [-2048, -(2**15)])
def test_both_ways_of_counting_a_missing_sample_in_the_checksum_are_accepted(tmp_path, counted_as):
    signal = SAMPLES[:, None].copy()
    signal[5:8] = np.nan
    wfdb.wrsamp("r", 250, ["mV"], ["i"], signal, fmt=["212"], write_dir=str(tmp_path))
    samples = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal[:, 0]
    checksum = int(samples[samples != -2048].sum() + 3 * counted_as) % 2**16
    record_line, line, *_ = (tmp_path / "r.hea").read_text().splitlines()
    fields = line.split()
    (tmp_path / "r.hea").write_text(f"{record_line}\n{' '.join([*fields[:6], str(checksum), *fields[7:]])}\n")
    assert np.isnan(read_recording(tmp_path / "r.hea").signal).sum() == 3
