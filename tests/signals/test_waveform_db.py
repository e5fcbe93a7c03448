"""WFDB records written here, damaged ones, and real ones."""

import hashlib
import io

import numpy as np
import pytest
import soundfile
import wfdb
from recorded import SAMPLES, record
from wfdb.io._signal import INVALID_SAMPLE_VALUE

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording
from heartlens.signals.search import find


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


def test_a_rate_that_is_given_overrides_the_headers_with_a_note(tmp_path):
    """Marks count in the header's frames, so they move with the samples: the fifth stays on the fifth marked sample."""
    record(tmp_path, leads=("i",))
    marked = np.arange(200, 2400, 220)
    wfdb.wrann("r", "i", marked, ["N"] * len(marked), write_dir=str(tmp_path))
    for given, expected, notes in ((None, 250.0, ()), (251.0, 250.0, ()), (360.0, 360.0, ("360 Hz was given and taken, not the 250",))):
        recording = read_recording(tmp_path / "r.hea", rate_hz=given)
        assert recording.rate_hz == expected
        assert [note for note in recording.notes if "was given" in note] == [f"{note} Hz that the file says" for note in notes]
        assert recording.landmarks is not None
        assert recording.landmarks.beat_s * expected == pytest.approx(marked)
    with pytest.raises(Refusal, match="must be a positive number"):
        read_recording(tmp_path / "r.hea", rate_hz=-1)


@pytest.mark.parametrize("name", ["signal 0", "PLETH", "CH1"])
def test_a_unit_tells_that_a_channel_is_no_heart_signal(tmp_path, name):
    wfdb.wrsamp("r", 250, ["mmHg"], [name], SAMPLES[:, None], fmt=["16"], write_dir=str(tmp_path))
    with pytest.raises(Refusal, match="is a pressure by its name or values; to read it all the same give --lead 0"):
        read_recording(tmp_path / "r.hea")
    recording = read_recording(tmp_path / "r.hea", "0")
    assert (recording.kind, recording.unit) == (None, "mmHg")
    wfdb.wrsamp("b", 250, ["mmHg", "mV"], [name, "ii"], np.stack([SAMPLES, SAMPLES / 2], axis=1), fmt=["16"] * 2, write_dir=str(tmp_path))
    assert read_recording(tmp_path / "b.hea").lead == "ii"


def test_a_unit_tells_in_segments_too(tmp_path):
    for number in (1, 2):
        wfdb.wrsamp(f"s{number}", 250, ["mmHg"], ["CH1"], SAMPLES[:, None], fmt=["16"], write_dir=str(tmp_path))
    (tmp_path / "m.hea").write_text(f"m/2 1 250 {2 * len(SAMPLES)}\ns1 {len(SAMPLES)}\ns2 {len(SAMPLES)}\n")
    with pytest.raises(Refusal, match="CH1 is a pressure"):
        read_recording(tmp_path / "m.hea")


def test_wfdb_refusals(tmp_path):
    record(tmp_path)
    with pytest.raises(Refusal, match="unknown lead 'iv'; did you mean"):
        read_recording(tmp_path / "r.hea", "iv")
    content = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(content[:5000])
    with pytest.raises(Refusal, match=r"r\.hea: announces 2500 samples, but its files hold 1250"):
        read_recording(tmp_path / "r.hea")
    (tmp_path / "r.dat").unlink()
    with pytest.raises(Refusal, match=r"r\.dat: cannot be read \(No such file"):
        read_recording(tmp_path / "r.hea")
    for text in ("", "# nothing", "r 2 250 100"):
        (tmp_path / "r.hea").write_text(text)
        with pytest.raises(Refusal, match=r"r\.hea: not a WFDB header of signals"):
            read_recording(tmp_path / "r.hea")


def test_mitdb_bidmc_welltory_and_cinc2017(shared):
    data = shared / "data"
    assert read_recording(data / "mitdb/100.hea").lead == "MLII"
    bidmc = read_recording(data / "bidmc/bidmc_27_Signals.csv", "pleth", rate_hz=125)
    assert (bidmc.rate_hz, len(bidmc.signal), bidmc.kind) == (125.0, 60001, "ppg")
    assert not np.isnan(bidmc.signal).any()
    welltory = read_recording(data / "welltory/subject_03/PPG.csv", kind="ppg")
    assert welltory.rate_hz == pytest.approx(30, abs=1)
    assert len(welltory.signal) / welltory.rate_hz == pytest.approx(73.984, abs=0.1)
    assert read_recording(data / "cinc2017/A00001.hea").signal[0] == pytest.approx(-0.127)


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


