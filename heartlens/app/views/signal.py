"""The recording: which there are, what the reader decided, all of it drawn, and the window that the other views look at."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from heartlens.app.reading import OVERRIDDEN, Order
from heartlens.app.tabs import Tab, number, whole
from heartlens.app.views import View
from heartlens.axes import KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.whole import write_whole

SIMULATED = {  # the examples that are always there
    "simulated ECG, sinus rhythm": ("ecg", "sinus"),
    "simulated ECG, atrial fibrillation": ("ecg", "af"),
    "simulated ECG, premature beats": ("ecg", "ectopy"),
    "simulated pulse wave, sinus rhythm": ("ppg", "sinus"),
    "simulated pulse wave, atrial fibrillation": ("ppg", "af"),
}
HINTS = ("lead", "rate_hz", "polarity", "landmarks", "unit", "person")
MOST_LETTERS = 40  # of a unit or a person
MOST_LISTED = 200  # recordings of the command line
MOST_COLUMNS = 4000


def examples(tab: Tab, asked: dict[str, Any]) -> Any:
    """What can be opened without a file of one's own."""
    given: list[str] = []
    if tab.house.data:
        from heartlens.signals.files import Files

        given = Files(tab.house.data).names()[:MOST_LISTED]
    return {"simulated": list(SIMULATED), "given": given}


def models(tab: Tab, asked: dict[str, Any]) -> Any:
    """The models, by the kind of signal they read; those that are embedded are always there."""
    from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS, EMBEDDED

    kinds = {name: ("ppg" if name.startswith("ppg") else "ecg") for name in (*ALIASES, *EMBEDDED)}
    return [{"name": name, "kind": kind, "is_embedded": name in EMBEDDED} for name, kind in kinds.items()] + [
        {"name": name, "kind": each.kind, "is_embedded": False} for name, each in CHECKPOINTS.items()
    ]


def model(tab: Tab, asked: dict[str, Any]) -> Any:
    """Load a model, and tell its exact name and what it answers."""
    subject = tab.house.models.subject(str(asked.get("model", "")))
    base = ""
    if subject.origin.task:
        with suppress(Refusal):
            base = tab.house.models.base(str(asked["model"])).origin.checkpoint
    return {
        "name": subject.origin.checkpoint,
        "asked": str(asked.get("model")),
        "kind": subject.kind,
        "task": subject.origin.task or "next token",
        "answers": subject.answers,
        "engine": subject.engine.name,
        "base": base,
        "n_layers": subject.sizes.n_layers,
        "n_heads": subject.sizes.n_heads,
        "fingerprint": subject.origin.fingerprint[:12],
    }


def open_recording(tab: Tab, asked: dict[str, Any]) -> Any:
    """Read an example, a recording of the command line, or what was uploaded; hints may say what the file does not.

    With `is_marked` false it is opened before its waves are found, to be opened again with them.
    """
    hints = {name: asked[name] for name in HINTS if asked.get(name) not in (None, "")}
    if "rate_hz" in hints:
        hints["rate_hz"] = number(hints, "rate_hz")
    for name in OVERRIDDEN:
        if not isinstance(hints.get(name, ""), str) or len(hints.get(name, "")) > MOST_LETTERS:
            raise Refusal(f"{name} is no text of at most {MOST_LETTERS} letters")
    kind = asked.get("kind") or None
    if kind not in (None, *KINDS):
        raise unknown("kind", kind, KINDS)
    order, example = _order(tab, asked, kind, hints)
    tab.open(replace(order, is_marked=asked.get("is_marked") is not False), example)
    return described(tab, {})


def cancel(tab: Tab, asked: dict[str, Any]) -> Any:
    """End the process that reads for this tab; the question that waits for it is refused, and what was open stays."""
    tab.stop.now()
    return {}


