"""The pulse tables of delineation.py: PPG-BP against its two annotators, and feet and peaks of long recordings against a detector.

A PPG-BP pulse is about one second at 1000 Hz, with 100 ms before and after it. Its first `length - 200` samples, made to end where they
began by subtracting a straight line, are repeated REPEATS times, brought to the rate in question, and the fifth copy is judged.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import find_peaks

from heartlens.signals import delineate as rules
from heartlens.signals.beats import PPG_RATE_HZ, at_rate
from heartlens.signals.delineate import delineate
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.pulse import Traces

REPEATS, JUDGED = 9, 4
POINTS = {"on": "foot", "sp": "systolic_peak", "dn": "dicrotic_notch"}
LONG = {"bidmc/bidmc_27": 125.0, "bidmc/bidmc_34": 125.0, "cinc2015/b485l": 250.0, "cinc2015/b764s": 250.0, "cinc2015/v711l": 250.0}
TOLERANCE_S = 0.15


def tiled(pulse: np.ndarray) -> np.ndarray:
    pulse = (pulse - pulse.mean()) / pulse.std()
    return np.tile(pulse - np.linspace(0, pulse[-1] - pulse[0], len(pulse)), REPEATS)


def pulses(data: Path) -> list[tuple[int, np.ndarray]]:
    stored = np.load(data / "ppgbp/ppgbp_pulses.npz")
    rows = zip(stored["index"], stored["pulses"], stored["length"], strict=True)
    return [(int(index), pulse[: length - 200].astype(float)) for index, pulse, length in rows]


def errors(data: Path, rate_hz: float) -> dict[tuple[str, str], list[float]]:
    """Errors in ms by point and annotator; NaN where no such point lies within the tolerance."""
    marks = pd.read_csv(data / "ppgbp/ppgbp_fiducials.csv").set_index(["index", "annotator"])
    found: dict[tuple[str, str], list[float]] = {(point, who): [] for point in POINTS for who in ("MG", "PC")}
    for index, pulse in pulses(data):
        landmarks = delineate(at_rate(tiled(pulse), 1000.0, rate_hz), rate_hz, "ppg")
        for (point, who), into in found.items():
            marked_ms = float(marks[point][(index, who)])
            if np.isfinite(marked_ms):
                into.append(_nearest(1000 * landmarks.peaks_s(POINTS[point]) - JUDGED * len(pulse) - marked_ms))
    return found


def _nearest(differences_ms: np.ndarray) -> float:
    nearest = min(differences_ms, key=abs, default=np.inf)
    return float(nearest) if abs(nearest) <= 1000 * TOLERANCE_S else np.nan


def line(differences_ms: np.ndarray) -> str:
    known = differences_ms[np.isfinite(differences_ms)]
    ninety = np.percentile(np.abs(known), 90)
    return f"n {len(known):3d} of {len(differences_ms):3d}  {known.mean():6.1f} +-{known.std():5.1f}  90 % within {ninety:3.0f}"


def lowest_feet(smooth: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The alternative foot: the lowest sample between two systolic peaks."""
    starts = np.concatenate([[0], peaks[:-1]])
    return np.array([start + int(np.argmin(smooth[start:peak])) for start, peak in zip(starts, peaks, strict=True)])


def dip_or_bend(pulse: Traces, peak: int, next_foot: int) -> int | None:
    """The alternative notch: the first local minimum below 12 Hz after the peak, else the largest second derivative of the same signal."""
    start, end = peak + round(0.08 * PPG_RATE_HZ), peak + round(0.7 * (next_foot - peak))
    dips = find_peaks(-pulse.fine[start:end])[0]
    return start + int(dips[0] if len(dips) else np.argmax(np.gradient(np.gradient(pulse.fine))[start:end]))


def with_rules(measure: Callable[[], None], **changed: object) -> None:
    """Measures with other functions in the place of delineate's own."""
    kept = {name: getattr(rules, name) for name in changed}
    for name, function in changed.items():
        setattr(rules, name, function)
    measure()
    for name, function in kept.items():
        setattr(rules, name, function)


def annotated_table(data: Path, title: str, rate_hz: float) -> None:
    for (point, who), differences in errors(data, rate_hz).items():
        print(f"{title:26s} {rate_hz:5.0f} Hz  {POINTS[point]:15s} against {who}  {line(np.array(differences))}")


def between_annotators(data: Path) -> None:
    marks = pd.read_csv(data / "ppgbp/ppgbp_fiducials.csv").pivot(index="index", columns="annotator")
    for point, name in POINTS.items():
        both = (marks[point]["MG"] - marks[point]["PC"]).dropna().to_numpy()
        print(f"{'the annotators, MG - PC':26s} {'':8s}  {name:15s} {'':10s}  {line(both)}")


def long_table(data: Path) -> None:
    for name, rate_hz in LONG.items():
        path = data / (f"{name}_Signals.csv" if "bidmc" in name else f"{name}.csv")
        table = pd.read_csv(path).rename(columns=str.strip)
        beats = pd.read_csv(data / f"{name}_derived_beats.csv").query("ok == 1")
        landmarks = delineate(table["PLETH"].to_numpy(float), rate_hz, "ppg")
        for column, point in (("ppg_onset_sample", "foot"), ("ppg_peak_sample", "systolic_peak")):
            print(f"{name:16s} {point:14s} {line(_errors(landmarks, point, beats[column].to_numpy() / rate_hz))}")


def _errors(landmarks: Landmarks, point: str, marked_s: np.ndarray) -> np.ndarray:
    return np.array([_nearest(1000 * (landmarks.peaks_s(point) - time)) for time in marked_s])


def pulse_tables(data: Path) -> None:
    print("PPG-BP, 104 pulses: error in ms, mean +- SD, of the pulses where the annotator set the mark\n")
    for rate_hz in (1000.0, 50.0):
        annotated_table(data, "heartlens", rate_hz)
    with_rules(lambda: annotated_table(data, "lowest foot, dip or bend", 1000.0), feet=lowest_feet, notch=dip_or_bend)
    between_annotators(data)
    print("\nLong PPG: error in ms against beats derived by a detector, not by people (those of one clear pulse per RR interval)\n")
    long_table(data)
