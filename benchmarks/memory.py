"""Does the memory of a head scan grow with the number of windows? 8 against 64 windows of 8 records, beside TransformerLens' full cache.

Each case runs in a process of its own; peak is its largest resident size, and *added* what it has beyond a process that has loaded the
model and simulated the windows. `python benchmarks/memory.py` (needs the published ECG checkpoint).
"""

import subprocess
import sys

LOAD = """
import resource, heartlens as hl
from heartlens.analysis import fold, silent
from heartlens.models.subject import subject_of
model, windows = hl.load("ecg"), hl.simulated("ecg", n_records=8, windows_per_record=8)
"""
CASES = {
    "nothing measured": "",
    "scan, 8 windows": "fold(hl.HeadScan(), subject_of(model), windows[::8], silent)",
    "scan, 64 windows": "fold(hl.HeadScan(), subject_of(model), windows, silent)",
    "run_with_cache, 8 windows": "import torch; model.run_with_cache(torch.from_numpy(windows[:8].tokens.astype('int64')))",
    "run_with_cache, 64 windows": "import torch; model.run_with_cache(torch.from_numpy(windows.tokens.astype('int64')))",
}
REPORT = "\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"


def peak_mib(case: str) -> float:
    """The peak resident size of a process that runs the case, in MiB."""
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD + case + REPORT], capture_output=True, text=True, check=True)
    return float(told.stdout)


def main() -> None:
    """Print the table."""
    peaks = {name: peak_mib(case) for name, case in CASES.items()}
    nothing = peaks["nothing measured"]
    for name, peak in peaks.items():
        print(f"{name:28} peak {peak:7.0f} MiB   added {peak - nothing:7.0f} MiB")
    for name in ("scan", "run_with_cache"):
        grown = (peaks[f"{name}, 64 windows"] - nothing) / (peaks[f"{name}, 8 windows"] - nothing)
        print(f"{name}: 64 windows add {grown:.2f} times what 8 add")


if __name__ == "__main__":
    main()
