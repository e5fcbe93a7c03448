"""How well are waves found on recordings that people have marked? Prints the tables of docs/delineation.md; takes about two minutes.

    python benchmarks/delineation.py --data DIR

DIR holds `ludb/`, `qtdb/`, `cinc2017/`, `ppgbp/`, `bidmc/` and `cinc2015/`. A mark counts as found when a detection of the same wave
peaks within 150 ms of it (the tolerance of ANSI/AAMI EC57), each detection once. Errors are detected minus marked, in ms, as mean +- SD,
the beats pooled. LUDB is judged from 2 to 8 s, where every wave is marked; QTDB in the span of `q1c`, on that span and 10 s around it. In
sel221 not every beat is marked: its false detections are not counted. A record refused counts all its waves as missed.
"""

import argparse
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import wfdb
from delineation_pulses import pulse_tables

from heartlens.refusal import Refusal
from heartlens.signals.beats import ECG_RATE_HZ, at_rate, r_peaks
from heartlens.signals.delineate import delineate

TOLERANCE_S = 0.15
MARGIN_S = 10.0
WAVES = {"p": "P", "N": "QRS", "t": "T"}
Marks = dict[str, np.ndarray]  # of each wave: rows of onset, peak, offset in seconds
Method = Callable[[np.ndarray, float], Marks]


class Record(NamedTuple):
    """One lead with its marks; `span_s` is where all beats are marked, unless `complete` is false."""

    name: str
    signal: np.ndarray
    rate_hz: float
    marks: Marks
    span_s: tuple[float, float]
    complete: bool = True
    fibrillates: bool = False


@dataclass
class Score:
    """Counts and errors of one wave, of all records."""

    marked: int = 0
    found: int = 0
    judged: int = 0
    invented: int = 0
    errors_ms: list[np.ndarray] = field(default_factory=list)

    def add(self, record: Record, marked: np.ndarray, detected: np.ndarray) -> None:
        start, end = record.span_s
        wanted = marked[(marked[:, 1] >= start) & (marked[:, 1] <= end)]
        pairs = matches(wanted[:, 1], detected[:, 1])
        self.marked += len(wanted)
        self.found += len(pairs)
        self.errors_ms += [1000 * (detected[j] - wanted[i]) for i, j in pairs]
        if record.complete:
            inside = detected[(detected[:, 1] >= start) & (detected[:, 1] <= end), 1]
            self.judged += len(pairs)
            self.invented += len(inside) - sum(nearest(marked[:, 1], time) <= TOLERANCE_S for time in inside)

    def line(self) -> str:
        errors = np.array(self.errors_ms).reshape(-1, 3)
        points = "  ".join(spread(errors[:, point]) for point in range(3))
        return f"{self.marked:5d}  {percent(self.found, self.marked)}  {percent(self.judged, self.judged + self.invented)}  {points}"


def matches(marked: np.ndarray, detected: np.ndarray) -> list[tuple[int, int]]:
    """Mark and detection in pairs, each used once, the nearest first."""
    near = [(abs(d - m), i, j) for i, m in enumerate(marked) for j, d in enumerate(detected) if abs(d - m) <= TOLERANCE_S]
    pairs: dict[int, int] = {}
    for _, i, j in sorted(near):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return list(pairs.items())


def nearest(times: np.ndarray, time: float) -> float:
    return float(np.min(np.abs(times - time), initial=np.inf))


def spread(errors_ms: np.ndarray) -> str:
    known = errors_ms[np.isfinite(errors_ms)]
    return f"{known.mean():6.1f} +-{known.std():5.1f} ({len(known):3d})" if len(known) > 1 else f"{'-':>20s}"


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:6.1f}" if whole else "     -"


def wilson(errors: int, n: int) -> str:
    """An error rate with its 95 % interval (Wilson 1927), in percent."""
    z, p = 1.96, errors / n
    centre, half = (p + z * z / 2 / n) / (1 + z * z / n), z * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2) / (1 + z * z / n)
    return f"{errors} of {n}: {100 * p:.0f} % ({100 * max(centre - half, 0):.0f} to {100 * min(centre + half, 1):.0f})"


def marks_of(annotation: wfdb.Annotation, rate_hz: float, first: int = 0) -> Marks:
    """The annotator's waves; an onset or offset without a bracket is NaN."""
    rows: dict[str, list[tuple[float, float, float]]] = {wave: [] for wave in WAVES.values()}
    symbols, times = ["", *annotation.symbol, ""], [np.nan, *((annotation.sample - first) / rate_hz), np.nan]
    for i, symbol in enumerate(symbols):
        if symbol in WAVES:
            onset = times[i - 1] if symbols[i - 1] == "(" else np.nan
            rows[WAVES[symbol]].append((onset, times[i], times[i + 1] if symbols[i + 1] == ")" else np.nan))
    return {wave: np.reshape(found, (-1, 3)).astype(float) for wave, found in rows.items()}


