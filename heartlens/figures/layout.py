"""The page: size, palette and style, a line that says what was measured, and saving. Text that a reader can edit; no pyplot.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers.
"""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from heartlens.findings import counted
from heartlens.options import FORMATS as FORMATS
from heartlens.whole import write_whole

COLUMN_MM, PAGE_MM = 89, 183
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "heartlens",
    "savefig.dpi": 300,
    "font.family": "sans-serif",
    "text.parse_math": False,  # text from files is never markup
}


class Page(Figure):
    """A figure that is saved in the style it was drawn in, without a date, so that the same result gives the same file."""

    def savefig(self, fname: Any, **options: Any) -> None:
        suffix = str(options.get("format") or Path(str(fname)).suffix.lstrip("."))
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph ")  # a record's name may be in any script; it is drawn as boxes
            self._lay_out_once()
            super().savefig(fname, **{"metadata": metadata, **options})

    def _lay_out_once(self) -> None:
        """Lay out and keep it: this takes longer than drawing, and gives the same for every format."""
        if isinstance(self.get_layout_engine(), ConstrainedLayoutEngine):
            self.draw_without_rendering()
            self.set_layout_engine(None)


def page(width_mm: float, height_mm: float) -> Page:
    """An empty page with a constrained layout. Draw on it within `style()`."""
    return Page(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def caption(page: Page, attrs: Mapping[Any, Any], mark: str) -> None:
    """One line above a page that says what was measured on what, and what a marked place means."""
    data = "SIMULATED signals" if attrs.get("data_is_simulated") else "recordings"
    about = f"{counted(attrs)}, {attrs['n_windows']} windows of {data}"
    model = f"{attrs.get('checkpoint', 'model')} ({attrs.get('checkpoint_fingerprint', '')[:8]})"
    page.suptitle(f"{model} · {about} · {mark}", fontsize=7, x=0.01, ha="left")


def style() -> Any:
    """The context in which panels are drawn."""
    return mpl.rc_context(STYLE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, atomically; the suffix of `path` is its format."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip("."))
    write_whole(drawn.getvalue(), path)
