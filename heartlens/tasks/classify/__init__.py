"""How probable is atrial fibrillation (or what else a task head was trained for): of every window, recording and person.

A window's probability is the task head's; a recording's is the mean over its windows, a person's the mean over all their windows. Intervals
(95 %) are over windows, so they tell how far the windows agree, not how well the detector works for other persons. A class needs a
threshold: the checkpoint's card has one, or labelled recordings choose one (largest Youden index); 0.5 is none for the published models.
Labelled recordings also show the calibration: of those with about this probability, how many have the condition.
Of one recording the page also shows what moves the logit there (`moved.py`).
"""

from argparse import BooleanOptionalAction, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float64, UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.inference.intervals import mean_interval
from heartlens.measures import detection
from heartlens.parser import Listed
from heartlens.privacy import names_of
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.tasks.classify.page import class_of, findings, plot
from heartlens.tasks.command import Made, Task, first_lines
from heartlens.tasks.recordings import Prepared, files_of, inventory_of_recordings, recordings_of
from heartlens.training.labels import RecordLabels, read_record_labels

AT_ONCE = 64  # windows
WINDOW_COLUMNS = ("record", "person", "start_s", "logit", "probability")
COLUMNS = ("n_windows", "probability", "low", "high", "class", "reason")
DRAWN_S = 60.0  # of one recording


@dataclass(frozen=True)
class Classified:
    """The windows of one recording: their starts in seconds and the task head's logits; or why there are none (`reason`)."""

    name: str
    person: str
    start_s: Float64[np.ndarray, " window"]
    logit: Float64[np.ndarray, " window"]
    reason: str = ""

    @property
    def probability(self) -> Float64[np.ndarray, " window"]:
        """The probability of each window."""
        return 1 / (1 + np.exp(-self.logit))


@dataclass(frozen=True)
class Threshold:
    """From which probability a recording has the condition (None: no class is given), and where that comes from.

    `calibration` is that of the labelled recordings that chose it.
    """

    value: float | None
    source: str
    calibration: detection.Reliability | None = None


def classified(subject: Any, prepared: Prepared, stride: int = CONTEXT) -> Classified:
    """The task head's answer for every window of a recording, one every `stride` samples. Refuses a model of another task."""
    if subject.answers != "last token":
        raise Refusal(f"{subject.origin.checkpoint} has no task head that gives one answer for a window; give one that has, say ecg-af")
    starts, tokens = windows_of(prepared, stride, KINDS[subject.kind].rate_hz)
    if not len(tokens):
        return Classified(prepared.name, prepared.person, np.empty(0), np.empty(0), prepared.reason or "every window is flat")
    return Classified(prepared.name, prepared.person, starts, logits_of(subject, tokens))


def windows_of(prepared: Prepared, stride: int, rate_hz: float) -> tuple[Float64[np.ndarray, " window"], UInt8[np.ndarray, "window time"]]:
    """The start (s) and the tokens of every window of a recording that is not flat, one every `stride` samples."""
    starts, tokens = [np.empty(0)], [np.empty((0, CONTEXT), np.uint8)]
    for signal, start_s in prepared.stretches:
        windows = np.lib.stride_tricks.sliding_window_view(signal, CONTEXT)[::stride]
        is_live = np.ptp(windows, axis=1) > 0
        starts.append(start_s + np.flatnonzero(is_live) * stride / rate_hz)
        tokens.append(tokenised(windows[is_live]))
    return np.concatenate(starts), np.concatenate(tokens)


def logits_of(subject: Any, tokens: UInt8[np.ndarray, "window time"]) -> Float64[np.ndarray, " window"]:
    """The task head's logit at the last token of every window."""
    logits = []
    with torch.inference_mode():
        for first in range(0, len(tokens), AT_ONCE):
            x = subject.engine.embed(subject.tokens(tokens[first : first + AT_ONCE]))
            last = subject.engine.last_token(subject.engine.run_blocks(x, 0, subject.sizes.n_layers - 1))
            logits.append(subject.engine.outputs(last)[:, 0, 0].double().cpu().numpy())
    return np.concatenate(logits)


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("windows and classes")
    group.add_argument(
        "--stride", type=int, default=CONTEXT, metavar="N", help=f"samples between the starts of windows (default: {CONTEXT})"
    )
    group.add_argument("--threshold", type=float, metavar="P", help="probability from which a recording has the condition")
    group.add_argument("--labels", type=Path, metavar="TABLE", help="a CSV of record,label that chooses the threshold, with --classes")
    group.add_argument("--classes", type=Listed(), metavar="NO,YES", help="the two labels of the table, say N,A")
    unused = "records with these labels are not used to choose the threshold"
    group.add_argument("--leave-out", type=Listed(), default=[], metavar="LABEL,...", help=unused)
    group.add_argument(
        "--page", action=BooleanOptionalAction, default=None, help="show what moves the logit of the recording (default: of a single one)"
    )