def ludb(data: Path, lead: str) -> Iterator[Record]:
    for row in pd.read_csv(data / "ludb/ludb_subset.csv").itertuples():
        path = str(data / "ludb" / str(row.ID))
        signal = wfdb.rdrecord(path, channel_names=[lead]).p_signal[:, 0]
        rhythms = str(row.Rhythms)
        fibrillates = "fibrillation" in rhythms or "flutter" in rhythms
        yield Record(f"ludb {row.ID}", signal, 500.0, marks_of(wfdb.rdann(path, lead), 500.0), (2.0, 8.0), fibrillates=fibrillates)


def qtdb(data: Path) -> Iterator[Record]:
    for path in sorted((data / "qtdb").glob("*.q1c")):
        annotation, rate_hz = wfdb.rdann(str(path.with_suffix("")), "q1c"), 250.0
        edges = annotation.sample[[0, -1]] + np.array([-1, 1]) * round(MARGIN_S * rate_hz)
        record = wfdb.rdrecord(str(path.with_suffix("")), sampfrom=edges[0], sampto=edges[1], channels=[0])
        span_s = (MARGIN_S, (edges[1] - edges[0]) / rate_hz - MARGIN_S)
        marks = marks_of(annotation, rate_hz, edges[0])
        af = path.stem == "sel221"
        yield Record(path.stem, record.p_signal[:, 0], rate_hz, marks, span_s, complete=not af, fibrillates=af)


def heartlens_method(signal: np.ndarray, rate_hz: float) -> Marks:
    found = delineate(signal, rate_hz, "ecg")
    rows = np.stack([found.onset_s, found.peak_s, found.offset_s], axis=1)
    return {wave: rows[found.wave == wave] for wave in WAVES.values()}


def neurokit_method(name: str) -> Method:
    """neurokit2's delineator on its own cleaning and R peaks, the whole recording at 500 Hz; onsets belong to the next peak."""

    def method(signal: np.ndarray, rate_hz: float) -> Marks:
        import neurokit2

        clean = neurokit2.ecg_clean(at_rate(signal - signal.mean(), rate_hz, ECG_RATE_HZ), sampling_rate=ECG_RATE_HZ)
        r = np.array(neurokit2.ecg_peaks(clean, sampling_rate=ECG_RATE_HZ)[1]["ECG_R_Peaks"])
        waves = neurokit2.ecg_delineate(clean, r, sampling_rate=ECG_RATE_HZ, method=name)[1]
        return {wave: _rows(waves, letter, r) for letter, wave in (("P", "P"), ("R", "QRS"), ("T", "T"))}

    return method


def _rows(waves: dict[str, list[float]], letter: str, r: np.ndarray) -> np.ndarray:
    peaks = r if letter == "R" else np.array(waves[f"ECG_{letter}_Peaks"], float)
    rows = np.full((len(peaks), 3), np.nan)
    rows[:, 1] = peaks
    for column, edge in ((0, "Onsets"), (2, "Offsets")):
        known = np.array(waves.get(f"ECG_{letter}_{edge}", []), float)
        for time in known[np.isfinite(known)]:
            later = np.flatnonzero(peaks >= time) if column == 0 else np.flatnonzero(peaks <= time)[::-1]
            if len(later):
                rows[later[0], column] = time
    return rows[np.isfinite(peaks)] / ECG_RATE_HZ


def score(records: list[Record], method: Method) -> tuple[dict[str, Score], int]:
    scores: dict[str, Score] = defaultdict(Score)
    refused = 0
    for record in records:
        try:
            detected = method(record.signal, record.rate_hz)
        except (Refusal, ValueError, IndexError, ZeroDivisionError, TypeError):
            detected, refused = {wave: np.zeros((0, 3)) for wave in WAVES.values()}, refused + 1
        for wave, rows in detected.items():
            scores[wave].add(record, record.marks[wave], rows)
    return scores, refused


