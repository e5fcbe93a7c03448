"""The page: size, palette and style, a line that says what was measured, and saving. Text that a reader can edit; no pyplot.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers. Within `look` figures have another width, style or colour map.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from heartlens.findings import counted
from heartlens.options import FORMATS as FORMATS
from heartlens.parts import edited
from heartlens.refusal import Refusal, one_line, unknown
from heartlens.whole import write_whole

COLUMN_MM, PAGE_MM = 89, 183
LEAST_MM, MOST_MM = 30, 1000
SIGNS_PER_INCH = 19  # of the line above a page
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEAST_POINTS = 5.0  # of text that is still read
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


ALWAYS = {"text.parse_math": False, "text.usetex": False, "svg.hashsalt": "heartlens"}  # also in another style


@dataclass(frozen=True)
class Look:
    """How figures are drawn: `width_mm` (None: as each figure has it), settings of matplotlib over STYLE, a colour map (None: its own)."""

    width_mm: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    cmap: str | None = None
    scale: float = 1.0  # of text and height, where a page is narrower than it was designed

    @property
    def style(self) -> Any:
        """All settings."""
        sizes = {name: max(value * self.scale, LEAST_POINTS) for name, value in STYLE.items() if name.endswith(("size", ".fontsize"))}
        return {**STYLE, **sizes, **self.settings, **ALWAYS}


LOOK: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 - frozen


class _Palette(Sequence[str]):
    """The colours of lines: Okabe and Ito's, or those of the style that `look` asks for."""

    def __getitem__(self, place: Any) -> Any:
        return self._colours()[place]

    def __len__(self) -> int:
        return len(self._colours())

    def _colours(self) -> tuple[str, ...]:
        cycle = LOOK.get().settings.get("axes.prop_cycle")
        given = tuple(cycle.by_key().get("color", ())) if cycle is not None else ()
        return tuple(given[place % len(given)] for place in range(len(OKABE_ITO))) if given else OKABE_ITO


PALETTE = _Palette()


@contextmanager
def look(width_mm: float | None = None, style: str | Path | None = None, cmap: str | None = None) -> Iterator[None]:
    """Within it figures are `width_mm` wide, in a matplotlib style (a file or a name), their maps in another colour map.

    Refuses a width outside 30 to 1000 mm, a style that is not there or damaged, and an unknown colour map.
    """
    if width_mm is not None and not LEAST_MM <= width_mm <= MOST_MM:
        raise Refusal(f"--width is {width_mm:g} mm; legal: {LEAST_MM} to {MOST_MM}")
    if cmap is not None and cmap not in mpl.colormaps:
        raise unknown("--cmap", cmap, list(mpl.colormaps))
    token = LOOK.set(Look(width_mm, {} if style is None else _settings(style), cmap))
    try:
        yield
    finally:
        LOOK.reset(token)


def cmap_or(name: str) -> str:
    """The colour map that `look` asks for, else this one."""
    return LOOK.get().cmap or name


def _settings(style: str | Path) -> Any:
    """The settings of a style file; of one of matplotlib's styles all but sizes, which are for pages of another size."""
    from matplotlib import rc_params_from_file
    from matplotlib.style import library

    if str(style) in library:
        return {name: value for name, value in library[str(style)].items() if not name.endswith("size")}
    if not Path(style).is_file():
        raise Refusal(f"--style {style}: no such file, and no style that comes with matplotlib; legal: {', '.join(sorted(library))}")
    log, complaints = logging.getLogger("matplotlib"), list[str]()
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    propagates, log.propagate = log.propagate, False
    log.addHandler(listener)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            settings = dict(rc_params_from_file(str(style), use_default_template=False))
    except Exception as error:  # whatever matplotlib makes of what is no style
        raise Refusal(f"--style {style} is no matplotlib style ({one_line(str(error))[:160]})") from error
    finally:
        log.removeHandler(listener)
        log.propagate = propagates
    if complaints:
        raise Refusal(f"--style {style} is no matplotlib style ({one_line(complaints[0])[:160]})")
    return settings


class Page(Figure):
    """A figure that is saved in the style it was drawn in, without a date, so that the same result gives the same file."""

    look: Look = Look()

    def savefig(self, fname: Any, **options: Any) -> None:
        suffix = str(options.get("format") or Path(str(fname)).suffix.lstrip("."))
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
        with mpl.rc_context(self.look.style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph ")  # a record's name may be in any script; it is drawn as boxes
            self._lay_out_once()
            super().savefig(fname, **{"metadata": metadata, **options})

    def _lay_out_once(self) -> None:
        """Lay out and keep it: this takes longer than drawing, and gives the same for every format."""
        if isinstance(self.get_layout_engine(), ConstrainedLayoutEngine):
            self.draw_without_rendering()
            self.set_layout_engine(None)


def page(width_mm: float, height_mm: float) -> Page:
    """An empty page with a constrained layout. Draw on it within `style()`.

    Within `look(width_mm)` it is as wide as that says: a narrower one has smaller text and is less high, a wider one as high.
    """
    asked = LOOK.get()
    ratio = (asked.width_mm or width_mm) / width_mm
    scale = min(ratio, 1.0) ** 0.5
    drawn = Page(figsize=(width_mm * ratio / 25.4, height_mm * scale / 25.4), layout="constrained")
    drawn.look = replace(asked, scale=scale)
    mpl.rcParams.update(drawn.look.style)  # of the context that `style()` opened
    return drawn


def caption(page: Page, attrs: Mapping[Any, Any], mark: str) -> None:
    """One line above a page that says what was measured on what, and what a marked place means."""
    data = "SIMULATED signals" if attrs.get("data_is_simulated") else "recordings"
    about = f"{counted(attrs)}, {attrs['n_windows']} windows of {data}"
    model = f"{attrs.get('checkpoint', 'model')} ({attrs.get('checkpoint_fingerprint', '')[:8]}){edited(attrs)}"
    lines = wrap(f"{model} · {about} · {mark}", int(page.get_figwidth() * SIGNS_PER_INCH))
    page.suptitle("\n".join(lines), fontsize=7 * page.look.scale, x=0.01, ha="left")


def style() -> Any:
    """The context in which panels are drawn."""
    return mpl.rc_context(LOOK.get().style)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, atomically; the suffix of `path` is its format."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip("."))
    write_whole(drawn.getvalue(), path)
