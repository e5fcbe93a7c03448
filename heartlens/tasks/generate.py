"""How does the signal go on? The published sliding-window loop's tokens for the seed, for any number of samples, with any parts ablated.

Sample i is the published loop after `torch.manual_seed(seed + i)`. Heights are those of the context's window (its smallest and largest
sample are tokens 0 and 100), in the recording's unit, so a signal that goes beyond them is cut off there. What a model generates is
plausible, not a prediction of this person's heart.
"""

import json
from argparse import Namespace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.findings import Findings
from heartlens.parts import edited
from heartlens.refusal import Refusal
from heartlens.signals.tokens import amplitude
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task
from heartlens.tasks.recordings import Window, add_window, inventory_of_recordings, one_recording, window_of

COLUMNS = ("sample", "time_s", "token", "height")
MOST_NEW, MOST_SAMPLES = 100_000, 1000
TOKENS, HEIGHTS = "tokens", "heights"


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("how it goes on")
    group.add_argument("--n", type=int, default=CONTEXT, metavar="N", help=f"tokens to generate (default: {CONTEXT})")
    group.add_argument(
        "--context", type=int, default=CONTEXT, metavar="N", help=f"tokens of context, the window's last (default: {CONTEXT})"
    )
    group.add_argument("--samples", type=int, default=1, metavar="N", help="continuations, with seeds SEED, SEED + 1, ... (default: 1)")
    group.add_argument("--seed", type=int, default=0, help="seed of the first continuation (default: 0)")
    group.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 takes the likeliest token (default: 1)")
    group.add_argument("--top-k", type=int, metavar="K", help="draw among the K likeliest tokens alone")
    group.add_argument("--show", choices=(HEIGHTS, TOKENS), default=HEIGHTS, help="what is drawn; the table has both (default: heights)")
    add_window(parser)


def made(given: Namespace, subject: Any) -> Made:
    """The continuations of the window that was asked for."""
    for name, legal in (("context", (2, CONTEXT)), ("n", (1, MOST_NEW)), ("samples", (1, MOST_SAMPLES))):
        if not legal[0] <= getattr(given, name) <= legal[1]:
            raise Refusal(f"--{name} is {getattr(given, name)}; legal: {legal[0]} to {legal[1]}")
    prepared = one_recording(given, subject.kind)
    window = window_of(prepared, subject.kind, given)
    context = window.tokens[-given.context :]
    new = continued(subject, context, given)
    summary = summary_of(new, context, window, prepared.name, prepared.unit, subject.kind, given.show)
    saved = "".join(f"{token:.18e}\n" for token in [*context.tolist(), *new[0].tolist()])
    read = inventory_of_recordings([prepared], subject.kind, 1)
    return Made(summary, read, {"generated.csv": (COLUMNS, rows_of(summary, KINDS[subject.kind].rate_hz))}, {"outputs.csv": saved.encode()})


def summary_of(
    new: UInt8[np.ndarray, "draw step"],
    context: UInt8[np.ndarray, " time"],
    window: Window,
    record: str,
    unit: str,
    kind: str,
    show: str = HEIGHTS,
) -> xr.Dataset:
    """What is stored of continuations of a context, the last tokens of a window."""
    heights = amplitude(new, float(window.samples.min()), float(window.samples.max()))
    return xr.Dataset(
        {
            "token": (("draw", "step"), new),
            "height": (("draw", "step"), heights),
            "context_token": (("time",), context),
            "context_height": (("time",), window.samples[-len(context) :].astype(float)),
        },
        attrs={
            "record": record,
            "window": window.chosen,
            "end_s": window.start_s + CONTEXT / KINDS[kind].rate_hz,
            "unit": unit,
            "show": show,
            "n_records": 1,
            "n_windows": 1,
        },
    )


def rows_of(summary: xr.Dataset, rate_hz: float) -> list[tuple[Any, ...]]:
    """A row for each generated token."""
    end_s = summary.attrs["end_s"]
    return [
        (sample, f"{end_s + place / rate_hz:.3f}", int(token), f"{height:.6g}")
        for sample, (tokens, own) in enumerate(zip(summary["token"].values, summary["height"].values, strict=True))
        for place, (token, height) in enumerate(zip(tokens, own, strict=True))
    ]


def continued(subject: Any, context: UInt8[np.ndarray, " time"], given: Namespace) -> UInt8[np.ndarray, "draw step"]:
    """The new tokens after a context."""
    from heartlens.engine.generation import generated

    options = {"seed": given.seed, "n_samples": given.samples, "temperature": given.temperature, "top_k": given.top_k}
    return generated(subject.engine, context[None], given.n, **options)[0]


def plot(summary: xr.Dataset) -> Any:
    """The context and the continuations: one, or their median and the ranges that hold 50 and 90 %."""
    from heartlens import figures

    attrs = summary.attrs
    rate_hz = KINDS[attrs["data_kind"]].rate_hz
    shown = "token" if attrs["show"] == TOKENS else "height"
    seen_s = (np.arange(summary.sizes["time"]) - summary.sizes["time"]) / rate_hz
    with figures.style():
        page = figures.page(figures.PAGE_MM, 60)
        axes = page.subplots()
        seen = {"time_s": seen_s, "height": summary[f"context_{shown}"].values.astype(float)}
        figures.going_on(axes, seen, summary[shown].values.astype(float), np.arange(summary.sizes["step"]) / rate_hz)
        axes.set_ylabel("token" if shown == "token" else f"signal ({attrs['unit'] or 'own unit'})")
        page.suptitle(f"{attrs['checkpoint']}{edited(attrs)} · {attrs['record']}, {attrs['window']}", fontsize=7, x=0.01, ha="left")
    return page


def findings(summary: xr.Dataset) -> Findings:
    """What was generated after what."""
    attrs = summary.attrs
    options = json.loads(attrs["options"])
    n_draws, n_steps = summary["token"].shape
    rows = [
        (str(draw), str(options["seed"] + draw), str(tokens.min()), str(tokens.max()), f"{tokens.mean():.1f}")
        for draw, tokens in enumerate(summary["token"].values[:100])
    ]
    return Findings(
        title=f"{attrs['record']} continued by {attrs['checkpoint']}{edited(attrs)}",
        question="How does the signal go on?",
        verdict=(
            f"{n_draws} x {n_steps} tokens after {summary.sizes['time']} of {attrs['record']}, {attrs['window']}, by "
            f"{attrs['checkpoint']}{edited(attrs)}: seed {options['seed']}, temperature {options['temperature']:g}.",
        ),
        columns=("sample", "seed", "least token", "largest token", "mean token"),
        rows=tuple(rows),
        cautions=(
            "What is generated is plausible for the model, not a prediction of this heart.",
            "Heights lie within those of the context's window: tokens know no others.",
            NOT_MEDICAL,
        ),
        methods=("The published loop: the last 500 tokens, softmax, one draw, append. Sample i has the seed SEED + i.",),
    )


TASK = Task("generate", __doc__, "a next-token model: ecg, ppg, or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
