"""How alike is every token of a window to a reference token, level by level? The published vector-similarity screen, for all tokens.

Cosine of raw residual vectors (no LayerNorm, no centring unless it is asked for), at the embedding (token and position) and after each
block; tokens count from 1. `any` is the mean over all tokens of the window but the reference. One window shows what can happen; `homonyms`
tests it over persons.
"""

from argparse import Namespace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.findings import Findings
from heartlens.measures.homonyms import centred, cosine_to
from heartlens.parts import edited
from heartlens.refusal import Refusal
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Table, Task, mat, npz
from heartlens.tasks.recordings import Window, add_window, inventory_of_recordings, one_recording, window_of

MOST_OTHERS = 24
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1)))  # of the compared tokens, five each
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": 5}  # a long legend
VECTORS = "vector_propagation"  # the name of the published program's array
RAW = "raw residual vectors, no LayerNorm and no centring, as published"
CENTRED = "residual vectors less their mean over the window's tokens at each level, no LayerNorm"


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("which tokens")
    group.add_argument("--reference", type=int, default=485, metavar="N", help="the reference token, counted from 1 (default: 485)")
    group.add_argument(
        "--others", default="460,71", metavar="N,N", help="tokens that are drawn beside it (default: 460,71); all are stored"
    )
    group.add_argument(
        "--centred", action="store_true", help="cosines of the vectors less their mean over the window's tokens (default: raw)"
    )
    group.add_argument("--mat", action="store_true", help=f"also every token's vectors as MATLAB's {VECTORS}, levels x 500 x width")
    add_window(parser)


def made(given: Namespace, subject: Any) -> Made:
    """The cosines of the window that was asked for."""
    from heartlens.models.residual import residual_by_level

    others = others_of(given.reference, given.others)
    prepared = one_recording(given, subject.kind)
    window = window_of(prepared, subject.kind, given)
    vectors = residual_by_level(subject, window.tokens[None])[:, 0]
    summary = summary_of(vectors, window, subject.kind, given.reference, others, prepared.name, given.centred)
    cosine, levels = summary["cosine"].values, summary["level"].values
    arrays = {"cosine": cosine, "tokens": window.tokens, "reference": given.reference, "levels": levels}
    files = {"similarity.npz": npz(**arrays)} | ({"vector_embedding.mat": mat(**{VECTORS: vectors})} if given.mat else {})
    return Made(summary, inventory_of_recordings([prepared], subject.kind, 1), {"similarity.csv": table_of(summary)}, files)


def summary_of(
    vectors: Float[np.ndarray, "level time d_model"],
    window: Window,
    kind: str,
    reference: int,
    others: list[int],
    record: str,
    is_centred: bool = False,
) -> xr.Dataset:
    """What is stored of a window's residual vectors; `reference` and `others` count from 1."""
    from heartlens.models.residual import level_names

    cosine = cosine_to(centred(vectors) if is_centred else vectors, reference - 1)
    return xr.Dataset(
        {
            "cosine": (("level", "key"), cosine),
            "cosine_any": (("level",), np.delete(cosine, reference - 1, axis=1).mean(axis=1)),
            "token": (("key",), window.tokens),
            "time_s": (("key",), window.start_s + np.arange(CONTEXT) / KINDS[kind].rate_hz),
        },
        coords={"level": level_names(len(vectors) - 1)},
        attrs={
            "reference": reference,
            "others": ",".join(map(str, others)),
            "vectors": CENTRED if is_centred else RAW,
            "window": window.chosen,
            "window_start_s": window.start_s,
            "record": record,
            "n_records": 1,
            "n_windows": 1,
        },
    )


def table_of(summary: xr.Dataset) -> Table:
    """Every token's cosines."""
    time_s, token, cosine = (summary[name].values for name in ("time_s", "token", "cosine"))
    rows = [
        (place + 1, f"{time_s[place]:.3f}", int(token[place]), *(f"{value:.8g}" for value in cosine[:, place]))
        for place in range(len(token))
    ]
    return ("token", "time_s", "value", *(str(level).replace(" ", "_") for level in summary["level"].values)), rows