def described(tab: Tab, asked: dict[str, Any]) -> Any:
    """What the reader decided about the recording that is open."""
    strip = tab.recording()
    kind = KINDS[strip.kind]
    return {
        "name": tab.example or tab.shown_name(strip.name),
        "key": tab.shown_name(strip.name),
        "is_simulated": bool(tab.example),
        "names": [tab.shown_name(name) for name in tab.names],
        "kind": strip.kind,
        "lead": strip.lead,
        "unit": strip.unit or kind.unit,
        "rate_hz": strip.rate_hz,
        "model_rate_hz": kind.rate_hz,
        "person": strip.person,
        "duration_s": strip.duration_s,
        "starts_s": strip.starts_s(),
        "skipped": strip.skipped,
        "is_marked": tab.order is None or tab.order.is_marked,
        "marked_by": strip.marked_by,
        "notes": strip.notes,
        "waves": kind.waves,
        "beats_s": strip.beats_s(),
        "hints": dict(tab.order.hints) if tab.order else {},
    }


def overview(tab: Tab, asked: dict[str, Any]) -> Any:
    """The least and largest sample of each column of the screen."""
    strip = tab.recording()
    from_s, until_s = number(asked, "from_s", 0.0), number(asked, "until_s", strip.duration_s)
    if not 0 <= from_s < until_s:
        raise Refusal(f"from {from_s:g} to {until_s:g} s; the first must be before the second")
    least, largest = strip.overview(from_s, until_s, whole(asked, "n_columns", 2, MOST_COLUMNS, 1000))
    return {"from_s": from_s, "until_s": until_s, "least": least, "largest": largest}


def window(tab: Tab, asked: dict[str, Any]) -> Any:
    """The window that begins nearest to a second: samples, tokens, waves."""
    start_s = tab.strip.nearest_start_s(number(asked, "start_s", 0.0)) if tab.strip is not None else 0.0
    windows = tab.window({"start_s": start_s})
    return window_drawn(windows)


def window_drawn(windows: Any) -> dict[str, Any]:
    """A window as the page draws it. No model is imported for it: the recording is on the screen before one is there."""
    from heartlens.signals.tokens import amplitude

    wave = windows.wave[0]
    edges = np.flatnonzero(np.diff(wave, prepend=-2, append=-2) != 0)
    waves = [
        {"wave": windows.waves[wave[first]], "first": first, "last": last - 1}
        for first, last in pairwise(edges.tolist())
        if wave[first] >= 0
    ]
    return {
        "start_s": float(windows.start_s[0]),
        "rate_hz": windows.rate_hz,
        "low": float(windows.low[0]),
        "high": float(windows.high[0]),
        "tokens": windows.tokens[0],
        "samples": amplitude(windows.tokens, windows.low, windows.high)[0],
        "waves": waves,
        "position": windows.position[0],
    }


def _order(tab: Tab, asked: dict[str, Any], kind: str | None, hints: dict[str, Any]) -> tuple[Order, str]:
    name = next((own for own in tab.names if tab.shown_name(own) == asked.get("name")), None)
    if (example := asked.get("example")) is not None:
        if example not in SIMULATED:
            raise unknown("example", example, SIMULATED)
        from heartlens.signals.simulate.recording import simulated_csv

        of_kind, rhythm = SIMULATED[example]
        path = tab.folder / f"simulated-{of_kind}-{rhythm}.csv"
        if not path.exists():
            write_whole(simulated_csv(of_kind, rhythm).encode(), path, lasting=False)
        return Order((str(path),), of_kind, None, hints), example
    if (given := asked.get("given")) is not None:
        return Order(tab.house.data, kind, str(given), hints), ""
    if (upload := asked.get("upload")) is not None:
        if upload not in tab.uploads:
            raise Refusal("this upload is not there any more; drop the files again")
        return Order((str(tab.folder / upload),), kind, name, hints), ""
    if tab.order is not None:  # the same files, read otherwise
        return Order(tab.order.paths, kind or tab.order.kind, name or tab.order.name, hints), tab.example
    raise Refusal("nothing was named; drop a file, or choose an example")


VIEW = View(
    "Signal",
    "The recording, what the reader decided about it, and the window that everything below is about.",
    {
        "examples": examples,
        "models": models,
        "model": model,
        "open": open_recording,
        "cancel": cancel,
        "described": described,
        "overview": overview,
        "window": window,
    },
)
