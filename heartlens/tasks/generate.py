"""How does the signal go on? The published sliding-window loop's tokens for the seed, for any number of samples, with any parts ablated.

Sample i is the published loop after `torch.manual_seed(seed + i)`. Heights are those of the context's window (its smallest and largest
sample are tokens 0 and 100), in the recording's unit, so a signal that goes beyond them is cut off there. What a model generates is
plausible, not a prediction of this person's heart.
"""

import json
import re
from argparse import Namespace
from contextlib import nullcontext
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.findings import Findings
from heartlens.refusal import Refusal
from heartlens.signals.tokens import amplitude
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task
from heartlens.tasks.recordings import Window, add_window, inventory_of_recordings, one_recording, window_of

PART = re.compile(r"L([1-9][0-9]*)(?:H([1-9][0-9]*))?|MLP([1-9][0-9]*)", re.IGNORECASE)
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
    group.add_argument("--ablate", metavar="PARTS", help="parts set to zero, say L4H5,MLP8 (counted from 1)")
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
    summary = summary_of(new, context, window, prepared.name, prepared.unit, subject.kind, given.ablate, given.show)
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
    ablate: str | None = None,
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
            "ablated": ablate or "",
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
    """The new tokens after a context, with the parts of `given.ablate` set to zero."""
    from heartlens.engine.generation import generated
    from heartlens.models.edit import ablated

    options = {"seed": given.seed, "n_samples": given.samples, "temperature": given.temperature, "top_k": given.top_k}
    parts = parts_of(subject, given.ablate)
    with ablated(subject.model, **parts) if parts else nullcontext(subject.engine) as running:
        return generated(running, context[None], given.n, **options)[0]


def parts_of(subject: Any, ablate: str | None) -> dict[str, Any]:
    """The parts of a model that a list names, as `ablated` takes them. Refuses those that it does not have."""
    parts: dict[str, Any] = parts_named(ablate) if ablate else {}
    sizes = subject.sizes
    for layer, head in [*parts.get("heads", ()), *((layer, 0) for layer in (*parts.get("mlps", ()), *parts.get("layers", ())))]:
        if not (0 <= layer < sizes.n_layers and 0 <= head < sizes.n_heads):
            raise Refusal(f"--ablate {ablate!r}: {subject.origin.checkpoint} has layers 1 to {sizes.n_layers}, heads 1 to {sizes.n_heads}")
    return parts


def parts_named(text: str) -> dict[str, list[Any]]:
    """The heads, MLPs and layers of a list like L4H5,MLP8,L3 (counted from 1), as `ablated` takes them. Refuses other names.

    >>> parts_named("L4H5,MLP8,L3")
    {'heads': [(3, 4)], 'mlps': [7], 'layers': [2]}
    """
    parts: dict[str, list[Any]] = {"heads": [], "mlps": [], "layers": []}
    for name in text.split(","):
        match = PART.fullmatch(name.strip())
        if match is None:
            raise Refusal(
                f"--ablate {text!r}: {name.strip()!r} names no part; legal: heads as L4H5, MLPs as MLP8, layers as L3, with commas"
            )
        layer, head, mlp = match.groups()
        if mlp is not None:
            parts["mlps"].append(int(mlp) - 1)
        elif head is not None:
            parts["heads"].append((int(layer) - 1, int(head) - 1))
        else:
            parts["layers"].append(int(layer) - 1)
    return parts


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
        ablated = f" · without {attrs['ablated']}" if attrs["ablated"] else ""
        page.suptitle(f"{attrs['checkpoint']}{ablated} · {attrs['record']}, {attrs['window']}", fontsize=7, x=0.01, ha="left")
    return page


def findings(summary: xr.Dataset) -> Findings:
    """What was generated after what."""
    attrs = summary.attrs
    options = json.loads(attrs["options"])
    n_draws, n_steps = summary["token"].shape
    ablated = f", without {attrs['ablated']}" if attrs["ablated"] else ""
    rows = [
        (str(draw), str(options["seed"] + draw), str(tokens.min()), str(tokens.max()), f"{tokens.mean():.1f}")
        for draw, tokens in enumerate(summary["token"].values[:100])
    ]
    return Findings(
        title=f"{attrs['record']} continued by {attrs['checkpoint']}{ablated}",
        question="How does the signal go on?",
        verdict=(
            f"{n_draws} x {n_steps} tokens after {summary.sizes['time']} of {attrs['record']}, {attrs['window']}, by "
            f"{attrs['checkpoint']}{ablated}: seed {options['seed']}, temperature {options['temperature']:g}.",
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
