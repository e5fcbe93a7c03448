"""The files that views offer to save: a figure in one of several formats, a table as CSV."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from heartlens.app.views import Binary
from heartlens.refusal import unknown
from heartlens.whole import csv_text

TYPES = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}


def figure_file(asked: dict[str, Any], name: str, draw: Callable[[], Any], usual: str = "pdf") -> Binary:
    """The figure that `draw` makes, in the format that is asked for. Refuses other formats before anything is drawn."""
    form = str(asked.get("format", usual))
    if form not in TYPES:
        raise unknown("format", form, TYPES)
    from heartlens import figures

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"figure.{form}"
        figures.save(draw(), path)
        return Binary(path.read_bytes(), TYPES[form], f"{name}.{form}")


def table_file(name: str, columns: Iterable[str], rows: Iterable[Any]) -> Binary:
    """The table as a CSV of this name."""
    return Binary(csv_text([columns, *rows]).encode(), "text/csv", f"{name}.csv")
