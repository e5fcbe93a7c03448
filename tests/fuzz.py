"""Damaged files of every kind, made from good ones: each must be read or refused in one line, within 5 s of processor time and 1 GB.

`make fuzz` tries a million and goes on where it was stopped (`ARGS="--inputs 20000 --doors edf mat"` for less). An input follows from its
door and its number alone; those that fail are kept under out/fuzz/findings with what happened. The tests try the first few hundred.
"""

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

MOST_CPU_S, MOST_BYTES = 5.0, 2**30
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (
    b"-1",
    b"0",
    b"nan",
    b"inf",
    b"1e999",
    b"99999999999999999999",
    b"../x",
    b"/dev/zero",
    b"%s",
    b"\xff\xfe",
    b"\0",
    b'"',
    b"\n",
    b",",
)
N = 3000  # samples: whole seconds, and more than a window at 500 Hz
LEADS = {"I": np.round(300 * np.sin(np.arange(N) / 30)).astype(np.int64), "II": np.round(200 * np.cos(np.arange(N) / 41)).astype(np.int64)}


@dataclass(frozen=True)
class Door:
    """`write` puts a good file, and those beside it, into a folder; `open` is what a user's command does with it; `damaged` is its name."""

    damaged: str
    write: Callable[[Path], None]
    open: Callable[[Path], object] = field(default=lambda path: _recording(path))


def _recording(path: Path) -> object:
    from heartlens.signals.readers import read_recording

    return read_recording(path, rate_hz=None if path.suffix in (".hea", ".edf", ".bdf", ".xml", ".dcm", ".ecg") else 500.0)


def _state(path: Path) -> object:
    from heartlens.models.load import read

    return read(path, "ecg")


def _persons(path: Path) -> object:
    from heartlens.signals.persons import given_persons

    return given_persons({"a/1": Path("a/1.csv"), "a/2": Path("a/2.csv")}, path, None)


