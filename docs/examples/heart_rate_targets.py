"""Targets from the ECG beside a pulse: `python docs/examples/heart_rate_targets.py targets.csv FILE ... [--rate HZ]`.

For every recording that has an ECG lead, a line every 5 s: record, time_s, and of the 10 s that end there the heart rate and the mean
interval between R peaks. Stretches of noise, and of fewer than four beats, get no line.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from heartlens.refusal import Refusal
from heartlens.signals import beats
from heartlens.signals.readers import read_recording

EVERY_S, LENGTH_S = 5.0, 10.0


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, help="sampling rate in Hz, where the files do not tell it")
    given = parser.parse_args()
    with given.table.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["record", "time_s", "hr_bpm", "interval_s"])
        for path in given.files:
            try:
                rows = targets(path, given.rate)
            except Refusal as refusal:
                print(f"left out: {refusal}")
                continue
            table.writerows([path.stem, f"{end_s:.2f}", f"{60 / interval_s:.3f}", f"{interval_s:.5f}"] for end_s, interval_s in rows)
            print(f"{path.stem}: {len(rows)} lines")


def targets(path: Path, rate_hz: float | None) -> list[tuple[float, float]]:
    """The end of each stretch and its mean R-R interval, in seconds."""
    ecg = read_recording(path, kind="ecg", rate_hz=rate_hz)
    signal = beats.at_rate(np.nan_to_num(ecg.signal), ecg.rate_hz, beats.ECG_RATE_HZ)
    peaks = beats.r_peaks(signal)
    is_clean = np.isin(peaks, beats.outside_noise(peaks, signal))
    peak_s, rows = peaks / beats.ECG_RATE_HZ, []
    for end_s in np.arange(LENGTH_S, len(ecg.signal) / ecg.rate_hz, EVERY_S):
        inside = (peak_s > end_s - LENGTH_S) & (peak_s <= end_s)
        interval_s = np.diff(peak_s[inside])
        if len(interval_s) >= 3 and is_clean[inside].all() and interval_s.min() > 0.25 and interval_s.max() < 2.0:
            rows.append((float(end_s), float(interval_s.mean())))
    return rows


if __name__ == "__main__":
    main()
