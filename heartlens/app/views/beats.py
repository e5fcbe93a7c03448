"""The beats of the whole recording, coloured by the detector's confidence, with pulse intervals and overall quality."""

from argparse import Namespace
from typing import Any

import numpy as np

from heartlens.app import code as written
from heartlens.app.jobs import Tell, begun, job_of
from heartlens.app.saving import figure_file, table_file
from heartlens.app.tabs import Tab
from heartlens.app.views import Binary, View
from heartlens.axes import KINDS
from heartlens.refusal import Refusal

WAIT_S = 0.3
DETECTOR = "ppg-beat"


def prepared_of(tab: Tab) -> Any:
    """The recording as the tasks take it."""
    from heartlens.tasks.recordings import Prepared

    strip = tab.recording()
    if strip.kind != "ppg":
        raise Refusal(
            f"beats are found in pulse waves (PPG); {tab.shown_name(strip.name)} is {strip.kind.upper()}: its beats are marked already"
        )
    name = tab.shown_name(strip.name)
    stretches = tuple((each.signal, each.start_s) for each in strip.stretches)
    return Prepared(name, strip.person, stretches, strip.duration_s, strip.notes, "", strip.unit, "", strip.content)


def begin(tab: Tab, asked: dict[str, Any]) -> Any:
    """Start to look for beats; `look` tells what there is."""
    from heartlens.tasks.beats.detect import STEP, beats_in

    prepared, subject = prepared_of(tab), _subject(tab, asked)
    n_windows = sum(len(range(0, len(signal), STEP)) for signal, _ in prepared.stretches)

    def work(tell: Tell) -> Any:
        n_done = 0

        def after(n_more: int) -> None:
            nonlocal n_done
            n_done += n_more
            tell(n_done / n_windows, None)
            tab.house.models.give_way()

        with tab.house.models.running:
            return prepared, beats_in(subject, prepared, after)

    job = begun(tab, "beats", work, (subject.origin.fingerprint, prepared.content, tuple(prepared.stretches[0][0].shape)))
    return {"job": job.key, "model": subject.origin.checkpoint}


def look(tab: Tab, asked: dict[str, Any]) -> Any:
    """How far the work is, and the beats once they are all there."""
    from heartlens.tasks.beats.detect import HIGH, LOW

    job = job_of(tab, "beats", asked)
    job.wait(WAIT_S)
    job = job_of(tab, "beats", asked)
    if job.result is None:
        return {"is_over": job.is_over, "done": job.done, "is_cancelled": bool(job.reason)}
    prepared, beats = job.result
    rate_hz = KINDS["ppg"].rate_hz
    return {
        "is_over": True,
        "done": 1.0,
        "time_s": beats.time_s.round(4),
        "confidence": beats.confidence.round(5),
        "band": beats.band_index,
        "interval_s": beats.interval_s,
        "numbers": beats.numbers(rate_hz, prepared.duration_s),
        "gaps_s": beats.gaps(rate_hz, prepared.duration_s),
        "bounds": [LOW, HIGH],
    }


def cancel(tab: Tab, asked: dict[str, Any]) -> Any:
    """Stop."""
    job_of(tab, "beats", asked).cancel()
    return {}


def detected(tab: Tab, asked: dict[str, Any]) -> Any:
    """The recording and its beats. Refuses work that is not done."""
    job = job_of(tab, "beats", asked)
    if job.result is None:
        raise Refusal("the beats are not all found yet; wait for the end, then save")
    return job.result


def figure(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The figure of `heartlens beats`."""
    from heartlens.tasks.beats import excerpt, summary_of
    from heartlens.tasks.beats.page import cell, plot

    prepared, beats = detected(tab, asked)
    rate_hz = KINDS["ppg"].rate_hz
    gaps = "; ".join(f"{first:.2f}-{last:.2f}" for first, last in beats.gaps(rate_hz, prepared.duration_s))
    row = (prepared.name, prepared.person, *map(cell, beats.numbers(rate_hz, prepared.duration_s).values()), gaps, "")
    by_beat = np.stack([beats.time_s, beats.confidence, beats.interval_s])
    summary = summary_of([prepared], [row], [(0, by_beat)], [excerpt(prepared, 0, rate_hz)])
    return figure_file(asked, "beats", lambda: plot(summary))


def data(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The table of `heartlens beats`."""
    from heartlens.tasks.beats import COLUMNS, rows_of

    prepared, beats = detected(tab, asked)
    return table_file("beats", list(COLUMNS), rows_of((prepared.name, prepared.person), beats))


def annotations(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The beats as WFDB annotations."""
    return _form(tab, asked, annotations=True, mat=False)


def mat(tab: Tab, asked: dict[str, Any]) -> Binary:
    """The published program's arrays as a MATLAB file."""
    return _form(tab, asked, annotations=False, mat=True)


def _form(tab: Tab, asked: dict[str, Any], **wanted: bool) -> Binary:
    from heartlens.tasks.beats import forms

    prepared, beats = detected(tab, asked)
    ((name, content),) = forms(Namespace(**wanted), prepared, beats, KINDS["ppg"].rate_hz).items()
    return Binary(content, "application/octet-stream", name)


def code(tab: Tab, asked: dict[str, Any]) -> Any:
    """The Python and the command that give the beats on the screen."""
    lines = (
        "from heartlens.tasks.beats.detect import beats_in\nfrom heartlens.tasks.recordings import Prepared\n\n"
        "stretches = tuple((each.signal, each.start_s) for each in strip.stretches)\n"
        "beats = beats_in(subject, Prepared(strip.name, stretches=stretches, duration_s=strip.duration_s))\n"
        "print(beats.time_s, beats.confidence, beats.interval_s)"
    )
    model = _name(tab, asked)
    start_s = float(tab.recording().starts_s()[0][0])
    return {"python": written.python(tab, model, start_s, lines), "command": written.command(tab, "beats", model)}


def _name(tab: Tab, asked: dict[str, Any]) -> str:
    """The model that is selected where it finds beats, else the detector."""
    try:
        return str(asked["model"]) if tab.subject(asked).answers == "beat" else DETECTOR
    except Refusal:
        return DETECTOR


def _subject(tab: Tab, asked: dict[str, Any]) -> Any:
    return tab.subject({**asked, "model": _name(tab, asked)})


VIEW = View(
    "Beats",
    "Every pulse of the whole recording, how sure the detector is of each, and the intervals between them.",
    {
        "begin": begin,
        "look": look,
        "cancel": cancel,
        "figure": figure,
        "data": data,
        "annotations": annotations,
        "mat": mat,
        "code": code,
    },
)
