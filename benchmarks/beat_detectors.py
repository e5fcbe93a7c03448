"""How well pulses are found: the beat detector beside NeuroKit2's, against the R peaks of the ECG that was recorded with the pulse.

    python benchmarks/beat_detectors.py DATA [--checkpoint ppg-beat] [--seconds 180]

DATA holds bidmc/ (125 Hz) and cinc2015/ (250 Hz), intensive care, one ECG (II) and one finger pulse (PLETH) a record. The reference is made
by an algorithm, not by people: R peaks that two QRS detectors (NeuroKit2's own and Rodrigues 2021) find within 50 ms of each other; where
only one finds a peak, nothing is judged within half a second. A pulse comes later than its R peak: for each record and each detector
the delay is the median time to the detector's next beat (0.05 to 0.8 s), and a beat is right within 150 ms of an R peak plus that delay,
so detectors that mark other points of the pulse are treated alike. Judged are the parts of the pulse that `heartlens beats` uses, less a
second at either end, the same for all detectors. BIDMC was among what PPG-PT was pre-trained on; CinC 2015 was not.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from heartlens.axes import CONTEXT, KINDS
from heartlens.measures.beat_matching import Matches, match, total
from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.signals.files import Files
from heartlens.tasks.beats.detect import BANDS, beats_in
from heartlens.tasks.recordings import Prepared, recordings_of

RATES_HZ = {"bidmc": 125.0, "cinc2015": 250.0}
AGREED_S, UNSURE_S, EDGE_S = 0.05, 0.5, 1.0
DELAYS_S = (0.05, 0.8)
OWN, FILTERED = "heartlens beats", "heartlens beats --bandpass"
METHODS = ("elgendi", "charlton")  # of NeuroKit2's ppg_findpeaks; charlton is MSPTDfast (bishop, MSPTD, takes gigabytes for minutes)


def files(folder: Path) -> list[Path]:
    """The recordings of a data set."""
    return sorted(path for path in folder.glob("*.csv") if path.stem.endswith("_Signals") or "_" not in path.stem)


def reference(ecg: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """R peaks (s) that two detectors agree on, and peaks of only one of them."""
    import neurokit2 as nk

    clean = nk.ecg_clean(ecg, sampling_rate=rate_hz)
    first, second = (
        nk.ecg_peaks(clean, sampling_rate=rate_hz, method=method)[1]["ECG_R_Peaks"] / rate_hz for method in ("neurokit", "rodrigues2021")
    )
    agreed = np.array([time for time in first if np.abs(second - time).min(initial=np.inf) <= AGREED_S])
    unsure = [time for one, other in ((first, second), (second, first)) for time in one if np.abs(other - time).min(initial=9.0) > AGREED_S]
    return agreed, np.array(unsure)


def neurokit(ppg: np.ndarray, rate_hz: float, method: str) -> np.ndarray:
    """The systolic peaks (s) of one of NeuroKit2's detectors."""
    import neurokit2 as nk

    clean = nk.ppg_clean(ppg, sampling_rate=rate_hz)
    return np.asarray(nk.ppg_findpeaks(clean, sampling_rate=int(rate_hz), method=method)["PPG_Peaks"]) / rate_hz


def delay_of(found_s: np.ndarray, true_s: np.ndarray) -> float:
    """The median time from an R peak to the next beat, as far as that lies in DELAYS_S."""
    following = np.searchsorted(found_s, true_s + DELAYS_S[0])
    known = following < len(found_s)
    late = found_s[following[known]] - true_s[known]
    return float(np.median(late[late <= DELAYS_S[1]])) if (late <= DELAYS_S[1]).any() else np.nan


def judged(found_s: np.ndarray, true_s: np.ndarray, unsure_s: np.ndarray, spans: list[tuple[float, float]]) -> tuple[Matches, np.ndarray]:
    """The matches of one record, and of each judged beat whether it is right (NaN: not judged)."""
    delay_s = delay_of(found_s, true_s)
    expected_s = true_s + delay_s

    def inside(times_s: np.ndarray) -> np.ndarray:
        is_used = np.any([(times_s > begin_s + EDGE_S) & (times_s < end_s - EDGE_S) for begin_s, end_s in spans], axis=0)
        unsure = np.array([np.abs(unsure_s + delay_s - time).min(initial=np.inf) <= UNSURE_S for time in times_s], bool)
        return np.asarray(is_used & ~unsure)

    used, kept = found_s[inside(found_s)], expected_s[inside(expected_s)]
    is_right = np.full(len(found_s), np.nan)
    near = np.array([np.abs(expected_s - time).min(initial=np.inf) <= 0.15 for time in found_s], float)
    is_right[inside(found_s)] = near[inside(found_s)]
    return match(used, kept), is_right


