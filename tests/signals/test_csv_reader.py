"""Columns and rows of text, with and without header, time and lead; files that are damaged; files of no reader."""

import hashlib

import numpy as np
import pytest
from recorded import SAMPLES, table, written

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording
from heartlens.signals.readers.csv import body
from heartlens.signals.readers.csv.layout import layout_of


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
        ("Time [s], II", 1, "times of 'Time [s]' in s"),
        ("time_ms,II", 1000, "times of 'time_ms' in ms"),
        ("t,II", 1, "times of 't' taken for seconds (their usual step is 0.008)"),
        ("Time,II", 1000, "times of 'Time' taken for milliseconds (their usual step is 8)"),
        ("time (ms),II", 1000, "times of 'time (ms)' in ms"),
    ],
)
def test_csv_time_column_tells_the_rate(tmp_path, header, per_s, said):
    recording = read_recording(table(tmp_path, header, np.arange(2000) / 125 * per_s, SAMPLES))
    assert recording.rate_hz == pytest.approx(125)
    assert (recording.signal == SAMPLES).all()
    assert recording.kind == "ecg"
    assert recording.notes == (f"{said}; names in line 1",)


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
    ("content", "options", "message"),
    [
        ("", {}, "a.csv: the file is empty"),
        ("\n\n", {}, "the file is empty"),
        ("I\n", {}, "no rows of numbers"),
        ("1\n2\nx\n", {}, "column 0 holds 'x' in line 3, which is not a number"),
        ("hello\nworld\n", {}, "hello holds 'world'"),
        ("1\n2\n3\n", {"rate_hz": None}, "missing rate"),
        ("1\n2\n3\n", {"rate_hz": 0.0}, "the rate is 0 Hz"),
        ("1\n2\n3\n", {"rate_hz": -5.0}, "the rate is -5 Hz"),
        ("1\n2\n3\n", {"rate_hz": np.inf}, "the rate is inf Hz"),
        ("1\n2\n3\n", {"rate_hz": np.nan}, "the rate is nan Hz"),
        ("time,I\n1,1\n1,2\n1,3\n", {"rate_hz": None}, "missing rate"),
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
    with pytest.raises(Refusal, match=r"no rows of numbers|not a text file"):
        read_recording(tmp_path / "a.csv", rate_hz=100)


def test_files_that_no_reader_knows(tmp_path):
    with pytest.raises(Refusal, match="no such file or folder"):
        read_recording(tmp_path / "absent.csv")
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    with pytest.raises(Refusal, match=r"no reader for \.bin; legal: \.csv, "):
        read_recording(tmp_path / "a.bin")


@pytest.mark.parametrize("name", ["a.txt", "a.TSV", "a.dat", "a.asc", "a"])
def test_tables_of_other_suffixes(tmp_path, name):
    path = written(tmp_path / name, "time [s]\tII", *(f"{number / 100:.2f}\t{value}" for number, value in enumerate(SAMPLES)))
    assert (read_recording(path).signal == SAMPLES).all()


PLAIN = ["1,2\n3,4\n", "1.5,-2e3\r\n.5,+4.\r\n", "7\n8\n9\n", "0.1;2\n1e-300;0.30000000000000004\n", "1\t2\n3\t4"]
NOT_PLAIN = [
    "1,2\n3,\n",
    "1,2\n\n3,4\n",
    "1,2\n3,nan\n",
    "1, 2\n3, 4\n",
    "1,2\n3\n",
    "1,2\n3,1e999\n",
    "1,9007199254740993\n3,4\n",
    '1,"2"\n3,4\n',
]


@pytest.mark.parametrize("text", PLAIN + NOT_PLAIN)
def test_a_small_table_of_numbers_alone_is_read_without_pandas_and_alike(tmp_path, monkeypatch, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    layout = layout_of(path)
    wanted = {index: lambda values, first_line: values for index in range(len(layout.names))}
    assert (body._plain_numbers(path, layout) is not None) == (text in PLAIN)
    columns, notes = body.columns_in(path, layout, wanted)
    monkeypatch.setattr(body, "SMALL", 0)
    by_pandas, same_notes = body.columns_in(path, layout, wanted)
    assert notes == same_notes
    for index in wanted:
        assert columns[index].tolist() == by_pandas[index].tolist() or np.array_equal(columns[index], by_pandas[index], equal_nan=True)
