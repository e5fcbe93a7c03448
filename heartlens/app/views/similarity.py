"""How alike a window's tokens are to one of them, level by level, raw or centred; and all of them in a plane, with their phase."""

from typing import Any

import numpy as np

from heartlens.app import code as written
from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab, whole
from heartlens.app.views import Binary, View
from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal


def vectors(tab: Tab, asked: dict[str, Any]) -> np.ndarray:
    """The residual vectors of the window: level, token, width."""
    from heartlens.models.residual import residual_by_level

    tokens, subject = tab.window(asked).tokens, tab.subject(asked)

    def made() -> np.ndarray:
        with tab.house.models.running:
            return residual_by_level(subject, tokens)[:, 0]

    kept: np.ndarray = tab.once(("residual", subject.origin.fingerprint, tokens.tobytes()), made)
    return kept


def summary(tab: Tab, asked: dict[str, Any]) -> Any:
    """What `heartlens similarity` stores of the same window and tokens."""
    from heartlens.tasks.recordings import Window
    from heartlens.tasks.similarity import summary_of

    subject = tab.subject(asked)
    start_s = float(tab.window(asked).start_s[0])
    window = Window(tab.strip.samples_at(start_s), start_s, f"the window at {start_s:g} s")
    reference, marked = whole(asked, "reference", 1, CONTEXT, 485), others(asked)
    made = summary_of(
        vectors(tab, asked), window, subject.kind, reference, marked, tab.shown_name(tab.strip.name), bool(asked.get("centred"))
    )
    return made.assign_attrs(made.attrs | {"checkpoint": subject.origin.checkpoint})


def others(asked: dict[str, Any]) -> list[int]:
    """The tokens beside the reference, counted from 1."""
    from heartlens.tasks.similarity import MOST_OTHERS

    given = asked.get("others", [460, 71])
    if not isinstance(given, list) or len(given) > MOST_OTHERS:
        raise Refusal(f"others is {given!r}; a list of at most {MOST_OTHERS} tokens is legal")
    return [whole({"other": each}, "other", 1, CONTEXT) for each in given]


def cosines(tab: Tab, asked: dict[str, Any]) -> Any:
    """The cosine of every token to the reference, by level."""
    made = summary(tab, asked)
    return {"levels": made["level"].values, "cosine": made["cosine"].values.round(5), "any": made["cosine_any"].values}


def plane(tab: Tab, asked: dict[str, Any]) -> Any:
    """Every token in the plane of the first two principal components of each level, with its phase."""
    from heartlens.measures.probe import principal_plane

    windows = tab.window(asked)
    place, explained = principal_plane(vectors(tab, asked))
    return {"place": place.round(4), "explained": explained, "phase": windows.phase[0], "tokens": windows.tokens[0]}


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure of `heartlens similarity`."""
    from heartlens.tasks.similarity import plot

    return figure_file(asked, "similarity", lambda: plot(summary(tab, asked)))


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table of `heartlens similarity`."""
    from heartlens.tasks.similarity import table_of

    columns, rows = table_of(summary(tab, asked))
    return table_file("similarity", list(columns), rows)


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python and the command that give the cosines on the screen."""
    start_s, reference, is_centred = float(tab.window(asked).start_s[0]), whole(asked, "reference", 1, CONTEXT, 485), asked.get("centred")
    marked = ",".join(map(str, others(asked))) or str(reference)
    model = str(asked["model"])
    options = ["--at", repr(start_s), "--reference", reference, "--others", marked, *(["--centred"] if is_centred else [])]
    of = "centred(vectors)" if is_centred else "vectors"
    lines = (
        "from heartlens.measures.homonyms import centred, cosine_to\nfrom heartlens.models.residual import residual_by_level\n\n"
        f"vectors = residual_by_level(subject, windows.tokens)[:, 0]\ncosine = cosine_to({of}, {reference - 1})  # level, token\n"
        f"print(cosine[:, {[each - 1 for each in others(asked)]}].round(3))"
    )
    return {"python": written.python(tab, model, start_s, lines), "command": written.command(tab, "similarity", model, *options)}


VIEW = View(
    "Similarity",
    "How alike the tokens of this window are to one of them, level by level, and how they cluster by phase.",
    {"cosines": cosines, "plane": plane, "figure": figure, "data": data, "code": code},
)
