"""What a fine-tuned head of one's own says of recordings: numbers in their units, several labels, several classes, windows of any length.

The model card tells what the head answers (`heartlens finetune` writes it). A recording's number is the mean over its windows, a person's
that over all their windows. Intervals of numbers are those that cross-validation measured on persons never seen (`training/numbers.py`);
they hold for recordings like those that were learnt from. A recording's label is yes from the card's threshold on. Not a medical device.
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Float64

from heartlens.axes import KINDS
from heartlens.checkpoints.head import Head
from heartlens.findings import Findings
from heartlens.parts import edited
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import Made, Task, first_lines
from heartlens.tasks.recordings import Prepared, files_of, inventory_of_recordings, recordings_of
from heartlens.training.tasks import answer

AT_ONCE = 64  # windows
MOST_ROWS, MOST_SAID = 500, 20  # recordings in a report, and on the terminal
WINDOW, RECORD, PERSON = "window", "record", "person"
RELATIVE = "sd"  # the unit of numbers that were learnt within recordings


@dataclass(frozen=True)
class Estimated:
    """What is said of one recording: `value` (row, answer) at `time_s`, of windows their starts; or why nothing is (`reason`)."""

    name: str
    person: str
    time_s: Float64[np.ndarray, " row"]
    value: Float64[np.ndarray, "row answer"]
    reason: str = ""


def head_of_subject(subject: Any) -> Head:
    """The head of a model. Refuses a model whose card does not tell of one."""
    head: Head | None = subject.head
    if head is None:
        raise Refusal(
            f"{subject.origin.checkpoint} has no model card that tells what its head answers; give a model that `heartlens finetune` made, "
            "or apply published ones with `heartlens classify` (ecg-af, ppg-af) and `heartlens beats` (ppg-beat)"
        )
    return head


def estimated(subject: Any, prepared: Prepared, stride: int, every_s: float = 1.0) -> Estimated:
    """The head's answer for every window of a recording, one every `stride` samples at the model's rate.

    Of a head that reads every token: at every `every_s` seconds, the mean over the windows that hold that token.
    """
    head, rate_hz = head_of_subject(subject), KINDS[subject.kind].rate_hz
    times, values = [np.empty(0)], [np.empty((0, head.n_outputs))]
    for signal, start_s in prepared.stretches:
        starts = np.arange(0, len(signal) - head.n_tokens + 1, stride)
        starts = starts[[np.ptp(signal[start : start + head.n_tokens]) > 0 for start in starts]]
        if not len(starts):
            continue
        if head.reads == "last":
            times.append(start_s + starts / rate_hz)
            values.append(np.concatenate([part[:, 0] for _, part in _answers(subject, head, signal, starts)]))
            continue
        total, n_windows = np.zeros((len(signal), head.n_outputs)), np.zeros(len(signal))
        for some, part in _answers(subject, head, signal, starts):
            for start, window in zip(some.tolist(), part, strict=True):
                total[start : start + head.n_tokens] += window
                n_windows[start : start + head.n_tokens] += 1
        token = np.unique(np.round(np.arange(0, len(signal) / rate_hz, every_s) * rate_hz).astype(int))
        token = token[(token < len(signal)) & (n_windows[np.minimum(token, len(signal) - 1)] > 0)]
        times.append(start_s + token / rate_hz)
        values.append(total[token] / n_windows[token, None])
    time_s, value = np.concatenate(times), np.concatenate(values)
    return Estimated(prepared.name, prepared.person, time_s, value, "" if len(time_s) else prepared.reason or "every window is flat")


def _answers(
    subject: Any, head: Head, signal: Float[np.ndarray, " sample"], starts: np.ndarray
) -> Iterator[tuple[np.ndarray, Float64[np.ndarray, "window target answer"]]]:
    for first in range(0, len(starts), AT_ONCE):
        some = starts[first : first + AT_ONCE]
        windows = np.stack([signal[start : start + head.n_tokens] for start in some])
        with torch.inference_mode():
            x = subject.engine.embed(subject.tokens(tokenised(windows)))
            if head.reads == "last":
                x = subject.engine.last_token(subject.engine.run_blocks(x, 0, subject.sizes.n_layers - 1))
            else:
                x = subject.engine.run_blocks(x, 0)
            yield some, answer(subject.engine.outputs(x), head.answers).double().cpu().numpy()


def columns_of(head: Head) -> tuple[str, ...]:
    """A column for each answer: a number with its unit, or the probability of a label or class."""
    if head.answers == "numbers":
        return head.columns
    names = head.names[1:] if head.n_outputs < len(head.names) else head.names
    return tuple(f"probability_{name}" for name in names)


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("windows")
    group.add_argument("--stride", type=int, metavar="N", help="samples between the starts of windows (default: a window's length)")
    between = "seconds between lines, where the head reads every token (default: 1)"
    group.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help=between)


def made(given: Namespace, subject: Any) -> Made:
    """What the head says of all recordings, one recording after the other."""
    if given.stride is not None and not given.stride >= 1:
        raise Refusal(f"--stride is {given.stride}; it must be at least 1")
    if not 0.02 <= given.every <= 3600:
        raise Refusal(f"--every is {given.every:g} s; legal: 0.02 to 3600")
    head, kind, card = head_of_subject(subject), subject.kind, subject.card
    files = files_of(given, kind)
    files = replace(files, bandpass=files.bandpass or head.bandpass)
    answers, recordings = [], []
    for prepared in recordings_of(files, kind, given.keep_names, head.n_tokens):
        answers.append(estimated(subject, prepared, given.stride or head.n_tokens, given.every))
        recordings.append(prepared.bare)
    if all(each.reason for each in answers):
        raise Refusal(f"no recording could be used: {answers[0].name}: {answers[0].reason}")
    lines = [f"{each.name}: not used: {each.reason}" for each in answers if each.reason]
    summary = _summary(answers, head, card)
    read = inventory_of_recordings(recordings, kind, summary.sizes["row"])
    return Made(summary, read, tables(answers, head, card), {}, (about(head, card), *first_lines(lines, "records.csv")), len(lines))


def _summary(answers: list[Estimated], head: Head, card: Mapping[str, Any]) -> xr.Dataset:
    """Every window (or time), and every recording's mean with its interval as the card tells it (NaN where it tells none)."""
    mean = np.array([np.full(head.n_outputs, np.nan) if each.reason else each.value.mean(axis=0) for each in answers])
    widths = [_half_width(card, place, RECORD) if head.answers == "numbers" else None for place in range(head.n_outputs)]
    half = np.array([np.nan if width is None else width for width in widths])
    return xr.Dataset(
        {
            "estimate": (("record", "answer"), mean),
            "estimate_low": (("record", "answer"), mean - half),
            "estimate_high": (("record", "answer"), mean + half),
            "person": (("record",), np.array([each.person for each in answers], np.str_)),
            "reason": (("record",), np.array([each.reason for each in answers], np.str_)),
            "value": (("row", "answer"), np.concatenate([each.value for each in answers])),
            "time_s": (("row",), np.concatenate([each.time_s for each in answers])),
            "record_index": (("row",), np.repeat(np.arange(len(answers)), [len(each.time_s) for each in answers])),
        },
        coords={"record": [each.name for each in answers], "answer": list(columns_of(head))},
        attrs={
            "n_records": sum(not each.reason for each in answers),
            "n_windows": sum(len(each.time_s) for each in answers),
            "about": about(head, card),
            "is_relative": int(RELATIVE in head.units),
        },
    )


