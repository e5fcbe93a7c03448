"""Where are the beats of a pulse recording of any length, and how sure is the detector of each?

The published procedure (HeartGPT, `PPG_beat_detect`): windows of 500 tokens every 100, each tokenised by itself, the last ones filled up
with zeros; the probability of a token is the mean over the windows that hold it; beats are its local maxima (`measures.beat_matching`).
Bands of confidence as published: low below 0.2051, high from 0.4598. Not a medical device.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int

from heartlens.axes import CONTEXT, KINDS
from heartlens.exits import DONE, PARTIAL, exit_code
from heartlens.measures.beat_matching import beats_of
from heartlens.parser import Parser
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import add_output, opened_subject, write_tables
from heartlens.tasks.recordings import Prepared, add_recordings, files_of, recordings_of

STEP = 100  # tokens between the starts of windows
AT_ONCE = 64  # windows
LOW, HIGH = 0.2051, 0.4598  # bounds of the bands
BANDS = ("low", "medium", "high")
COLUMNS = ("record", "person", "time_s", "confidence", "band", "interval_s", "reason")


@dataclass(frozen=True)
class Beats:
    """Beats of one recording: times in seconds from its start, confidences (0 to 1), and the probability of every token."""

    time_s: Float[np.ndarray, " beat"]
    confidence: Float[np.ndarray, " beat"]
    interval_s: Float[np.ndarray, " beat"]  # since the beat before; NaN of the first of a stretch
    probability: tuple[Float64[np.ndarray, " _"], ...]  # of each usable stretch

    @property
    def band(self) -> list[str]:
        """low, medium or high, for each beat."""
        return [BANDS[int(np.searchsorted((LOW, HIGH), value, side="right"))] for value in self.confidence]


def likelihood(subject: Any, signal: Float[np.ndarray, " token"]) -> Float64[np.ndarray, " token"]:
    """The probability that each token of a signal at the model's rate is a beat: the mean over overlapping windows, as published."""
    padded = np.concatenate([signal, np.zeros(CONTEXT, signal.dtype)])
    starts = range(0, len(signal), STEP)
    total, n_windows = np.zeros(len(padded)), np.zeros(len(padded))
    for first in range(0, len(starts), AT_ONCE):
        some = starts[first : first + AT_ONCE]
        windows = np.stack([padded[start : start + CONTEXT] for start in some])
        is_live = np.ptp(windows, axis=1) > 0
        probability = probabilities(subject, windows[is_live])
        for start, row in zip(np.array(some)[is_live].tolist(), probability, strict=True):
            total[start : start + CONTEXT] += row
            n_windows[start : start + CONTEXT] += 1
    return (total / np.maximum(n_windows, 1))[: len(signal)]


def probabilities(subject: Any, windows: Float[np.ndarray, "window time"]) -> Float32[np.ndarray, "window time"]:
    """The probability of every token of windows of samples, none of them flat."""
    with torch.inference_mode():
        x = subject.engine.embed(subject.tokens(tokenised(windows)))
        outputs = subject.engine.outputs(subject.engine.run_blocks(x, 0))
    return np.asarray(outputs[..., 0].sigmoid().cpu().numpy())


def beats(subject: Any, prepared: Prepared) -> Beats:
    """The beats of a recording's usable stretches. Refuses a model that finds no beats."""
    if subject.answers != "beat":
        raise Refusal(
            f"{subject.origin.checkpoint} does not find beats (it answers: {subject.answers}); give a beat detector, say ppg-beat"
        )
    rate_hz = KINDS[subject.kind].rate_hz
    times, confidences, intervals, all_probabilities = [], [], [], []
    for signal, start_s in prepared.stretches:
        probability = likelihood(subject, signal)
        token: Int[np.ndarray, " beat"] = beats_of(probability, rate_hz)
        times.append(start_s + token / rate_hz)
        intervals.append(np.diff(token / rate_hz, prepend=np.nan))  # what lies between two stretches is no interval
        confidences.append(probability[token])
        all_probabilities.append(probability)
    return Beats(np.concatenate(times), np.concatenate(confidences), np.concatenate(intervals), tuple(all_probabilities))


def main() -> None:
    """Find the beats of the recordings of the command line and leave with the exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens beats", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="a beat detector: ppg-beat, or one's own file")
    add_recordings(parser)
    parser.add_argument("--annotations", action="store_true", help="also write WFDB annotations (RECORD.beats)")
    parser.add_argument("--mat", action="store_true", help="also write RECORD.mat, as the original program saves it")
    add_output(parser)
    given = parser.strict(arguments)
    subject = opened_subject(given, "beats")
    rows: list[tuple[Any, ...]] = []
    n_unusable = 0
    for prepared in recordings_of(files_of(given, subject.kind), subject.kind, given.keep_names):
        if prepared.reason:
            n_unusable += 1
            rows.append((prepared.name, prepared.person, "", "", "", "", prepared.reason))
            print(f"{prepared.name}: not used: {prepared.reason}", file=sys.stderr)
            continue
        detected = beats(subject, prepared)
        rows += _rows(prepared, detected)
        print(summary_of(prepared, detected))
        _write_forms(given, prepared, detected, KINDS[subject.kind].rate_hz)
    write_tables(given.out, {"beats.csv": (COLUMNS, rows)})
    print(f"{subject.origin.checkpoint}; {NOT_MEDICAL}", file=sys.stderr)
    return PARTIAL if n_unusable else DONE


def summary_of(prepared: Prepared, detected: Beats) -> str:
    """A recording's beats in one line."""
    interval_s = detected.interval_s[np.isfinite(detected.interval_s)]
    bands = ", ".join(f"{detected.band.count(band)} {band}" for band in reversed(BANDS))
    rhythm = f"; median interval {np.median(interval_s):.3f} s ({60 / np.median(interval_s):.0f} per minute)" if len(interval_s) else ""
    mean = f", mean confidence {detected.confidence.mean():.2f}" if len(detected.confidence) else ""
    seen_s = sum(len(probability) for probability in detected.probability) / KINDS["ppg"].rate_hz
    counted = f"{len(detected.time_s)} beats in {seen_s:.0f} of {prepared.duration_s:.0f} s{mean}"
    return f"{prepared.name}: {counted}; confidence of beats: {bands}{rhythm}"


def _rows(prepared: Prepared, detected: Beats) -> list[tuple[Any, ...]]:
    about = (prepared.name, prepared.person)
    each = zip(detected.time_s, detected.confidence, detected.band, detected.interval_s, strict=True)
    return [
        (*about, f"{time_s:.3f}", f"{confidence:.4f}", band, "" if np.isnan(interval_s) else f"{interval_s:.3f}", "")
        for time_s, confidence, band, interval_s in each
    ]


def _write_forms(given: Any, prepared: Prepared, detected: Beats, rate_hz: float) -> None:
    """The further forms that were asked for, named after the record."""
    name = prepared.name.replace("/", "_")
    token = np.round(detected.time_s * rate_hz).astype(int)
    if given.annotations:
        import wfdb

        given.out.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        wfdb.wrann(safe, "beats", token, ["N"] * len(token), fs=rate_hz, write_dir=str(given.out))
    if given.mat:
        from scipy.io import savemat

        given.out.mkdir(parents=True, exist_ok=True)
        savemat(
            given.out / f"{name}.mat",
            {"peaks": token, "heights": detected.confidence, "beat_likelihood": np.concatenate(detected.probability)},
        )


if __name__ == "__main__":
    main()
