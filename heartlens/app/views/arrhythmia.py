"""What the task head says over the recording and of the window, and what it would say if one thing were otherwise."""

from typing import Any

import numpy as np

from heartlens.app import calibration
from heartlens.app import code as written
from heartlens.app.edits import stack_of
from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab, whole
from heartlens.app.views import Binary, View
from heartlens.app.views.attention import pattern
from heartlens.app.views.signal import window_drawn
from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal

AT_ONCE = 16  # windows of the recording that one question reads


def chances(tab: Tab, asked: dict[str, Any]) -> Any:
    """The probability of some of the recording's windows, laid end to end as `heartlens classify` lays them."""
    from heartlens.tasks.classify import logits_of, windows_of
    from heartlens.tasks.recordings import Prepared

    subject = tab.subject(asked)
    refuse_unasked(subject)
    strip = tab.recording()
    prepared = Prepared(strip.name, stretches=tuple((stretch.signal, stretch.start_s) for stretch in strip.stretches))
    starts_s, tokens = tab.once(("windows", strip.content), lambda: windows_of(prepared, CONTEXT, KINDS[strip.kind].rate_hz))
    first = whole(asked, "first", 0, len(tokens), 0)
    some = slice(first, first + AT_ONCE)
    with tab.house.models.running:
        logits = logits_of(subject, tokens[some]) if len(tokens[some]) else np.empty(0)
    return {
        "n_windows": len(tokens),
        "start_s": starts_s[some],
        "probability": 1 / (1 + np.exp(-logits)),
        "logit": logits,
        "threshold": subject.card.get("threshold"),
    }


def shift(tab: Tab, asked: dict[str, Any]) -> Any:
    """The change of the last token's attention by fine-tuning: last block, mean over heads, with its sign."""
    return {"row": pattern(tab, asked, "change")[-1].mean(axis=0)[-1]}


def beats(tab: Tab, asked: dict[str, Any]) -> Any:
    """What can be changed in the window as it was recorded."""
    return changeable(tab.window(asked))


def changeable(windows: Any) -> dict[str, Any]:
    """The beats of a window that can be moved, its waves whose height can be changed, these waves beat by beat, and what can be put in."""
    from heartlens.models.what_if import waves_of
    from heartlens.signals.counterfactuals import can_have_p, has_beats, has_wave, movable_beats, waves_of_beats

    is_ecg = windows.kind == "ecg"
    return {
        "beats": [{"beat": beat, "token": token, "from_s": first, "until_s": last} for beat, token, first, last in movable_beats(windows)],
        "waves": [wave for wave in waves_of(windows.kind) if has_wave(windows, wave).all()],
        "of_beats": [{"wave": wave, "beat": beat, "first": first, "last": last} for wave, beat, first, last in waves_of_beats(windows)],
        "can": {"f_waves": is_ecg and bool(has_beats(windows).all()), "add_P": is_ecg and bool(can_have_p(windows).all())},
    }


def answer(tab: Tab, asked: dict[str, Any]) -> Any:
    """The answer to the window as it is and with the edits, the edited window, and what can be changed in it."""
    made = result(tab, asked, shams=False)
    return {"before": made.before, "after": made.after, "window": window_drawn(made.windows), "can": changeable(made.windows)}


def shams(tab: Tab, asked: dict[str, Any]) -> Any:
    """What each edit does alone, and what its sham does; and the shams of all."""
    made = result(tab, asked, shams=True)
    return {
        "sham": made.sham,
        "alone": made.alone,
        "sham_alone": made.sham_alone,
        "dose": made.dose,
        "sham_dose": made.sham_dose,
        "why_no_sham": made.why_no_sham,
    }


def result(tab: Tab, asked: dict[str, Any], shams: bool) -> Any:
    """What the package answers to the edits of a question."""
    from heartlens.models.what_if import what_if

    subject, windows, stack = tab.subject(asked), tab.window(asked), stack_of(asked)
    refuse_unasked(subject)
    if not shams:  # what someone waits for while dragging stands in no line
        return what_if(subject, windows, stack, shams=False)
    with tab.house.models.running:
        return what_if(subject, windows, stack)


def ablations(tab: Tab, asked: dict[str, Any]) -> Any:
    """By how much the window's logit changes without each head and each MLP."""
    from heartlens.models.what_if import all_ablations

    subject, windows = tab.subject(asked), tab.window(asked)
    refuse_unasked(subject)
    with tab.house.models.running:
        heads, mlps = all_ablations(subject, windows)
    return {"heads": heads, "mlps": mlps}


def refuse_unasked(subject: Any) -> None:
    """Refuse a model that answers no question about a window."""
    if subject.answers != "last token":
        legal = f"{subject.kind}-af"
        name = subject.origin.checkpoint
        raise Refusal(f"{name} has no task head that gives one answer for a window ({subject.answers}); choose {legal}")


def summary(tab: Tab, asked: dict[str, Any]) -> Any:
    """What `heartlens what_if` stores of the same window and edits."""
    from heartlens.tasks.what_if import summary_of

    made, windows = result(tab, asked, shams=True), tab.window(asked)
    stored = summary_of(made, windows, stack_of(asked), tab.shown_name(tab.strip.name))
    return stored.assign_attrs(stored.attrs | {"checkpoint": tab.subject(asked).origin.checkpoint})


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure of `heartlens what_if`."""
    from heartlens.tasks.what_if import plot

    return figure_file(asked, "what_if", lambda: plot(summary(tab, asked)))


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table of `heartlens what_if`, the answers to all edits together in its first rows."""
    from heartlens.tasks.what_if import COLUMNS, rows_of

    made = summary(tab, asked)
    together = [(name, f"{made.attrs[f'logit_{key}']:.8g}", "", "", "") for name, key in (("none", "before"), ("all", "after"))]
    sham = made.attrs["logit_sham"]
    together.append(("sham of all", "", f"{sham:.8g}" if np.isfinite(sham) else "", "", ""))
    return table_file("what_if", list(COLUMNS), [*together, *rows_of(made)])


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python and the command that give the numbers on the screen."""
    start_s, model, stack = float(tab.window(asked).start_s[0]), str(asked["model"]), stack_of(asked)
    lines = (
        "from heartlens.models.what_if import what_if\n\n"
        f"answer = what_if(subject, windows, {stack!r})\nprint(answer.before, answer.after, answer.sham)  # logits"
    )
    if not stack:
        return {
            "python": written.python(tab, model, start_s, lines),
            "command": written.command(tab, "classify", model, "--no-page"),
        }
    command = written.command(tab, "what_if", model, "--at", repr(start_s), "--edits", ",".join(stack))
    return {"python": written.python(tab, model, start_s, lines), "command": command}


VIEW = View(
    "Arrhythmia & what if",
    "What the model says of this window and over the recording, and what it would say if one thing were otherwise.",
    {
        "chances": chances,
        "shift": shift,
        "beats": beats,
        "answer": answer,
        "shams": shams,
        "ablations": ablations,
        "labels": calibration.labels,
        "calibrate": calibration.begin,
        "calibrated": calibration.look,
        "stop_calibration": calibration.cancel,
        "figure": figure,
        "data": data,
        "code": code,
    },
)