def test_a_long_wfdb_record_is_read_in_blocks_and_verified_as_one(tmp_path, monkeypatch):
    record(tmp_path)
    whole = read_recording(tmp_path / "r.hea", "ii")
    monkeypatch.setattr("heartlens.signals.readers.wfdb_samples.BLOCK", 300)
    assert (read_recording(tmp_path / "r.hea", "ii").signal == whole.signal).all()
    content = bytearray((tmp_path / "r.dat").read_bytes())
    content[-3] ^= 1
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(Refusal, match=r"r\.dat: damaged; the samples of i do not add up"):
        read_recording(tmp_path / "r.hea", "ii")


STORAGES = ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"]


def packed(storage, samples):
    """Samples as header(5) and signal(5) of the WFDB Applications Guide describe the storage formats."""
    stored, samples = samples, samples.astype(np.int64)
    if storage in ("508", "516", "524"):
        file, bits = io.BytesIO(), int(storage) - 500
        subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
        soundfile.write(file, (stored.astype(np.int32) << (32 - bits)), 250, subtype, format="FLAC")
        return file.getvalue()
    flat = samples.reshape(-1)
    if storage in ("16", "32"):
        return flat.astype(f"<i{int(storage) // 8}").tobytes()
    if storage == "61":
        return flat.astype(">i2").tobytes()
    if storage == "80":
        return (flat + 128).astype("u1").tobytes()
    if storage == "160":
        return (flat + 32768).astype("<u2").tobytes()
    if storage == "24":
        return b"".join(int(value).to_bytes(3, "little", signed=True) for value in flat)
    content = bytearray()
    together = 2 if storage == "212" else 3
    for values in np.pad(flat, (0, -len(flat) % together)).reshape(-1, together).tolist():
        if storage == "212":
            a, b = (value & 0xFFF for value in values)
            content += bytes([a & 0xFF, a >> 8 | b >> 8 << 4, b & 0xFF])
        else:
            a, b, c = (value & 0x3FF for value in values)
            if storage == "310":
                content += ((a << 1) | ((c & 0x1F) << 11)).to_bytes(2, "little") + ((b << 1) | (c >> 5 << 11)).to_bytes(2, "little")
            else:
                content += (a | b << 10 | c << 20).to_bytes(4, "little")
    return bytes(content)


def stored(folder, storage, leads, per_frame=1, n=999):
    """A record in one of the formats, with a gap of 10 samples in its first signal where the format knows one."""
    limit = {"8": 60, "80": 100, "508": 100, "310": 400, "311": 400}.get(storage, 1500)
    time = np.arange(n * per_frame)
    digital = np.array([np.round(limit / 2 * np.sin(time / (7 + number))).astype(int) for number in range(leads)])
    if storage != "8":
        digital[0, 40:50] = INVALID_SAMPLE_VALUE[storage]
    content = digital if storage != "8" else np.diff(digital, prepend=digital[:, :1])
    frames = content.reshape(leads, n, per_frame).transpose(1, 0, 2)
    if storage in ("508", "516", "524"):
        frames = content.T
    (folder / "r.dat").write_bytes(packed(storage, frames) if storage != "8" else frames.astype("i1").tobytes())
    lines = [f"r.dat {storage}x{per_frame} 200(3)/mV 0 0 {own[0]} {own.sum() % 2**16} 0 lead{number}" for number, own in enumerate(digital)]
    (folder / "r.hea").write_text("\n".join([f"r {leads} 250 {n}", *lines]) + "\n")
    return digital


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("leads", "per_frame", "block"), [(1, 1, 2**21), (3, 1, 100), (2, 4, 100)])
def test_every_storage_format_is_read_as_wfdb_reads_it(tmp_path, monkeypatch, storage, leads, per_frame, block):
    monkeypatch.setattr("heartlens.signals.readers.wfdb_samples.BLOCK", block)
    digital = stored(tmp_path, storage, leads, per_frame)
    written = (digital[-1] - 3) / 200
    recording = read_recording(tmp_path / "r.hea", leads - 1)
    np.testing.assert_allclose(recording.signal[50:], written[50:], rtol=1e-12)
    np.testing.assert_array_equal(recording.signal, wfdb.rdrecord(str(tmp_path / "r"), smooth_frames=False).e_p_signal[-1])
    assert recording.rate_hz == 250 * per_frame
    assert np.isnan(read_recording(tmp_path / "r.hea", 0).signal).sum() == (0 if storage == "8" else 10)


def test_case_14_is_read_as_wfdb_reads_it(shared):
    header = shared / "cases/14-storage-formats/big61.hea"
    expected = wfdb.rdrecord(str(header.with_suffix(""))).p_signal
    for index in range(2):
        np.testing.assert_array_equal(read_recording(header, index).signal, expected[:, index])


