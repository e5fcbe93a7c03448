"""The Python and the command behind what is on the screen: which recording, which window, which model, as a user would write them."""

import shlex
from pathlib import Path
from typing import Any

from heartlens.app.reading import OVERRIDDEN
from heartlens.app.tabs import Tab

PERSONS = "persons.csv"
SHELL_HINTS = {"lead": "--lead", "rate_hz": "--rate"}


def path_of(tab: Tab) -> str:
    """The file as the user knows it: one that was dropped by its name alone, one of the command line as it was given."""
    return Path(tab.path).name if tab.path.startswith(str(tab.folder)) else tab.path


def making(tab: Tab) -> str:
    """The line of a shell that makes a simulated recording's file; empty for others."""
    if not tab.example:
        return ""
    from heartlens.app.views.signal import SIMULATED

    kind, rhythm = SIMULATED[tab.example]
    program = f"from heartlens.signals.simulate.recording import simulated_csv; print(simulated_csv({kind!r}, {rhythm!r}), end='')"
    return f"python -c {shlex.quote(program)} > {shlex.quote(path_of(tab))}\n"


def command(tab: Tab, task: str, model: str, *options: Any) -> str:
    """A command of heartlens on the recording that is open, with the hints that it was read with (a unit is a label, and no option)."""
    hints, before = (tab.order.hints if tab.order else {}), making(tab)
    words = ["heartlens", task, model, path_of(tab), *map(str, options)]
    words += [word for name, flag in SHELL_HINTS.items() if hints.get(name) for word in (flag, f"{hints[name]}")]
    words += {"invert": ["--invert"], "as-is": ["--as-is"]}.get(str(hints.get("polarity")), [])
    if person := hints.get("person"):
        words += ["--persons", PERSONS]
        named = shlex.join(["record,person", ",".join(_quoted(text) for text in (Path(tab.path).stem, person))])
        before += f"printf '%s\\n' {named} > {PERSONS}\n"
    return before + shlex.join(words)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def python(tab: Tab, model: str, start_s: float, lines: str, ablate: str = "") -> str:
    """A program that has `strip`, `windows` (the window on the screen) and `subject` (the model), followed by `lines`."""
    of_all = tab.order.hints if tab.order else {}
    hints = {name: value for name, value in of_all.items() if name not in ("landmarks", *OVERRIDDEN)}
    overrides = "".join(f", {name}={of_all[name]!r}" for name in OVERRIDDEN if name in of_all)
    recording = f"replace(files.recording(files.names()[0]){overrides})" if overrides else "files.recording(files.names()[0])"
    named = "".join(f", {name}={value!r}" for name, value in hints.items())
    landmarks, polarity = (of_all.get(name) for name in ("landmarks", "polarity"))
    choice = f", Choice({landmarks or 'auto'!r}, polarity={polarity or 'check'!r})" if landmarks or polarity else ""
    imports = "from heartlens.signals.windowing import Choice\n" if choice else ""
    standard = "from dataclasses import replace\n" if overrides else ""
    parts, without = ("from heartlens.parts import parts_in\n", f", ablate=parts_in({ablate!r})") if ablate else ("", "")
    made = ""
    if tab.example:
        from heartlens.app.views.signal import SIMULATED

        kind, rhythm = SIMULATED[tab.example]
        made = (
            "from pathlib import Path\nfrom heartlens.signals.simulate.recording import simulated_csv\n\n"
            f"Path({path_of(tab)!r}).write_text(simulated_csv({kind!r}, {rhythm!r}))\n\n"
        )
    return (
        f"{made}{standard}from heartlens.models.load import load_subject\n{parts}from heartlens.signals.files import Files\n"
        f"from heartlens.signals.strip import strip_of\n{imports}\n"
        f"files = Files(({path_of(tab)!r},), kind={tab.strip.kind!r}{named})\n"
        f"strip = strip_of({recording}, {tab.strip.kind!r}{choice})\n"
        f"windows = strip.window_at({start_s!r})\nsubject = load_subject({model!r}{without})\n{lines}\n"
    )
