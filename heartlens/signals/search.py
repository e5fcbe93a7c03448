"""Which recordings a list of files, folders and patterns means, and what each is to be called."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.readers import READERS, recording_file

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Found:
    """A file that may be a recording. `named`: the user named it, and did not merely search a folder or a pattern."""

    path: Path
    named: bool


def find(paths: Paths) -> list[Found]:
    """Every file that `paths` mean, each once, in the order given; those of a folder or pattern sorted by name.

    Refuses what is not there, a pattern and a folder without any file that a reader knows, and a named file that no reader knows.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise Refusal("no files were given")
    found: dict[Path, Found] = {}
    for each in (found_here for path in given for found_here in _found(Path(path).expanduser())):
        found.setdefault(each.path.resolve(), each)
    return list(found.values())


def distinct_names(paths: list[Path]) -> list[str]:
    """A name for each path: its last folder and stem, and as many more folders as keep all names apart; at last the suffix too.

    >>> distinct_names([Path("/a/x/1.csv"), Path("/b/x/1.csv"), Path("/b/y/2.npy")])
    ['a/x/1', 'b/x/1', 'y/2']
    """
    full = [path.resolve() for path in paths]
    depth = 2
    names = [_name(path, depth) for path in full]
    while len(repeated := _repeated(names)) and depth < max(len(path.parts) for path in full):
        depth += 1
        names = [_name(path, depth) if name in repeated else name for path, name in zip(full, names, strict=True)]
    return [name + path.suffix if name in repeated else name for path, name in zip(full, names, strict=True)]


def _found(path: Path) -> list[Found]:
    if path.is_dir():
        files = _known(path.rglob("*"))
        if not files:
            raise Refusal(f"{path}: no file here that a reader knows; legal: {', '.join(READERS)}")
    elif glob.has_magic(str(path)) and not path.exists():
        files = _known(Path(file) for file in glob.glob(str(path), recursive=True))
        if not files:
            raise Refusal(f"{path}: the pattern matches no file that a reader knows; legal: {', '.join(READERS)}")
    else:
        return [Found(recording_file(path), named=True)]
    return [Found(file, named=False) for file in files]


def _known(files: Iterable[Path]) -> list[Path]:
    return sorted(file for file in files if file.suffix.lower() in READERS and file.is_file())


def _name(path: Path, depth: int) -> str:
    return "/".join(path.with_suffix("").parts[-depth:]).lstrip("/")


def _repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}
