"""How often would a model that learnt nothing have heads that survive? Weight-randomised twins, scanned as if each were the model.

Each twin is scanned on the default windows and compared with the N_NULL twins that follow it in a ring, as a model is with its own. At
most 5 % of the repeats may have a survivor. `python benchmarks/calibration.py [ecg|ppg] [n_twins]` (needs the published checkpoint).
"""

import sys
from itertools import islice

import numpy as np
from scipy.stats import binomtest

import heartlens as hl
from heartlens.analysis import fold, silent
from heartlens.models.nulls.twins import twins
from heartlens.models.subject import subject_of
from heartlens.session import N_SIMULATED

N_NULL = 20
SEED = 2026  # of the pool of twins; the scan's own default seed is 0


def main(kind: str = "ecg", n_twins: str = "60") -> None:
    """Print the share of repeats with a survivor, in all and by kind of twin, with 95 % intervals."""
    scan = hl.HeadScan()
    windows = hl.simulated(kind, n_records=N_SIMULATED, windows_per_record=1)
    few = windows.subset(scan.twin_windows)
    measured = []
    for name, twin in twins(hl.load(kind), int(n_twins), SEED):
        measured.append((name, fold(scan, subject_of(twin), windows, silent), fold(scan.for_twins(), subject_of(twin), few, silent)))
        print(f"\r{len(measured)} of {n_twins} twins", end="", file=sys.stderr)
    found = {name: int(survivors(scan, measured, index)) for index, (name, *_) in enumerate(measured)}
    for label in ("", "random", "shuffled"):
        counts = [count for name, count in found.items() if name.startswith(label)]
        print(f"{kind} {label or 'all':9} {summary_line(np.array(counts) > 0)}; survivors: {sum(counts)}")


def survivors(scan: hl.HeadScan, measured: list, index: int) -> int:
    """How many heads x waves of one twin survive against the twins that follow it."""
    ring = [measured[(index + step) % len(measured)] for step in range(1, len(measured))]
    null = {name: few for name, _, few in islice(ring, N_NULL)}
    return int(scan.summarize(measured[index][1], null)["survives"].sel(query="all").sum())


def summary_line(has_survivor: np.ndarray) -> str:
    """The share of repeats with a survivor and its Clopper-Pearson interval."""
    interval = binomtest(int(has_survivor.sum()), len(has_survivor)).proportion_ci()
    counted = f"{has_survivor.sum()} of {len(has_survivor)} repeats have a survivor"
    return f"{counted}: {has_survivor.mean():.1%} ({interval.low:.1%} to {interval.high:.1%})"


if __name__ == "__main__":
    main(*sys.argv[1:])
