"""What does one window's attention look like: of one head, of a layer's heads summed, or of all, and of one asking token on the signal?

The weights are the model's own, after the softmax, causal: row i is what token i pays to the tokens up to itself, and sums to 1 for one
head (to the number of heads for a sum). As in the published programs a layer is the sum over its heads, tokens count from 1, and the scale
of a figure leaves out the first 24 tokens, because the first one is an attention sink. `--change` subtracts the attention of the model
that this one was fine-tuned from, on the same window, as the published AF program does. `--edits P:0,beat:3:-0.2` changes the window's
signal first, as `what_if` does. One window shows what can happen, not how often.
"""

import re
from argparse import Namespace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float32, UInt8

from heartlens.axes import CONTEXT, KINDS, head_label
from heartlens.findings import Findings
from heartlens.parser import Listed
from heartlens.parts import ATTENTION, edited, listed, refuse_idle
from heartlens.refusal import Refusal
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task, mat, npz
from heartlens.tasks.recordings import (
    Window,
    add_window,
    inventory_of_recordings,
    marked_window,
    one_recording,
    window_as_edited,
    window_of,
)

HEAD = re.compile(r"(?:L([1-9][0-9]*)H)?([1-9][0-9]*)", re.IGNORECASE)
WEIGHTS = "attention_weights"  # the name of the published program's array

Pattern = Float32[np.ndarray, "layer head asking key"]


def _base_of(subject: Any) -> Any:
    """What the model was fine-tuned from. Refuses one of which that is not known."""
    from heartlens.models.changes import base_beside
    from heartlens.models.pairs import UnknownBase

    try:
        return base_beside(subject, "auto")
    except UnknownBase as error:
        raise Refusal(
            f"--change: it is not known what {subject.origin.checkpoint} was fine-tuned from; give a checkpoint whose model card names its "
            "base (docs/adding_a_checkpoint.md)"
        ) from error


def attention_of(subject: Any, tokens: UInt8[np.ndarray, " time"]) -> Pattern:
    """The attention of every head on one window's tokens (a Subject's; 64 MB for the published models)."""
    return np.stack([layer.pattern[0] for layer in subject.engine.attention(subject.tokens(tokens[None]))]).astype(np.float32)


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("which attention (default: the sum over the heads of the last layer)")
    group.add_argument("--layer", type=int, metavar="L", help="the sum over the heads of layer L, counted from 1; with --head one head")
    group.add_argument("--head", metavar="HEAD", help="one head: L4H5, or with --layer its number")
    group.add_argument("--sum", action="store_true", help="the sum over all heads of all layers")
    group.add_argument("--token", type=int, default=CONTEXT, metavar="N", help=f"the asking token, counted from 1 (default: {CONTEXT})")
    group.add_argument("--change", action="store_true", help="less the attention of the model this one was fine-tuned from")
    group.add_argument("--mat", action="store_true", help=f"also all heads' attention as MATLAB's {WEIGHTS}, heads x 500 x 500")
    group.add_argument("--npz", action="store_true", help="also all heads' attention as a NumPy archive")
    group.add_argument(
        "--edits", type=Listed(), metavar="EDIT,...", help="change the signal of the window first: P:0, beat:3:-0.2 (docs/tasks/what_if.md)"
    )
    add_window(parser)


