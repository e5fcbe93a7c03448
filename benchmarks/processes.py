"""What only a process of its own can show: how long starting takes, how much memory a scan needs, how large its files are."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from setting import Setting
from table import Row, at_most
from timing import Work, medians, timed

import heartlens as hl

HEAD_SCAN = ("-m", "heartlens.analyses.head_scan")
FIRST_CALL = """
import torch, heartlens as hl
from heartlens.engine import engine_of
engine = engine_of(hl.load({checkpoint!r}))
engine.mixed(engine.embed(torch.zeros(1, 500, dtype=torch.int64)), 0)
"""
LOADED = """
import resource, torch, heartlens as hl
from pathlib import Path
from heartlens.analysis import fold, silent
from heartlens.models.subject import subject_of
model, windows = hl.load({checkpoint!r}), hl.simulated("ecg", n_records=8, windows_per_record={n_windows} // 8)
"""
SCANNED = "fold(hl.HeadScan(), subject_of(model), windows, silent)"
CACHED = """
tokens = torch.from_numpy(windows.tokens.astype("int64"))
model.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
"""
PEAK = """
status = Path("/proc/self/status")  # a child's ru_maxrss begins with what its parent had
own = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
print(int((own or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0]) / 1024)
"""
MOST_HELP_S, MOST_COMPILING_S, MOST_SCAN_S, MOST_GROWTH, MOST_TALLY_MB = 1.0, 15.0, 25.0, 1.1, 2.0


def starting(setting: Setting) -> Iterator[Row]:
    """Wall time of starting; of a first run ever too, which compiles; and of loading alone."""
    first_call = FIRST_CALL.format(checkpoint=setting.checkpoint)
    works: dict[str, Work] = {"help": partial(_run, *HEAD_SCAN, "--help"), "call": partial(_run, "-c", first_call)}
    taken = {name: each.wall_s for name, each in medians(works, min(3, setting.n_rounds)).items()}
    yield Row("head_scan --help", f"{taken['help']:.2f} s wall", "", at_most(MOST_HELP_S, taken["help"], " s"))
    yield Row("import, load, first kernel call, warm kernel cache", f"{taken['call']:.2f} s wall")
    if not setting.is_quick:
        with tempfile.TemporaryDirectory() as empty:
            more = timed(lambda: _run("-c", first_call, NUMBA_CACHE_DIR=empty)).wall_s - taken["call"]
        yield Row("  the first run ever: kernels are compiled", f"{more:.1f} s more", "", at_most(MOST_COMPILING_S, more, " s more"))
    yield _loading(setting)


def memory(setting: Setting) -> Iterator[Row]:
    """The peak resident size of processes that simulate and scan so many windows of 8 people."""
    loaded = _peak_mib(setting, 8, "")
    peaks = {n: _peak_mib(setting, n, SCANNED) for n in ((8, 64) if setting.is_quick else (8, 64, 512))}
    yield Row("a process that has loaded the model and simulated 8 windows", f"{loaded:.0f} MiB peak")
    for n_windows, peak in peaks.items():
        growth = peak / peaks[64]
        against = f"{growth:.3f} of 64 windows; {peak - loaded:.0f} MiB more than loading"
        target = at_most(MOST_GROWTH, growth, " of 64 windows") if n_windows == 512 else ""
        yield Row(f"head scan of {n_windows} windows", f"{peak:.0f} MiB peak", against, target)
    cached = _peak_mib(setting, 8, CACHED)
    yield Row("run_with_cache of 8 windows, patterns only", f"{cached:.0f} MiB peak", f"{cached - loaded:.0f} MiB more than loading")


def files(setting: Setting) -> Iterator[Row]:
    """A head scan with its defaults, as a command: wall time, and the sizes of what it writes."""
    options = ("--max-windows", "8") if setting.is_quick else ()
    with tempfile.TemporaryDirectory() as folder:
        seconds = timed(lambda: _run(*HEAD_SCAN, setting.checkpoint, "--out", folder, "--overwrite", "--quiet", *options)).wall_s
        yield Row("head_scan with its defaults, imports included", f"{seconds:.1f} s wall", "", at_most(MOST_SCAN_S, seconds, " s"))
        for name in ("tally.nc", "summary.nc"):
            size = (Path(folder) / name).stat().st_size / 1e6
            yield Row(f"  its {name}", f"{size:.2f} MB", "", at_most(MOST_TALLY_MB, size, " MB") if name == "tally.nc" else "")


def _loading(setting: Setting) -> Row:
    """Loading a cached checkpoint, against HookedTransformer's own way to take tensors in."""
    state = setting.model.state_dict()
    works: dict[str, Work] = {
        "ours": lambda: hl.load(setting.checkpoint),
        "theirs": lambda: setting.model.load_and_process_state_dict(dict(state), False, False, False, False),
    }
    taken = {name: each.cpu_s for name, each in medians(works, setting.n_rounds).items()}
    against = f"{taken['ours'] / taken['theirs']:.2f} of HookedTransformer's load_and_process_state_dict"
    return Row("hl.load of a cached checkpoint", f"{1000 * taken['ours']:.0f} ms CPU", against)


def _peak_mib(setting: Setting, n_windows: int, work: str) -> float:
    """The peak resident size of a process that does the work on so many windows, in MiB."""
    code = LOADED.format(checkpoint=setting.checkpoint, n_windows=n_windows)
    return float(_run("-c", f"{code}\n{work}\n{PEAK}"))


def _run(*arguments: str, **environment: str) -> str:
    """What another Python prints."""
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True).stdout
