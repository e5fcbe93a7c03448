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


def doubts(attrs: Mapping[Any, Any], n_twins: int) -> list[str]:
    """What every analysis cautions of, read off a summary's attributes: simulated data, few records, few twins, what was left out."""
    n_records, found = int(attrs["n_records"]), []
    if attrs.get("data_is_simulated"):
        found.append("The signals are SIMULATED: their waves are known exactly, but what holds here need not hold for people.")
    if n_records == 1:
        found.append("There is one record: no interval over records exists, so nothing can survive. Give more records.")
    elif n_records < FEW_RECORDS:
        found.append(f"There are {n_records} records: a bootstrap interval over so few is too narrow, and no p-value can be small.")
    if attrs.get("n_groups"):
        found.append(
            f"{n_records} records are kept in {attrs['n_groups']} groups, by a hash of their names: in means, intervals and tests a group "
            "counts as one record."
        )
    if n_twins < FEW_TWINS:
        found.append(f"{n_twins} twins were measured; with fewer than {FEW_TWINS} no p-value among them can be 0.05.")
    if attrs.get("data_kind") != attrs.get("checkpoint_kind"):
        found.append("The signals are not of the kind this checkpoint reads (forced).")
    if attrs.get("data_skipped"):
        found.append("Left out: " + "; ".join(str(attrs["data_skipped"]).splitlines()) + ".")
    return found
