"""Kill -9 at random moments, and go on: nothing lost, nothing half-written, the same bits (`make kill`).

A run that nobody disturbs tells how long it takes and what its result is. Then the same command is killed at a random moment of that time,
again and again, each time in a new folder: what the folder holds must be nothing, what a run keeps on its way, or the whole result; and the
command with --resume must give the result of the undisturbed run.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SCAN = ["--n-twins", "2", "--twin-windows", "2", "--n-rotations", "2", "--n-permutations", "99", "--rate", "100", "--format", "svg"]
FINETUNE = [
    "--people",
    "16",
    "--steps",
    "12",
    "--batch",
    "4",
    "--validate-every",
    "2",
    "--folds",
    "2",
    "--dropout",
    "0.1",
    "--stride",
    "1000",
]
PRETRAIN = ["--people", "4", "--layers", "2", "--heads", "2", "--d-model", "16", "--steps", "40", "--batch", "4"]
PRETRAIN += ["--validate-every", "4", "--validation-windows", "8"]
WHOLE = {"summary.nc", "tally.nc", "report.html"}


@dataclass(frozen=True)
class Trial:
    """A command: how it starts and goes on in a folder, what must be equal in the end, what a killed run may leave."""

    start: Callable[[Path], list[str]]
    go_on: Callable[[Path], list[str]]
    result: Callable[[Path], object]
    refuse_broken: Callable[[Path], None]


def numbers(path: Path) -> object:
    """All numbers and names of a summary."""
    from heartlens.store import read_summary

    summary = read_summary(path)
    attrs = {name: str(value) for name, value in summary.attrs.items() if name not in ("command", "git_commit")}
    values = {str(name): (each.dims, each.values.tolist()) for name, each in summary.variables.items()}
    return attrs, str(values)  # as text, in which NaN is NaN


def difference(result: object, wanted: object) -> str:
    """Where two results begin to differ."""
    one, other = str(result), str(wanted)
    place = next((place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))
    return f"...{one[max(place - 60, 0) : place + 100]}... instead of ...{other[place : place + 100]}"


def weights(path: Path) -> object:
    """The fingerprint of a checkpoint's tensors."""
    from heartlens.checkpoints.read import fingerprint, read_state

    return fingerprint(read_state(path))


def refuse_broken_result(out: Path) -> None:
    """A folder holds a whole result, which can be read, or none of it."""
    files = {path.name for path in out.iterdir()} if out.exists() else set()
    there = files & WHOLE
    assert there in (set(), WHOLE), f"half a result: {sorted(files)}"
    if there:
        numbers(out / "summary.nc")
    if "tally.partial.nc" in files:
        from heartlens.store import read_gathered

        read_gathered(out / "tally.partial.nc")


def refuse_broken_run(out: Path) -> None:
    """Whatever a training run left can be read."""
    import torch

    for path in out.rglob("model.safetensors") if out.exists() else ():
        weights(path)
    for path in out.rglob("state.pt") if out.exists() else ():
        torch.load(path, weights_only=True)
    if (out / "summary.nc").exists():
        assert (out / "report.html").exists(), "half a result"
        numbers(out / "summary.nc")


def trials(folder: Path) -> dict[str, Trial]:
    """The commands, on recordings and checkpoints in `folder`."""
    module = [sys.executable, "-m"]
    scan = [*module, "heartlens.analyses.head_scan", "ecg-sim", "--data", str(folder / "hearts"), *SCAN, "--save-every", "0"]
    add = [*scan[:5], str(folder / "more"), *scan[6:], "--add", str(folder / "earlier" / "tally.nc")]
    tune = [*module, "heartlens.training.finetune", "ecg-sim", "--task", "af", "--device", "cpu", *FINETUNE, "--quiet"]
    train = [*module, "heartlens.training.pretrain", "ecg", "--device", "cpu", *PRETRAIN, "--quiet"]
    paper = [*module, "heartlens.paper", "--quick", "--data", str(folder / "sets"), "--examples", str(folder / "examples")]

    def summary(out: Path) -> object:
        return numbers(out / "summary.nc")

    def to(command: list[str], *more: str) -> Callable[[Path], list[str]]:
        return lambda out: [*command, "--out", str(out), *more]

    def claims(out: Path) -> object:
        return json.loads((out / "claims.json").read_text()), [numbers(path) for path in sorted(out.rglob("summary.nc"))]

    def paper_broken(out: Path) -> None:
        for path in out.rglob("summary.nc") if out.exists() else ():
            if any(part.startswith(".") for part in path.relative_to(out).parts):
                continue  # made beside its place, into which it had not been moved
            assert (path.parent / "job.json").exists(), "half a result"
            refuse_broken_result(path.parent)

    def tuned(out: Path) -> object:
        return weights(out / "model.safetensors"), numbers(out / "summary.nc"), (out / "predictions.csv").read_text()

    def trained(out: Path) -> object:
        return weights(out / "model.safetensors"), (out / "losses.csv").read_text()

    return {
        "scan": Trial(to(scan), to(scan, "--resume"), summary, refuse_broken_result),
        "add": Trial(to(add), to(add, "--resume"), summary, refuse_broken_result),
        "finetune": Trial(to(tune), to(tune, "--resume"), tuned, refuse_broken_run),
        "pretrain": Trial(to(train), to(train, "--resume"), trained, refuse_broken_run),
        "paper": Trial(to(paper), to(paper), claims, paper_broken),
    }


