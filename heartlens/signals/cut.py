"""Cut a stretch of signal at the model's rate into windows, each token labelled by the landmarks. Flat windows are skipped and counted."""

from hashlib import sha256
from math import ceil, floor

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals.landmarks import SLACK_S, Landmarks, positions, segments, waves
from heartlens.signals.tokens import tokenise
from heartlens.windows import Windows


def cut(
    signal: Float[np.ndarray, " sample"], landmarks: Landmarks, record: str, offset_s: float = 0.0, stride: int = CONTEXT, draw: int = 0
) -> Windows:
    """Windows of CONTEXT tokens, every `stride` samples, of a finite `signal` at the rate of `landmarks.kind`.

    The landmarks count from `signal`'s first sample, which is `offset_s` after the recording's. Only what lies inside
    `landmarks.span_s` is cut. A span that begins within the signal begins with a wave; the first window starts somewhere in the samples
    to spare, as the record's name and `draw` decide, lest every first token (the model's attention sink) lie in that wave; any other
    `draw` than 0 starts so in every span. Refuses a span shorter than a window, and one without two beats.
    """
    rate_hz = KINDS[landmarks.kind].rate_hz
    start_s, end_s = landmarks.span_s
    first, last = max(ceil((start_s - SLACK_S) * rate_hz), 0), min(floor((end_s + SLACK_S) * rate_hz) + 1, len(signal))
    if last - first < CONTEXT:
        raise Refusal(f"{record}: {max(last - first, 0) / rate_hz:.1f} s of signal is shorter than a window ({CONTEXT / rate_hz:.0f} s)")
    if len(landmarks.beat_s) < 2:
        raise Refusal(f"{record}: no beats found ({landmarks.source}); is this {landmarks.kind.upper()}, and the right lead?")
    if first > 0 or draw:
        first += _drawn(f"{record}{draw or ''}", (last - first - CONTEXT) % stride + 1)
    starts = range(first, last - CONTEXT + 1, stride)
    kept = [start for start in starts if np.ptp(signal[start : start + CONTEXT]) > 0]
    cuts = [signal[start : start + CONTEXT] for start in kept]
    skipped = (("flat window", len(starts) - len(kept)),) if len(kept) < len(starts) else ()
    return _windows(cuts, np.array(kept, int), landmarks, record, offset_s, skipped)


def _drawn(name: str, n_places: int) -> int:
    """One of `n_places`, always the same for the same name."""
    return int.from_bytes(sha256(name.encode()).digest()[:8]) % n_places


def _windows(
    cuts: list[Float[np.ndarray, " time"]],
    starts: np.ndarray,
    landmarks: Landmarks,
    record: str,
    offset_s: float,
    skipped: tuple[tuple[str, int], ...],
) -> Windows:
    rate_hz = KINDS[landmarks.kind].rate_hz
    samples = np.reshape(cuts, (-1, CONTEXT))
    time_s = (starts[:, None] + np.arange(CONTEXT)) / rate_hz
    position = np.reshape([positions(landmarks, row) for row in time_s], time_s.shape)
    wave = np.reshape([waves(landmarks, row) for row in time_s], time_s.shape).astype(np.int8)
    asked = [segments(landmarks, *row) for row in zip(wave, position, time_s, strict=True)]
    return Windows(
        kind=landmarks.kind,
        tokens=np.reshape([tokenise(row) for row in samples], samples.shape).astype(np.uint8),
        record=np.full(len(cuts), record),
        start_s=starts / rate_hz + offset_s,
        low=samples.min(axis=1),
        high=samples.max(axis=1),
        wave=wave,
        segment=np.reshape(asked, time_s.shape).astype(np.int8),
        position=position,
        skipped=skipped,
        notes=(f"landmarks: {landmarks.source}",),
    )