@pytest.mark.parametrize("skew", [0, 7, 50])
def test_a_skew_is_taken_out_as_wfdb_does(tmp_path, skew):
    record(tmp_path)
    header = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_text(header.replace("r.dat 16 ", f"r.dat 16:{skew} ", 1))
    expected = wfdb.rdrecord(str(tmp_path / "r")).p_signal[:, 0]
    np.testing.assert_array_equal(read_recording(tmp_path / "r.hea", "i").signal, expected)


def test_case_10_the_marks_lie_on_the_r_peaks(shared):
    recording = read_recording(shared / "cases/10-skewed-signal-with-marks/skew.hea")
    height_mv = recording.signal[np.round(recording.landmarks.beat_s * 500).astype(int)]
    assert ((height_mv > 0.805) & (height_mv < 0.88)).all()


def segmented(folder, *lengths, leads=("i", "ii"), missing=None, fmt="16"):
    """A record cut into segments, None for a gap of 100; `missing` is the number of a segment that holds the first lead alone."""
    signal = np.random.default_rng(2).normal(size=(sum(n or 0 for n in lengths), len(leads)))
    lines, first, whole = [], 0, []
    for number, n in enumerate(lengths):
        if n is None:
            lines.append("~ 100")
            whole.append(np.full((100, len(leads)), np.nan))
            continue
        own = leads[:1] if number == missing else leads
        part = signal[first : first + n, : len(own)]
        wfdb.wrsamp(f"m_{number}", 250, ["mV"] * len(own), list(own), part, fmt=[fmt] * len(own), write_dir=str(folder))
        lines.append(f"m_{number} {n}")
        whole.append(np.pad(part, [(0, 0), (0, len(leads) - len(own))], constant_values=np.nan))
        first += n
    layout = [f"m_layout {len(leads)} 250 0", *(f"~ 0 200/mV 16 0 0 0 0 {lead}" for lead in leads)]
    if missing is not None:
        (folder / "m_layout.hea").write_text("\n".join(layout) + "\n")
        lines.insert(0, "m_layout 0")
    total = sum(n or 100 for n in lengths)
    (folder / "m.hea").write_text("\n".join([f"m/{len(lines)} {len(leads)} 250 {total}", *lines]) + "\n")
    return np.concatenate(whole)


@pytest.mark.parametrize("missing", [None, 2])
@pytest.mark.parametrize("lead", [0, 1])
def test_segments_are_one_recording_with_its_gaps(tmp_path, missing, lead):
    whole = segmented(tmp_path, 500, None, 700, 600, missing=missing)
    recording = read_recording(tmp_path / "m.hea", lead)
    np.testing.assert_allclose(recording.signal, whole[:, lead], atol=1e-3)
    if missing is not None:  # wfdb cannot join segments of a fixed layout with a gap
        np.testing.assert_array_equal(recording.signal, wfdb.rdrecord(str(tmp_path / "m")).p_signal[:, lead])
    assert any("3 segments read as one recording" in note for note in recording.notes)
    assert [file.path.name for file in find(tmp_path)] == ["m.hea"]
    assert [file.path.name for file in find(tmp_path / "m_2.hea")] == ["m_2.hea"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("m_0 500", "m_0 400"), "m_0 has 500 samples, not 400"),
        (("m/3", "m/4"), "announces 4 segments and lists 3"),
        (("m_2 700", "m_0 500"), "names a segment twice"),
        (("m_2 700", "m 700"), "made of segments itself"),
        (("m_2 700", "../m_2 700"), "not a segment's name"),
        (("m_2 700", "absent 700"), "absent.hea: cannot be read"),
        (("250 1300", "500 1300"), "has 250 Hz, the record 500 Hz"),
        (("250 1300", "250 1301"), "1300 samples together, not 1301"),
        (("~ 100", "~ 99999999999"), "at most|not 1300|samples"),
    ],
)
def test_segments_that_do_not_agree_are_refused(tmp_path, change, told):
    segmented(tmp_path, 500, None, 700)
    header = tmp_path / "m.hea"
    header.write_text(header.read_text().replace(*change))
    with pytest.raises(Refusal, match=told):
        read_recording(header)


def test_flac_that_fills_the_memory_is_refused(tmp_path):
    stored(tmp_path, "516", 1)
    soundfile.write(tmp_path / "r.dat", np.zeros(10_000_000, np.int16), 250, format="FLAC")
    header = (tmp_path / "r.hea").read_text()
    (tmp_path / "r.hea").write_text(header.replace("250 999", "250 10000000"))
    with pytest.raises(Refusal, match="no signal is compressed so much"):
        read_recording(tmp_path / "r.hea")
