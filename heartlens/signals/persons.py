"""Who was recorded. Statistics are over persons, so that several recordings of one person do not count as several people.

In this order: a table (`--persons`), a pattern on the record's name or the parent folder (`--person`), what the file's header plainly says,
the folders and file names of archives that are laid out by patient (PTB, MIMIC, CinC 2023, BIDS, WESAD), the table that comes with an
archive (PTB-XL). Where none of these tells, the person is not known.
"""

import csv
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from heartlens.refusal import Refusal, reason_of
from heartlens.signals.tables import named_in, rows_of, some

PARENT = "path"  # instead of a pattern: the parent folder names the person
HEADER = re.compile(r"<?(?:patient|subject)(?:[ _-]?(?:id|number|no\.?))?>?\s*[:=#]?\s*([\w.-]*\d[\w.-]*)", re.IGNORECASE)
LAYOUTS = (
    re.compile(r"(?:^|/)(patient\d{3})/s\d{4}[^/]*$"),  # PTB: patient001/s0010_re
    re.compile(r"(?:^|/)(p\d{2,4})/(\1\d{2,8})/"),  # MIMIC III and IV: p10/p100014/..., p1000/p10000032/...
    re.compile(r"(?:^|/)(s\d{5})/\1-\d{4}-\d{2}-\d{2}[^/]*$"),  # MIMIC II: s00020/s00020-2567-03-30-17-47
    re.compile(r"(?:^|/)(\d{4})/\1_\d{3}_\d{3}(?:_[A-Z]+)?\.\w+$"),  # CinC 2023: 0284/0284_001_004_ECG
    re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)/(?:ses-[A-Za-z0-9]+/)?(?:[a-z]+/)?[^/]*$"),  # BIDS: sub-01/ses-02/ecg/sub-01_ses-02_ecg
    re.compile(r"(?:^|/)(S\d{1,3})/\1_E4_Data/[^/]*$"),  # WESAD: S2/S2_E4_Data/BVP
)
PTB_XL = re.compile(r"(records(?:100|500)/\d{5}/\d{5}_[lh]r)\.\w+$")
PTB_XL_TABLE, PTB_XL_FILES, PTB_XL_PERSON = "ptbxl_database.csv", ("filename_lr", "filename_hr"), "patient_id"
MOST_TABLE_BYTES = 2**26


def in_comments(comments: list[str]) -> str:
    """The person that a header's comments name in a line like `subject_id: 10014` or `patient 1`; none if there is none, or several."""
    named = {match[1] for line in comments if (match := HEADER.fullmatch(line.strip().lstrip("#").strip()))}
    return named.pop() if len(named) == 1 else ""


def in_layout(path: Path) -> str:
    """The patient whose folder the path is in, in an archive that is laid out by patient; else none.

    >>> in_layout(Path("ptbdb/patient001/s0010_re.hea")), in_layout(Path("p10/p100014/3024/3024.hea")), in_layout(Path("ludb/1.hea"))
    ('patient001', 'p100014', '')
    """
    matches = [match for layout in LAYOUTS if (match := layout.search(path.as_posix()))]
    if matches:
        return matches[0][matches[0].re.groups]
    in_ptb_xl = PTB_XL.search(path.as_posix())
    return _in_ptb_xl(path.parents[2] / PTB_XL_TABLE).get(in_ptb_xl[1], "") if in_ptb_xl and len(path.parents) > 2 else ""


@cache
def _in_ptb_xl(table: Path) -> dict[str, str]:
    """The patient of each file of PTB-XL, as its table says; none where there is no such table."""
    try:
        if not table.is_file() or table.stat().st_size > MOST_TABLE_BYTES:
            return {}
        with table.open(encoding="utf-8", newline="") as file:
            lines = [(line[PTB_XL_PERSON], [line[name] for name in PTB_XL_FILES]) for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return {}
    return {name: f"patient {person.removesuffix('.0')}" for person, names in lines for name in names if person and name}


def given_persons(paths: Mapping[str, Path], table: str | os.PathLike[str] | None, pattern: str | None) -> dict[str, tuple[str, str]]:
    """The persons of records that a table or a pattern tells, each with what tells it; `paths` are the records' files by their names.

    Refuses a table or a pattern that matches no record, a record with two persons, and what is no pattern with one group.
    """
    by_pattern = _by_pattern(paths, pattern) if pattern is not None else {}
    by_table = _by_table(list(paths), Path(table)) if table is not None else {}
    folder_or_pattern = "their folders" if pattern == PARENT else f"the pattern {pattern!r}"
    told = {name: (person, folder_or_pattern) for name, person in by_pattern.items()}
    return told | {name: (person, f"the lines of {table}") for name, person in by_table.items()}


def note_of_unknown(person_of: Mapping[str, str]) -> tuple[str, ...]:
    """A note of the records whose person is not known, where that of others is."""
    unknown = sorted(name for name, person in person_of.items() if not person)
    if not unknown or len(unknown) == len(person_of):
        return ()
    return (
        f"{len(unknown)} of {len(person_of)} records have no known person ({some(unknown)}); each of them counts as a person of its own",
    )


def _by_table(records: list[str], path: Path) -> dict[str, str]:
    person_of: dict[str, str] = {}
    of_ptb_xl = {"/".join(name.split("/")[-2:]): person for name, person in _in_ptb_xl(path).items()}
    for number, (name, person) in [(0, row) for row in of_ptb_xl.items()] or rows_of(path, "person"):
        if person_of.setdefault(name, person) != person:
            raise Refusal(
                f"--persons {path}, line {number}: {name} is of {person} here and of {person_of[name]} before; a record has one person"
            )
    names = sorted(person_of)  # a record may be named in full and by its stem
    of_full, _ = named_in(path, [name for name in names if name in set(records)], records)
    of_stem, _ = named_in(path, [name for name in names if name not in set(records)], records)
    for record in of_full.keys() & of_stem.keys():
        one, other = of_full[record], of_stem[record]
        if person_of[one] != person_of[other]:
            raise Refusal(f"--persons {path}: {one} is of {person_of[one]} and {other} of {person_of[other]}, which are one record")
    matched = of_stem | of_full
    if not matched:
        raise Refusal(f"--persons {path} names none of the {len(records)} records ({some(records)}); its lines are record,person")
    return {record: person_of[name] for record, name in matched.items()}


def _by_pattern(paths: Mapping[str, Path], pattern: str) -> dict[str, str]:
    if pattern == PARENT:
        folders = {name: path.resolve().parent for name, path in paths.items()}
        depth = 1
        while len({_tail(folder, depth) for folder in folders.values()}) < len(set(folders.values())):
            depth += 1
        return {name: _tail(folder, depth) for name, folder in folders.items()}
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Refusal(
            f"--person {pattern!r} is no regular expression ({reason_of(error)}); for instance '(p[0-9]+)_', or {PARENT}"
        ) from error
    if compiled.groups != 1:
        raise Refusal(f"--person {pattern!r} has {compiled.groups} groups; put the part that names the person in one ( ), or give {PARENT}")
    matches = {name: compiled.search(name) for name in paths}
    told = {name: match[1] for name, match in matches.items() if match and match[1]}
    if not told:
        raise Refusal(f"--person {pattern!r} matches none of the {len(paths)} records ({some(list(paths))})")
    return told


def _tail(folder: Path, depth: int) -> str:
    return "/".join(folder.parts[-depth:])
