"""Make a stored result again by its own command, and compare: the same bits, or the largest difference.

`heartlens remake out/X` runs the command that the result holds and compares every number of the new result with the stored one. It finds
the recordings where you gave them last, else in this folder; `--in` names another one that holds them. Ends with 0 where all bits are
equal, with 1 where a number differs. Another processor or another version of a library may change the last digits.
"""

import contextlib
import csv
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from heartlens.exits import DONE, FAILURE, PARTIAL, exit_code
from heartlens.file_key import split_key
from heartlens.options_file import words_of
from heartlens.parser import Parser, path_given
from heartlens.refusal import Refusal
from heartlens.remake import places_of
from heartlens.results import SUMMARY, TALLY, Result, opened
from heartlens.results.run import add_folders, inside, placed, refuse_absent, run_words


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens remake", description=__doc__, allow_abbrev=False)
    parser.add_argument("result", type=path_given, metavar="RESULT", help="the folder of a result")
    add_folders(parser, "keep the new result there (default: it is compared and removed)")
    given = parser.strict(arguments)
    result = opened(given.result)
    command = result.command()
    root, files = places_of(command) or (None, {})
    folder = given.folder or (Path(root) if root and Path(root).is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="heartlens-") as scratch:
        out = given.out or Path(scratch) / "remade"
        commands = [_with_files(placed(words, out), files, folder or Path.cwd()) for words in words_of(command)]
        stored = Result(result.path.absolute())
        with inside(folder), contextlib.redirect_stdout(io.StringIO()):
            for words in commands:
                refuse_absent(words, given.result)
                code = run_words(words if sys.stderr.isatty() or words[0] == "paper" else [*words, "--quiet"])
                if code not in (DONE, PARTIAL):
                    return code
        return _compared(stored, Result(out.absolute()))


def _with_files(words: list[str], files: dict[str, str], folder: Path) -> list[str]:
    """The command with single files (a checkpoint, labels) where they are known to lie, unless the folder has them."""

    def placed_file(name: str) -> str:
        is_there = (folder / split_key(name)[0]).exists() or not os.path.exists(split_key(files.get(name, ""))[0])
        return name if is_there else files[name]

    return [f"{flag}={placed_file(value)}" if mark else placed_file(flag) for flag, mark, value in (word.partition("=") for word in words)]


def _compared(stored: Result, made: Result) -> int:
    """Print how the two compare; the exit code."""
    if (stored.path / SUMMARY).is_file():
        digests = [str(result.summary.attrs.get("data_sha256", "")) for result in (stored, made)]
        if digests[0] != digests[1]:
            raise Refusal(
                f"other recordings were read than those of {stored.path} (SHA-256 {digests[1][:12]}, not {digests[0][:12]}); "
                "--in names the folder that holds them"
            )
    n_numbers, differences, n_files = 0, list[tuple[float, str]](), 0
    for name in _files_of_numbers(stored):
        if not (made.path / name).is_file():
            raise Refusal(f"{stored.path} holds {name}, which its command does not write in this version")
        numbers = [dict(_numbers(result.path / name)) for result in (stored, made)]
        n_files += 1
        for place, values in numbers[0].items():
            n_numbers += values.size
            difference = _difference(values, numbers[1].get(place))
            if difference > 0:
                differences.append((difference, f"{place} of {name}"))
        differences += [(np.inf, f"{place} of {name}") for place in numbers[1].keys() - numbers[0].keys()]
    if not n_numbers:
        raise Refusal(f"{stored.path} holds no numbers to compare")
    if not differences:
        print(f"equal bits: {n_numbers} numbers and texts in {n_files} file{'' if n_files == 1 else 's'} of {stored.path}")
        return DONE
    largest, place = max(differences)
    others = f"; {len(differences)} of the result's variables differ" if len(differences) > 1 else ""
    size = "another shape or other texts" if np.isinf(largest) else f"largest difference {largest:.3g}"
    print(f"not equal: {size}, in {place}{others}")
    return FAILURE


def _files_of_numbers(result: Result) -> list[str]:
    return [*(name for name in (SUMMARY, TALLY) if (result.path / name).is_file()), *result.tables]


def _numbers(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every variable and coordinate of a file by its name, or every column of a table."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        for place, name in enumerate(header):
            yield name, np.array([row[place] for row in rows], np.str_)
        return
    from heartlens.netcdf import read_datasets

    for group, dataset in read_datasets(path).items():
        for variable, values in dataset.variables.items():
            yield f"{group.strip('/')}/{variable}".lstrip("/"), _as_array(values)


def _as_array(values: xr.Variable) -> np.ndarray:
    array = np.asarray(values.values)
    return array.astype(np.str_) if array.dtype == object else array


def _difference(stored: np.ndarray, made: np.ndarray | None) -> float:
    """The largest difference of two arrays: 0 where every bit is equal, infinite where texts, shapes or what is not known differ."""
    if made is None or stored.shape != made.shape:
        return np.inf
    if stored.dtype.kind in "US" or made.dtype.kind in "US":
        return _of_texts(stored, made)
    if stored.dtype == made.dtype and stored.tobytes() == made.tobytes():
        return 0.0
    if not np.array_equal(np.isfinite(stored), np.isfinite(made)):
        return np.inf
    finite = np.isfinite(stored)
    return float(np.abs(made[finite].astype(float) - stored[finite].astype(float)).max(initial=0.0))


def _of_texts(stored: np.ndarray, made: np.ndarray) -> float:
    """Of texts that are numbers, their difference."""
    if np.array_equal(stored, made):
        return 0.0
    try:
        unlike = stored != made
        return _difference(stored[unlike].astype(float), made[unlike].astype(float))
    except ValueError:
        return np.inf
