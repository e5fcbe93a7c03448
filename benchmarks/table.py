"""One row of the table, and how a measured value stands to its target."""

from dataclasses import dataclass

WIDTHS = (58, 24, 66, 68)
COLUMNS = ("what", "measured", "against", "target")


@dataclass(frozen=True)
class Row:
    """What was measured, what it is compared with, and what it must reach."""

    what: str
    measured: str
    against: str = ""
    target: str = ""


def at_most(limit: float, value: float, unit: str = "") -> str:
    """The target and whether it is reached."""
    return f"at most {limit:g}{unit}: {_verdict(value <= limit)}"


def at_least(limit: float, value: float, unit: str = "") -> str:
    """The target and whether it is reached."""
    return f"at least {limit:g}{unit}: {_verdict(value >= limit)}"


def head() -> str:
    """The first two lines of the table, in Markdown."""
    return f"{line(Row(*COLUMNS))}\n|{'---|' * len(COLUMNS)}"


def line(row: Row) -> str:
    """The row as a line of the table, in Markdown."""
    cells = (row.what, row.measured, row.against, row.target)
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))} |"


def _verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "MISSED"
