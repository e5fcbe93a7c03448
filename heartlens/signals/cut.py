"""Cut a stretch of signal at the model's rate into windows, each token labelled by the landmarks. Flat windows are skipped and counted."""

from hashlib import sha256
from math import ceil, floor

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals.landmarks import SLACK_S, Landmarks, positions, segments, waves
from heartlens.signals.recording import content_of
from heartlens.signals.tokens import tokenised
from heartlens.windows import Windows

Signal = Float[np.ndarray, " sample"]
Starts = Int[np.ndarray, " window"]


def cut(signal: Signal, landmarks: Landmarks, record: str, offset_s: float = 0.0, stride: int = CONTEXT, draw: int = 0) -> Windows:
    """Windows of CONTEXT tokens, every `stride` samples, of a finite `signal` at the rate of `landmarks.kind`.

    The landmarks count from `signal`'s first sample, which is `offset_s` after the recording's. Where the windows start: `window_starts`.
    Refuses a span shorter than a window, and one without two beats.
    """
    rate_hz, content = KINDS[landmarks.kind].rate_hz, content_of(signal, KINDS[landmarks.kind].rate_hz)
    try:
        starts = window_starts(len(signal), landmarks.span_s, landmarks.kind, content, stride, draw)
    except Refusal as refusal:
        raise Refusal(f"{record}: {refusal}") from refusal
    return windows_at(signal, starts, landmarks, record, starts / rate_hz + offset_s, content=content)


def window_starts(n_tokens: int, span_s: tuple[float, float], kind: str, content: str, stride: int = CONTEXT, draw: int = 0) -> Starts:
    """The first token of each window of a stretch of `n_tokens`, of which only what lies inside `span_s` is cut.

    A span that begins within the stretch begins with a wave; the first window starts somewhere in the samples to spare, lest every first
    token (the model's attention sink) lie in that wave. Where, the recording's `content` and `draw` decide, never its name; any other
    `draw` than 0 starts so in every span. Refuses a span shorter than a window.
    """
    rate_hz, (start_s, end_s) = KINDS[kind].rate_hz, span_s
    first, last = max(ceil((start_s - SLACK_S) * rate_hz), 0), min(floor((end_s + SLACK_S) * rate_hz) + 1, n_tokens)
    if last - first < CONTEXT:
        raise Refusal(f"{max(last - first, 0) / rate_hz:.1f} s of signal is shorter than a window ({CONTEXT / rate_hz:.0f} s)")
    if first > 0 or draw:
        first += _drawn(f"{content}{draw or ''}", (last - first - CONTEXT) % stride + 1)
    return np.arange(first, last - CONTEXT + 1, stride)


def windows_at(
    signal: Signal,
    starts: Starts,
    landmarks: Landmarks,
    record: str,
    start_s: Float[np.ndarray, " window"],
    first_beat: int = 0,
    person: str = "",
    content: str = "",
) -> Windows:
    """The windows that start at the samples `starts` of a finite `signal`, labelled; the first of the landmarks' beats is `first_beat`.

    `start_s` are the windows' times in the recording. Refuses landmarks without two beats.
    """
    if len(landmarks.beat_s) < 2:
        raise Refusal(f"{record}: no beats found ({landmarks.source}); is this {landmarks.kind.upper()}, and the right lead?")
    samples = signal[starts[:, None] + np.arange(CONTEXT)]
    lively = np.ptp(samples, axis=1) > 0
    samples, starts, start_s, n_flat = samples[lively], starts[lively], start_s[lively], int((~lively).sum())
    first = int(starts.min(initial=len(signal)))
    time_s = np.arange(first, int(starts.max(initial=first - CONTEXT)) + CONTEXT) / KINDS[landmarks.kind].rate_hz
    inside = starts[:, None] - first + np.arange(CONTEXT)
    position, wave = positions(landmarks, time_s), waves(landmarks, time_s)
    return Windows(
        kind=landmarks.kind,
        tokens=tokenised(samples),
        record=np.full(len(starts), record),
        start_s=start_s,
        low=samples.min(axis=1),
        high=samples.max(axis=1),
        wave=wave[inside],
        segment=segments(landmarks, wave, position, time_s)[inside],
        position=position[inside] + first_beat,
        person=np.full(len(starts), person),
        content=np.full(len(starts), content),
        skipped=(("flat window", n_flat),) if n_flat else (),
        notes=(f"landmarks: {landmarks.source}",),
    )


def _drawn(text: str, n_places: int) -> int:
    """One of `n_places`, always the same for the same text."""
    return int.from_bytes(sha256(text.encode()).digest()[:8]) % n_places
