"""How the signal goes on after the window, one token after the other, as often as wanted, with any parts ablated."""

from typing import Any

import numpy as np

from heartlens.app import code as written
from heartlens.app.jobs import Tell, begun, job_of
from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab, number, whole
from heartlens.app.views import Binary, View
from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal

MOST_NEW, MOST_SAMPLES, MOST_SEED = 2000, 20, 2**31
WAIT_S = 0.25


def begin(tab: Tab, asked: dict[str, Any]) -> Any:
    """Start to go on; `look` tells what there is."""
    from heartlens.engine.generation import Drawing, growing
    from heartlens.engine.steps import refuse_task_head
    from heartlens.models.subject import subject_of
    from heartlens.models.without import without
    from heartlens.parts import parts_in

    subject, windows = _subject(tab, asked), tab.window(asked)
    refuse_task_head(subject.engine)
    given = settings(asked)
    Drawing(subject.sizes.d_vocab_out, given["seed"], given["samples"], given["temperature"], given["top_k"])  # refuses what is not legal
    engine = subject_of(without(subject.weights, parts_in(given["ablate"]))).engine
    context = windows.tokens[0][-given["context"] :]
    steps = {name: given[name] for name in ("seed", "temperature", "top_k")}

    def work(tell: Tell) -> np.ndarray:
        new = np.empty((given["samples"], given["n"]), np.uint8)
        for step, tokens in enumerate(growing(engine, context, given["n"], n_samples=given["samples"], **steps)):
            new[:, step] = tokens
            tell((step + 1) / given["n"], new[:, : step + 1])
        return new

    job = begun(tab, "generate", work)
    return {"job": job.key, "model": subject.origin.checkpoint, "low": float(windows.low[0]), "high": float(windows.high[0])}


def settings(asked: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a question, each within what is legal."""
    return {
        "n": whole(asked, "n", 1, MOST_NEW, 300),
        "samples": whole(asked, "samples", 1, MOST_SAMPLES, 1),
        "seed": whole(asked, "seed", 0, MOST_SEED, 0),
        "context": whole(asked, "context", 2, CONTEXT, CONTEXT),
        "temperature": number(asked, "temperature", 1.0),
        "top_k": None if asked.get("top_k") in (None, "") else whole(asked, "top_k", 1, 200),
        "ablate": str(asked.get("ablate") or ""),
    }


def look(tab: Tab, asked: dict[str, Any]) -> Any:
    """The tokens that are there: from `from` on, of every sample."""
    job = job_of(tab, "generate", asked)
    job.wait(WAIT_S)
    job = job_of(tab, "generate", asked)
    new = job.result if job.result is not None else job.part
    first = whole(asked, "from", 0, MOST_NEW, 0)
    return {"is_over": job.is_over, "done": job.done, "tokens": [] if new is None else new[:, first:], "is_cancelled": bool(job.reason)}


def cancel(tab: Tab, asked: dict[str, Any]) -> Any:
    """Stop."""
    job_of(tab, "generate", asked).cancel()
    return {}


def summary(tab: Tab, asked: dict[str, Any]) -> Any:
    """What `heartlens generate` stores. Refuses work that is not done."""
    from heartlens.tasks.generate import summary_of
    from heartlens.tasks.recordings import Window

    job, given = job_of(tab, "generate", asked), settings(asked)
    if job.result is None:
        raise Refusal("the continuation is not whole yet; wait for its end, then save")
    subject = _subject(tab, asked)
    start_s = float(tab.window(asked).start_s[0])
    window = Window(tab.strip.samples_at(start_s), start_s, f"the window at {start_s:g} s")
    context = window.tokens[-given["context"] :]
    name = tab.shown_name(tab.strip.name)
    made = summary_of(job.result, context, window, name, tab.strip.unit, subject.kind)
    return made.assign_attrs(made.attrs | {"checkpoint": subject.origin.checkpoint, "data_kind": subject.kind})


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure of `heartlens generate`."""
    from heartlens.tasks.generate import plot

    return figure_file(asked, "generate", lambda: plot(summary(tab, asked)))


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table of `heartlens generate`."""
    from heartlens.tasks.generate import COLUMNS, rows_of

    made = summary(tab, asked)
    return table_file("generated", list(COLUMNS), rows_of(made, KINDS[made.attrs["data_kind"]].rate_hz))


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python and the command that give the tokens on the screen."""
    given, start_s = settings(asked), float(tab.window(asked).start_s[0])
    model = _name(tab, asked)
    shown = {"--at": repr(start_s), **{f"--{name.replace('_', '-')}": value for name, value in given.items() if value not in (None, "")}}
    options = [word for pair in shown.items() for word in pair]
    lines = (
        "from argparse import Namespace\nfrom heartlens.tasks.generate import continued\n\n"
        f"given = Namespace(n={given['n']}, samples={given['samples']}, seed={given['seed']}, temperature={given['temperature']!r}, "
        f"top_k={given['top_k']})\n"
        f"tokens = continued(subject, windows.tokens[0][-{given['context']}:], given)  # sample, step\nprint(tokens)"
    )
    return {
        "python": written.python(tab, model, start_s, lines, given["ablate"]),
        "command": written.command(tab, "generate", model, *options),
    }


def _name(tab: Tab, asked: dict[str, Any]) -> str:
    """The model that is selected where it tells the next token, else the base of the same kind of signal."""
    name = str(asked.get("model", ""))
    return name if tab.subject(asked).answers == "next token" else str(tab.strip.kind if tab.strip else "ecg")


def _subject(tab: Tab, asked: dict[str, Any]) -> Any:
    return tab.subject({**asked, "model": _name(tab, asked)})


VIEW = View(
    "Generate",
    "How the signal goes on after this window, as the model has learnt it; plausible, not a prediction of this heart.",
    {"begin": begin, "look": look, "cancel": cancel, "figure": figure, "data": data, "code": code},
)