def others_of(reference: int, others: str) -> list[int]:
    """The tokens to be drawn. Refuses what is not a list of tokens of the window."""
    parts = [part.strip() for part in others.split(",")]
    if not 1 <= reference <= CONTEXT:
        raise Refusal(f"--reference is {reference}; tokens count from 1 to {CONTEXT}")
    if not all(part.isdecimal() and 1 <= int(part) <= CONTEXT for part in parts) or len(parts) > MOST_OTHERS:
        raise Refusal(f"--others is {others!r}; give at most {MOST_OTHERS} tokens from 1 to {CONTEXT} with commas between, as 460,71")
    return [int(part) for part in parts]


def plot(summary: xr.Dataset) -> Any:
    """The window with its marked tokens, every token's cosine by level beneath, and the marked tokens' by level."""
    from heartlens import figures

    attrs, time_s, others = summary.attrs, summary["time_s"].values, _others(summary)
    with figures.style():
        page = figures.page(figures.PAGE_MM, 85)
        panels = page.subplot_mosaic([["signal", "lines"], ["map", "lines"]], width_ratios=(3, 2), height_ratios=(3, 2))
        marked = {"reference": attrs["reference"] - 1, **{f"token {number}": number - 1 for number in others}}
        figures.marked_signal(panels["signal"], summary["token"].values, (len(time_s) - 1) / (time_s[-1] - time_s[0]), marked)
        panels["signal"].set(ylabel="token", xticks=[])
        image = figures.cosine_map(panels["map"], summary["cosine"].values, time_s)
        page.colorbar(image, ax=panels["map"], location="bottom", label="cosine to the reference", shrink=0.5)
        cosine = summary["cosine"].values
        bare = {**{f"token {number}": cosine[:, number - 1] for number in others}, "any token": summary["cosine_any"].values}
        lines = {name: np.stack([values, *[np.full(len(values), np.nan)] * 2]) for name, values in bare.items()}
        colours = [figures.PALETTE[1 + place % 5] for place in range(len(others))]
        figures.by_level(panels["lines"], lines, (*colours, "0.6"), [*(DASHES[place // 5] for place in range(len(others))), ":"])
        panels["lines"].set(ylabel="cosine to the reference")
        panels["lines"].legend(frameon=False, **(BESIDE if len(others) > 5 else {}))
        page.suptitle(f"{attrs['checkpoint']}{edited(attrs)} · {attrs['record']}, {attrs['window']}", fontsize=7, x=0.01, ha="left")
    return page


def _others(summary: xr.Dataset) -> list[int]:
    """The compared tokens, from 1."""
    return [int(number) for number in str(summary.attrs["others"]).split(",") if number]


def findings(summary: xr.Dataset) -> Findings:
    """The marked tokens' cosines in a table."""
    attrs, token, cosine = summary.attrs, summary["token"].values, summary["cosine"].values
    others = _others(summary)
    columns = [f"token {number} (value {token[number - 1]})" for number in others]
    values = np.column_stack([*(cosine[:, number - 1] for number in others), summary["cosine_any"].values])
    ends = ", ".join(f"{name} from {row[0]:.2f} to {row[-1]:.2f}" for name, row in zip((*columns, "any token"), values.T, strict=True))
    reference = f"token {attrs['reference']} (value {token[attrs['reference'] - 1]})"
    return Findings(
        title=f"Similarity to {reference}: {attrs['checkpoint']}, {attrs['record']}",
        question="How alike are the other tokens of the window to the reference, level by level?",
        verdict=(f"{attrs['record']}, {attrs['window']}: cosine to {reference}, from the embedding to the last block: {ends}.",),
        columns=("level", *columns, "any token"),
        rows=tuple((str(level), *(f"{value:.2f}" for value in row)) for level, row in zip(summary["level"].values, values, strict=True)),
        cautions=(
            "One window shows what can happen, not how often; homonyms tests it over persons.",
            NOT_MEDICAL,
        ),
        methods=(f"Cosine of {attrs.get('vectors', RAW)}; tokens count from 1.",),
    )


TASK = Task("similarity", __doc__, "any model: ecg, ppg, ecg-af, ..., or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
