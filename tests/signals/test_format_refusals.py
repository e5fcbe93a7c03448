"""What the files of a format must not do: open other files, claim more than they hold, tell two things at once, leave a gap unsaid."""

import sys
import zlib

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.io
from formats import WRITERS

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording
from heartlens.signals.search import search

LEADS = {"I": np.arange(2000) % 700 - 300, "II": np.arange(2000) % 300}


def refused(path, match, lead="I", **hints):
    with pytest.raises(Refusal, match=match) as refusal:
        read_recording(path, lead, **hints)
    assert "\n" not in str(refusal.value)


def replaced(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


@pytest.fixture
def written(tmp_path):
    def write(name):
        WRITERS[name](tmp_path / name, LEADS, 500)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith(("wfdb", "v4", "a.parquet"))])
def test_a_file_cut_short_is_refused(written, name):
    path = written(name)
    content = path.read_bytes()
    for n_bytes in (0, 3, 100, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:n_bytes])
        refused(path, ".")


@pytest.mark.parametrize(("name", "module"), [("a.edf", "edfio"), ("hl7.xml", "defusedxml.ElementTree")])
def test_without_its_library_a_format_names_the_extra(written, monkeypatch, name, module):
    path = written(name)
    monkeypatch.setitem(sys.modules, module, None)
    refused(path, r"needs (edfio|defusedxml); pip install 'heartlens\[formats\]'")


def test_edf_with_gaps_keeps_them(tmp_path):
    """EDF+D as its description says: the annotations of each data record begin with its time."""
    texts = [f"+{start:g}\x14\x14\0".encode().ljust(20, b"\0") for start in (0, 1, 4, 5)]

    def fields(width, *values):
        return b"".join(str(value).encode().ljust(width) for value in values)

    header = fields(8, "0") + fields(80, "P7 F X X", "Startdate X X X X") + fields(8, "01.01.01", "00.00.00", 768) + fields(44, "EDF+D")
    header += fields(8, 4, 1) + fields(4, 2) + fields(16, "ECG I", "EDF Annotations") + fields(80, "", "") + fields(8, "mV", "")
    header += fields(8, -16, -1) + fields(8, 16, 1) + fields(8, -3200, -32768) + fields(8, 3200, 32767)
    header += fields(80, "", "") + fields(8, 100, 10)
    header += fields(32, "", "")
    assert len(header) == 768
    samples = np.arange(400).reshape(4, 100).astype("<i2")
    (tmp_path / "a.edf").write_bytes(header + b"".join(own.tobytes() + text for own, text in zip(samples, texts, strict=True)))
    recording = read_recording(tmp_path / "a.edf", 0)
    expected = np.concatenate([np.arange(200), np.full(200, np.nan), np.arange(200, 400)]) / 200
    np.testing.assert_allclose(recording.signal, expected)
    assert (recording.person, recording.rate_hz) == ("P7", 100)
    replaced(tmp_path / "a.edf", b"+4\x14", b"+0\x14")
    refused(tmp_path / "a.edf", "overlap in time", 0)
    replaced(tmp_path / "a.edf", b"+0\x14\x14\0\0", b"nan\x14\x14\0")
    refused(tmp_path / "a.edf", "does not tell when it begins", 0)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"-160    ", b"160     ", "reaches from"),
        (b"-32000  ", b"32000   ", "reaches from"),
        (b"0       X", b"9       X", "not a European data file"),
    ],
)
def test_edf_that_contradicts_itself(written, old, new, match):
    refused(replaced(written("a.edf"), old, new), match)


