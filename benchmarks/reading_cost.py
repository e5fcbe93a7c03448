"""What reading costs: one lead of a thousand ten-second WFDB records, against `wfdb.rdrecord(channels=[k])` and resampling.

    python benchmarks/reading_cost.py FOLDER_OF_RECORDS

Processor time, the best of five rounds, the two in turn. Reading here verifies checksums, hashes the files and the samples, and
sketches what copies are known by; marks and waves are not read. The records are copies of those in the folder, without their marks.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import wfdb
from scipy.signal import resample_poly

from heartlens.signals.prepare import resample
from heartlens.signals.readers import read_recording

N_RECORDS, N_ROUNDS = 1000, 5
LEAD = "i"


def with_wfdb(headers: list[Path]) -> None:
    """As one would without heartlens."""
    for header in headers:
        record = wfdb.rdrecord(str(header.with_suffix("")), channels=[0])
        resample_poly(record.p_signal[:, 0], 100, record.fs)


def with_heartlens(headers: list[Path]) -> None:
    """The same with all that reading does."""
    for header in headers:
        recording = read_recording(header, LEAD)
        assert recording.content
        assert recording.sketch
        resample(recording.samples(slice(None)), recording.rate_hz, "ecg")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        originals = sorted(Path(sys.argv[1]).glob("*.hea"))
        for original in originals:
            for suffix in (".hea", ".dat"):
                shutil.copy(original.with_suffix(suffix), folder)
        headers = [Path(folder) / originals[number % len(originals)].name for number in range(N_RECORDS)]
        spent_s: dict[str, list[float]] = {"wfdb": [], "heartlens": []}
        for _ in range(N_ROUNDS):
            for name, read in (("wfdb", with_wfdb), ("heartlens", with_heartlens)):
                start_s = time.process_time()
                read(headers)
                spent_s[name].append(time.process_time() - start_s)
    plain, ours = (min(spent_s[name]) / N_RECORDS for name in ("wfdb", "heartlens"))
    print(f"a record: wfdb and resampling {1000 * plain:.2f} ms, heartlens {1000 * ours:.2f} ms, {ours / plain:.2f} times")


if __name__ == "__main__":
    main()