def _format(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from formats import WRITERS

        WRITERS[name](folder / name, LEADS, 500)

    return write


def _marked(folder: Path) -> None:
    import wfdb

    _format("wfdb.hea")(folder)
    samples = np.arange(100, N, 60)
    wfdb.wrann(
        "wfdb", "i", samples, ["(", "N", ")", "p", "t"] * (len(samples) // 5) + ["N"] * (len(samples) % 5), fs=250, write_dir=str(folder)
    )


def _segments(folder: Path) -> None:
    _format("wfdb.hea")(folder)
    (folder / "m.hea").write_text(f"m/2 2 500 {N + 100}\n~ 100\nwfdb {N}\n")


def _checkpoint(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from originals import pickled, tiny_state, zipped
        from safetensors.torch import save

        state = tiny_state()
        written = {"own.pth": pickled, "own.zip": lambda state: zipped({"own.pth": pickled(state)}), "own.safetensors": save}
        (folder / name).write_bytes(written[name](state))

    return write


def _text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _numpy(folder: Path) -> None:
    np.save(folder / "a.npy", LEADS["I"] / 200)
    np.savez_compressed(folder / "a.npz", **LEADS)


TABLE = "time,I,II\n" + "\n".join(
    f"{number / 500:.3f},{a / 200},{b / 200}" for number, (a, b) in enumerate(zip(*LEADS.values(), strict=True))
)
DOORS = {
    "header": Door("wfdb.hea", _format("wfdb.hea")),
    "samples": Door("wfdb.dat", _format("wfdb.hea"), lambda path: _recording(path.with_suffix(".hea"))),
    "marks": Door("wfdb.i", _marked, lambda path: _recording(path.with_suffix(".hea"))),
    "segments": Door("m.hea", _segments),
    "edf": Door("a.edf", _format("a.edf")),
    "bdf": Door("a.bdf", _format("a.bdf")),
    "mat4": Door("v4.mat", _format("v4.mat")),
    "mat5": Door("v5.mat", _format("v5.mat")),
    "mat73": Door("v73.mat", _format("v73.mat")),
    "hdf5": Door("a.h5", _format("a.h5")),
    "parquet": Door("a.parquet", _format("a.parquet")),
    "ishne": Door("a.ecg", _format("a.ecg")),
    "dicom": Door("a.dcm", _format("a.dcm")),
    "aecg": Door("hl7.xml", _format("hl7.xml")),
    "muse": Door("muse.xml", _format("muse.xml")),
    "csv": Door("a.csv", _text("a.csv", TABLE)),
    "npy": Door("a.npy", _numpy),
    "npz": Door("a.npz", _numpy),
    "pth": Door("own.pth", _checkpoint("own.pth"), _state),
    "zip": Door("own.zip", _checkpoint("own.zip"), _state),
    "safetensors": Door("own.safetensors", _checkpoint("own.safetensors"), _state),
    "persons": Door("persons.csv", _text("persons.csv", "record,person\na/1,Ann\n2,Bob\n"), _persons),
}


@cache
def good(door: str) -> dict[str, bytes]:
    """The good files of a door, by name."""
    with tempfile.TemporaryDirectory() as folder:
        DOORS[door].write(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to four changes; half of them near its beginning, where formats tell sizes."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(changed), 600 if draw.random() < 0.5 else len(changed))) if changed else 0
        change = draw.randrange(8)
        if change == 0:
            changed[at : at + 1] = bytes([changed[at] ^ 1 << draw.randrange(8)]) if changed else b""
        elif change == 1:
            width, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
            changed[at : at + width] = (draw.choice(INTERESTING) % 2 ** (8 * width)).to_bytes(width, order)
        elif change == 2:
            del changed[at : at + draw.choice((1, 2, 8, 100, 5000))]
        elif change == 3:
            changed[at:at] = changed[at : at + draw.choice((1, 8, 100, 2000))]
        elif change == 4:
            changed[at : at + draw.randrange(9)] = draw.choice(WORDS)
        elif change == 5:
            del changed[draw.randrange(len(changed) + 1) :]
        elif change == 6:
            changed[at : at + 16] = draw.randbytes(draw.randrange(17))
        else:
            other = draw.randrange(len(changed)) if changed else 0
            changed[at : at + 8], changed[other : other + 8] = changed[other : other + 8], changed[at : at + 8]
    return bytes(changed)


def input_of(door: str, number: int) -> dict[str, bytes]:
    """The files of an input by name, one of them damaged."""
    files = dict(good(door))
    files[DOORS[door].damaged] = damaged(files[DOORS[door].damaged], random.Random(f"{door} {number}"))
    return files


def fault_of(door: str, folder: Path, files: dict[str, bytes]) -> str:
    """What is wrong with how an input is met; empty if nothing is."""
    from heartlens.refusal import Refusal

    for name, content in files.items():
        (folder / name).write_bytes(content)
    before_s, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fault = ""
    try:
        DOORS[door].open(folder / DOORS[door].damaged)
    except Refusal as refusal:
        cause = refusal.__cause__
        if "\n" in str(refusal) or len(str(refusal)) > 1000:
            fault = f"a refusal of {len(str(refusal))} characters in {len(str(refusal).splitlines())} lines"
        elif (isinstance(cause, AssertionError) and _is_ours(cause)) or type(cause).__module__.split(".")[0] in ("beartype", "jaxtyping"):
            fault = f"an error of this program, refused: {cause!r}"[:300]
    except Exception:
        fault = traceback.format_exc()
    spent_s = time.process_time() - before_s
    if spent_s > MOST_CPU_S:
        fault = f"{spent_s:.1f} s of processor time"
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > MOST_BYTES:
        fault = "more than 1 GB of memory"
    return fault


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised in this package, not in a library that asserts what a file must hold."""
    import heartlens

    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(heartlens.__file__).parent)


def attack(door: str, first: int, count: int, out: Path) -> None:
    """Try inputs of a door; `out/DOOR.next` is the number of the one that is being tried, findings are kept."""
    signal.alarm(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            (out / f"{door}.next").write_text(str(number))
            files = input_of(door, number)
            signal.alarm(600)  # of the clock, for what hangs: a busy machine takes long
            if fault := fault_of(door, Path(folder), files):
                keep(door, number, fault, out)
    signal.alarm(0)
    (out / f"{door}.next").write_text(str(first + count))


def keep(door: str, number: int, fault: str, out: Path) -> None:
    """Keep an input with what happened."""
    folder = out / "findings" / f"{door}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in input_of(door, number).items():
        (folder / name).write_bytes(content)
    (folder / "fault.txt").write_text(fault)
    print(f"{door} {number}: {fault.strip().splitlines()[-1][:200]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all doors together")
    parser.add_argument("--doors", nargs="+", choices=list(DOORS), default=list(DOORS))
    parser.add_argument("--batch", type=int, default=1000, help="inputs of a process")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--attack", nargs=3, metavar=("DOOR", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.attack:
        door, first, count = options.attack
        attack(door, int(first), int(count), options.out)
        return 0
    each = -(-options.inputs // len(options.doors))
    done = {door: _next(options.out, door) for door in options.doors}
    while waiting := [door for door in options.doors if done[door] < each]:
        door = min(waiting, key=done.__getitem__)
        count = min(options.batch, each - done[door])
        order = [sys.executable, __file__, "--out", str(options.out), "--attack", door, str(done[door]), str(count)]
        status = subprocess.run(order).returncode
        reached = _next(options.out, door)
        if status:
            keep(door, reached, f"the process ended with status {status}", options.out)
            reached += 1
            (options.out / f"{door}.next").write_text(str(reached))
        done[door] = reached
        print(json.dumps({"tried": sum(done.values()), "findings": len(list((options.out / "findings").glob("*")))}), flush=True)
    return 0


def _next(out: Path, door: str) -> int:
    file = out / f"{door}.next"
    return int(file.read_text()) if file.is_file() and file.read_text() else 0


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    sys.exit(main())