def test_hdf5_links_and_data_outside_are_not_followed(tmp_path):
    other, path = tmp_path / "other.h5", tmp_path / "a.h5"
    (tmp_path / "secret.bin").write_bytes(np.arange(2000.0).tobytes())
    with h5py.File(other, "w") as file:
        file["I"] = np.arange(2000.0)
    with h5py.File(path, "w") as file:
        file["I"] = h5py.ExternalLink(str(other), "I")
        file["II"] = h5py.SoftLink("/I")
        file["again"] = file["/"]  # a circle
    refused(path, "holds no signal")
    with h5py.File(path, "w") as file:
        file.create_dataset("I", (2000,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 16000)])
    refused(path, "lies in another file", rate_hz=500)
    layout = h5py.VirtualLayout((2000,), "f8")
    layout[:] = h5py.VirtualSource(other, "I", (2000,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("I", layout)
    refused(path, "lies in another file", rate_hz=500)


def test_hdf5_that_claims_more_than_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("I", (2**27,), "f8", chunks=(1000,))
    refused(tmp_path / "a.h5", "more than the file holds", rate_hz=500)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("I", data=np.zeros(2**24, "f4"), chunks=(2**20,), compression="gzip")  # honest zeros are a thousandth
    assert len(read_recording(tmp_path / "a.h5", "I", rate_hz=500).signal) == 2**24


def test_rates_that_disagree_and_times_with_gaps(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"I": np.arange(1000.0) % 90, "fs": 500.0, "ppg_fs": 125.0})
    refused(tmp_path / "a.mat", "several rates")
    scipy.io.savemat(tmp_path / "a.mat", {"I": np.arange(1000.0) % 90, "fs": -1.0})
    refused(tmp_path / "a.mat", "not a positive number")
    time = np.arange(1000) / 250
    for times, match in ((np.where(time > 2, time + 1, time), "uneven"), (time * 1000, "time-unit"), (time[::-1], "uneven")):
        pyarrow.parquet.write_table(pa.table({"time": times, "I": np.arange(1000.0) % 90}), tmp_path / "a.parquet")
        refused(tmp_path / "a.parquet", match)
    pyarrow.parquet.write_table(pa.table({"time": time * 1000, "I": np.arange(1000.0) % 90}), tmp_path / "a.parquet")
    assert read_recording(tmp_path / "a.parquet", "I", time_unit="ms").rate_hz == pytest.approx(250)
    stamps = pa.array((time * 1e6).astype(int), pa.timestamp("us"))
    pyarrow.parquet.write_table(pa.table({"timestamp": stamps, "I": np.arange(1000.0) % 90}), tmp_path / "a.parquet")
    assert read_recording(tmp_path / "a.parquet", "I").rate_hz == pytest.approx(250)


def test_a_matlab_file_that_unpacks_to_more_than_there_should_be(tmp_path):
    body = zlib.compress(bytes(2**26))
    element = np.array([15, len(body)], "<u4").tobytes() + body
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + element * 20)
    refused(tmp_path / "a.mat", ".", rate_hz=500)


NESTED = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
ENTITIES = f'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">{NESTED}]>'


@pytest.mark.parametrize(
    "text",
    [
        f"{ENTITIES}<AnnotatedECG>&a8;</AnnotatedECG>",
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><AnnotatedECG>&x;</AnnotatedECG>',
        "<AnnotatedECG>" * 50_000,
        "<html><body>log in</body></html>",
        "",
    ],
)
def test_xml_expands_nothing_and_opens_nothing(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    refused(tmp_path / "a.xml", "not XML that can be read safely|of a kind that is not known")


def test_a_format_that_the_files_do_not_have_is_refused(written, tmp_path):
    for suffix in (".edf", ".bdf", ".mat", ".h5", ".parquet", ".xml", ".dcm", ".ecg"):
        (tmp_path / f"text{suffix}").write_text("I,II\n1,2\n" * 400)
        refused(tmp_path / f"text{suffix}", rf"text\{suffix}")


def test_files_that_no_reader_knows_are_counted_and_loops_are_not_followed(tmp_path):
    WRITERS["wfdb.hea"](tmp_path / "wfdb.hea", LEADS, 500)
    for name in ("wfdb.atr", "notes.pdf", "b.pdf", "c.docx", "README", "._wfdb.hea"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to("loop")
    for path in (tmp_path, str(tmp_path / "**"), str(tmp_path / "**/*")):
        found = search(path)
        assert [file.path.name for file in found.files] == ["wfdb.hea"]
        assert found.notes == ("4 files that no reader knows are not read: 2 .pdf, 1 .docx, 1 without suffix",)


@pytest.mark.parametrize("path", ["x" * 300, "~nobody_of_that_name/a.csv", "a\0b.csv"])
def test_paths_that_cannot_be(path):
    with pytest.raises(Refusal):
        search(path)
