"""WFDB records written here, damaged ones, and real ones."""

import hashlib

import numpy as np
import pytest
import wfdb
from recorded import SAMPLES, record

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording


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
    monkeypatch.setattr("heartlens.signals.readers.waveform_db.BLOCK", 300)
    assert (read_recording(tmp_path / "r.hea", "ii").signal == whole.signal).all()
    content = bytearray((tmp_path / "r.dat").read_bytes())
    content[-3] ^= 1
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(Refusal, match=r"r\.dat: damaged; the samples of i do not add up"):
        read_recording(tmp_path / "r.hea", "ii")
