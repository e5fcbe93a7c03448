"""Who attends to whom in the window: every head by its lift on a wave, the map of one, the asking token's row, and why it looks there."""

from typing import Any

import numpy as np

from heartlens.app import code as written
from heartlens.app.edits import edited_subject, edited_window, signal_edits
from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab, whole
from heartlens.app.views import Binary, View
from heartlens.app.views.signal import window_drawn
from heartlens.axes import CONTEXT, head_label
from heartlens.parts import listed
from heartlens.refusal import unknown

SUM = -1  # in the place of a head: the sum over a layer's heads
WHICH = ("model", "base", "change")


def pattern(tab: Tab, asked: dict[str, Any], which: str = "model") -> np.ndarray:
    """The attention of all heads on the window with its edits: of the model, of its base, or the difference."""
    from heartlens.tasks.attention import attention_of

    if which not in WHICH:
        raise unknown("which", which, WHICH)
    if which == "change":
        return pattern(tab, asked) - pattern(tab, asked, "base")
    windows, parts = edited_window(tab, asked)
    tokens, subject = windows.tokens[0], edited_subject(tab, asked, parts, which)

    def made() -> np.ndarray:
        with tab.house.models.running:
            return np.asarray(attention_of(subject, tokens))

    kept: np.ndarray = tab.once(("attention", subject.origin.fingerprint, listed(parts), tokens.tobytes()), made)
    return kept


def edited(tab: Tab, asked: dict[str, Any]) -> Any:
    """The window with its edits, as the page draws it."""
    return window_drawn(edited_window(tab, asked)[0])


def heads(tab: Tab, asked: dict[str, Any]) -> Any:
    """The lift of every head on a wave in this window, as head_scan counts it."""
    from heartlens.models.attended import lift_on

    windows, parts = edited_window(tab, asked)
    wave, has_sink = str(asked.get("wave")), bool(asked.get("sink", True))
    lift = lift_on(edited_subject(tab, asked, parts), windows, wave, 0 if has_sink else 1)[0]
    return {"wave": wave, "lift": lift}


def map_of(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The attention of one head, or of a layer's heads summed: 500 x 500 numbers of 32 bits, row by row."""
    shown = chosen(tab, asked, pattern(tab, asked, str(asked.get("which", "model"))))
    return Binary(np.ascontiguousarray(shown, "<f4").tobytes())


def chosen(tab: Tab, asked: dict[str, Any], whole_pattern: np.ndarray) -> np.ndarray:
    """The map of the head, or the layer, that is asked for."""
    layer, head = place(whole_pattern, asked)
    return np.asarray(whole_pattern[layer].sum(axis=0) if head == SUM else whole_pattern[layer, head])


def place(whole_pattern: np.ndarray, asked: dict[str, Any]) -> tuple[int, int]:
    """The layer and the head (or SUM) that are asked for."""
    n_layers, n_heads = whole_pattern.shape[:2]
    return whole(asked, "layer", 0, n_layers - 1, n_layers - 1), whole(asked, "head", SUM, n_heads - 1, SUM)


def why(tab: Tab, asked: dict[str, Any]) -> Any:
    """The score of a head at a key, by what of the residual stream it comes from."""
    from heartlens.models.interventions.score import score_split

    windows, parts = edited_window(tab, asked)
    subject = edited_subject(tab, asked, parts)
    sizes = subject.sizes
    layer, head = whole(asked, "layer", 0, sizes.n_layers - 1), whole(asked, "head", 0, sizes.n_heads - 1)
    token, key = whole(asked, "token", 0, CONTEXT - 1), whole(asked, "key", 0, CONTEXT - 1)
    with tab.house.models.running:
        split = score_split(subject.engine, windows.tokens[0], layer, head, token, key)
    return {
        "parts": split.parts,
        "above": split.above,
        "by_query": split.by_query,
        "by_key": split.by_key,
        "score": split.score,
        "score_above": split.score_above,
        "weight": split.weight,
    }


def summary(tab: Tab, asked: dict[str, Any]) -> Any:
    """What `heartlens attention` stores of the same window, head and token."""
    from heartlens.tasks.attention import summary_of
    from heartlens.tasks.recordings import window_as_edited

    windows, parts = edited_window(tab, asked)
    which = str(asked.get("which", "model"))
    subject = edited_subject(tab, asked, parts, "base" if which == "base" else "model")
    of_all = pattern(tab, asked, which)
    layer, head = place(of_all, asked)
    level = f"layer {layer + 1}, sum over its heads" if head == SUM else head_label(layer, head)
    n_heads = subject.sizes.n_heads
    window = window_as_edited(windows, signal_edits(asked))
    made = summary_of(
        of_all,
        window,
        subject.kind,
        level,
        [(layer, each) for each in range(n_heads)] if head == SUM else [(layer, head)],
        whole(asked, "token", 0, CONTEXT - 1) + 1,
        tab.shown_name(tab.strip.name),
        which == "change",
    )
    return made.assign_attrs(made.attrs | {"checkpoint": subject.origin.checkpoint, "edits": subject.edits})


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure of `heartlens attention`."""
    from heartlens.tasks.attention import plot

    return figure_file(asked, "attention", lambda: plot(summary(tab, asked)))


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table of `heartlens attention`: the asking token's row, and every head's."""
    from heartlens.tasks.attention import rows_of

    made = summary(tab, asked)
    n_layers, n_heads = made.sizes["layer"], made.sizes["head"]
    columns = [head_label(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    return table_file("attention", ["token", "time_s", "value", "attention", *columns], rows_of(made))


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python and the command that give the row on the screen."""
    (windows, parts), which, edits = edited_window(tab, asked), str(asked.get("which", "model")), signal_edits(asked)
    of_all = pattern(tab, asked)
    layer, head = place(of_all, asked)
    ablate = listed([part for part in parts if part.layer < len(of_all) - 1])  # after the last layer nothing attends
    token, start_s, model = whole(asked, "token", 0, CONTEXT - 1), float(windows.start_s[0]), str(asked["model"])
    if which == "base":
        model = tab.house.models.base(model).origin.checkpoint
    options = ["--at", repr(start_s), "--layer", layer + 1, *([] if head == SUM else ["--head", head + 1]), "--token", token + 1]
    options += ["--change"] if which == "change" else []
    options += [word for name, text in (("--edits", ",".join(edits)), ("--ablate", ablate)) if text for word in (name, text)]
    of_head = f"[{layer}].sum(axis=0)" if head == SUM else f"[{layer}, {head}]"
    lines = f"from heartlens.models.what_if import edited_window\n\nwindows, _ = edited_window(windows, {edits!r})\n" if edits else ""
    lines += "from heartlens.tasks.attention import attention_of\n\nattention = attention_of(subject, windows.tokens[0])\n"
    if which == "change":
        lines += (
            "from heartlens.models.changes import base_beside\n\n"
            'attention = attention - attention_of(base_beside(subject, "auto"), windows.tokens[0])\n'
        )
    lines += f"row = attention{of_head}[{token}]  # of token {token + 1}, counted from 1\nprint(row.argmax() + 1, row.max())"
    return {"python": written.python(tab, model, start_s, lines, ablate), "command": written.command(tab, "attention", model, *options)}


VIEW = View(
    "Attention",
    "Who attends to whom in this window, head by head, and why.",
    {"edited": edited, "heads": heads, "map": map_of, "why": why, "figure": figure, "data": data, "code": code},
)
