"""The edits of a question: the window and the model as they are with them. The page's stack is the `stack` of a question."""

from collections.abc import Sequence
from typing import Any

from heartlens.app.tabs import Tab
from heartlens.parts import Part
from heartlens.refusal import Refusal
from heartlens.windows import Windows

MOST_LETTERS = 80  # of one edit


def stack_of(asked: dict[str, Any]) -> list[str]:
    """The edits of a question; none where it has no `stack`. Refuses what is no list of texts."""
    stack = asked.get("stack", [])
    if not isinstance(stack, list) or not all(isinstance(text, str) and len(text) < MOST_LETTERS for text in stack):
        raise Refusal("stack is no list of edits")
    return stack


def edited_window(tab: Tab, asked: dict[str, Any]) -> tuple[Windows, list[Part]]:
    """The window on the screen with the edits of the signal, and the parts of the model that the other edits take away."""
    stack, windows = stack_of(asked), tab.window(asked)
    if not stack:
        return windows, []
    from heartlens.models.what_if import edited_window

    return edited_window(windows, stack)


def edited_subject(tab: Tab, asked: dict[str, Any], parts: Sequence[Part], which: str = "model") -> Any:
    """The model, or with `which` "base" the one that it was fine-tuned from, without these parts."""
    tab.subject(asked)  # refuses a model of another kind of signal
    models, name = tab.house.models, str(asked["model"])
    return models.subject(name, parts) if which == "model" else models.base(name, parts)


def signal_edits(asked: dict[str, Any]) -> list[str]:
    """The edits of a question that change the signal, not the model."""
    return [text for text in stack_of(asked) if not text.startswith("ablate:")]
