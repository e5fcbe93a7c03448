"""The points of each pulse of a PPG: foot, systolic peak, dicrotic notch, diastolic peak.

Foot: back from the steepest rise to where the slope has fallen to SLOPE_PART of it. Notch: the e wave, that is the most prominent
maximum of the second derivative after the peak (Takazawa 1998; Elgendi 2012), or the local minimum of the pulse that follows at
once, where there is one. Diastolic peak: the next local maximum of the pulse, else the shoulder, the next minimum of the second derivative.
Samples are at PPG_RATE_HZ; why these constants: docs/delineation.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from heartlens.signals.beats import PPG_RATE_HZ, PULSE_BAND_HZ, Beats, Signal, band, shapes

FINE_BAND_HZ = (0.5, 12.0)
BEND_BAND_HZ = (0.5, 7.0)  # the second derivative amplifies noise; a notch needs no more
SLOPE_PART = 0.05
RISE_S = 0.5  # no pulse rises for longer
NOTCH_S, NOTCH_PART = (0.08, 0.5), 0.5  # after the systolic peak: in seconds, and at most this part of the way to the next foot
DIP_S = 0.08  # the local minimum lies at most this far after the bend
DIASTOLE_S = 0.25  # and the diastolic peak after the notch
SHAPE_S = (0.25, 0.35)  # what is compared of a pulse, around its systolic peak
NO_FOOT = -1


class Traces(NamedTuple):
    """A pulse signal as each point needs it: smooth for feet, fine for extrema, bend (second derivative) for the notch."""

    smooth: Signal
    fine: Signal
    bend: Signal


def traces(ppg: Signal) -> Traces:
    """The filtered signals in which the points are looked for."""
    smooth, fine, rounded = (band(ppg, PPG_RATE_HZ, edges) for edges in (PULSE_BAND_HZ, FINE_BAND_HZ, BEND_BAND_HZ))
    return Traces(smooth, fine, np.gradient(np.gradient(rounded)))


def pulse_shapes(smooth: Signal, peaks: Beats) -> Float[np.ndarray, "beat shape"]:
    """Each pulse around its systolic peak; NaN for one that is cut off at an end."""
    before, after = (round(edge * PPG_RATE_HZ) for edge in SHAPE_S)
    return shapes(smooth, peaks, before, after)


def feet(smooth: Signal, peaks: Beats) -> Beats:
    """The foot before each systolic peak; NO_FOOT where the recording begins within the rise."""
    slope = np.gradient(smooth)
    before = np.concatenate([[0], peaks[:-1]])
    starts = np.maximum(before, peaks - round(RISE_S * PPG_RATE_HZ))
    return np.array([_foot(slope, int(start), int(peak)) for start, peak in zip(starts, peaks, strict=True)], int)


def notch(pulse: Traces, peak: int, next_foot: int) -> int | None:
    """The dicrotic notch between a systolic peak and the next foot; None where the second derivative has no maximum there."""
    start = peak + round(NOTCH_S[0] * PPG_RATE_HZ)
    end = peak + round(min(NOTCH_PART * (next_foot - peak), NOTCH_S[1] * PPG_RATE_HZ))
    bends = _maxima(pulse.bend, start, end)
    if not len(bends):
        return None
    bend = int(bends[np.argmax(pulse.bend[bends])])
    dips = _maxima(pulse.fine, bend - 2, bend + round(DIP_S * PPG_RATE_HZ), sign=-1)
    return int(dips[0]) if len(dips) else bend


def diastolic_peak(pulse: Traces, notch: int, next_foot: int) -> int | None:
    """The diastolic peak after a notch; None where there is neither a second summit nor a shoulder before the next foot."""
    end = min(notch + round(DIASTOLE_S * PPG_RATE_HZ), next_foot)
    summits = [*_maxima(pulse.fine, notch, end), *_maxima(pulse.bend, notch, end, sign=-1)]
    return int(summits[0]) if summits else None


def _foot(slope: Signal, start: int, peak: int) -> int:
    steepest = start + int(np.argmax(slope[start : peak + 1]))
    gentle = np.flatnonzero(slope[start:steepest] <= SLOPE_PART * slope[steepest])
    return start + int(gentle[-1]) if len(gentle) else NO_FOOT


def _maxima(signal: Signal, start: int, end: int, sign: int = 1) -> Int[np.ndarray, " maximum"]:
    """The maxima within a stretch (sign -1: the minima)."""
    from scipy.signal import find_peaks

    return start + np.asarray(find_peaks(sign * signal[start : max(end, start)])[0], int)
