"""What an analysis says of its summary, for the report and the terminal: the verdict in words, a table, and what a reader must know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FEW_RECORDS, FEW_TWINS = 6, 19


@dataclass(frozen=True)
class Findings:
    """`verdict` answers the question in sentences; `cautions` are reasons to doubt it; `methods` define every number."""

    title: str
    question: str
    verdict: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cautions: tuple[str, ...]
    methods: tuple[str, ...]


def n_units(attrs: Mapping[Any, Any]) -> int:
    """How many units a summary's statistics are over: persons where these are known, else records."""
    return int(attrs.get("n_units", attrs["n_records"]))


def counted(attrs: Mapping[Any, Any]) -> str:
    """What was measured: persons and records where these differ, else records."""
    n_records = int(attrs["n_records"])
    records = f"{n_records} record{'' if n_records == 1 else 's'}"
    return records if n_units(attrs) == n_records or not attrs.get("n_persons") else f"{n_units(attrs)} persons ({records})"


def doubts(attrs: Mapping[Any, Any], n_twins: int) -> list[str]:
    """What every analysis cautions of, read off a summary's attributes: simulated data, few records, few twins, what was left out."""
    n_records, n_counted, found = int(attrs["n_records"]), n_units(attrs), []
    if attrs.get("data_is_simulated"):
        found.append("The signals are SIMULATED: their waves are known exactly, but what holds here need not hold for people.")
    if attrs.get("n_persons") and n_counted != n_records:
        found.append(f"The unit is the person: {counted(attrs)}. Where these words say records, intervals and tests are over persons.")
    unit = "person" if n_counted != n_records else "record"
    if n_counted == 1:
        found.append(f"There is one {unit}: no interval over {unit}s exists, so nothing can survive. Give more {unit}s.")
    elif n_counted < FEW_RECORDS:
        found.append(f"There are {n_counted} {unit}s: a bootstrap interval over so few is too narrow, and no p-value can be small.")
    if attrs.get("n_groups"):
        found.append(
            f"{n_records} records are kept in {attrs['n_groups']} groups, by a hash of {unit}s: in means, intervals and tests a group "
            f"counts as one {unit}."
        )
    if n_twins < FEW_TWINS:
        found.append(f"{n_twins} twins were measured; with fewer than {FEW_TWINS} no p-value among them can be 0.05.")
    if attrs.get("data_kind") != attrs.get("checkpoint_kind"):
        found.append("The signals are not of the kind this checkpoint reads (forced).")
    if attrs.get("data_skipped"):
        found.append("Left out: " + "; ".join(str(attrs["data_skipped"]).splitlines()) + ".")
    return found
