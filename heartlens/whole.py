"""Files that are there whole or not at all, also where several processes write the same one, and when the power fails.

And what files are made of and known by: the text of a table, the hash of a content.
"""

import csv
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

UNFINISHED = re.compile(r"\..*\.[0-9a-f]{8}\.partial")  # names of what is being written, or was when its process was killed


def unfinished(path: Path) -> Path:
    """A name beside `path`, of a random number, for what is to take its place."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.partial")


def write_whole(content: bytes, path: Path, *, lasting: bool = True) -> None:
    """Write `content` beside `path`, then put it in its place; an OSError leaves nothing behind.

    What need not outlive a power failure is not `lasting`, which saves the wait for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(path)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if lasting:
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk before anything else happens, where the system offers that."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError:  # some file systems cannot
        pass
    finally:
        os.close(number)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