def made(given: Namespace, subject: Any) -> Made:
    """Probabilities of all recordings, one recording after the other."""
    from heartlens.engine.workers import on_chunks, workers_for

    _refuse_contradictions(given)
    kind = subject.kind
    files = files_of(given, kind)
    if given.page and len(files.names()) != 1:
        raise Refusal(f"--page shows one recording; {len(files.names())} are given")
    if given.labels:  # what cannot be used is refused before anything is classified
        _labels(given, [names_of(files, given.keep_names).record(name) for name in files.names()], {})
    answers, recordings, last_used = [], [], None
    with_answers = on_chunks(
        lambda prepared: (prepared, classified(subject, prepared, given.stride)),
        recordings_of(files, kind, given.keep_names),  # read while those before are classified
        workers_for(subject.engine),
    )
    for prepared, answer in with_answers:
        answers.append(answer)
        recordings.append(prepared.bare)
        last_used = prepared
    used = [answer for answer in answers if not answer.reason]
    if not used:
        raise Refusal(f"no recording could be used: {answers[0].name}: {answers[0].reason}")
    threshold = _threshold(given, subject, used, {each.name: each.copy_of for each in recordings if each.copy_of})
    summary = _summary(answers, threshold, subject.origin.task or "")
    if last_used is not None and len(answers) == 1 and given.page is not False:
        from heartlens.tasks.classify.moved import moved

        _, tokens = windows_of(last_used, given.stride, KINDS[kind].rate_hz)
        page = moved(subject, files, files.names()[0], tokens, lambda numbers: logits_of(subject, numbers))
        page.attrs["not_changed"] = names_of(files, given.keep_names).text(page.attrs["not_changed"])
        summary = xr.merge([summary, page, _excerpt(last_used, answers[0], kind)], join="exact", combine_attrs="no_conflicts")
    lines = [f"{answer.name}: not used: {answer.reason}" for answer in answers if answer.reason]
    read = inventory_of_recordings(recordings, kind, int(summary.attrs["n_windows"]))
    return Made(summary, read, tables(answers, threshold.value), {}, first_lines(lines, "records.csv"), len(lines))


def _refuse_contradictions(given: Namespace) -> None:
    if not given.stride >= 1:
        raise Refusal(f"--stride is {given.stride}; it must be at least 1")
    if bool(given.labels) != bool(given.classes):
        raise Refusal("--labels and --classes belong together: the table, and its two labels, say --classes N,A")
    if given.classes and len(set(given.classes)) != 2:
        raise Refusal(f"--classes is {','.join(given.classes)}; give two labels, without and with the condition, say --classes N,A")
    if given.threshold is not None and not 0 <= given.threshold <= 1:
        raise Refusal(f"--threshold is {given.threshold:g}; a probability from 0 to 1 is legal")
    if given.threshold is not None and given.labels:
        raise Refusal("--threshold and --labels exclude each other: labels choose the threshold")


def _summary(answers: list[Classified], threshold: Threshold, task: str) -> xr.Dataset:
    """Every window, and every recording with its interval."""
    used = [answer for answer in answers if not answer.reason]
    ends = np.array([mean_interval(answer.probability) if not answer.reason else (np.nan, np.nan) for answer in answers], float)
    n_persons = len({answer.person for answer in used if answer.person})
    curve: dict[str, Any] = {}
    if threshold.calibration is not None:
        curve["calibration"] = (("part", "bin"), np.stack(astuple(threshold.calibration)))
    return xr.Dataset(
        curve
        | {
            "probability": (("record",), np.array([answer.probability.mean() if not answer.reason else np.nan for answer in answers])),
            "probability_low": (("record",), ends[:, 0].clip(0, 1)),
            "probability_high": (("record",), ends[:, 1].clip(0, 1)),
            "n_windows": (("record",), np.array([len(answer.logit) for answer in answers])),
            "person": (("record",), np.array([answer.person for answer in answers], np.str_)),
            "reason": (("record",), np.array([answer.reason for answer in answers], np.str_)),
            "logit": (("window",), np.concatenate([answer.logit for answer in answers])),
            "start_s": (("window",), np.concatenate([answer.start_s for answer in answers])),
            "record_index": (("window",), np.repeat(np.arange(len(answers)), [len(answer.logit) for answer in answers])),
        },
        coords={"record": [answer.name for answer in answers]} | ({"part": ["predicted", "observed", "count"]} if curve else {}),
        attrs={
            "threshold": np.nan if threshold.value is None else threshold.value,
            "threshold_source": threshold.source,
            "question": task,
            "n_records": len(used),
            "n_persons": n_persons,
            "n_windows": sum(len(answer.logit) for answer in used),
        },
    )


