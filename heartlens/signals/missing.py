"""Missing samples: the values that stand for one become NaN, and short gaps are bridged.

Recorders write numbers for samples they do not have. Such a code is taken for one where it is repeated and lies apart from all other
samples by more than their range (so a rail, which the signal reaches step by step, is none). Zeros count too where every one of them is
in a run that the signal jumps into and out of.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int, Real

from heartlens.signals.hints import Hints
from heartlens.signals.recording import Recording

CODES = (-999.0, -9999.0, -99999.0, -32768.0, 32767.0, -(2.0**31), 2.0**31 - 1, 65535.0, 999.0, 9999.0, 99999.0, 0.0)
BLOCK = 2**20  # samples looked at together
BRIDGED_S = 0.2  # a longer gap may hide a beat
SPARSE_S, SPARSE = 5.0, 0.1  # where more of so many seconds is missing, nothing is bridged: the signal would be made up
ZERO_RUN_S = 0.02
JUMP = 5.0  # times the usual step: into a run of zeros that stand for missing samples

Samples = Real[np.ndarray, " sample"]


def hinted(recording: Recording, hints: Hints) -> Recording:
    """The recording with NaN where a sample is missing, by the hints or by the usual codes, turned where the hints say so; both noted."""
    signal, notes = without_codes(recording.signal, recording.rate_hz, hints.missing)
    if hints.polarity == "invert":
        signal, notes = -np.asarray(signal, np.float64), (*notes, "turned upside down (--invert)")
    return replace(recording, signal=signal, notes=recording.notes + notes) if notes else recording


def bridged(recording: Recording) -> Recording:
    """The recording with straight lines over its gaps of up to BRIDGED_S, and a note with their number.

    An array in double precision that belongs to the recording alone is filled in place, for a day of signal takes 0.3 GB.
    """
    signal = recording.signal
    is_own = type(signal) is np.ndarray and signal.dtype == np.float64 and signal.flags.owndata and signal.flags.writeable
    signal, gaps = without_gaps(signal, recording.rate_hz, in_place=is_own)
    if not gaps:
        return recording
    n_samples = sum(end - start for start, end in gaps)
    counted = f"{len(gaps)} gaps" if len(gaps) > 1 else "1 gap"
    note = f"{counted} of up to {BRIDGED_S:g} s bridged by straight lines ({n_samples} of {len(signal)} samples)"
    return replace(recording, signal=signal, notes=(*recording.notes, note), bridged=gaps)


def without_codes(signal: Samples, rate_hz: float, given: tuple[float, ...] = ()) -> tuple[Samples, tuple[str, ...]]:
    """The signal with NaN for the values `given` and for the usual codes, and a note with their number.

    Where there are none, the signal itself (which may be mapped from its file); else a copy in double precision.
    """
    codes = (*given, *(code for code in _usual_codes(signal) if code not in given))
    zeros = _zero_runs(signal, rate_hz) if 0.0 not in codes else None
    if not codes and zeros is None:
        return signal, ()
    cleaned = np.array(signal, np.float64)
    notes = []
    for code in codes:
        is_missing = cleaned == code
        if is_missing.any():
            cleaned[is_missing] = np.nan
            notes.append(f"{int(is_missing.sum())} samples of {code:.10g} are taken as missing")
    if zeros is not None:
        cleaned[zeros] = np.nan
        notes.append(f"{int(zeros.sum())} samples of 0, in runs that the signal jumps into, are taken as missing")
    return (cleaned, tuple(notes)) if notes else (signal, ())


def without_gaps(signal: Samples, rate_hz: float, in_place: bool = False) -> tuple[Samples, tuple[tuple[int, int], ...]]:
    """The signal with straight lines over gaps of up to BRIDGED_S, and these gaps: their first sample, that after their last.

    Gaps at the ends stay.
    """
    if signal.dtype.kind != "f" or not _has_gap(signal):
        return signal, ()
    missing = ~np.isfinite(signal)
    starts, ends = edges_of(missing)
    inner = (starts > 0) & (ends < len(signal)) & (ends - starts <= BRIDGED_S * rate_hz + 1e-6)
    reach = round(SPARSE_S * rate_hz / 2)
    first, last = np.clip(starts - reach, 0, None), np.clip(ends + reach, None, len(signal))
    total = np.concatenate([[0], np.cumsum(ends - starts)])

    def n_before(sample: Int[np.ndarray, " run"]) -> Int[np.ndarray, " run"]:
        begun = np.searchsorted(starts, sample)
        return np.asarray(total[begun] - np.clip(ends[np.maximum(begun, 1) - 1] - sample, 0, None) * (begun > 0))

    dense = n_before(last) - n_before(first) <= np.maximum(SPARSE * (last - first), ends - starts)
    starts, ends = starts[inner & dense], ends[inner & dense]
    if not len(starts):
        return signal, ()
    filled = signal if in_place else np.array(signal, np.float64)
    lengths = ends - starts
    at = np.repeat(starts, lengths) + np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left, right = np.repeat(starts - 1, lengths), np.repeat(ends, lengths)
    filled[at] = filled[left] + (filled[right] - filled[left]) * (at - left) / (right - left)
    return filled, tuple(zip(starts.tolist(), ends.tolist(), strict=True))


def edges_of(true: Bool[np.ndarray, " sample"]) -> tuple[Int[np.ndarray, " run"], Int[np.ndarray, " run"]]:
    """The first sample of each run in which `true` holds, and the sample after its last."""
    step = np.diff(true.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(step == 1), np.flatnonzero(step == -1)


def _has_gap(signal: Samples) -> bool:
    return any(not np.isfinite(signal[first : first + BLOCK]).all() for first in range(0, len(signal), BLOCK))


def _usual_codes(signal: Samples) -> list[float]:
    """The codes that are the lowest or the highest sample, more than once, and lie apart from the rest."""
    edges = [_extremes(signal[first : first + BLOCK]) for first in range(0, len(signal), BLOCK)]
    lowest, highest = min((low for low, _ in edges), default=np.nan), max((high for _, high in edges), default=np.nan)
    codes = [code for code in dict.fromkeys((lowest, highest)) if code in CODES]
    if not codes or lowest == highest:
        return []
    rest = [_extremes(block[~np.isin(block, codes)]) for block in _blocks(signal)]
    low, high = min(low for low, _ in rest), max(high for _, high in rest)
    if not low <= high:
        return []
    n = {code: sum(int((block == code).sum()) for block in _blocks(signal)) for code in codes}
    return [code for code in codes if n[code] > 1 and max(low - code, code - high) > max(high - low, 1e-9)]


def _blocks(signal: Samples) -> list[Real[np.ndarray, "..."]]:
    return [signal[first : first + BLOCK] for first in range(0, len(signal), BLOCK)]


def _extremes(samples: Samples) -> tuple[float, float]:
    """The lowest and the highest finite sample; infinities the wrong way round where there is none."""
    if samples.dtype.kind == "f" and not (len(samples) and np.isfinite(samples.min()) and np.isfinite(samples.max())):
        samples = samples[np.isfinite(samples)]
    return (float(samples.min()), float(samples.max())) if len(samples) else (np.inf, -np.inf)


def _zero_runs(signal: Samples, rate_hz: float) -> Bool[np.ndarray, " sample"] | None:
    """Which samples are zeros that stand for missing ones; None where there are none, or where the signal itself is 0 at times."""
    at_least = max(3, round(ZERO_RUN_S * rate_hz))
    if not any(_longest_zeros(block, at_least) for block in _blocks(signal)):
        return None
    zeros = np.asarray(signal) == 0
    starts, ends = edges_of(zeros)
    if (ends - starts).min() < at_least or zeros.all():
        return None
    glimpse = np.asarray(signal[:BLOCK], np.float64)
    steps = np.abs(np.diff(glimpse))
    steps = steps[(glimpse[1:] != 0) & (glimpse[:-1] != 0) & np.isfinite(steps)]
    beside = np.concatenate([starts[starts > 0] - 1, ends[ends < len(signal)]])
    into = np.abs(np.asarray(signal[beside], np.float64))
    into = into[np.isfinite(into)]
    jumps = len(steps) > 0 and len(into) > 0 and float(np.median(into)) > JUMP * float(np.median(steps)) > 0
    return zeros if jumps else None


def _longest_zeros(block: Samples, at_least: int) -> bool:
    """Whether a run of so many zeros may be in a block: seen on every `at_least`-th sample first, for most signals have none."""
    return bool((block[::at_least] == 0).any())