def prepare(folder: Path, name: str) -> None:
    """The recordings; for `add` also the tally of an earlier night, for `paper` a set of recordings and an example."""
    import wfdb

    from heartlens.signals.simulate import ecg

    for part, seeds in (("hearts", range(6)), ("more", range(6, 9))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            np.save(folder / part / f"h{seed}.npy", ecg.simulate(np.random.default_rng(seed), 12.0)[0])
    if name == "paper":  # one set of recordings and one example: some of the report's measurements, not hours
        (folder / "sets" / "cinc2017").mkdir(parents=True)
        (folder / "examples").mkdir()
        for seed in range(10):
            signal_mv = ecg.simulate(np.random.default_rng(seed), 30.0)[0][:, None]
            wfdb.wrsamp(f"a{seed}", 100, ["mV"], ["ECG"], signal_mv, fmt=["16"], write_dir=str(folder / "sets" / "cinc2017"))
        np.savetxt(folder / "examples" / "example_context_ECG.csv", ecg.simulate(np.random.default_rng(9), 12.0)[0])
    if name == "add":
        done(trials(folder)["scan"].start(folder / "earlier"))


def done(command: list[str]) -> float:
    """Run a command to its end; the seconds of processor time it took."""
    code, seconds, told = watched(command, math.inf)
    assert code == 0, (command, code, told[-2000:])
    return seconds


def watched(command: list[str], most_s: float) -> tuple[int, float, str]:
    """Run a command, and kill it once it has had so much processor time (which a busy machine does not change): code, time, stderr."""
    seconds = 0.0
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, env=environment(), start_new_session=True)
        while process.poll() is None:
            seconds = max(seconds, processor_s(process.pid))
            if seconds >= most_s:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.003)
        code = process.wait()
        told.seek(0)
        return code, seconds, told.read()


def processor_s(process: int) -> float:
    """The processor time a process has had; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """That of this process, with this checkout, offline and on one thread."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "HEARTLENS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(name: str, folder: Path, n_moments: int, seed: int, *, is_warm: bool = False) -> dict[str, int]:
    """Kill a command at so many moments; how often it was running, had saved, had finished. AssertionError at the first loss."""
    prepare(folder, name)
    trial, moments = trials(folder)[name], random.Random(f"{name} {seed}")
    if not is_warm:
        done(trial.start(folder / "warm"))  # what is compiled and cached at first is not what is tried
    takes_s = done(trial.start(folder / "whole"))
    wanted = trial.result(folder / "whole")
    counts = {"moments": 0, "killed": 0, "left something": 0}
    for number in range(n_moments):
        out = folder / f"run-{number}"
        moment_s = moments.uniform(0.25 * takes_s, 1.02 * takes_s)  # the first quarter is Python's own start
        counts["killed"] += watched(trial.start(out), moment_s)[0] == -signal.SIGKILL
        trial.refuse_broken(out)
        counts["left something"] += out.exists()
        try:
            finished = trial.result(out) == wanted
        except (OSError, ValueError):
            finished = False
        if not finished or name in ("finetune", "pretrain", "paper"):
            done(trial.go_on(out))
            left = [path.name for path in folder.iterdir() if path.name.startswith(f".run-{number}.")]
            assert not left, f"left beside: {left}"
        result = trial.result(out)
        assert result == wanted, f"{name}, killed after {moment_s:.2f} s of processor time: {difference(result, wanted)}"
        counts["moments"] += 1
        print(name, counts, file=sys.stderr, flush=True)
        shutil.rmtree(out)
    return counts


def main() -> None:
    """The trials that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="scan, add, paper, pretrain, finetune (default: all)")
    parser.add_argument("--n", type=int, default=40, help="moments of each (default: 40)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    for name in given.names or ["scan", "add", "finetune", "pretrain", "paper"]:
        with tempfile.TemporaryDirectory(prefix="heartlens-kill-") as folder:
            start = time.monotonic()
            print(name, run(name, Path(folder), given.n, given.seed), f"{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
