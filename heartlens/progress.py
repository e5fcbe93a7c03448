"""What is shown on the way: a bar with the time left on a terminal's stderr, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[str, Iterable[Any], int], Iterable[Any]]


def shown(quiet: bool = False) -> Progress:
    """A bar where stderr is a terminal and nothing is `quiet`."""
    return bar if not quiet and sys.stderr is not None and sys.stderr.isatty() else silent


def silent(what: str, steps: Iterable[Any], n_steps: int) -> Iterable[Any]:
    """The steps, nothing shown."""
    return steps


def bar(what: str, steps: Iterable[Any], n_steps: int) -> Iterable[Any]:
    """The steps with a bar on stderr; a step that stands for several recordings counts as so many."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=n_steps)
        for step in steps:
            yield step
            progress.advance(task, getattr(step, "n_recordings", 1))