def _excerpt(prepared: Prepared, answer: Classified, kind: str) -> xr.Dataset:
    """The signal that is drawn: the recording, of a long one DRAWN_S around the most probable window; NaN in gaps."""
    rate_hz = KINDS[kind].rate_hz
    begin_s, end_s = 0.0, prepared.duration_s
    if end_s > DRAWN_S:
        middle_s = float(answer.start_s[np.argmax(answer.logit)]) + CONTEXT / rate_hz / 2
        begin_s = min(max(middle_s - DRAWN_S / 2, 0.0), end_s - DRAWN_S)
        end_s = begin_s + DRAWN_S
    drawn = np.full(round((end_s - begin_s) * rate_hz), np.nan)
    for signal, start_s in prepared.stretches:
        first = round((start_s - begin_s) * rate_hz)
        place, own = max(first, 0), max(-first, 0)
        part = signal[own : own + max(len(drawn) - place, 0)]
        drawn[place : place + len(part)] = part
    return xr.Dataset({"signal": (("sample",), drawn)}, attrs={"signal_start_s": begin_s, "signal_rate_hz": rate_hz, "unit": prepared.unit})


def tables(answers: list[Classified], threshold: float | None) -> dict[str, Any]:
    """The tables of windows, recordings and persons (where any is known)."""
    windows = [
        (answer.name, answer.person, f"{start_s:.3f}", f"{logit:.5f}", f"{probability:.6f}")
        for answer in answers
        for start_s, logit, probability in zip(answer.start_s, answer.logit, answer.probability, strict=True)
    ]
    records = [(answer.name, answer.person, *_row(answer.probability, threshold, answer.reason)) for answer in answers]
    own: dict[str, list[Classified]] = {}
    for answer in answers:
        if answer.person and not answer.reason:
            own.setdefault(answer.person, []).append(answer)
    persons = [
        (person, len(theirs), *_row(np.concatenate([each.probability for each in theirs]), threshold, "")) for person, theirs in own.items()
    ]
    by_name = {"records.csv": (("record", "person", *COLUMNS), records), "windows.csv": (WINDOW_COLUMNS, windows)}
    return by_name | ({"persons.csv": (("person", "n_records", *COLUMNS), persons)} if persons else {})


def _row(probability: Float64[np.ndarray, " window"], threshold: float | None, reason: str) -> tuple[Any, ...]:
    if reason:
        return 0, "", "", "", "", reason
    mean = float(probability.mean())
    low, high = (f"{min(max(float(end), 0), 1):.6f}" if np.isfinite(end) else "" for end in mean_interval(probability))
    return len(probability), f"{mean:.6f}", low, high, class_of(mean, threshold), ""


def _labels(given: Any, names: list[str], copies: Mapping[str, str]) -> RecordLabels:
    return read_record_labels(given.labels, names, tuple(given.classes), tuple(given.leave_out), partial=True, copies=copies)


def _threshold(given: Any, subject: Any, used: list[Classified], copies: Mapping[str, str]) -> Threshold:
    """The threshold, where it comes from, and how well it does on the recordings that chose it; `copies` are names of copies of them."""
    if given.threshold is not None:
        return Threshold(given.threshold, f"threshold {given.threshold:g}, as given")
    if given.labels:
        names = {answer.name for answer in used}
        labels = _labels(given, sorted(names), {copy: first for copy, first in copies.items() if first in names})
        chosen = chosen_on(used, labels.of)
        return replace(chosen, source="; ".join((chosen.source, *labels.notes)))
    of_card = subject.card.get("threshold")
    if of_card is not None:
        return Threshold(float(of_card), f"threshold {of_card:g}, of the checkpoint's card")
    return Threshold(
        None, "no threshold, so no class, and the probabilities are not calibrated: give --labels with --classes, or --threshold"
    )


def chosen_on(answers: Sequence[Classified], label_of: Mapping[str, int]) -> Threshold:
    """The threshold that labelled recordings choose (label 1: with the condition), how well it does on them, and their calibration."""
    chosen = [answer for answer in answers if answer.name in label_of]
    score = np.array([answer.probability.mean() for answer in chosen])
    positive = np.array([label_of[answer.name] == 1 for answer in chosen])
    threshold = detection.best_threshold(score, positive)
    rates = detection.rates(score, positive, threshold)
    persons = {answer.person for answer in chosen}
    of_persons = f" of {len(persons)} persons" if "" not in persons else ""
    return Threshold(
        threshold,
        f"threshold {threshold:.4f}, chosen on {len(chosen)} labelled recordings{of_persons} (largest Youden index): "
        f"AUC {detection.auc(score, positive):.3f}; on these same recordings sensitivity {rates.sensitivity:.2f}, "
        f"specificity {rates.specificity:.2f}, Brier score {detection.brier(score, positive):.3f}, expected calibration error "
        f"{detection.expected_calibration_error(score, positive):.3f}; other recordings fare worse",
        detection.reliability(score, positive),
    )


TASK = Task("classify", __doc__, "a model with a task head: ecg-af, ppg-af, or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command
