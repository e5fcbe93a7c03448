"""What the user says of a file: what the file itself does not tell, or tells wrongly. The same options in every command that reads."""

import argparse
from dataclasses import dataclass
from typing import Any

from heartlens.parser import Listed
from heartlens.refusal import unknown

TIME_UNITS = ("s", "ms", "us", "ns")
POLARITIES = ("check", "invert", "as-is")


@dataclass(frozen=True)
class Hints:
    """`lead` is a name or an index from 0, `kind` chooses among leads, `time_unit` is that of a time column (None: as the file tells).

    `missing` are values that stand for a missing sample. `polarity`: "check" refuses a pulse that is upside down and a signal that is not
    of its kind, "invert" turns the signal first, "as-is" takes it as it is. Refuses other units and polarities.
    """

    lead: str | int | None = None
    rate_hz: float | None = None
    kind: str | None = None
    time_unit: str | None = None
    missing: tuple[float, ...] = ()
    polarity: str = "check"

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise unknown("time-unit", self.time_unit, TIME_UNITS)
        if self.polarity not in POLARITIES:
            raise unknown("polarity", self.polarity, POLARITIES)


def add_hints(group: Any) -> None:
    """The arguments of the command line."""
    group.add_argument("--lead", help="the lead or column to read: its name or number (from 0); rows: each row of a table is a recording")
    group.add_argument("--rate", type=float, metavar="HZ", help="sampling rate, where the file does not say, or instead of what it says")
    group.add_argument("--time-unit", choices=TIME_UNITS, help="unit of the column of times, where the file does not say")
    missing = "values that stand for a missing sample, with commas between, say -32768"
    group.add_argument("--missing", type=Listed(float), metavar="VALUE,...", help=missing)
    either = group.add_mutually_exclusive_group()
    either.add_argument("--invert", action="store_true", help="turn the signal upside down")
    either.add_argument(
        "--as-is", action="store_true", help="take the signal as it is, also where it does not look like its kind, upright and clean"
    )


def hints_of(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Hints` but the kind, as a command line gives them."""
    polarity = "invert" if options.invert else "as-is" if options.as_is else "check"
    missing = tuple(options.missing or ())
    return {"lead": options.lead, "rate_hz": options.rate, "time_unit": options.time_unit, "missing": missing, "polarity": polarity}
