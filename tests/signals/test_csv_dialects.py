"""A signal written in any dialect is read back identically, or refused; never differently. And dialects of devices and programs."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording

SIGNAL = np.round(np.random.default_rng(7).normal(-0.2, 0.5, 300), 4)

PREAMBLES = {
    "none": [],
    "rate": ["Sample Rate,125 Hz"],
    "words": ["Recorded by a device", "Name,A Person", ""],
    "comments": ["# made by hand", "# Sampling frequency: 125"],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    delimiter=st.sampled_from([",", ";", "\t", "|", " "]),
    decimal=st.sampled_from([".", ","]),
    header=st.sampled_from(["names", "units in names", "units row", "quoted", "none"]),
    preamble=st.sampled_from(sorted(PREAMBLES)),
    time=st.sampled_from(["none", "s", "ms", "us", "ns", "epoch s", "epoch ms", "iso", "clock", "two columns"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    digits=st.sampled_from([1, 3, 4]),
    has_index=st.booleans(),
)
def test_a_table_in_any_dialect_is_read_back_identically(
    tmp_path, delimiter, decimal, header, preamble, time, encoding, line_end, digits, has_index
):
    assume(not (decimal == "," == delimiter))
    assume(not (header == "units row" and time in ("none", "iso", "clock")))
    signal = np.round(SIGNAL, digits)
    seconds = np.arange(len(signal)) / 125
    times = {
        "none": [],
        "s": [[f"{t:.3f}" for t in seconds]],
        "ms": [[f"{t * 1e3:.0f}" for t in seconds]],
        "us": [[f"{t * 1e6:.0f}" for t in seconds]],
        "ns": [[f"{t * 1e9:.0f}" for t in seconds]],
        "epoch s": [[f"{1700000000 + t:.3f}" for t in seconds]],
        "epoch ms": [[f"{1700000000000 + t * 1e3:.0f}" for t in seconds]],
        "iso": [[f"2024-03-09T23:59:{59 + t:06.3f}" if t < 1 else f"2024-03-10T00:00:{t - 1:06.3f}" for t in seconds]],
        "clock": [[f"23:59:{59 + t:06.3f}" if t < 1 else f"00:00:{t - 1:06.3f}" for t in seconds]],
        "two columns": [[f"{t:.3f}" for t in seconds], [f"{1700000000000 + t * 1e3:.0f}" for t in seconds]],
    }[time]
    is_text = time in ("iso", "clock")
    assume(not (is_text and decimal == ","))
    names, units = (
        ["time", "stamp time"][: len(times)],
        {"s": "s", "ms": "ms", "us": "us", "ns": "ns", "epoch s": "s", "epoch ms": "ms", "two columns": "s"}.get(time, ""),
    )
    columns = [*times, [f"{value:.{digits}f}" for value in signal]]
    names = [*names, "ECG"]
    if header == "units in names":
        names = [*(f"{name} ({units})" if units and not place else name for place, name in enumerate(names[:-1])), "ECG (\u00b5V)"]
    if has_index:
        columns, names = [[str(row) for row in range(len(signal))], *columns], ["", *names]
    rows = list(zip(*columns, strict=True))
    lines = [delimiter.join(field.replace(".", decimal) if not is_text else field for field in row) for row in rows]
    above = list(PREAMBLES[preamble])
    if header == "quoted":
        above.append(delimiter.join(f'"{name}"' for name in names))
    elif header != "none":
        above.append(delimiter.join(names))
    if header == "units row":
        above.append(delimiter.join([""] * has_index + [units or "s"] + ["ms"] * (len(times) - 1) + ["mV"]))
    path = tmp_path / "a.csv"
    path.write_bytes((line_end.join([*above, *lines]) + line_end).encode(encoding))
    try:
        recording = read_recording(path, rate_hz=125 if time == "none" else None, kind="ecg")
    except Refusal as refusal:
        told = str(refusal)
        recording = None
    if recording is None:  # blanks in names cannot be told from blanks between them
        assert told.isprintable()
        assert header == "none" or delimiter == " ", told
        return
    assert recording.rate_hz == pytest.approx(125, rel=1e-6)
    assert recording.signal.tolist() == signal.tolist()
    if header == "units in names":
        assert recording.unit == "uV"


TIMES = [f"{number / 100:.2f}" for number in range(300)]
ROWS = [f"{time},{value}" for time, value in zip(TIMES, SIGNAL, strict=True)]
VALUES = [f"{value:.4f}" for value in SIGNAL]

DIALECTS = {
    "a quoted comma in a name": ['"x, y",time,II', *(f"7,{row}" for row in ROWS)],
    "single quotes": ["'x, y','time','II'", *(f"7,{row}" for row in ROWS)],
    "R's row names": ["time,II", *(f'"{number}",{row}' for number, row in enumerate(ROWS, 1))],
    "numpy's savetxt": ["# time, II", *(row.replace(",", " ") for row in ROWS)],
    "numpy's savetxt in exponents": ["# time, II", *(f"{float(t):.18e} {v:.18e}" for t, v in zip(TIMES, SIGNAL, strict=True))],
    "pandas' index": [",time,II", *(f"{number},{row}" for number, row in enumerate(ROWS))],
    "a delimiter at the end": ["time,II,", *(f"{row}," for row in ROWS)],
    "a delimiter at the end of rows only": ["time,II", *(f"{row}," for row in ROWS)],
    "blanks around": ["  time ,  II ", *(row.replace(",", " ,  ") + "  " for row in ROWS)],
    "columns of blanks": ["Time [s]   ECG", *(f"  {row.replace(',', '      ')}" for row in ROWS)],
    "every second line blank": [line for row in ["time,II", *ROWS] for line in (row, "")],
    "sep=": ["sep=;", "time;II", *(row.replace(",", ";") for row in ROWS)],
    "a pipe": ["time | II", *(row.replace(",", " | ") for row in ROWS)],
    "LabChart": [
        "Interval=\t0.01 s",
        "ExcelDateTime=\t4.5e+04\t01.03.2024",
        "TimeFormat=\tStartOfBlock",
        "ChannelTitle=\tECG",
        "Range=\t10.000 mV",
        *(row.replace(",", "\t") for row in ROWS),
    ],
    "OpenSignals": ['# {"00:07": {"sampling rate": 100, "column": ["nSeq", "A1"], "label": ["A1"]}}', "# EndOfHeader", *VALUES],
    "AcqKnowledge": ["rest.acq", "10 msec/sample", "1 channels", "ECG100C", "mV", *VALUES],
    "German": ["Abtastrate;100 Hz", "Einheit;mV", "Zeit [s];Ableitung II", *(row.replace(",", ";").replace(".", ",") for row in ROWS)],
    "dates and times in two columns": [
        "Date,Time,ECG",
        *(f"01.03.2024,10:00:0{t},{v}" if len(t) == 4 else f"01.03.2024,10:00:{t},{v}" for t, v in zip(TIMES, SIGNAL, strict=True)),
    ],
    "half days": ["Time,ECG", *(f"12:59:5{8 + float(t):05.2f} PM,{v}".replace("5008", "508") for t, v in zip(TIMES, SIGNAL, strict=True))][
        :1
    ]
    + [f"{'12:59' if float(t) < 1 else '1:00'}:{(59 + float(t)) % 60:05.2f} PM,{v}" for t, v in zip(TIMES, SIGNAL, strict=True)],
    "PhysioNet": ["'Elapsed time','II'", "'mm:ss.mmm','mV'", *(f"'0:0{t}0',{v}" for t, v in zip(TIMES, SIGNAL, strict=True))],
    "a table of a wrist band": ["time,acc_x,bvp,temp", *(f"{t},1,{v},33.1" for t, v in zip(TIMES, SIGNAL, strict=True))],
    "text columns": ["device,time,II,quality", *(f"d1,{row},good" for row in ROWS)],
    "notes above, numbers in them": ["Export 2024", "Age,61", "", "time,II", *ROWS],
    "a comment in the rows": ["# made", "time,II", *ROWS[:100], "# pause", *ROWS[100:]],
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(tmp_path, dialect):
    (tmp_path / "a.csv").write_text("\n".join(DIALECTS[dialect]) + "\n", encoding="utf-8")
    recording = read_recording(tmp_path / "a.csv")
    assert recording.rate_hz == pytest.approx(100, rel=1e-4)
    assert recording.signal.tolist() == SIGNAL.tolist()


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["A,B", *(f"{v},1{v}" for v in VALUES)], {}, "no column is plainly a heart signal; there are A, B"),
        ([f"{v},{-w}" for v, w in zip(SIGNAL, SIGNAL, strict=True)], {}, "there are column 0, column 1"),
        (["time;ECG", *(f"{t};{v},5" for t, v in zip(TIMES, range(300), strict=True))], {}, "decimal comma, others a decimal point"),
        (["t;ECG", *(f"{t};{'1,' * (t % 2)}{t + 100}" for t in range(300))], {}, "may be a decimal number or one of thousands"),
        (["time,II,V5", *ROWS], {}, "line 1 holds 3 names, the rows below have 2 columns"),
        (["time,II", *ROWS[:200], "0.5,2,3", *ROWS[200:]], {}, "not a table of numbers .*Expected 2 fields in line"),
        (["time,II", *ROWS[:200], "2.00,x", *ROWS[200:]], {}, "II holds 'x' in line 202, which is not a number"),
        (["250", *VALUES], {}, "the first number, 250, is far from all others; if it is the rate"),
        (["ECG sampling rate: 500", "PPG sampling rate: 100", "ECG", *VALUES], {"rate_hz": None}, r"several rates \(500, 100 Hz\)"),
        (["Sample Rate,500 Hz", "time [s],II", *ROWS], {}, "the lines above say 500 Hz, the times of 'time .s.' in s make 100 Hz"),
        (["time,II", *(f"{number / 5},{v}" for number, v in enumerate(VALUES))], {}, "unit of the times in 'time' cannot be told"),
        (["time [ms],II", *ROWS], {}, "make 100000 Hz; give --time-unit"),
        (["time,note,II", *(f'{t},"a,{v}' for t, v in zip(TIMES, VALUES, strict=True))], {}, "quotation mark|not a table|no rows|names"),
    ],
)
def test_tables_that_are_refused(tmp_path, lines, options, message):
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(Refusal, match=message):
        read_recording(tmp_path / "a.csv", **options)


def test_zero_bytes_are_damage(tmp_path):
    text = "\n".join(["time,II", *ROWS]).encode()
    (tmp_path / "a.csv").write_bytes(text + b"\n" + b"\0" * 300_000 + text)
    with pytest.raises(Refusal, match=r"damaged; it holds zero bytes|not a text file"):
        read_recording(tmp_path / "a.csv")


def test_what_is_given_decides_and_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["Sample Rate,100 Hz", "ECG", *VALUES]))
    recording = read_recording(path, rate_hz=250)
    assert recording.rate_hz == 250
    assert "250 Hz was given and taken, not the 100 Hz that the file says" in recording.notes[0]
    path.write_text("\n".join(["time,ECG", *ROWS]))
    recording = read_recording(path, rate_hz=250)
    assert (recording.rate_hz, recording.signal.tolist()) == (250, SIGNAL.tolist())
    assert "make 100 Hz, 250 Hz was given and taken, and the times are not used" in recording.notes[0]
    path.write_text("\n".join(["time,ECG", *(f"{number / 5:g},{v}" for number, v in enumerate(VALUES))]))
    assert read_recording(path, time_unit="s").rate_hz == pytest.approx(5)
    assert read_recording(path, time_unit="ms").rate_hz == pytest.approx(5000)
    assert read_recording(path, rate_hz=5000).rate_hz == 5000


def test_rows_as_recordings_on_request(tmp_path):
    rows = SIGNAL.reshape(3, 100)
    (tmp_path / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    recording = read_recording(tmp_path / "a.csv", "rows", rate_hz=50)
    assert np.isnan(recording.signal).sum() == 2 * 100
    assert [recording.signal[start : start + 100].tolist() for start in (0, 200, 400)] == rows.tolist()
    assert "each of 3 rows is a recording" in recording.notes[0]


def test_the_files_of_a_wrist_band(tmp_path):
    def written(name, *columns):
        lines = [", ".join(["1500000000.000000"] * len(columns)), ", ".join(["64.000000"] * len(columns))]
        lines += [", ".join(map(str, row)) for row in zip(*columns, strict=True)]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    recording = read_recording(written("BVP.csv", SIGNAL))
    assert (recording.kind, recording.lead, recording.rate_hz, recording.signal.tolist()) == ("ppg", "BVP", 64, SIGNAL.tolist())
    for name, columns in (("ACC.csv", [SIGNAL] * 3), ("EDA.csv", [SIGNAL]), ("TEMP.csv", [SIGNAL + 30]), ("HR.csv", [SIGNAL + 70])):
        with pytest.raises(Refusal):
            read_recording(written(name, *columns), kind="ppg")
    (tmp_path / "IBI.csv").write_text("1500000000.000000, IBI\n" + "\n".join(f"{i},0.8" for i in range(50)))
    (tmp_path / "tags.csv").write_text("1500000100.00\n1500000200.00\n")
    for name in ("IBI.csv", "tags.csv"):
        with pytest.raises(Refusal):
            read_recording(tmp_path / name, kind="ppg")


def test_mutated_tables_are_read_or_refused_in_one_line(tmp_path):
    draw = np.random.default_rng(13)
    pieces = [
        b",",
        b";",
        b"\t",
        b'"',
        b"'",
        b"\n",
        b"#",
        b"nan",
        b"1e999",
        b":",
        b"sep=",
        b"\xff",
        b"9" * 20,
        b"ECG",
        b"0x10",
        b"1_000",
        b" Hz",
    ]
    tables = ["\n".join(lines[:60]).encode() for lines in DIALECTS.values()]
    tables += ["\n".join(["time,ecg", *(f"{5996280000 * 10**8 + 7692307 * n},{n % 7}" for n in range(60))]).encode()]
    for number in range(150):
        table = bytearray(tables[number % len(tables)])
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(0, len(table)))
            table[place : place + int(draw.integers(0, 4))] = pieces[draw.integers(len(pieces))]
        (tmp_path / "a.csv").write_bytes(bytes(table))
        try:
            lines = read_recording(tmp_path / "a.csv", **[{}, {"rate_hz": 100.0}, {"lead": "rows", "rate_hz": 100.0}][number % 3]).notes
        except Refusal as refusal:
            lines = (str(refusal),)
        assert all(line.isprintable() and len(line) < 1200 for line in lines)