def records(folder: Path, rate_hz: float, at_most_s: float) -> Iterator[tuple[Path, Prepared, Prepared]]:
    """Each recording with its usable pulse, and the same filtered; of each stretch at most so many seconds."""
    for path in files(folder):
        given = Files((path,), kind="ppg", rate_hz=None if path.stem.endswith("_Signals") else rate_hz, lead="PLETH")
        both = (next(recordings_of(replace(given, bandpass=band), "ppg")) for band in (False, True))
        plain, filtered = (replace(each, stretches=shortened(each, at_most_s)) for each in both)
        yield path, plain, filtered


def shortened(prepared: Prepared, at_most_s: float) -> tuple[tuple[np.ndarray, float], ...]:
    """Its stretches, as far as they lie in the first seconds of the recording."""
    kept = []
    for signal, start_s in prepared.stretches:
        n_samples = round((at_most_s - start_s) * KINDS["ppg"].rate_hz) if np.isfinite(at_most_s) else len(signal)
        if n_samples >= CONTEXT:
            kept.append((signal[:n_samples], start_s))
    return tuple(kept)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", default="ppg-beat")
    parser.add_argument("--seconds", type=float, default=np.inf, help="of each record, from its start (default: all)")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    subject = subject_of(load(given.checkpoint))
    print(f"{subject.origin.checkpoint}, {subject.origin.fingerprint[:8]}; R peaks by algorithm, tolerance 150 ms after the median delay")
    for name, rate_hz in RATES_HZ.items():
        by_detector: dict[str, list[Matches]] = {}
        by_band: dict[str, list[float]] = {band: [] for band in BANDS}
        used_s, n_records, n_unusable = 0.0, 0, 0
        for path, prepared, filtered in records(given.data / name, rate_hz, given.seconds):
            if not prepared.stretches:
                n_unusable += 1
                continue
            table = pd.read_csv(path).rename(columns=str.strip)
            true_s, unsure_s = reference(table["II"].to_numpy(float)[: int(min(given.seconds * rate_hz, len(table)))], rate_hz)
            own, banded = beats_in(subject, prepared), beats_in(subject, filtered)
            spans = [(start_s, start_s + len(signal) / KINDS["ppg"].rate_hz) for signal, start_s in prepared.stretches]
            used_s += sum(end_s - begin_s for begin_s, end_s in spans)
            n_records += 1
            ppg = table["PLETH"][: int(min(given.seconds * rate_hz, len(table)))].interpolate(limit_direction="both").to_numpy(float)
            detectors: dict[str, Callable[[], np.ndarray]] = {
                OWN: partial(np.asarray, own.time_s),
                FILTERED: partial(np.asarray, banded.time_s),
            }
            detectors |= {f"NeuroKit2 {method}": partial(neurokit, ppg, rate_hz, method) for method in METHODS}
            for detector, detect in detectors.items():
                matches, is_right = judged(detect(), true_s, unsure_s, spans)
                by_detector.setdefault(detector, []).append(matches)
                if detector == FILTERED:
                    for right, band in zip(is_right, banded.band, strict=True):
                        by_band[band] += [] if np.isnan(right) else [right]
        print(f"\n{name}: {n_records} records, {used_s / 60:.0f} minutes used, {n_unusable} records not usable")
        print("| detector | sensitivity | precision | F1 | worst record's F1 | error (ms, SD) |\n|---|---|---|---|---|---|")
        for detector, of_records in by_detector.items():
            whole = total(of_records)
            worst = min(each.f1 for each in of_records)
            numbers = (whole.sensitivity, whole.precision, whole.f1, worst)
            print(f"| {detector} | {' | '.join(f'{100 * number:.1f} %' for number in numbers)} | {1000 * whole.error_s.std():.0f} |")
        bands = ", ".join(
            f"{band} {100 * np.mean(right):.1f} % of {len(right)}" if right else f"{band}: none" for band, right in by_band.items()
        )
        print(f"right by band of confidence, {FILTERED}: {bands}")


if __name__ == "__main__":
    main()
