"""How probable is atrial fibrillation (or what else a task head was trained for): of every window, recording and person.

A window's probability is the task head's; a recording's is the mean over its windows, a person's the mean over all their windows. Intervals
(95 %) are over windows, so they tell how far the windows agree, not how well the detector works for other persons. A class needs a
threshold: the checkpoint's card has one, or labelled recordings choose one (largest Youden index); 0.5 is none for the published models.
Not a medical device.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from heartlens.axes import CONTEXT, KINDS
from heartlens.exits import DONE, PARTIAL, exit_code
from heartlens.inference.intervals import mean_interval
from heartlens.measures import detection
from heartlens.parser import Listed, Parser
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import add_output, opened_subject, write_tables
from heartlens.tasks.recordings import Prepared, add_recordings, files_of, recordings_of
from heartlens.training.labels import read_record_labels

AT_ONCE = 64  # windows
WINDOW_COLUMNS = ("record", "person", "start_s", "logit", "probability")
COLUMNS = ("n_windows", "probability", "low", "high", "class", "reason")


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


def classified(subject: Any, prepared: Prepared, stride: int = CONTEXT) -> Classified:
    """The task head's answer for every window of a recording, one every `stride` samples. Refuses a model of another task."""
    if subject.answers != "last token":
        raise Refusal(f"{subject.origin.checkpoint} has no head for a question about a window; give one that has, say ecg-af")
    rate_hz, starts, logits = KINDS[subject.kind].rate_hz, [], []
    for signal, start_s in prepared.stretches:
        windows = np.lib.stride_tricks.sliding_window_view(signal, CONTEXT)[::stride]
        is_live = np.ptp(windows, axis=1) > 0
        starts.append(start_s + np.flatnonzero(is_live) * stride / rate_hz)
        logits += [_logits(subject, windows[is_live][first : first + AT_ONCE]) for first in range(0, int(is_live.sum()), AT_ONCE)]
    if not logits:
        return Classified(prepared.name, prepared.person, np.empty(0), np.empty(0), prepared.reason or "every window is flat")
    return Classified(prepared.name, prepared.person, np.concatenate(starts), np.concatenate(logits))


def _logits(subject: Any, windows: np.ndarray) -> Float64[np.ndarray, " window"]:
    with torch.inference_mode():
        x = subject.engine.embed(subject.tokens(tokenised(windows)))
        last = subject.engine.last_token(subject.engine.run_blocks(x, 0, subject.sizes.n_layers - 1))
        return np.asarray(subject.engine.outputs(last)[:, 0, 0].double().cpu().numpy())


def main() -> None:
    """Classify the recordings of the command line and leave with the exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens classify", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="a model with a task head: ecg-af, ppg-af, or one's own file")
    add_recordings(parser)
    parser.add_argument(
        "--stride", type=int, default=CONTEXT, metavar="N", help=f"samples between the starts of windows (default: {CONTEXT})"
    )
    parser.add_argument("--threshold", type=float, metavar="P", help="probability from which a recording has the condition")
    parser.add_argument("--labels", type=Path, metavar="TABLE", help="a CSV of record,label that chooses the threshold, with --classes")
    parser.add_argument("--classes", type=Listed(), metavar="NO,YES", help="the two labels of the table, say N,A")
    parser.add_argument("--leave-out", type=Listed(), default=[], metavar="LABEL,...", help="records with these labels choose nothing")
    add_output(parser)
    given = parser.strict(arguments)
    if not given.stride >= 1:
        raise Refusal(f"--stride is {given.stride}; it must be at least 1")
    if bool(given.labels) != bool(given.classes):
        raise Refusal("--labels and --classes belong together: the table, and its two labels, say --classes N,A")
    if given.classes and len(set(given.classes)) != 2:
        raise Refusal(f"--classes is {','.join(given.classes)}; give two labels, without and with the condition, say --classes N,A")
    subject = opened_subject(given, "classify")
    answers = [
        classified(subject, prepared, given.stride)
        for prepared in recordings_of(files_of(given, subject.kind), subject.kind, given.keep_names)
    ]
    used = [answer for answer in answers if not answer.reason]
    if not used:
        raise Refusal(f"no recording could be used: {answers[0].name}: {answers[0].reason}")
    threshold, why = _threshold(given, subject, used)
    print(why)
    write_tables(given.out, tables(answers, threshold))
    for answer in answers:
        if answer.reason:
            print(f"{answer.name}: not used: {answer.reason}", file=sys.stderr)
    print(f"{len(used)} of {len(answers)} recordings; {subject.origin.checkpoint}; {NOT_MEDICAL}", file=sys.stderr)
    return DONE if len(used) == len(answers) else PARTIAL


def tables(answers: list[Classified], threshold: float | None) -> dict[str, Any]:
    """The tables of windows, recordings and persons (where any is known)."""
    windows = [
        (answer.name, answer.person, f"{start_s:.3f}", f"{logit:.5f}", f"{probability:.5f}")
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
    by_name = {"windows.csv": (WINDOW_COLUMNS, windows), "records.csv": (("record", "person", *COLUMNS), records)}
    return by_name | ({"persons.csv": (("person", "n_records", *COLUMNS), persons)} if persons else {})


def _row(probability: Float64[np.ndarray, " window"], threshold: float | None, reason: str) -> tuple[Any, ...]:
    if reason:
        return 0, "", "", "", "", reason
    mean = float(probability.mean())
    low, high = (f"{min(max(float(end), 0), 1):.5f}" if np.isfinite(end) else "" for end in mean_interval(probability))
    return len(probability), f"{mean:.5f}", low, high, "" if threshold is None else "yes" if mean >= threshold else "no", ""


def _threshold(given: Any, subject: Any, used: list[Classified]) -> tuple[float | None, str]:
    """The threshold and a line that says where it comes from, and how well it does on the recordings that chose it."""
    if given.threshold is not None:
        return given.threshold, f"threshold {given.threshold:g}, as given"
    if given.labels:
        names = [answer.name for answer in used]
        labels = read_record_labels(given.labels, names, tuple(given.classes), tuple(given.leave_out), partial=True)
        chosen = [answer for answer in used if answer.name in labels.of]
        score = np.array([answer.probability.mean() for answer in chosen])
        positive = np.array([labels.of[answer.name] == 1 for answer in chosen])
        threshold = detection.best_threshold(score, positive)
        rates = detection.rates(score, positive, threshold)
        n_persons = len({answer.person or answer.name for answer in chosen})
        return threshold, (
            f"threshold {threshold:.4f}, chosen on {len(chosen)} labelled recordings of {n_persons} persons (largest Youden index): "
            f"AUC {detection.auc(score, positive):.3f}; on these same recordings sensitivity {rates.sensitivity:.2f}, "
            f"specificity {rates.specificity:.2f}, Brier score {detection.brier(score, positive):.3f}; other recordings fare worse"
        )
    of_card = getattr(subject.model, "card", {}).get("threshold")
    if of_card is not None:
        return float(of_card), f"threshold {of_card:g}, of the checkpoint's card"
    return None, "no threshold, so no class: the checkpoint has none; give --labels with --classes, or --threshold"


if __name__ == "__main__":
    main()
