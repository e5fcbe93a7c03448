"""An output folder: whose it is, one run at a time in it, and its result there at once or not at all.

A folder is this program's if it holds MARKER, which names every file that was written into it; anything else in it is foreign, and
nothing that is foreign is ever removed. A run claims its folder (a lock that ends with the process, however that ends). Its result is made
in a folder beside, and takes its place in one step; what was there before is removed after that.
"""

import ctypes
import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from heartlens.refusal import Failure, Refusal, one_line
from heartlens.whole import UNFINISHED, sync_folder, unfinished, write_whole

MARKER, PROGRAM, FORMAT = "heartlens.json", "heartlens", 1
LARGEST_MARKER = 2**22
AT_FDCWD, RENAME_EXCHANGE = -100, 2


class Folder:
    """The output folder `path` of one run, locked within the `with`. `own` matches what a run keeps in it on its way."""

    def __init__(self, path: Path, own: str = r"(?!)") -> None:
        self.path, self._own = path, re.compile(own)
        self._locks: list[int] = []
        self._is_new = self._is_claimed = False
        self.is_given = False  # whether the result has taken its place

    def __enter__(self) -> "Folder":
        if self.path.exists() and not self.path.is_dir():
            raise Refusal(f"{self.path} is a file; --out names a folder")
        place = Path(os.path.realpath(self.path))
        above = next(folder for folder in place.parents if folder.exists())
        folders = [above, *([place] if place.exists() else [])]  # a result is made beside the folder
        if not all(folder.is_dir() and os.access(folder, os.W_OK) for folder in folders) or os.path.ismount(place):
            raise Refusal(f"{self.path} cannot be written; name another folder with --out")
        if self.path.is_dir():
            self._lock()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_claimed and not self.is_given and self.files() == [MARKER]:  # nothing came of it
            (self.path / MARKER).unlink()
            if self._is_new:
                _remove_empty(self.path)
        self._unlock()

    @property
    def is_result(self) -> bool:
        """Whether the folder holds a whole result."""
        return bool(self._marker().get("is_result"))

    def files(self) -> list[str]:
        """The files in the folder and below it, by their names within it, sorted; what a killed process left half-written is none."""
        if not self.path.is_dir():
            return []
        files = (each.relative_to(self.path).as_posix() for each in self.path.rglob("*") if not each.is_dir() or each.is_symlink())
        return sorted(name for name in files if not UNFINISHED.fullmatch(name.rsplit("/", 1)[-1]))

    def refuse_foreign(self) -> None:
        """Refuse a folder that holds what this program did not write."""
        files = self.files()
        marker = self._marker()
        foreign = [name for name in files if name not in (MARKER, *marker.get("files", ())) and not (marker and self._own.fullmatch(name))]
        if foreign:
            named = f"{', '.join(foreign[:4])}{' and more' if len(foreign) > 4 else ''}"
            raise Refusal(f"{self.path} holds {named}, which this program did not write (or an earlier version); give another --out")

    def clear(self) -> None:
        """Remove the folder, as far as it is this program's."""
        if self.path.is_dir():
            self.refuse_foreign()
            _remove(self.path, self)
            self._unlock()

    def claim(self) -> None:
        """Make the folder where there is none, and mark it as this program's. `Failure` where another run was faster."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
            self._is_new = True
        except FileExistsError:
            if not self._locks and self.is_result:
                raise Failure(f"another run has just written its result into {self.path}; this one changed nothing") from None
        except OSError as error:
            raise Refusal(f"{self.path} cannot be written ({error.strerror}); name another folder with --out") from error
        if not self._locks:
            self._lock()
        self.refuse_foreign()
        for left in self.path.rglob(".*.partial"):
            if UNFINISHED.fullmatch(left.name) and left.is_file():
                left.unlink()
        if not self._marker():
            write_whole(_marker_of([], is_result=False), self.path / MARKER)
            self._is_claimed = True

    def give(self, fill: Callable[[Path], Any]) -> None:
        """Have `fill` write the result into a folder beside, and put it in the place of all that is there."""
        real = Path(os.path.realpath(self.path))
        real.parent.mkdir(parents=True, exist_ok=True)
        self._remove_left(real)
        beside = unfinished(real)
        beside.mkdir()
        lock = _locked(beside)
        self._locks += [] if lock is None else [lock]
        made, is_there = Folder(beside), False
        try:
            write_whole(_marker_of([], is_result=False), beside / MARKER)
            fill(beside)
            write_whole(_marker_of(made.files(), is_result=True), beside / MARKER)
            for folder in (*(each for each in beside.rglob("*") if each.is_dir()), beside):
                sync_folder(folder)
            self._take(beside, real)
            is_there = self.is_given = True
            sync_folder(real.parent)
        finally:
            if beside.is_dir():  # what was there before, or what could not be finished
                _remove(beside, Folder(beside, self._own.pattern if is_there else ".*"))

    def _take(self, beside: Path, real: Path) -> None:
        try:
            beside.rename(real)  # where there is no folder, or an empty one
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not self._is_ours(real):
            raise Failure(f"another run has just written its result into {self.path}; this one changed nothing")
        try:
            self.refuse_foreign()
        except Refusal as refusal:  # something was put there while the run was under way
            number = next(number for number in count(1) if not real.with_name(f"{real.name}.{number}").exists())
            beside.rename(real.with_name(f"{real.name}.{number}"))
            raise Failure(f"{refusal}; this result is in {self.path}.{number}") from refusal
        _exchange(beside, real)

    def _is_ours(self, real: Path) -> bool:
        own = os.stat(real)
        return any((each := os.fstat(lock)).st_ino == own.st_ino and each.st_dev == own.st_dev for lock in self._locks)

    def _lock(self) -> None:
        lock = _locked(self.path)
        if lock is None:
            raise Failure(f"another run is writing into {self.path}; wait for it, or give another --out")
        self._locks.append(lock)

    def _unlock(self) -> None:
        for lock in self._locks:
            os.close(lock)
        self._locks = []

    def _remove_left(self, real: Path) -> None:
        """Remove what killed runs left beside the folder; that of a living one is locked."""
        for left in real.parent.glob(f".{_plain(real.name[:40])}.*.partial"):
            if left.is_dir() and not left.is_symlink() and UNFINISHED.fullmatch(left.name) and (left / MARKER).is_file():
                lock = _locked(left)
                if lock is not None:
                    _remove(left, Folder(left, ".*"))
                    os.close(lock)

    def _marker(self) -> dict[str, Any]:
        """What MARKER says; empty where there is none. Refuses one of another format."""
        path = self.path / MARKER
        if not path.is_file() or path.stat().st_size > LARGEST_MARKER:
            return {}
        try:
            marker = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            return {}
        if not isinstance(marker, dict) or marker.get("program") != PROGRAM or not isinstance(marker.get("files"), list):
            return {}
        if marker.get("format") != FORMAT:
            given = one_line(str(marker.get("format")))[:20]
            raise Refusal(f"{self.path} was written in format {given}, this version writes {FORMAT}; give another --out")
        return marker


def linked(folder: Path, into: Path, but: tuple[str, ...] = ()) -> None:
    """Have the files of a folder in another one too, by links, or copies where there are none: files are only ever replaced.

    The marker, and names in `but`, are left out.
    """
    for name in Folder(folder).files():
        if name not in (MARKER, *but):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(folder / name, into / name, follow_symlinks=False)
            except (OSError, NotImplementedError):
                shutil.copy2(folder / name, into / name, follow_symlinks=False)


def _marker_of(files: list[str], *, is_result: bool) -> bytes:
    listed = [name for name in files if name != MARKER]
    return json.dumps({"program": PROGRAM, "format": FORMAT, "is_result": is_result, "files": listed}, indent=1).encode() + b"\n"


def _plain(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def _locked(folder: Path) -> int | None:
    """The number of an open file that locks a folder; None where another process has it. Where nothing locks, every folder is free."""
    try:
        import fcntl
    except ImportError:
        return os.open(os.devnull, os.O_RDONLY)
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    except OSError:  # a file system without locks
        pass
    return number


def _remove(path: Path, folder: Folder) -> None:
    """Remove the files of a folder that are this program's, and the folder if nothing else is in it."""
    own = {MARKER, *folder._marker().get("files", ())}
    for each in sorted(path.rglob("*"), key=lambda each: len(each.parts), reverse=True):
        if each.is_dir() and not each.is_symlink():
            _remove_empty(each)
        elif (name := each.relative_to(path).as_posix()) in own or UNFINISHED.fullmatch(each.name) or folder._own.fullmatch(name):
            each.unlink()
    _remove_empty(path)


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _exchange(new: Path, place: Path) -> None:
    """Put one folder in another's place and that one in its, in one step where the system has such a step."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None and rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE) == 0:
        return
    aside = unfinished(place)
    place.rename(aside)
    new.rename(place)
    aside.rename(new)
