"""Where beats may be: the first, generous step of finding R peaks and systolic peaks.

ECG: the energy of the signal's second difference is compared with a threshold that falls since the beat before (Gutierrez-Rivas 2015,
as Rodrigues 2021 set it). PPG: a pulse is where the clipped, squared signal's mean over a systole exceeds that over a beat (Elgendi 2013).
Both give the samples that neurokit2's `rodrigues2021` and `elgendi` give, but look at blocks of samples instead of every one in turn.
"""

import numpy as np
from jaxtyping import Float, Int

DIFFERENCE_S = 3 / 128  # both the step of the difference and the length over which energy is summed
REFRACTORY_S = 0.26
KEPT, ADDED = 19 / 20, 1 / 20  # of the threshold: what stays at a beat, and what of the beat's own energy is added
BLOCK = 512  # samples after which the falling threshold is computed anew
SYSTOLE_S, BEAT_S, OFFSET = 0.111, 0.667, 0.02  # OFFSET: of the mean energy, what a systole must have more
APART_S = 0.3

Signal = Float[np.ndarray, " sample"]
Peaks = Int[np.ndarray, " peak"]


def qrs_candidates(ecg: Signal, rate_hz: float) -> Peaks:
    """The sample after the largest energy of each complex; where nothing beats, there too, for the threshold falls until something does."""
    from scipy.signal import lfilter

    length = max(round(DIFFERENCE_S * rate_hz), 2)
    if len(ecg) <= length:
        return np.zeros(0, int)
    energy = lfilter(np.ones(length), [1], np.square(np.diff(ecg[length - 1 :] - ecg[: 1 - length])))
    falls = np.full(BLOCK + 1, np.exp(-(0.7 * rate_hz / 128 + 2.7) / rate_hz))
    refractory = round(REFRACTORY_S * rate_hz)
    peaks: list[int] = []
    at, threshold, peak = 1, 0.0, 0
    while at < len(energy):
        seen = energy[at : at + refractory]
        highest = int(np.argmax(seen))
        if seen[highest] > 0:
            peak = at + highest + 1
        peaks.append(peak)
        threshold = KEPT * threshold + ADDED * max(float(seen[highest]), 0.0)
        at = _reached(energy, max(at + refractory, peak + 1), threshold, falls)
    return np.array(peaks, int)


def _reached(energy: Signal, at: int, threshold: float, falls: Float[np.ndarray, " fall"]) -> int:
    """The first sample from `at` on whose energy reaches the falling threshold, or the number of samples."""
    while at < len(energy):
        falls[0] = threshold
        thresholds = np.multiply.accumulate(falls)
        block = energy[at : at + BLOCK]
        reached = block >= thresholds[: len(block)]
        if reached.any():
            return at + int(np.argmax(reached))
        at, threshold = at + BLOCK, float(thresholds[-1])
    return len(energy)


def pulse_candidates(ppg: Signal, rate_hz: float) -> Peaks:
    """The most prominent summit of each systole; `ppg` is limited to the pulse's band."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import find_peaks

    systole, beat = round(SYSTOLE_S * rate_hz), round(BEAT_S * rate_hz)
    energy = np.clip(ppg, 0, None) ** 2
    inside = uniform_filter1d(energy, systole, mode="nearest") > uniform_filter1d(energy, beat, mode="nearest") + OFFSET * energy.mean()
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    if len(edges) and inside[0]:
        edges = edges[1:]  # the recording begins within a systole
    last = 0
    peaks: list[int] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=False):
        if stop - start < systole:
            continue
        summits, found = find_peaks(ppg[start:stop], prominence=(None, None))
        if len(summits):
            summit = start + int(summits[np.argmax(found["prominences"])])
            if summit - last > round(APART_S * rate_hz):
                peaks.append(summit)
                last = summit
    return np.array(peaks, int)
