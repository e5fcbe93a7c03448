"""The fields of a WFDB header: each read whole, or refused."""

import os

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.readers import read_recording

HEADER = "r 1 250 100\nr.dat 16 200(0)/mV 16 0 0 0 0 i\n"


WRONG_RATES = ("abc", "250x", "2_50", "250,5", "-250", "0", "nan", "1e999", "٢٥٠")
WRONG_LENGTHS = ("100x", "1e2", "-1", "101", "99999999999")
WRONG_COUNTS = ("1x", "0", "2", "99999999999999999999999")
WRONG_STORAGES = ("16y", "17", "16x0", "16:999", "16+-4", "16x99999999999999", "16+9999999")
WRONG_GAINS = ("200,5(0)/mV", "nan(0)/mV", "200(zero)/mV", "1e999(0)/mV", "200(0/mV")
WRONG_FILES = ("../r.dat", "/dev/zero", ".", "..", "absent", "pipe", "out", "loop", "~", "-", "file:/etc/passwd", "r.dat::zip")
WRONG = [
    *((" 250 ", f" {rate} ") for rate in WRONG_RATES),
    *((" 100\n", f" {length}\n") for length in WRONG_LENGTHS),
    *(("r 1 ", f"r {count} ") for count in WRONG_COUNTS),
    *((" 16 ", f" {storage} ") for storage in WRONG_STORAGES),
    *(("200(0)/mV", gain) for gain in WRONG_GAINS),
    *(("r.dat", file) for file in WRONG_FILES),
    (" 250 100", ""),
    ("0 0 0 i", "0 x 0 i"),
    ("0 0 0 i", "0 0.5 0 i"),
]


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_a_field_of_the_header_is_read_whole_or_refused(tmp_path, old, new):
    folder = tmp_path / "records"
    folder.mkdir()
    np.arange(100, dtype="<i2").tofile(folder / "r.dat")
    np.arange(100, dtype="<i2").tofile(tmp_path / "out")
    os.mkfifo(folder / "pipe")
    (folder / "out").symlink_to("../out")
    (folder / "loop").symlink_to("loop")
    (folder / "r.hea").write_text(HEADER)
    assert read_recording(folder / "r.hea").signal[99] == 99 / 200
    (folder / "r.hea").write_text(HEADER.replace(old, new, 1))
    with pytest.raises(Refusal) as refusal:
        read_recording(folder / "r.hea")
    assert "\n" not in str(refusal.value)


def test_a_header_may_leave_out_what_the_format_lets_it_leave_out(tmp_path):
    np.arange(100, dtype="<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text("r 1 250\nr.dat 16\n")
    recording = read_recording(tmp_path / "r.hea")
    assert recording.signal == pytest.approx(np.arange(100) / 200)
    assert "the header gives no gain for signal 0: 200 a mV taken" in recording.notes
    (tmp_path / "r.hea").write_text("r 1 250.00/1000(0) 100 0:00 01/02/1990\nr.dat 16 1e2/uV 12 5\n# subject_id: 77\n")
    recording = read_recording(tmp_path / "r.hea")
    assert (recording.unit, recording.person) == ("uV", "77")
    assert recording.signal[7] == (7 - 5) / 100
