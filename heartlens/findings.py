"""What an analysis says of its summary, for the report and the terminal: the verdict in words, a table, and what a reader must know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

LEAST_UNITS = 8  # persons (or records): with fewer, no interval was shown to cover (docs/calibration.md)
FEW_TWINS = 19


@dataclass(frozen=True, repr=False)
class Findings:
    """`verdict` answers the question in sentences; `cautions` are reasons to doubt it; `methods` define every number."""

    title: str
    question: str
    verdict: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cautions: tuple[str, ...]
    methods: tuple[str, ...]

    def __repr__(self) -> str:
        """The verdict and the cautions in a few lines; the rows are counted."""
        rows = f"  {len(self.rows)} rows of {', '.join(self.columns)}"
        return "\n".join([self.title, *(f"  {line}" for line in self.verdict), rows, *(f"  caution: {line}" for line in self.cautions)])


def with_edits(findings: Findings, attrs: Mapping[Any, Any]) -> Findings:
    """The findings, saying which edits of the model were in force."""
    if not attrs.get("edits"):
        return findings
    sentence = f"The model was edited: {'; '.join(str(attrs['edits']).splitlines())}."
    return replace(findings, title=f"{findings.title}, edited", verdict=(*findings.verdict, sentence))


def as_json(findings: Findings, attrs: Mapping[Any, Any], written: Iterable[Path]) -> dict[str, Any]:
    """The findings as plain data, with what the result is of and the files that hold it."""
    named = {name: attrs[name] for name in ("checkpoint", "checkpoint_sha256", "checkpoint_fingerprint") if name in attrs}
    counts = {name: int(attrs[name]) for name in ("n_records", "n_windows", "data_is_simulated") if name in attrs}
    rows = [dict(zip(findings.columns, row, strict=True)) for row in findings.rows]
    words = {"verdict": findings.verdict, "rows": rows, "cautions": findings.cautions}
    return {"title": findings.title, **named, **counts, **words, "files": [str(path) for path in written]}


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
    n_records, n_counted, reasons = int(attrs["n_records"]), n_units(attrs), []
    if attrs.get("data_is_simulated"):
        reasons.append("The signals are SIMULATED: their waves are known exactly, but what holds here need not hold for people.")
    if attrs.get("n_persons") and n_counted != n_records:
        reasons.append(f"The unit is the person: {counted(attrs)}. Where these words say records, intervals and tests are over persons.")
    unit = "person" if n_counted != n_records else "record"
    if n_counted == 1:
        reasons.append(f"There is one {unit}: no interval over {unit}s exists, so nothing is tested. Give more {unit}s.")
    elif n_counted < LEAST_UNITS:
        reasons.append(f"There are {n_counted} {unit}s: nothing is tested with fewer than {LEAST_UNITS}. Give more {unit}s.")
    if attrs.get("n_groups"):
        reasons.append(
            f"{n_records} records are kept in {attrs['n_groups']} groups, by a hash of {unit}s: in means, intervals and tests a group "
            f"counts as one {unit}."
        )
    if n_twins < FEW_TWINS:
        reasons.append(f"{n_twins} twins were measured; with fewer than {FEW_TWINS} no p-value among them can be 0.05.")
    if attrs.get("data_kind") != attrs.get("checkpoint_kind"):
        reasons.append("The signals are not of the kind this checkpoint reads (forced).")
    if attrs.get("data_skipped"):
        reasons.append("Left out: " + "; ".join(str(attrs["data_skipped"]).splitlines()) + ".")
    return reasons
