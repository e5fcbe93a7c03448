"""Which recordings a list of files, folders and patterns means, and what each is to be called."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.readers import READERS, recording_file
from heartlens.signals.readers.csv import is_table
from heartlens.signals.readers.wfdb_header import segments_named_in

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
RECURSIVE = re.compile(r"(^|/)\*\*$")  # at the end of a pattern: all files below


@dataclass(frozen=True)
class Found:
    """A file that may be a recording. `named`: the user named it, and did not merely search a folder or a pattern."""

    path: Path
    named: bool


@dataclass(frozen=True)
class Search:
    """The files that may be recordings, and how many others there are, by their suffix (files beside a WFDB header belong to it)."""

    files: list[Found]
    unread: Counter[str]

    @property
    def notes(self) -> tuple[str, ...]:
        """A note of the files that no reader knows."""
        if not self.unread:
            return ()
        by_count = sorted(self.unread.items(), key=lambda kind: (-kind[1], kind[0] == "", kind[0]))
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in by_count[:8])
        return (f"{self.unread.total()} files that no reader knows are not read: {kinds}{', ...' if len(self.unread) > 8 else ''}",)


def find(paths: Paths) -> list[Found]:
    """The files that `search` finds."""
    return search(paths).files


def search(paths: Paths) -> Search:
    """Every file that `paths` mean, each once, in the order given; those of a folder or pattern sorted by name.

    A segment of a WFDB record that is found too is not a recording of its own, unless the user named it. Refuses what is not there, a
    pattern and a folder without any file that a reader knows, and a named file that no reader knows.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise Refusal("no files were given")
    found: dict[Path, Found] = {}
    unread: Counter[str] = Counter()
    for path in given:
        try:
            files, others = _files_meant(Path(path).expanduser())
        except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user, a zero byte
            raise Refusal(f"{str(path)[:80]!r}: no path that can be opened ({getattr(error, 'strerror', None) or error})") from error
        unread += others
        for each in files:
            found.setdefault(each.path.resolve(), each)
    segments = {header.with_name(f"{name}.hea") for header in found if header.suffix == ".hea" for name in segments_named_in(header)}
    return Search([each for path, each in found.items() if each.named or path not in segments], unread)


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


def _files_meant(path: Path) -> tuple[list[Found], Counter[str]]:
    if path.is_dir():
        what, files = "no file here", [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    elif glob.has_magic(str(path)) and not path.exists():
        root, pattern = Path(path.anchor), RECURSIVE.sub(r"\1**/*", path.relative_to(path.anchor).as_posix())
        what, files = "the pattern matches no file", list(root.glob(pattern))
    else:
        return [Found(recording_file(path), named=True)], Counter()
    files = [file for file in files if file.is_file() and not file.name.startswith("._")]
    belonging = {file.with_suffix("") for file in files if file.suffix == ".hea"}
    own = [file for file in files if file.suffix == ".hea" or file.with_suffix("") not in belonging]
    recordings = sorted(file for file in own if file.suffix.lower() in READERS and (file.suffix.lower() != ".txt" or is_table(file)))
    if not recordings:
        raise Refusal(f"{path}: {what} that a reader knows; legal: {', '.join(READERS)}")
    return [Found(file, named=False) for file in recordings], Counter(file.suffix.lower() for file in set(own) - set(recordings))


def _name(path: Path, depth: int) -> str:
    return "/".join(path.with_suffix("").parts[-depth:]).lstrip("/")


def _repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}
