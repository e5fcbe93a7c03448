"""The files that a recording's file names or that belong to it: plain files of the same folder, and nothing else."""

import os
import stat
from pathlib import Path

from heartlens.refusal import Refusal


def beside(path: Path, name: str) -> Path:
    """The file called `name` in the folder of `path`.

    Refuses a name with a folder in it, what is not there, a device, a pipe or a folder, and a link that leads out of the folder.
    """
    if not name or Path(name).name != name or "\0" in name:
        raise Refusal(f"{path}: names the file {name[:80]!r}; only files of the same folder are opened, by their plain names")
    file = path.parent / name
    try:
        if stat.S_ISREG(file.lstat().st_mode):  # no link, so nothing can lead out of the folder
            return file
    except OSError:
        pass
    try:
        target = file.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise Refusal(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'a link to itself'}); {path.name} names it") from error
    if target.parent not in (path.parent.resolve(), path.resolve().parent):
        raise Refusal(f"{file}: a link to another folder, which is not followed; copy the file there")
    if not target.is_file():
        raise Refusal(f"{file}: not a regular file")
    return file


def is_beside(path: Path, name: str) -> bool:
    """Whether `beside` gives a file."""
    try:
        return os.path.lexists(path.parent / name) and beside(path, name).is_file()
    except (Refusal, OSError, ValueError):
        return False
