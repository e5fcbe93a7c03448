"""Targets from the ECG beside a pulse: `python docs/examples/heart_rate_targets.py targets.csv FILE ... [--rate HZ]`.

For every recording that has an ECG lead, a line every 5 s: record, time_s, and of the 10 s that end there the heart rate and the mean
interval between R peaks. Stretches of noise, and of fewer than four beats, get no line. With `--from ppg` the same from the pulse's own
systolic peaks: what a peak detector says. With `--against targets.csv` how far the table lies from that one.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pandas as pd

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
    parser.add_argument("--from", dest="kind", choices=("ecg", "ppg"), default="ecg", help="the signal whose beats are taken")
    parser.add_argument("--against", type=Path, help="a table to compare with")
    given = parser.parse_args()
    with given.table.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["record", "time_s", "hr_bpm", "interval_s"])
        for path in given.files:
            try:
                rows = targets(path, given.kind, given.rate)
            except Refusal as refusal:
                print(f"left out: {refusal}")
                continue
            table.writerows([path.stem, f"{end_s:.2f}", f"{60 / interval_s:.3f}", f"{interval_s:.5f}"] for end_s, interval_s in rows)
            print(f"{path.stem}: {len(rows)} lines")
    if given.against:
        compare(given.table, given.against)


def targets(path: Path, kind: str, rate_hz: float | None) -> list[tuple[float, float]]:
    """The end of each stretch and its mean interval between beats, in seconds."""
    recording = read_recording(path, kind=kind, rate_hz=rate_hz)
    own_hz = beats.ECG_RATE_HZ if kind == "ecg" else beats.PPG_RATE_HZ
    signal = beats.at_rate(np.nan_to_num(recording.signal), recording.rate_hz, own_hz)
    peaks = beats.r_peaks(signal) if kind == "ecg" else beats.systolic_peaks(signal)
    is_clean = np.isin(peaks, beats.outside_noise(peaks, signal)) if kind == "ecg" else np.ones(len(peaks), bool)
    peak_s, rows = peaks / own_hz, []
    for end_s in np.arange(LENGTH_S, len(recording.signal) / recording.rate_hz, EVERY_S):
        inside = (peak_s > end_s - LENGTH_S) & (peak_s <= end_s)
        interval_s = np.diff(peak_s[inside])
        if len(interval_s) >= 3 and is_clean[inside].all() and interval_s.min() > 0.25 and interval_s.max() < 2.0:
            rows.append((float(end_s), float(interval_s.mean())))
    return rows


def compare(table: Path, other: Path) -> None:
    """Print how far the numbers of two tables lie apart, line by line of the same record and time."""
    both = pd.read_csv(table).merge(pd.read_csv(other), on=["record", "time_s"], suffixes=("", "_true"))
    for column in ("hr_bpm", "interval_s"):
        error = both[column] - both[f"{column}_true"]
        numbers = f"MAE {error.abs().mean():.3f}, RMSE {(error**2).mean() ** 0.5:.3f}, bias {error.mean():+.3f}"
        print(f"{column}: {len(both)} lines of {both['record'].nunique()} records; {numbers}; median error {error.abs().median():.3f}")


if __name__ == "__main__":
    main()
