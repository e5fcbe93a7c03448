"""The beats of one recording, by the published procedure, and the recording in numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.measures.beat_matching import beats_of
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.tasks.recordings import Prepared

STEP = 100  # tokens between the starts of windows
AT_ONCE = 32  # windows
LOW, HIGH = 0.2051, 0.4598  # bounds of the bands
BANDS = ("low", "medium", "high")
NUMBERS = (
    "n_beats",
    *(f"n_{band}" for band in BANDS),
    "mean_confidence",
    "used_s",
    "duration_s",
    "n_gaps",
    "median_interval_s",
    "mean_interval_s",
    "sd_interval_s",
    "rmssd_s",
    "pulses_per_minute",
)


@dataclass(frozen=True)
class Beats:
    """Beats of one recording: times in seconds from its start, confidences (0 to 1); of each usable stretch every token's numbers.

    `interval_s` is the time since the beat before, NaN of the first of a stretch. `starts_s` are the stretches' starts, `probability` that
    each token is a beat, `context` its value, the mean over the windows that hold it.
    """

    time_s: Float[np.ndarray, " beat"]
    confidence: Float[np.ndarray, " beat"]
    interval_s: Float[np.ndarray, " beat"]
    starts_s: tuple[float, ...]
    probability: tuple[Float64[np.ndarray, " _"], ...]
    context: tuple[Float64[np.ndarray, " _"], ...]

    @property
    def band_index(self) -> Int[np.ndarray, " beat"]:
        """0 (low), 1 (medium) or 2 (high) of each beat; both bounds are medium, as published."""
        return (self.confidence >= LOW).astype(int) + (self.confidence > HIGH)

    @property
    def band(self) -> list[str]:
        """low, medium or high, for each beat."""
        return [BANDS[index] for index in self.band_index]

    def gaps(self, rate_hz: float, duration_s: float) -> list[tuple[float, float]]:
        """What was not used of the recording, from and to in seconds."""
        ends = [start_s + len(each) / rate_hz for start_s, each in zip(self.starts_s, self.probability, strict=True)]
        edges = zip([0.0, *ends], [*self.starts_s, duration_s], strict=True)
        return [(begin_s, end_s) for begin_s, end_s in edges if end_s - begin_s > 1.5 / rate_hz]

    def numbers(self, rate_hz: float, duration_s: float) -> dict[str, float]:
        """The recording in numbers: NUMBERS, NaN where there is nothing to count. Intervals over gaps do not count.

        `rmssd_s`: the root of the mean squared difference of two intervals in a row.
        """
        intervals_s = self.interval_s[np.isfinite(self.interval_s)]
        steps = np.diff(self.interval_s)
        steps = steps[np.isfinite(steps)]
        n_of_band = {f"n_{band}": float((self.band_index == index).sum()) for index, band in enumerate(BANDS)}
        return {
            "n_beats": float(len(self.time_s)),
            **n_of_band,
            "mean_confidence": float(self.confidence.mean()) if len(self.confidence) else np.nan,
            "used_s": sum(len(each) for each in self.probability) / rate_hz,
            "duration_s": duration_s,
            "n_gaps": float(len(self.gaps(rate_hz, duration_s))),
            "median_interval_s": float(np.median(intervals_s)) if len(intervals_s) else np.nan,
            "mean_interval_s": float(intervals_s.mean()) if len(intervals_s) else np.nan,
            "sd_interval_s": float(intervals_s.std(ddof=1)) if len(intervals_s) > 1 else np.nan,
            "rmssd_s": float(np.sqrt((steps**2).mean())) if len(steps) else np.nan,
            "pulses_per_minute": float(60 / np.median(intervals_s)) if len(intervals_s) else np.nan,
        }


def likelihood(
    subject: Any, signal: Float[np.ndarray, " token"], after: Callable[[int], object] = lambda n_windows: None
) -> tuple[Float64[np.ndarray, " token"], Float64[np.ndarray, " token"]]:
    """The probability that each token of a signal at the model's rate is a beat, and its value: means over overlapping windows.

    As published: a window that lies over the signal's end is tokenised without what it lacks, which is then token 0; a flat one is all 0.
    `after` is told how many windows are done, each time some are; what it raises stops the work.
    """
    from heartlens.engine.workers import on_chunks, workers_for

    starts = range(0, len(signal), STEP)
    batches = [starts[first : first + AT_ONCE] for first in range(0, len(starts), AT_ONCE)]

    def probable(batch: range) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.stack([_window_tokens(signal[start : start + CONTEXT]) for start in batch])
        return tokens, probabilities(subject, tokens)

    probability, context, n_windows = (np.zeros(len(signal) + CONTEXT) for _ in range(3))
    for batch, (tokens, outputs) in zip(batches, on_chunks(probable, batches, workers_for(subject.engine)), strict=True):
        for start, own_tokens, own_outputs in zip(batch, tokens, outputs, strict=True):
            inside = slice(start, start + CONTEXT)
            probability[inside] += own_outputs
            context[inside] += own_tokens
            n_windows[inside] += 1
        after(len(batch))
    counted = n_windows[: len(signal)]  # at least 1: windows begin every STEP tokens
    return probability[: len(signal)] / counted, context[: len(signal)] / counted


def _window_tokens(samples: Float[np.ndarray, " sample"]) -> UInt8[np.ndarray, " time"]:
    tokens = np.zeros(CONTEXT, np.uint8)
    if np.ptp(samples) > 0:
        tokens[: len(samples)] = tokenised(samples[None])[0]
    return tokens


def probabilities(subject: Any, tokens: UInt8[np.ndarray, "window time"]) -> Float32[np.ndarray, "window time"]:
    """The probability of every token of tokenised windows."""
    with torch.inference_mode():
        x = subject.engine.embed(subject.tokens(tokens))
        outputs = subject.engine.outputs(subject.engine.run_blocks(x, 0))
    return np.asarray(outputs[..., 0].sigmoid().float().cpu().numpy())


def refuse_other_models(subject: Any) -> None:
    """Refuse a model that finds no beats."""
    if subject.answers != "beat":
        raise Refusal(
            f"{subject.origin.checkpoint} does not find beats (it answers: {subject.answers}); give a beat detector, say ppg-beat"
        )


def beats_in(subject: Any, prepared: Prepared, after: Callable[[int], object] = lambda n_windows: None) -> Beats:
    """The beats of a recording's usable stretches; `after` as in `likelihood`. Refuses a model that finds no beats."""
    refuse_other_models(subject)
    rate_hz = KINDS[subject.kind].rate_hz
    times, confidences, intervals, both = [np.empty(0)], [np.empty(0)], [np.empty(0)], []
    for signal, start_s in prepared.stretches:
        both.append(likelihood(subject, signal, after))
        probability = both[-1][0]
        token: Int[np.ndarray, " beat"] = beats_of(probability, rate_hz)
        times.append(start_s + token / rate_hz)
        intervals.append(np.diff(token / rate_hz, prepend=np.nan))  # what lies between two stretches is no interval
        confidences.append(probability[token])
    starts_s = tuple(start_s for _, start_s in prepared.stretches)
    by_stretch = (tuple(each[place] for each in both) for place in (0, 1))
    return Beats(np.concatenate(times), np.concatenate(confidences), np.concatenate(intervals), starts_s, *by_stretch)
