"""The views of the page, one module each: `VIEW` names it and holds what it answers. docs/app.md tells how one is added."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NAMES = (
    "signal",
    "attention",
    "similarity",
    "arrhythmia",
    "beats",
    "generate",
    "results",
)  # in the order of the page; `signal` is always there

Answer = Callable[[Any, dict[str, Any]], Any]  # (tab, question) -> what JSON can hold, or `Binary`


@dataclass(frozen=True)
class View:
    """A view: `title` on its tab, `about` in one sentence, `answers` by name: functions of a tab and a question.

    An answer returns what JSON can hold (NaN becomes null), `Binary`, or raises `Refusal`. Heavy imports are inside the functions.
    """

    title: str
    about: str
    answers: Mapping[str, Answer]


@dataclass(frozen=True)
class Binary:
    """Bytes, with the type of their content; `name` where they are a file to be saved."""

    content: bytes
    type: str = "application/octet-stream"
    name: str = ""


def view(name: str) -> View:
    """The view of a name in NAMES."""
    found: View = importlib.import_module(f"heartlens.app.views.{name}").VIEW
    return found