def plot(summary: xr.Dataset) -> Any:
    """Of one recording the answers over time; of several the mean of each with its interval. A panel for each answer."""
    from heartlens import figures

    used = np.flatnonzero(summary["reason"].values.astype(str) == "")
    is_over_time = len(used) == 1 or bool(summary.attrs["is_relative"])
    with figures.style():
        page = figures.page(figures.PAGE_MM, 25 + (45 if is_over_time else min(20 + 4.2 * len(used), 150)) * summary.sizes["answer"])
        for number, axes in enumerate(page.subplots(summary.sizes["answer"], 1, squeeze=False)[:, 0]):
            answer = summary.isel(answer=number)
            if is_over_time:
                for index in used:
                    rows = summary["record_index"].values == index
                    axes.plot(summary["time_s"].values[rows], answer["value"].values[rows], linewidth=0.8)
                axes.set(xlabel="time (s)", ylabel=str(answer["answer"].item()))
            else:
                value, low, high = (answer[name].values[used] for name in ("estimate", "estimate_low", "estimate_high"))
                figures.by_recording(axes, list(map(str, summary["record"].values[used])), value, low, high)
                axes.set_xlabel(f"{answer['answer'].item()} (mean of the recording)")
        page.suptitle(f"{summary.attrs['checkpoint']}{edited(summary.attrs)} · {NOT_MEDICAL}", fontsize=7, x=0.01, ha="left")
    return page


