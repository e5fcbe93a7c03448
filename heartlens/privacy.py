"""What a result may say of people and places. A stored file goes further than its recordings: into mails, repositories, papers.

Unless --keep-names is given: a person is a short hash of the code that was given for it, a folder a short hash of its name, a path the
name of its file, a date the word (date). The same name always gives the same hash, so that tallies add up and persons are counted
across runs; a hash hides a name from a reader, not from somebody who has a list of names to try. File names and what a user calls
records are kept: name files after no person.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from heartlens.refusal import one_line
from heartlens.windows import Windows

KEPT, CODED = "kept", "coded"
ABSOLUTE = re.compile(r"(?<![\w/:.~-])~?/(?:[^/\s:;,'\"()]+/)*([^/\s:;,'\"()]*)")
RELATIVE = re.compile(r"(?<![\w/:.-])(?:[^/\s:;,'\"()]+/)+([^/\s:;,'\"()]*\.[A-Za-z0-9]{1,8})(?!\w)")
DATE = re.compile(
    r"(?<!\d)(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?!\d)(?:[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?Z?)?"
)
TAKEN_AS = re.compile(r"\(taken as (.+?)'s, not (.+?)'s\)")


def person_code(person: str) -> str:
    """What stands for a person; nothing for one who is not known, and a code for itself.

    >>> person_code("Jane Roe"), person_code(person_code("Jane Roe")) == person_code("Jane Roe")
    ('person-9231c165fcf6', True)
    """
    return person if not person or re.fullmatch("person-[0-9a-f]{12}", person) else f"person-{_hash(person, 12)}"


def record_code(record: str) -> str:
    """A record's name with a hash in the place of its folders; one without folders as it is.

    >>> record_code("Roe/holter"), record_code("holter")
    ('4b9ed0/holter', 'holter')
    """
    folder, slash, name = record.rpartition("/")
    return record if not slash or re.fullmatch("[0-9a-f]{6}", folder) else f"{_hash(folder, 6)}/{name}"


@dataclass(frozen=True)
class Names:
    """How names are stored: as they are where `keep`. `folders` are those of the recordings, as messages may spell them, longest first."""

    keep: bool = False
    folders: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Whether names are KEPT or CODED."""
        return KEPT if self.keep else CODED

    def record(self, name: str) -> str:
        """The name of a record as it is stored."""
        return one_line(name) if self.keep else record_code(one_line(name))

    def person(self, name: str) -> str:
        """The person as stored."""
        return one_line(name) if self.keep else person_code(name)

    def text(self, text: str) -> str:
        """A message without folders, dates, and persons that are taken for others."""
        text = one_line(text)
        if self.keep:
            return text
        for folder in self.folders if "/" in text else ():
            text = text.replace(f"{folder}/", "")
        text = TAKEN_AS.sub(lambda match: f"(taken as {person_code(match[1])}'s, not {person_code(match[2])}'s)", text)
        return DATE.sub("(date)", RELATIVE.sub(r"\1", ABSOLUTE.sub(r"\1", text)))

    def source(self, line: str) -> str:
        """A line that says where windows are from: a file's path and its hash, or words."""
        path, mark, sha256 = line.rpartition(" sha256:")
        if self.keep or not mark:
            return line if self.keep else self.text(line)
        return f"{one_line(PurePath(path).name)}{mark}{sha256}"

    def windows(self, windows: Windows) -> Windows:
        """The windows with their names as they are stored."""
        return replace(
            windows,
            record=np.array([self.record(str(name)) for name in windows.record], np.str_),
            person=np.array([self.person(str(name)) for name in windows.person], np.str_),
            sources=tuple(map(self.source, windows.sources)),
            notes=tuple(map(self.text, windows.notes)),
            skipped=tuple((self.text(reason), count) for reason, count in windows.skipped),
        )

    def parts(self, parts: Iterable[Any]) -> Iterator[Any]:
        """The parts of recordings (`signals.source.Part`) with the names of their windows as they are stored."""
        for part in parts:
            yield part if self.keep or part.windows is None else replace(part, windows=self.windows(part.windows))

    def notes(self, notes: Iterable[str], records: Iterable[str]) -> tuple[str, ...]:
        """Notes that may name `records`, as they are stored."""
        records = sorted((name for name in records if "/" in name), key=len, reverse=True)
        return tuple(self.text(self._called(note, records)) for note in notes)

    def _called(self, text: str, records: Iterable[str]) -> str:
        for name in () if self.keep else records:
            text = text.replace(name, self.record(name)) if "/" in name and f"/{name}" not in text else text
        return text


AS_THEY_ARE, CODED_NAMES = Names(keep=True), Names()


def names_beside(paths: Iterable[str | PurePath | None], keep: bool) -> Names:
    """How names are stored of recordings in `paths`, files, folders or patterns."""
    given = [PurePath(path) for path in paths if path]
    folders = {folder for path in given for name in (path, PurePath(os.path.abspath(path))) for folder in map(str, (name, name.parent))}
    return Names(keep, tuple(sorted(folders - {".", "/"}, key=len, reverse=True)))


def names_of(source: Any, keep: bool) -> Names:
    """How the names of a source are stored."""
    paths = [file.path for file in getattr(source, "found", {}).values()]
    paths += [PurePath(table) for table in (getattr(source, "persons", None),) if table]
    folders = {str(parent) for path in paths for parent in (path.parent, getattr(path, "absolute", lambda path=path: path)().parent)}
    return Names(keep, tuple(sorted(folders - {".", "/"}, key=len, reverse=True)))


def names_in(windows: Windows, keep: bool) -> Names:
    """How the names of windows in memory are stored: their folders are those of their sources and of their records' names."""
    paths = [PurePath(line.rpartition(" sha256:")[0]) for line in windows.sources if " sha256:" in line]
    folders = {str(path.parent) for path in paths} | {name.rpartition("/")[0] for name in windows.records}
    return Names(keep, tuple(sorted(folders - {"", ".", "/"}, key=len, reverse=True)))


def _hash(name: str, n_digits: int) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:n_digits]
