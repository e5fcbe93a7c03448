"""Waves taken out: their tokens become a straight line from the token before to the token after them.

A wave is taken out with MARGIN_S on either side, as far as no other wave lies there: marks tend to lie inside the wave. Where it reaches
the window's edge the line is level. The dicrotic notch is taken out together with the diastolic peak that makes it a notch.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int8, UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.counterfactuals.kept import Able, checked, refuse_unable
from heartlens.signals.landmarks import NONE
from heartlens.windows import Windows

MARGIN_S = 0.02
FLAT: dict[str, dict[str, tuple[str, ...]]] = {  # what can be taken out, and its waves
    "ecg": {"P": ("P",), "T": ("T",)},
    "ppg": {"dicrotic_notch": ("dicrotic_notch", "diastolic_peak")},
}

Labels = Int8[np.ndarray, " time"]
Mask = Bool[np.ndarray, " time"]
Span = tuple[int, int]  # first and last token


def without_p(windows: Windows) -> Windows:
    """The windows with every P wave replaced by the local baseline. Refuses pulses, and windows without a P wave."""
    return flattened(windows, "P")


def flattened(windows: Windows, wave: str) -> Windows:
    """The windows with a wave of every beat replaced by a line: P or T, or a pulse's `dicrotic_notch`. Refuses others and their absence."""
    note = f"{wave.replace('_', ' ')} waves replaced by a line"
    gone = _indices(windows, wave)
    refuse_unable(windows, has_wave(windows, wave), f"no {wave.replace('_', ' ')} marked")
    return _with_lines(windows, lambda labels: taken_out(labels, gone, windows.rate_hz), note, gone)


def with_flat_baseline(windows: Windows, wave: str = "P") -> Windows:
    """The control of `flattened`: for each such wave as many tokens of baseline nearby replaced by a line, every wave as it is.

    Of the stretches without a wave between that wave and its neighbours of the same kind the longest is taken, its middle as long as what
    `flattened` would replace, or all of it if it is shorter.
    """
    gone = _indices(windows, wave)
    refuse_unable(windows, has_wave(windows, wave), f"no {wave.replace('_', ' ')} marked")
    note = f"as many tokens of baseline as of {wave.replace('_', ' ')} waves replaced by a line"
    return _with_lines(windows, lambda labels: _elsewhere(labels, gone, windows.rate_hz), note, ())


def has_wave(windows: Windows, wave: str) -> Able:
    """Which windows have the wave anywhere."""
    return np.asarray(np.isin(windows.wave, _indices(windows, wave)).any(axis=1))


def runs(holds: Mask) -> list[Span]:
    """The first and the last token of each stretch where it holds.

    >>> runs(np.array([True, False, True, True]))
    [(0, 0), (2, 3)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def taken_out(labels: Labels, gone: tuple[int, ...], rate_hz: float) -> list[Span]:
    """What is replaced when these waves go: their stretches, each with its margin; stretches that then touch are one."""
    support = np.isin(labels, gone)
    for first, last in _joined(labels, gone):
        support[first : last + 1] = True
    free = labels == NONE
    for _ in range(round(MARGIN_S * rate_hz)):
        near = support.copy()
        near[1:] |= support[:-1]
        near[:-1] |= support[1:]
        support |= near & free
    return runs(support)


def _joined(labels: Labels, gone: tuple[int, ...]) -> Iterator[Span]:
    """From the end of a notch to the beginning of the diastolic peak that follows it, nothing else between."""
    spans = runs(np.isin(labels, gone))
    for (_, last), (first, _) in pairwise(spans):
        if labels[last] != labels[first] and (labels[last + 1 : first] == NONE).all() and labels[last] == gone[0]:
            yield last + 1, first - 1


def _elsewhere(labels: Labels, gone: tuple[int, ...], rate_hz: float) -> list[Span]:
    """For each stretch that would go, one of baseline beside it."""
    spans, found = taken_out(labels, gone, rate_hz), []
    free = labels == NONE
    for first, last in spans:
        free[first : last + 1] = False
    edges = [0, *(edge for span in spans for edge in span), CONTEXT - 1]
    for place, (first, last) in enumerate(spans):
        near = np.zeros_like(free)
        near[edges[2 * place] : edges[2 * place + 3] + 1] = True
        stretches = runs(near & free)
        if stretches:
            longest = max(stretches, key=lambda span: span[1] - span[0])
            found.append(_middle(*longest, last - first + 1))
            free[found[-1][0] : found[-1][1] + 1] = False
    return found


def _middle(first: int, last: int, n_tokens: int) -> Span:
    spare = max(last - first + 1 - n_tokens, 0)
    return first + spare // 2, last - (spare - spare // 2)


def _with_lines(windows: Windows, spans_of: Callable[[Labels], list[Span]], note: str, gone: tuple[int, ...]) -> Windows:
    """The windows with lines over the spans; the waves `gone` lose their labels."""
    spans = [spans_of(labels) for labels in windows.wave]
    support = np.zeros(windows.tokens.shape, bool)
    for row, found in zip(support, spans, strict=True):
        for first, last in found:
            row[first : last + 1] = True
    tokens = np.array([_lines(row, found) for row, found in zip(windows.tokens, spans, strict=True)])
    left = np.isin(windows.wave, gone)
    segments = KINDS[windows.kind].segments
    after = segments.index("baseline" if windows.kind == "ecg" else "downslope")
    wave = np.where(left, NONE, windows.wave).astype(np.int8)
    segment = np.where(left & (windows.segment != NONE), after, windows.segment).astype(np.int8)
    return checked(windows, replace(windows, tokens=tokens, wave=wave, segment=segment), support, note)


def _lines(tokens: UInt8[np.ndarray, " time"], spans: list[Span]) -> UInt8[np.ndarray, " time"]:
    inside = np.zeros(CONTEXT, bool)
    for first, last in spans:
        inside[first : last + 1] = True
    known = np.flatnonzero(~inside)
    line: Float[np.ndarray, " time"] = np.interp(np.arange(CONTEXT), known, tokens[known])
    return np.where(inside, np.round(line), tokens).astype(np.uint8)


def _indices(windows: Windows, wave: str) -> tuple[int, ...]:
    if wave not in FLAT[windows.kind]:
        raise unknown(f"wave of the {windows.kind} that can be taken out", wave, FLAT[windows.kind])
    if windows.waves != KINDS[windows.kind].waves:
        raise Refusal(f"the windows tell {', '.join(windows.waves)} apart; give them with {', '.join(KINDS[windows.kind].waves)}")
    return tuple(windows.waves.index(name) for name in FLAT[windows.kind][wave])
