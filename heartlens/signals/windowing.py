"""One recording becomes windows, stretch by stretch between its missing and its flat parts.

Each stretch is labelled (the expert's marks, else waves detected on the recording's own samples), brought to the model's rate and cut.
What a gap or a flat part costs is counted in windows, and no unusable stretch ends the recording.
"""

from collections import Counter
from dataclasses import replace
from math import floor

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import prepare
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import Landmarks, within
from heartlens.signals.recording import Recording
from heartlens.windows import Windows, concatenate

LANDMARKS = ("auto", "expert", "detected")
LOWEST_RATE_HZ = {"ecg": 50.0, "ppg": 15.0}  # a slower table is a trend, not a heart signal

Signal = Float[np.ndarray, " sample"]


def windows_of(
    recording: Recording,
    kind: str,
    landmarks: str = "auto",
    bandpass: bool = False,
    stride: int = CONTEXT,
    max_windows: int | None = None,
    draw: int = 0,
) -> Windows:
    """The windows of a recording; `landmarks` is one of LANDMARKS, `max_windows` are spread evenly over those there are; `draw`: see `cut`.

    Refuses a recording without a usable window, and one that no heart signal can be: too slow, or rising from first to last sample.
    """
    _credible(recording, kind)
    expert, notes = _expert(recording, kind, landmarks, stride)
    live = prepare.without_flat(recording.signal, recording.rate_hz)
    lost = _lost_windows(recording, live, kind, stride, expert)
    parts, reason = [], ""
    for stretch in prepare.finite_stretches(live):
        if not _n_windows(stretch, recording.rate_hz, kind, stride, expert):
            continue
        try:
            parts.append(_windows_of_stretch(recording, stretch, kind, expert, bandpass, stride, draw))
        except Refusal as refusal:
            reason = f"; {refusal}"
            lost["no waves found"] += _n_windows(stretch, recording.rate_hz, kind, stride, expert)
    together = concatenate(parts) if parts else None
    if together is None or not len(together):
        raise Refusal(f"{recording.source}: no usable window ({_listed(lost)}){reason}")
    kept = _spread(len(together), max_windows)
    lost["more than max_windows"] = len(together) - len(kept)
    skipped = Counter(dict(together.skipped)) + lost  # without those that are 0
    sources = (f"{recording.source} sha256:{recording.sha256}",)
    return replace(together[kept], sources=sources, skipped=tuple(skipped.items()), notes=recording.notes + notes + together.notes)


def _listed(lost: Counter[str]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in lost.items() if n)


def _credible(recording: Recording, kind: str) -> None:
    where, rate_hz, length_s = recording.source, recording.rate_hz, len(recording.signal) / recording.rate_hz
    needed_s = CONTEXT / KINDS[kind].rate_hz
    if rate_hz < LOWEST_RATE_HZ[kind]:
        raise Refusal(f"{where}: {rate_hz:g} Hz is too slow for {kind.upper()}; at least {LOWEST_RATE_HZ[kind]:g} Hz are needed")
    if length_s < needed_s:
        raise Refusal(f"{where}: the recording lasts {length_s:.2f} s; a window needs {needed_s:g} s")
    finite = recording.signal[np.isfinite(recording.signal)]
    if len(finite) and np.ptp(finite) > 0 and (np.diff(finite) >= 0).all():
        raise Refusal(f"{where}: {recording.lead} rises from first to last sample; it is a counter or a time, not a signal")


def _expert(recording: Recording, kind: str, wanted: str, stride: int) -> tuple[Landmarks | None, tuple[str, ...]]:
    """The expert's landmarks if they are wanted and hold a window, else None with a note that says why."""
    if wanted == "detected":
        return None, ()
    marks = recording.landmarks
    reason = ""
    if marks is None or marks.kind != kind:
        reason = "the file has no expert marks that could be used"
    elif not _n_windows(slice(0, len(recording.signal)), recording.rate_hz, kind, stride, marks):
        reason = f"the expert's marks cover {np.ptp(marks.span_s):.1f} s, less than a window"
    if not reason:
        return marks, ()
    if wanted == "expert":
        raise Refusal(f"{recording.source}: {reason}; use landmarks 'auto' or 'detected'")
    return None, (f"landmarks detected: {reason}",)


def _windows_of_stretch(
    recording: Recording, stretch: slice, kind: str, expert: Landmarks | None, bandpass: bool, stride: int, draw: int
) -> Windows:
    signal, rate_hz = recording.signal[stretch], recording.rate_hz
    start_s, end_s = stretch.start / rate_hz, stretch.stop / rate_hz
    landmarks = _detected(signal, rate_hz, kind) if expert is None else within(expert, start_s, end_s)
    if bandpass:
        signal = prepare.bandpass(signal, rate_hz, kind)
    return cut(prepare.resample(signal, rate_hz, kind), landmarks, recording.name, start_s, stride, draw)


def _detected(signal: Signal, rate_hz: float, kind: str) -> Landmarks:
    from heartlens.signals.delineate import delineate  # late: the detectors take a second to import

    return delineate(signal, rate_hz, kind)


def _lost_windows(recording: Recording, live: Signal, kind: str, stride: int, expert: Landmarks | None) -> Counter[str]:
    whole, finite, lively = (
        sum(_n_windows(stretch, recording.rate_hz, kind, stride, expert) for stretch in stretches)
        for stretches in ([slice(0, len(live))], prepare.finite_stretches(recording.signal), prepare.finite_stretches(live))
    )
    return Counter({"missing samples": max(whole - finite, 0), "flat window": max(finite - lively, 0)})


def _n_windows(stretch: slice, rate_hz: float, kind: str, stride: int, expert: Landmarks | None) -> int:
    """How many windows a stretch holds, or the part of it that the expert looked at."""
    start_s, end_s = stretch.start / rate_hz, stretch.stop / rate_hz
    if expert is not None:
        start_s, end_s = max(start_s, expert.span_s[0]), min(end_s, expert.span_s[1])
    n_tokens = floor((end_s - start_s) * KINDS[kind].rate_hz + 1e-6)
    return (n_tokens - CONTEXT) // stride + 1 if n_tokens >= CONTEXT else 0


def _spread(n_windows: int, at_most: int | None) -> np.ndarray:
    if at_most is None or n_windows <= at_most:
        return np.arange(n_windows)
    return np.linspace(0, n_windows - 1, at_most).round().astype(int)
