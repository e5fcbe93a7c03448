"""The beats of a window and what of each cannot be stretched, in tokens: the places between which a rhythm is changed.

Beat j's mark (R peak, foot of the pulse) is where `Windows.position` is a whole number. Its core, `onset` to `offset`, is the QRS
complex, or the pulse from its foot to the end of its systolic peak. It begins with the P wave (`start`) and ends with the T wave (`end`;
of a pulse with the last wave of its diastole). Where no T wave is marked, `end` is as far after the mark as that of the window's other
beats (else TYPICAL_S).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import KINDS
from heartlens.signals.counterfactuals.spans import Labels, Span, runs
from heartlens.windows import Windows

TYPICAL_S = {"ecg": 0.32, "ppg": 0.45}  # from the mark to the end of the T wave, of the diastolic peak
CORE = {"ecg": ("QRS", "QRS"), "ppg": ("foot", "systolic_peak")}  # the waves a core begins and ends with
BEFORE = {"ecg": ("P",), "ppg": ()}
AFTER = {"ecg": ("T",), "ppg": ("dicrotic_notch", "diastolic_peak")}
LEAST_DIASTOLE = {"ecg": 0.2, "ppg": 0.5}  # of its length: a flat line bears more than a pulse's runoff, which becomes a cliff

Places = Int[np.ndarray, " beat"]


@dataclass(frozen=True)
class Beats:
    """The beats of one window that are marked whole, in order: the number (position) and place of the mark, and the beat's edges.

    `least_diastole`: to what part of its length a diastole of theirs may be compressed.
    """

    number: Int[np.ndarray, " beat"]
    mark: Float[np.ndarray, " beat"]
    start: Places
    onset: Places
    offset: Places
    end: Places
    least_diastole: float

    def __len__(self) -> int:
        return len(self.mark)


def beats_of(windows: Windows, index: int) -> Beats | None:
    """The beats of a window; None where fewer than two are marked, or a beat between two others is not."""
    kind, labels = KINDS[windows.kind], windows.wave[index]
    number, mark = marks(windows.position[index])
    first, last = (runs(labels == kind.waves.index(name)) for name in CORE[kind.name])
    cores = [_core(place, first, last, windows.rate_hz) for place in mark]
    found = np.array([core is not None for core in cores], bool)
    if found.sum() < 2 or (np.diff(number[found]) != 1).any():
        return None
    onset, offset = (np.array([core[edge] for core in cores if core is not None]) for edge in (0, 1))
    if (onset[1:] - offset[:-1] < 4).any():
        return None
    start, end = _edges(windows, labels, mark[found], onset, offset)
    return Beats(number[found], mark[found], start, onset, offset, end, LEAST_DIASTOLE[windows.kind])


def beside_core(windows: Windows, index: int, beats: Beats, beat: int, wave: str) -> Span:
    """Between which tokens a beat's wave lies: from the core before it to its own (P), or from its own to the next (T)."""
    kind, labels = KINDS[windows.kind], windows.wave[index]
    cores = np.flatnonzero(np.isin(labels, [kind.waves.index(name) for name in CORE[kind.name]]))
    if wave in BEFORE[kind.name]:
        onset = int(beats.onset[beat])
        return max(cores[cores < onset].tolist(), default=-1) + 1, onset - 1
    offset = int(beats.offset[beat])
    return offset + 1, min(cores[cores > offset].tolist(), default=len(labels)) - 1


def marks(position: Float[np.ndarray, " time"]) -> tuple[Int[np.ndarray, " beat"], Float[np.ndarray, " beat"]]:
    """The whole numbers that the position reaches and the tokens, with fractions, at which it does, from its slope right after (or before).

    >>> marks(np.array([0.9, 1.1, 1.3, 1.5, 1.7, 1.9, 2.0]))
    (array([1, 2]), array([0.5, 6. ]))
    """
    whole = np.floor(position + 1e-9)
    reached = np.flatnonzero(whole[1:] > whole[:-1]) + 1
    slope = np.gradient(position)
    after = np.minimum(reached + 1, len(position) - 1)
    step = np.where(np.isnan(slope[after]) | (after == reached), slope[reached], position[after] - position[reached])
    return whole[reached].astype(int), reached - (position[reached] - whole[reached]) / step


def _core(mark: float, first: list[Span], last: list[Span], rate_hz: float) -> Span | None:
    """The first and last token of the core that holds a mark; None where it is not marked."""
    begins = [span for span in first if span[0] - 1 <= mark <= span[1] + 1]
    ends = [span[1] for span in last if span[1] >= mark and span[0] - mark < 0.5 * rate_hz]
    return (begins[0][0], min(ends)) if begins and ends else None


def _edges(windows: Windows, labels: Labels, mark: np.ndarray, onset: Places, offset: Places) -> tuple[Places, Places]:
    """Where each beat starts and ends: at least one token of diastole is left between two."""
    waves = KINDS[windows.kind].waves
    before, after = ([span for name in names[windows.kind] for span in runs(labels == waves.index(name))] for names in (BEFORE, AFTER))
    behind = [max((span[1] for span in after if low < span[0] < high), default=-1) for low, high in _gaps(onset, offset, len(labels))]
    known = [end - place for end, place in zip(behind, mark, strict=True) if end >= 0]
    usual = np.median(known) if known else TYPICAL_S[windows.kind] * windows.rate_hz
    ends = [end if end >= 0 else round(place + usual) for end, place in zip(behind, mark, strict=True)]
    start = onset.copy()
    for beat in range(1, len(onset)):
        start[beat] = max((s[0] for s in before if offset[beat - 1] + 1 < s[0] and s[1] < onset[beat]), default=onset[beat])
    limit = np.append(start[1:] - 1, len(labels) - 1)
    return start, np.clip(ends, offset, np.maximum(limit, offset)).astype(int)


def _gaps(onset: Places, offset: Places, n_time: int) -> list[Span]:
    """What lies between each beat's core and the next."""
    return list(zip(offset.tolist(), np.append(onset[1:], n_time).tolist(), strict=True))
