"""What reading costs: one lead of a thousand ten-second WFDB records, against `wfdb.rdrecord(channels=[k])` and resampling.

    python benchmarks/reading_cost.py FOLDER_OF_RECORDS

Processor time, the best of five rounds, all in turn. Reading here verifies checksums, hashes the files and the samples, and sketches what
copies are known by; with its gates it also looks for missing values, for the kind and polarity of the signal, and for the quality of
each window. Marks and waves are not read. The records are copies of those in the folder, without their marks.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import wfdb
from scipy.signal import resample_poly

from heartlens.signals.missing import bridged
from heartlens.signals.prepare import resample
from heartlens.signals.quality import usable
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


def with_gates(headers: list[Path]) -> None:
    """The same, with missing values, kind, polarity and quality."""
    for header in headers:
        recording = bridged(read_recording(header, LEAD))
        assert recording.content
        assert recording.sketch
        usable(recording, "ecg")
        resample(recording.samples(slice(None)), recording.rate_hz, "ecg")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        originals = sorted(Path(sys.argv[1]).glob("*.hea")) if len(sys.argv) == 2 else []
        if not originals:
            sys.exit("give a folder of WFDB records (.hea and .dat)")
        for original in originals:
            for suffix in (".hea", ".dat"):
                shutil.copy(original.with_suffix(suffix), folder)
        headers = [Path(folder) / originals[number % len(originals)].name for number in range(N_RECORDS)]
        ways = {"wfdb and resampling": with_wfdb, "heartlens": with_heartlens, "heartlens with gates and quality": with_gates}
        spent_s: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(N_ROUNDS):
            for name, read in ways.items():
                start_s = time.process_time()
                read(headers)
                spent_s[name].append(time.process_time() - start_s)
    least = {name: min(each) / N_RECORDS for name, each in spent_s.items()}
    for name, each in least.items():
        print(f"{name}: {1000 * each:.2f} ms a record, {each / least['wfdb and resampling']:.2f} times wfdb and resampling")


if __name__ == "__main__":
    main()