def chosen_heads(given: Namespace, n_layers: int, n_heads: int) -> tuple[str, list[tuple[int, int]]]:
    """The name of what was asked for, and its heads (layer and head from 0). Refuses heads that the model does not have."""
    of_layer, head = given.layer, None
    if given.head is not None:
        match = HEAD.fullmatch(given.head.strip())
        if match is None or (match[1] is None) == (given.layer is None):
            raise Refusal(f"--head is {given.head!r}; give a head as L4H5, or its number together with --layer, as --layer 4 --head 5")
        of_layer, head = int(match[1] or given.layer), int(match[2])
    if given.sum and of_layer is not None:
        raise Refusal("--sum adds up all heads of all layers; give it without --layer and --head")
    if given.sum:
        return "sum over all heads", [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    of_layer = n_layers if of_layer is None else of_layer
    if not 1 <= of_layer <= n_layers or not 1 <= (1 if head is None else head) <= n_heads:
        named = given.head if given.head is not None else f"layer {given.layer}"
        raise Refusal(f"{named} is not in this model; it has layers 1 to {n_layers}, heads 1 to {n_heads}")
    if head is not None:
        return head_label(of_layer - 1, head - 1), [(of_layer - 1, head - 1)]
    return f"layer {of_layer}, sum over its heads", [(of_layer - 1, each) for each in range(n_heads)]


def made(given: Namespace, subject: Any) -> Made:
    """The attention of the window that was asked for."""
    if not 1 <= given.token <= CONTEXT:
        raise Refusal(f"--token is {given.token}; tokens count from 1 to {CONTEXT}")
    refuse_idle(given.ablate, ATTENTION, subject.sizes.n_layers)
    level, heads = chosen_heads(given, subject.sizes.n_layers, subject.sizes.n_heads)
    prepared = one_recording(given, subject.kind)
    window = _edited(given, subject.kind, window_of(prepared, subject.kind, given))
    whole = attention_of(subject, window.tokens)
    stored = whole.reshape(-1, CONTEXT, CONTEXT)
    shown = whole
    if given.change:
        base = attention_of(_base_of(subject), window.tokens)
        shown, stored = whole - base, np.concatenate([base.reshape(stored.shape), stored])
    summary = summary_of(shown, window, subject.kind, level, heads, given.token, prepared.name, given.change)
    columns = [head_label(layer, head) for layer in range(whole.shape[0]) for head in range(whole.shape[1])]
    files = {}
    if given.mat:
        files[f"{WEIGHTS}.mat"] = mat(**{WEIGHTS: stored})
    if given.npz:
        files[f"{WEIGHTS}.npz"] = npz(**{WEIGHTS: stored}, tokens=window.tokens, start_s=window.start_s)
    read = inventory_of_recordings([prepared], subject.kind, 1)
    return Made(summary, read, {"attention.csv": (("token", "time_s", "value", "attention", *columns), rows_of(summary))}, files)


def _edited(given: Namespace, kind: str, window: Window) -> Window:
    """The window with the edits of its signal. Refuses edits of the model, which have an option of their own."""
    if not given.edits:
        return window
    from heartlens.models.what_if import edited_window

    windows, parts = edited_window(marked_window(given, kind, window.start_s), given.edits)
    if parts:
        raise Refusal(
            f"--edits {','.join(given.edits)}: edits of the signal are legal here; parts are taken away with --ablate {listed(parts)}"
        )
    return window_as_edited(windows, given.edits)


def summary_of(
    shown: Pattern, window: Window, kind: str, level: str, heads: list[tuple[int, int]], token: int, record: str, is_change: bool
) -> xr.Dataset:
    """What is drawn and stored of a window's attention: the map of the chosen heads summed, and the row of `token` (from 1)."""
    chosen = np.sum([shown[head] for head in heads], axis=0)
    time_s = window.start_s + np.arange(CONTEXT) / KINDS[kind].rate_hz
    return xr.Dataset(
        {
            "map": (("asking", "key"), chosen),
            "row": (("key",), chosen[token - 1]),
            "rows": (("layer", "head", "key"), shown[:, :, token - 1]),
            "token": (("key",), window.tokens),
            "time_s": (("key",), time_s),
        },
        attrs={
            "level": level,
            "asking_token": token,
            "is_change": int(is_change),
            "window": window.chosen,
            "window_start_s": window.start_s,
            "record": record,
            "n_records": 1,
            "n_windows": 1,
        },
    )


def rows_of(summary: xr.Dataset) -> list[tuple[Any, ...]]:
    """The table of the asking token's row, and of every head's."""
    time_s, token = summary["time_s"].values, summary["token"].values
    by_token = np.concatenate([summary["row"].values[None], summary["rows"].values.reshape(-1, CONTEXT)]).T
    return [
        (place + 1, f"{time_s[place]:.3f}", int(token[place]), *(f"{weight:.8g}" for weight in weights))
        for place, weights in enumerate(by_token)
    ]


def plot(summary: xr.Dataset) -> Any:
    """The map of who attends to whom, and the asking token's row on the signal."""
    from heartlens import figures

    attrs, time_s = summary.attrs, summary["time_s"].values
    with figures.style():
        page = figures.page(figures.PAGE_MM, 75)
        left, right = page.subplots(1, 2, width_ratios=(2, 3))
        image = figures.attention_map(left, summary["map"].values, time_s)
        left.axhline(time_s[attrs["asking_token"] - 1], color="black", linewidth=0.5, linestyle=":")
        page.colorbar(image, ax=left, shrink=0.6, extend="both" if attrs["is_change"] else "max")
        weights = figures.asked_signal(right, time_s, summary["token"].values, summary["row"].values, attrs["asking_token"] - 1)
        weights.set_ylabel("change of attention" if attrs["is_change"] else "attention")
        page.suptitle(
            f"{attrs['checkpoint']}{edited(attrs)} · {attrs['level']} · {attrs['record']}, {attrs['window']}", fontsize=7, x=0.01, ha="left"
        )
    return page


def findings(summary: xr.Dataset) -> Findings:
    """Where the asking token looks: the ten tokens that it attends to most."""
    attrs, row = summary.attrs, summary["row"].values
    what = "change of attention" if attrs["is_change"] else "attention"
    most = np.argsort(-np.abs(row), kind="stable")[:10]
    rows = tuple(
        (str(key + 1), f"{summary['time_s'].values[key]:.3f}", str(summary["token"].values[key]), f"{row[key]:.4f}") for key in most
    )
    base, of_all = (" less that of its base", "") if attrs["is_change"] else ("", f" of {row.sum():.4f} in all")
    return Findings(
        title=f"Attention of {attrs['checkpoint']}: {attrs['level']}, {attrs['record']}",
        question=f"Where does token {attrs['asking_token']} look, and how does the whole window attend?",
        verdict=(
            f"{attrs['level']}{base}, {attrs['record']}, {attrs['window']} (from {attrs['window_start_s']:g} s): token "
            f"{attrs['asking_token']} has its largest {what} at token {most[0] + 1} ({row[most[0]]:.4f}{of_all}).",
        ),
        columns=("token", "time (s)", "value", what),
        rows=rows,
        cautions=(
            "One window shows what can happen, not how often; head_scan and attention_cycles test it over persons.",
            "The first token is an attention sink: it receives much attention whatever it holds.",
            NOT_MEDICAL,
        ),
        methods=(
            "Weights after the softmax, causal; a layer is the sum over its heads, as in the published program. Tokens count from 1.",
            "The row's scale leaves out the first 24 tokens, as the published program does; the map's holds 99.5 % of the other weights.",
        ),
    )


TASK = Task("attention", __doc__, "any model: ecg, ppg, ecg-af, ..., or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
