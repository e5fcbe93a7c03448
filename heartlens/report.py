"""A self-contained HTML report: the findings in words, the figure as inline SVG, and where the result comes from."""

import io
from pathlib import Path
from typing import Any

import xarray as xr
from markupsafe import Markup

from heartlens.findings import Findings, with_edits
from heartlens.paragraph import bibtex, paragraph


def report(findings: Findings, svg: Markup, summary: xr.Dataset) -> str:
    """The page, with the figure as `inline` gives it. It loads nothing from elsewhere; text from files is escaped."""
    methods = paragraph(findings, summary) if "analysis" in summary.attrs else ""  # of trainings there is none
    attrs = {name: value for name, value in summary.attrs.items() if value != ""}
    return rendered(
        "report.html.jinja",
        findings=with_edits(findings, summary.attrs),
        simulated=bool(attrs.get("data_is_simulated")),
        svg=svg,
        methods=methods,
        citations=bibtex(methods, attrs) if methods else "",
        provenance=[(name.replace("_", " "), value) for name, value in attrs.items()],
    )


def rendered(template: str, **values: Any) -> str:
    """The template, a path within the package, with `values`; text is escaped, `inline` figures are not."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["jinja"]), trim_blocks=True)
    return pages.get_template(template).render(**values)


def inline(figure: Any) -> Markup:
    """A figure as SVG markup."""
    return Markup(_svg(figure))


def stored(path: Path) -> Markup:
    """The SVG markup that was stored, to be put into a page as it is."""
    return Markup(path.read_text(encoding="utf-8"))


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]