def ecg_table(sets: dict[str, list[Record]]) -> None:
    print("Waves: n marked; Se, P+ in %; error onset, peak, offset in ms, mean +- SD (n); * includes AF records, where every P is false\n")
    for title, records in sets.items():
        names = ["prominence"] if "sin" in title else ["prominence", "dwt", "cwt", "peak"]
        methods = {"heartlens": heartlens_method} | {f"nk {name}": neurokit_method(name) for name in names}
        for name, method in methods.items():
            scores, refused = score(records, method)
            for wave in WAVES.values():
                print(f"{title:8s} {len(records):3d} rec  {name:14s} {wave:4s} {scores[wave].line()}")
            if refused:
                print(f"{'':22s}{name:14s} fails on {refused} records")
        print()


def r_table(sets: dict[str, list[Record]]) -> None:
    import neurokit2

    def detector(name: str) -> Method:
        def method(signal: np.ndarray, rate_hz: float) -> Marks:
            ecg = at_rate((signal - np.median(signal)) / np.std(signal), rate_hz, ECG_RATE_HZ)
            clean = neurokit2.ecg_clean(ecg, sampling_rate=ECG_RATE_HZ)
            peaks = r_peaks(ecg) if name == "heartlens" else neurokit2.ecg_findpeaks(clean, ECG_RATE_HZ, method=name)["ECG_R_Peaks"]
            return {"QRS": np.repeat(np.asarray(peaks, float)[:, None] / ECG_RATE_HZ, 3, axis=1)}

        return method

    print("R peaks: n marked; Se, P+ in %; error of the peak in ms\n")
    for name in ("heartlens", "rodrigues2021", "neurokit", "kalidas2017", "pantompkins1985", "hamilton2002", "elgendi2010"):
        for title, records in sets.items():
            found = score(records, detector(name))[0]["QRS"]
            peak = spread(np.array(found.errors_ms)[:, 1])
            of_found = percent(found.judged, found.judged + found.invented)
            print(f"{title:8s}  {name:16s} {found.marked:5d}  {percent(found.found, found.marked)}  {of_found}  {peak}")
    print()


def share_with_p(signal: np.ndarray, rate_hz: float) -> float:
    """The share of beats that have a P wave; NaN where the record is refused."""
    try:
        found = delineate(signal, rate_hz, "ecg")
    except Refusal:
        return float("nan")
    return len(found.peaks_s("P")) / len(found.beat_s)


def cinc2017(data: Path, label: str) -> Iterator[tuple[np.ndarray, float]]:
    from scipy.io import loadmat

    labels = pd.read_csv(data / "cinc2017/REFERENCE_subset.csv", header=None, names=["record", "label"])
    for name in labels.record[labels.label == label]:
        yield loadmat(data / f"cinc2017/{name}.mat")["val"][0] / 1000.0, 300.0


def gate_table(data: Path, sets: dict[str, list[Record]]) -> None:
    print("P gate: records on the wrong side (P listed for at least half of the beats), with 95 % interval; refused records apart\n")
    groups = {}
    for title in ("LUDB i", "LUDB ii"):
        for name, af in (("AF, flutter", True), ("sinus", False)):
            groups[title, name, af] = [(r.signal, r.rate_hz) for r in sets[title] if r.fibrillates == af]
    groups |= {("CinC2017", name, af): list(cinc2017(data, label)) for name, label, af in (("AF", "A", True), ("normal", "N", False))}
    for (title, name, af), signals in groups.items():
        shares = np.array([share_with_p(*signal) for signal in signals])
        known = shares[np.isfinite(shares)]
        wrong = int(((known >= 0.5) == af).sum())
        error = "P invented" if af else "P withheld"
        counts = f"{error} {wilson(wrong, len(known)):28s} mean share of beats with P {known.mean():.2f}"
        print(f"{title:9s} {name:12s} {counts}; refused {len(shares) - len(known)}")
    refused = [np.isnan(share_with_p(*signal)) for signal in cinc2017(data, "~")]
    print(f"CinC2017  labelled noisy: {sum(refused)} of {len(refused)} refused\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    warnings.simplefilter("ignore")
    sets = {
        "LUDB i": list(ludb(data, "i")),
        "LUDB ii": list(ludb(data, "ii")),
        "LUDB avr": list(ludb(data, "avr")),
        "QTDB": list(qtdb(data)),
    }
    shown = {"LUDB i*": sets["LUDB i"], "LUDB ii*": sets["LUDB ii"], "QTDB": sets["QTDB"]}
    shown["avr, sin"] = [record for record in sets["LUDB avr"] if not record.fibrillates]
    shown["i, sinus"] = [record for record in sets["LUDB i"] if not record.fibrillates]
    ecg_table(shown)
    r_table(sets)
    gate_table(data, sets)
    pulse_tables(data)


if __name__ == "__main__":
    main()
