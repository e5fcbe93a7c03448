"""A source without copies. A recording is known by its content, whatever it is called.

`distinct` looks at every recording once, before any is measured, and leaves copies out: so a copy counts once in one run, in shards and on
many machines, and which name stays does not depend on the order of reading.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from heartlens.signals.persons import note_of_unknown
from heartlens.signals.sameness import Known
from heartlens.signals.source import Look, Source, looks_of

MOST_LISTED = 8  # recordings that a note names
MOSTLY = 0.5  # of the shorter recording's heartbeats in common: one is a copy or a part of the other


@dataclass(frozen=True)
class Distinct:
    """A source without copies: what its recordings are, sorted by name, and notes of what was left out and of what tells the persons."""

    source: Source
    looks: tuple[Look, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the recordings, in the source's order."""
        return self.source.names()

    @property
    def sha256(self) -> str:
        """The identity of the recordings: their names, contents and persons."""
        lines = (f"{look.name}|{look.content}|{look.person}" for look in self.looks)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def distinct(source: Source, is_counted: Callable[[Look], bool] = lambda look: False) -> Distinct:
    """The source without copies, and without the recordings that were counted before.

    Of equal recordings one that an expert marked stays, else one whose person is known, else the longest, else the first by name. Equal
    are also those that have most of their heartbeats in common: at another rate, with another gain, or as a part.
    """
    looks = sorted(looks_of(source), key=lambda look: look.name)
    kept, copies, counted, overlaps = dict[str, Look](), dict[str, str](), list[str](), list[str]()
    sketches = Known()
    for look in sorted(looks, key=lambda look: (not look.is_marked, not look.person, -_length_s(look), look.name)):
        shared = sketches.shared_with(look.sketch) if look.sketch is not None else []
        if is_counted(look):
            counted.append(look.name)
        elif look.content and look.content in kept:
            copies[look.name] = _sameness(look, kept[look.content])
        elif shared and shared[0].share > MOSTLY:
            same = next(other for other in kept.values() if other.name == shared[0].name)
            copies[look.name] = f"{_sameness(look, same)}, at another rate or gain or in part"
        else:
            kept[look.content or f"name {look.name}"] = look
            overlaps += [f"{look.name} and {other.name} ({other.seconds:.0f} s)" for other in shared[:1]]
            if look.sketch is not None:
                sketches.add(look.name, look.sketch)
    left_out = frozenset([*copies, *counted])
    rest = tuple(replace(look, sketch=None) for look in looks if look.name not in left_out)
    notes = _note("left out, the same recording under another name", [copies[name] for name in sorted(copies)])
    notes += _note("left out, counted before", sorted(counted))
    notes += _note("pairs of recordings share heartbeats; let --persons give both one person", overlaps)
    told_by = Counter(look.told_by for look in rest if look.told_by)
    notes += tuple(f"persons of {count} records as {teller} say" for teller, count in sorted(told_by.items()))
    notes += getattr(source, "notes", ())
    notes += note_of_unknown({look.name: look.person for look in rest})
    return Distinct(source.without(left_out) if left_out else source, rest, notes)


def _length_s(look: Look) -> float:
    return look.sketch.length_s if look.sketch is not None else 0.0


def _sameness(copy: Look, kept: Look) -> str:
    is_contradicted = copy.person and kept.person and copy.person != kept.person
    return f"{copy.name} is {kept.name}" + (f" (taken as {kept.person}'s, not {copy.person}'s)" if is_contradicted else "")


def _note(what: str, lines: list[str]) -> tuple[str, ...]:
    return (f"{len(lines)} {what}: {'; '.join(lines[:MOST_LISTED])}{'; ...' if len(lines) > MOST_LISTED else ''}",) if lines else ()