def findings(summary: xr.Dataset) -> Findings:
    """What is said of each recording."""
    is_used = summary["reason"].values.astype(str) == ""
    rows = []
    for index in range(min(summary.sizes["record"], MOST_ROWS)):
        record = summary.isel(record=index)
        low, value, high = (record[name].values for name in ("estimate_low", "estimate", "estimate_high"))
        cells = [
            f"{middle:.4g}" + (f" ({bottom:.4g} to {top:.4g})" if np.isfinite(bottom) else "")
            for bottom, middle, top in zip(low, value, high, strict=True)
        ]
        rows.append(
            (
                str(record["record"].item()),
                str(record["person"].item()),
                *(cells if is_used[index] else [""] * len(cells)),
                str(record["reason"].item()),
            )
        )
    columns = ("record", "person", *map(str, summary["answer"].values), "not used because")
    verdict = [f"{int(is_used.sum())} of {summary.sizes['record']} recordings, {summary.sizes['row']} windows or times."]
    if not summary.attrs["is_relative"]:
        verdict += [
            f"{row[0]}: {', '.join(f'{name} {cell}' for name, cell in zip(columns[2:-1], row[2:-1], strict=True))}"
            for row in rows[:MOST_SAID]
            if not row[-1]
        ]
    methods = ("A recording's answer is the mean over its windows (or times); docs/training.md tells how.",)
    return Findings(
        "What a fine-tuned head says of recordings",
        "What does the head say of each recording?",
        tuple(verdict),
        columns,
        tuple(rows),
        (str(summary.attrs["about"]), NOT_MEDICAL),
        methods,
    )


def tables(answers: list[Estimated], head: Head, card: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of windows (or times), recordings and persons (where any is known)."""
    time = ("windows.csv", "start_s") if head.reads == "last" else ("times.csv", "time_s")
    rows = [
        (each.name, each.person, f"{time_s:.3f}", *_cells(value, head, card, WINDOW))
        for each in answers
        for time_s, value in zip(each.time_s, each.value, strict=True)
    ]
    written: dict[str, Any] = {time[0]: (("record", "person", time[1], *_header(head, WINDOW)), rows)}
    if RELATIVE in head.units:
        return written
    n_cells = len(_header(head, RECORD))
    records = [
        (
            each.name,
            each.person,
            len(each.time_s),
            *([""] * n_cells if each.reason else _cells(each.value.mean(axis=0), head, card, RECORD)),
            each.reason,
        )
        for each in answers
    ]
    written["records.csv"] = (("record", "person", "n_windows", *_header(head, RECORD), "reason"), records)
    own: dict[str, list[Estimated]] = {}
    for each in answers:
        if each.person and not each.reason:
            own.setdefault(each.person, []).append(each)
    if own:
        persons = [
            (person, len(theirs), *_cells(np.concatenate([each.value for each in theirs]).mean(axis=0), head, card, PERSON))
            for person, theirs in own.items()
        ]
        written["persons.csv"] = (("person", "n_records", *_header(head, PERSON)), persons)
    return written


def about(head: Head, card: Mapping[str, Any]) -> str:
    """What the numbers of a table mean, in a line."""
    if head.answers != "numbers":
        return "probabilities are the head's own; a label or class is that of the card's threshold, or the most probable one"
    if RELATIVE in head.units:
        return "in standard deviations of the recording about its own mean: only changes within a recording mean anything"
    if _half_width(card, 0, RECORD) is None:
        return "no intervals: there were too few persons to learn from, see the model's report"
    coverage = card["intervals"]["coverage"]
    return (
        f"_low to _high: {coverage:.0%} intervals for persons never seen, as measured when the model was trained, on recordings like those"
    )


def _header(head: Head, of: str) -> tuple[str, ...]:
    if head.answers == "numbers":
        return tuple(f"{column}{end}" for column in columns_of(head) for end in ("", "_low", "_high"))
    decided = () if of == WINDOW else head.names if head.answers == "labels" else ("class",)
    return (*columns_of(head), *decided)


def _cells(value: Float64[np.ndarray, " answer"], head: Head, card: Mapping[str, Any], of: str) -> list[str]:
    if head.answers == "numbers":
        cells = []
        for place, number in enumerate(value.tolist()):
            width = _half_width(card, place, of)
            cells += [f"{number:.6g}", *(("", "") if width is None else (f"{number - width:.6g}", f"{number + width:.6g}"))]
        return cells
    cells = [f"{probability:.5f}" for probability in value]
    if of == WINDOW:
        return cells
    if head.answers == "labels":
        thresholds = card.get("thresholds", {})
        decided = [
            "" if name not in thresholds else "yes" if each >= thresholds[name] else "no"
            for name, each in zip(head.names, value, strict=True)
        ]
        return cells + decided
    threshold = card.get("threshold")
    if head.n_outputs > 1:
        return [*cells, head.names[int(np.argmax(value))]]
    return [*cells, "" if threshold is None else head.names[int(value[0] >= threshold)]]


def _half_width(card: Mapping[str, Any], place: int, of: str) -> float | None:
    """The half-width of a number's interval as the card tells it; None where it tells none."""
    try:
        width = card["intervals"]["half_width"][place][of]
    except (KeyError, IndexError, TypeError):
        return None
    return None if width is None else float(width)


TASK = Task("estimate", __doc__, "a model that heartlens finetune made (its model.safetensors)", add_arguments, made, plot, findings)
run_command = TASK.run_command


if __name__ == "__main__":
    TASK.main()
