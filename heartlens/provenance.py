"""What a result must say of itself, so that it can be remade: checkpoint, data, options, seed, versions, commit."""

import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from heartlens.axes import KINDS
from heartlens.options import values_of
from heartlens.windows import Windows

PACKAGES = ("heartlens", "torch", "transformer-lens", "numpy", "numba", "scipy", "xarray")
OF_THE_RECORDINGS = ("paths", "windows", "persons", "person", "left_out")  # fields of a source that say which recordings, and whose
MOST_LINES = 1000  # of sources and of notes: so that a result does not grow with the number of its recordings


@dataclass(frozen=True)
class Inventory:
    """What was read: where from, what was skipped, notes, and a digest of all windows. Two add up; the order does not matter.

    `digest` is the sum of the windows' SHA-256 modulo 2^256.
    """

    kind: str = ""
    n_windows: int = 0
    is_simulated: bool = False
    digest: int = 0
    sources: frozenset[str] = frozenset()
    skipped: tuple[tuple[str, int], ...] = ()
    notes: frozenset[str] = frozenset()

    def __add__(self, other: "Inventory") -> "Inventory":
        skipped = Counter(dict(self.skipped))
        skipped.update(dict(other.skipped))
        return Inventory(
            self.kind or other.kind,
            self.n_windows + other.n_windows,
            self.is_simulated or other.is_simulated,
            (self.digest + other.digest) % 2**256,
            _first(self.sources | other.sources),
            tuple(sorted(skipped.items())),
            _first(self.notes | other.notes),
        )

    @property
    def attrs(self) -> dict[str, Any]:
        """The inventory as attributes of a result; `inventory_of` reads them."""
        return {
            "data_kind": self.kind,
            "data_windows": self.n_windows,
            "data_is_simulated": int(self.is_simulated),
            "data_sources": "\n".join(sorted(self.sources)),
            "data_sha256": f"{self.digest:064x}",
            "data_skipped": "\n".join(f"{count} x {reason}" for reason, count in self.skipped),
            "data_notes": "\n".join(sorted(self.notes)),
        }


def is_simulation(source: str) -> bool:
    """Whether signals of this source were simulated, and not read from a file that is called so.

    >>> is_simulation("simulated ecg (10 people, seed 0)"), is_simulation("simulated_study/1.csv sha256:1f")
    (True, False)
    """
    return bool(re.match(r"simulated (regular )?(ecg|ppg) \(", source))


def inventory(windows: Windows) -> Inventory:
    """The inventory of windows."""
    digest = sum(int.from_bytes(hashlib.sha256(str(identity).encode()).digest(), "big") for identity in windows.identity)
    is_simulated = any(map(is_simulation, windows.sources))
    skipped: Counter[str] = Counter()
    for reason, count in windows.skipped:
        skipped[reason] += count
    sources, notes = _first(frozenset(windows.sources)), _first(frozenset(windows.notes))
    return Inventory(windows.kind, len(windows), is_simulated, digest % 2**256, sources, tuple(sorted(skipped.items())), notes)


def inventory_of(attrs: Mapping[str, Any]) -> Inventory:
    """The inventory that the attributes of a result hold."""
    pairs = (line.split(" x ", 1) for line in attrs["data_skipped"].splitlines())
    return Inventory(
        attrs["data_kind"],
        int(attrs.get("data_windows", 0)),
        bool(attrs["data_is_simulated"]),
        int(attrs["data_sha256"], 16),
        frozenset(attrs["data_sources"].splitlines()),
        tuple(sorted((reason, int(count)) for count, reason in pairs)),
        frozenset(attrs["data_notes"].splitlines()),
    )


def provenance(analysis: Any, subject: Any, read: Inventory, about: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The attributes of a result, all strings and numbers (what netCDF can hold). `about` tells more of how the data were read."""
    return {
        "analysis": type(analysis).__name__,
        "options": json.dumps(_without_folders(values_of(analysis)), sort_keys=True),
        "seed": analysis.seed,
        **of_subject(subject),
        **read.attrs,
        **about,
        **of_program(),
    }


def of_subject(subject: Any) -> dict[str, Any]:
    """What a result says of the model: its checkpoint, what ran it, and edits in force."""
    return {
        **{f"checkpoint_{name}": value or "" for name, value in asdict(subject.origin).items() if name != "checkpoint"},
        "checkpoint": subject.origin.checkpoint,
        "engine": subject.engine.name,
        "device": str(subject.engine.device),
        "edits": subject.edits,
    }


def of_program() -> dict[str, str]:
    """What a result says of the program: versions and commit."""
    return {"versions": json.dumps(versions()), "git_commit": _commit()}


def data_options(source: Any) -> str:
    """How a source of recordings reads them, as JSON: what tallies must share to be added; not which recordings, and whose."""
    options = {each.name: getattr(source, each.name) for each in fields(source) if each.name not in OF_THE_RECORDINGS}
    waves = getattr(getattr(source, "windows", None), "waves", ())
    if waves and waves != KINDS[source.kind].waves:  # defined by the caller
        options["waves"] = list(waves)
    return json.dumps({"source": type(source).__name__, **options}, sort_keys=True)


def _without_folders(options: dict[str, Any]) -> dict[str, Any]:
    """Options with the name of a file in the place of its path."""
    return {
        name: Path(value).name if isinstance(value, str) and "/" in value and Path(value).is_file() else value
        for name, value in options.items()
    }


def versions() -> dict[str, str]:
    """The installed versions of what decides a number."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of the checkout the package runs from, with `+` if it was changed; empty where it is no checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.decode().strip()


def _first(lines: frozenset[str]) -> frozenset[str]:
    """The first MOST_LINES lines in the order of the alphabet."""
    return lines if len(lines) <= MOST_LINES else frozenset(sorted(lines)[:MOST_LINES])
