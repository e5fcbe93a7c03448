"""A run that can be stopped: what it gathered is saved every few minutes, and another run goes on with it to the same bits.

`tally.partial.nc` lies in the output folder while a run is under way. It is written beside and then put in place, so that whatever ends
the run leaves the file of before or the new one, and the folder is claimed before the first save. It names the run it is of (checkpoint,
options, recordings, versions); others are refused.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from heartlens.folder import Folder
from heartlens.gather import Gathered, Open, Total
from heartlens.provenance import Inventory, data_options, provenance
from heartlens.refusal import Refusal
from heartlens.signals.distinct import Distinct
from heartlens.store import HOW, PARTIAL_TALLY, read_gathered, write_gathered

OF_ONE_RUN = (*HOW, "versions")
OF_RECORDINGS = ("recordings_sha256", "n_recordings", "shard")


@dataclass(frozen=True)
class Shard:
    """Part `number` of `n_shards` of the recordings, counted from 1."""

    number: int
    n_shards: int

    def __str__(self) -> str:
        return f"{self.number}/{self.n_shards}"

    def names(self, names: list[str]) -> list[str]:
        """The shard's recordings: of all names in the order of the alphabet, every n-th. Refuses fewer recordings than shards."""
        if len(names) < self.n_shards:
            raise Refusal(f"--shard {self}: there are {len(names)} recordings, and every shard needs one; give at most {len(names)} shards")
        return sorted(names)[self.number - 1 :: self.n_shards]


def shard_named(text: str) -> Shard:
    """The shard that `i/n` names. Refuses what names none.

    >>> shard_named("2/8")
    Shard(number=2, n_shards=8)
    """
    parts = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    if parts is None or not 1 <= int(parts[1]) <= int(parts[2]):
        raise Refusal(f"--shard {text[:40]}: legal are 1/n to n/n, for instance 2/8")
    return Shard(int(parts[1]), int(parts[2]))


def attrs_of_run(
    analysis: Any, subject: Any, recordings: Distinct, shard: Shard | None, about: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """What a partial tally, or a shard's, says of the run it is of; `about` is what the result will say of it too."""
    return {
        **{name: value for name, value in provenance(analysis, subject, Inventory()).items() if not name.startswith("data_")},
        "data_options": data_options(recordings.source),
        **about,
        "recordings_sha256": recordings.sha256,
        "n_recordings": len(recordings.looks),
        "shard": str(shard or ""),
    }


class Partial:
    """The partial tally in `folder` of a run that `attrs` describe; `names` are its recordings in their order."""

    def __init__(self, folder: Folder, attrs: dict[str, Any], names: list[str], every_s: float, say: Callable[[str], None]) -> None:
        self.path, self._attrs, self._names, self._every_s = folder.path / PARTIAL_TALLY, attrs, names, every_s
        self._say, self._saved_s = say, time.monotonic()
        self.n_saved = 0  # recordings in the file, as far as this run knows

    def stored(self) -> tuple[Gathered, Open]:
        """What an earlier run saved; nothing if there is no file. Refuses a file of another run."""
        if not self.path.exists():
            return Gathered(), Open()
        total, opened, attrs = read_gathered(self.path)
        for name in (*OF_ONE_RUN, *OF_RECORDINGS):
            if attrs.get(name) != self._attrs[name]:
                given, there = (_short(value) for value in (self._attrs[name], attrs.get(name)))
                raise Refusal(f"{self.path} is of another run: {name} was {there}, now it is {given}; --overwrite starts anew")
        self.n_saved = total.n_recordings
        return total, replace(opened, name=self._names[total.n_recordings]) if opened.n_parts else Open()

    def save(self, total: Total, opened: Open, *, now: bool = False) -> None:
        """Save what was gathered, if there is something and that was not done for a while, or `now`. A full disk does not end the run."""
        if now or time.monotonic() - self._saved_s >= self._every_s:
            n_done = total.n_recordings
            is_under_way = self._names[n_done : n_done + 1] == [opened.name]
            if total.value.read.kind or is_under_way:
                try:
                    write_gathered(total.value, replace(opened, name="") if is_under_way else Open(), self._attrs, self.path)
                    self.n_saved = n_done
                except OSError as error:
                    self._say(
                        f"{self.path} cannot be written ({error.strerror or error}): what was measured since the last save is not kept"
                    )
            self._saved_s = time.monotonic()

    def at_end(self, total: Total) -> Callable[[], None]:
        """What saves the total of all recordings when it is called."""
        return lambda: self.save(total, Open(), now=True)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
