"""Calibration on labelled recordings: those that the app was started with, and a table of their labels that the user chooses.

These recordings, named by who started the app, are read in the app's own process; a cancelled calibration ends after one of them.
"""

import shlex
from pathlib import Path
from typing import Any

from heartlens.app.jobs import Tell, begun, job_of
from heartlens.app.tabs import Tab
from heartlens.refusal import Refusal

WAIT_S = 0.3


def labels(tab: Tab, asked: dict[str, Any]) -> Any:
    """The labels of an uploaded table, and how many recordings have each."""
    from heartlens.training.labels import label_counts

    try:
        return {"labels": label_counts(table_of(tab, asked))}
    except Refusal as refusal:
        raise tab.shown_refusal(refusal) from refusal


def begin(tab: Tab, asked: dict[str, Any]) -> Any:
    """Start to ask the model about all labelled recordings; `look` tells how far it is, and the calibration in the end."""
    from heartlens.signals.files import Files
    from heartlens.tasks.classify import chosen_on, classified
    from heartlens.tasks.recordings import recordings_of
    from heartlens.training.labels import label_counts, read_record_labels

    subject, path, classes = tab.house.models.subject(str(asked.get("model", ""))), table_of(tab, asked), classes_of(asked)
    if not tab.house.data:
        raise Refusal("the app was started without recordings, which labels could be of; start it with them: heartlens app recordings/")
    files = Files(tab.house.data, kind=subject.kind)
    try:
        others = tuple(label for label in label_counts(path) if label not in classes)
        label_of = read_record_labels(path, files.names(), classes, others, partial=True).of
    except Refusal as refusal:
        raise tab.shown_refusal(refusal) from refusal
    labelled = files.without(frozenset(name for name in files.names() if name not in label_of))

    def work(tell: Tell) -> Any:
        answers = []
        for place, prepared in enumerate(recordings_of(labelled, str(subject.kind))):
            tell(place / len(label_of), None)
            with tab.house.models.running:
                answers.append(classified(subject, prepared))
        used = [answer for answer in answers if not answer.reason]
        if not used:
            raise Refusal(f"none of the {len(answers)} labelled recordings could be used: {answers[0].name}: {answers[0].reason}")
        return chosen_on(used, label_of)

    words = ["heartlens", "classify", str(asked["model"]), *tab.house.data, "--labels", path.name, "--classes", ",".join(classes)]
    words += ["--leave-out", ",".join(others)] if others else []
    job = begun(tab, "calibration", work)
    return {"job": job.key, "n_records": len(label_of), "command": shlex.join(words)}


def look(tab: Tab, asked: dict[str, Any]) -> Any:
    """How far the work is, and once it is over the calibration and the threshold that the labels choose."""
    job = job_of(tab, "calibration", asked)
    job.wait(WAIT_S)
    job = job_of(tab, "calibration", asked)
    state = {"is_over": job.is_over, "done": job.done, "is_cancelled": bool(job.reason)}
    if job.result is None:
        return state
    curve = job.result.calibration
    shown = {"predicted": curve.predicted, "observed": curve.observed, "count": curve.count}
    return state | shown | {"threshold": job.result.value, "about": job.result.source}


def cancel(tab: Tab, asked: dict[str, Any]) -> Any:
    """Ask no more recordings."""
    job_of(tab, "calibration", asked).cancel()
    return {}


def table_of(tab: Tab, asked: dict[str, Any]) -> Path:
    """The uploaded table of a question. Refuses one that is not there, and several files."""
    upload = asked.get("upload")
    if upload not in tab.uploads:
        raise Refusal("this upload is not there any more; choose the labels again")
    files = sorted((tab.folder / str(upload)).iterdir())
    if len(files) != 1:
        raise Refusal(f"{len(files)} files are given; labels are one table, a CSV of record,label")
    return files[0]


def classes_of(asked: dict[str, Any]) -> tuple[str, str]:
    """The labels without and with the condition."""
    classes = asked.get("classes")
    if not isinstance(classes, list) or len(classes) != 2 or not all(isinstance(each, str) for each in classes) or classes[0] == classes[1]:
        raise Refusal("choose two different labels: one without the condition, and one with it")
    return classes[0], classes[1]
