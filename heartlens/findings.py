"""What an analysis says of its summary, for the report and the terminal: the verdict in words, a table, and what a reader must know."""

from dataclasses import dataclass


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
