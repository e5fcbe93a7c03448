"""Where the P, QRS and T waves of each beat begin, peak and end.

QRS: outwards from the complex until its smoothed slope falls below SLOPE_PART of its steepest. T and P: the most prominent extremum
in the stretch after (before) the QRS where the wave can lie, and from there down to FOOT_PART of its height above the lowest
point within reach on either side. The idea is that of Emrich et al. 2024 (`prominence` in neurokit2), with search windows that
follow the heart rate, both signs of P and T, and no beat lost at the ends. All times are samples at ECG_RATE_HZ; why these
constants: docs/delineation.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from heartlens.signals.beats import ECG_RATE_HZ, Beats, Signal

WAVE_BAND_HZ = (0.5, 12.0)  # P and T live here; the rest is QRS and muscle
SLOPE_PART = 0.08
FOOT_PART = 0.1
QRS_REACH_S = 0.1
SLOPE_WIDTH_S = 0.04
ST_S = 0.06  # no T peak sooner after the QRS
T_END_S, T_END_RR = 0.5, 0.65  # nor later after the R peak: in seconds, as part of the RR interval
P_START_S, P_START_RR = 0.3, 1 / 3  # no P peak sooner before the QRS
PR_GAP_S = 0.03  # the bend into the QRS, left out when the sign of P is judged
INVERTED = 1.5  # P is taken as inverted in a record where troughs are this much more prominent than peaks
P_REACH_S, T_REACH_S = 0.07, 0.12


class Wave(NamedTuple):
    """One wave of one beat, in samples."""

    name: str
    onset: int
    peak: int
    offset: int


class Extremum(NamedTuple):
    """The most prominent peak (sign 1) or trough (sign -1) of a stretch."""

    prominence: float
    at: int
    sign: int


def qrs_waves(qrs: Signal, beats: Beats) -> list[Wave]:
    """The QRS complex of each beat, from the signal within QRS_BAND_HZ."""
    slope = np.abs(np.gradient(qrs))
    weights = np.hanning(round(SLOPE_WIDTH_S * ECG_RATE_HZ / 2) + 2)[1:-1]
    slope = np.convolve(slope, weights / weights.sum(), "same")
    return [_qrs(slope, int(beat)) for beat in beats]


def t_waves(smooth: Signal, qrs: list[Wave]) -> list[Wave]:
    """The T waves, upright or inverted; at most one a beat, none where no extremum lies in its stretch of the signal in WAVE_BAND_HZ."""
    found = []
    for wave, interval in zip(qrs, _intervals(qrs)[1:], strict=True):
        start = wave.offset + round(ST_S * ECG_RATE_HZ)
        top = _most_prominent(smooth, start, wave.peak + round(min(T_END_RR * interval, T_END_S * ECG_RATE_HZ)), (1, -1))
        if top:
            onset, offset = _feet(smooth, top, round(T_REACH_S * ECG_RATE_HZ))
            found.append(Wave("T", max(onset, wave.offset), top.at, offset))
    return found


def p_waves(smooth: Signal, qrs: list[Wave], sign: int) -> list[Wave]:
    """The P waves of that sign, at most one a beat. An onset or offset beyond the stretch is cut there."""
    found = []
    for wave, start in zip(qrs, _p_starts(qrs), strict=True):
        top = _most_prominent(smooth, start, wave.onset, (sign,))
        if top:
            onset, offset = _feet(smooth, top, round(P_REACH_S * ECG_RATE_HZ))
            found.append(Wave("P", onset, top.at, min(offset, wave.onset)))
    return found


def p_sign(smooth: Signal, qrs: list[Wave]) -> int:
    """The sign of a recording's P waves: -1 where troughs are INVERTED times as prominent as peaks."""
    gap, starts = round(PR_GAP_S * ECG_RATE_HZ), _p_starts(qrs)
    up, down = (
        np.median([top.prominence if top else 0.0 for top in tops])
        for tops in (
            [_most_prominent(smooth, start, wave.onset - gap, (sign,)) for wave, start in zip(qrs, starts, strict=True)] for sign in (1, -1)
        )
    )
    return -1 if down > INVERTED * up else 1


def _qrs(slope: Signal, beat: int) -> Wave:
    reach = round(QRS_REACH_S * ECG_RATE_HZ)
    core_start, core_end = max(beat - reach // 2, 0), beat + reach // 2
    steepest = slope[core_start:core_end].max()
    core = core_start + np.flatnonzero(slope[core_start:core_end] > steepest / 2)
    start, end = max(beat - reach, 0), min(beat + reach, len(slope) - 1)
    quiet = np.concatenate([[start], start + np.flatnonzero(slope[start : end + 1] <= SLOPE_PART * steepest), [end]])
    return Wave("QRS", int(quiet[quiet <= core[0]].max()), beat, int(quiet[quiet >= core[-1]].min()))


def _intervals(qrs: list[Wave]) -> Float[np.ndarray, " interval"]:
    """The RR interval before and after each beat (one more than beats); the outermost repeat their neighbours."""
    intervals = np.diff([wave.peak for wave in qrs]).astype(float)
    return np.concatenate([intervals[:1], intervals, intervals[-1:]])


def _p_starts(qrs: list[Wave]) -> list[int]:
    """The first sample in which each beat's P wave may peak."""
    reach_s = np.minimum(P_START_RR * _intervals(qrs)[:-1], P_START_S * ECG_RATE_HZ)
    return [wave.onset - round(reach) for wave, reach in zip(qrs, reach_s.tolist(), strict=True)]


def _most_prominent(smooth: Signal, start: int, end: int, signs: tuple[int, ...]) -> Extremum | None:
    from scipy.signal import find_peaks

    start, tops = max(start, 0), []
    for sign in signs:
        peaks, found = find_peaks(sign * smooth[start : max(end, start)], prominence=0.0)
        tops += [Extremum(float(high), start + int(peak), sign) for high, peak in zip(found["prominences"], peaks, strict=True)]
    return max(tops, default=None)


def _feet(smooth: Signal, top: Extremum, reach: int) -> tuple[int, int]:
    """Onset and offset: where the wave has come down to FOOT_PART of its height above the lowest point within `reach`."""
    before = top.sign * smooth[max(top.at - reach, 0) : top.at + 1][::-1]
    after = top.sign * smooth[top.at : top.at + reach + 1]
    return top.at - _descent(before), top.at + _descent(after)


def _descent(flank: Signal) -> int:
    lowest = flank[: int(np.argmin(flank)) + 1]
    return int(np.flatnonzero(lowest <= lowest[-1] + FOOT_PART * (lowest[0] - lowest[-1]))[0])
