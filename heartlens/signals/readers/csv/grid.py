"""Samples with times become samples at one rate; where none were taken is missing (NaN), so that the recording keeps its length.

- Times on an even grid, but for rounding: the samples as they are. The same with gaps: each sample at its place.
- One time for many samples (a packet's; equal ones, or blanks between): the samples evenly between the times.
- Other uneven times are interpolated (modified Akima: local, little overshoot) at their usual step; gaps of more than GAP_STEPS usual
  steps are missing. Times that go back by less than that are sorted.
- Damaged times, few together and far from those around them, are left out with their samples. Other times that go back are refused, as
  are gaps that would fill the memory.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int, Real

from heartlens.refusal import Refusal

GAP_STEPS = 3  # a longer silence between two samples is a gap, not jitter
EVEN = 0.2  # times within this fraction of a step of an even grid are even
FEW = 10  # damaged times in a row
BLANK_SHARE = 0.05  # of times missing: fewer are damaged, more are those between the packets'
FAR_S = 60.0  # times at either end, so far from all others, are damaged
MOST_MISSING = 20, 2**22  # a grid has at most so many times the samples, and so many more
WRAPS = (2**16, 2**24, 2**31, 2**32, 10**6)
HIGHEST_RATE_HZ = 50_000.0

Signal = Float64[np.ndarray, " sample"]
Grid = Float64[np.ndarray, " grid"]
Kept = Float64[np.ndarray, " kept"]


def evenly(signal: Signal, time_s: Signal, name: str, path: Path) -> tuple[Grid, float, tuple[str, ...]]:
    """The signal at one rate, the rate in Hz, and notes. Refuses times from which no rate can be told."""
    blank = np.isnan(time_s)
    of_packets = blank.mean() >= BLANK_SHARE
    if of_packets:
        signal, stamps = signal[int(blank.argmin()) :], time_s[int(blank.argmin()) :]
        new = ~np.isnan(stamps)
        kept, notes = _undamaged(stamps[new], name, path)
        rows = np.flatnonzero(new)[kept]
        times = stamps[rows]
    else:
        if blank.any():
            time_s, signal = time_s[~blank], signal[~blank]
        kept, notes = _undamaged(time_s, name, path)
        notes = _left_out(int(blank.sum()), "no time") + notes
        times, signal = (time_s, signal) if kept.all() else (time_s[kept], signal[kept])
        if len(times) > 1 and (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            times, signal = times[order], signal[order]
            notes += ("times that go back a little are sorted",)
        if len(times) > 1 and times[-1] > times[0] and (even := _even(signal, times)):
            return even[0], _credible(even[1], name, path), notes
        new = np.diff(times, prepend=-np.inf) > 0
        rows = np.flatnonzero(new)
    if len(signal) == 1:
        raise Refusal(f"{path}: there is one sample, which is no signal")
    if len(rows) < 2 or (new.mean() < 0.5 and len(rows) < FEW):
        raise Refusal(f"{path}: the times in {name!r} are most equal to the one before, or missing; give --rate")
    if of_packets or new.mean() < 0.9:
        even_signal, rate_hz, packet_notes = _spaced(signal, rows, times if of_packets else times[rows], path)
        return even_signal, _credible(rate_hz, name, path), notes + packet_notes
    steps = np.diff(times)
    median = float(np.median(steps))
    rate_hz = _credible(1 / float(steps[np.abs(steps - median) < median / 2].mean()), name, path)
    _refuse_vast((times[-1] - times[0]) * rate_hz, len(times), name, path)
    if (placed := _placed(signal, times, rate_hz)) is not None:
        return placed[0], placed[1], (*notes, "samples were lost: their places are left missing")
    return _interpolated(signal, times, rate_hz), rate_hz, (*notes, f"uneven times: interpolated at {rate_hz:.4g} Hz")


def _undamaged(time_s: Kept, name: str, path: Path) -> tuple[Bool[np.ndarray, " kept"], tuple[str, ...]]:
    """Which times are not damaged, and a note. Counters that begin anew are counted on, in place."""
    kept = np.ones(len(time_s), bool)
    if len(time_s) < 3:
        if (np.diff(time_s) < 0).any():
            raise Refusal(f"{path}: the times in {name!r} go back; give --rate to take the samples one after another")
        return kept, ()
    steps = np.diff(time_s)
    rising = steps[steps > 0]
    usual = float(np.median(rising)) if len(rising) else 0.0
    back = np.flatnonzero(steps < -GAP_STEPS * usual) + 1
    most = max(len(time_s) // 100, 1 if len(time_s) >= 2 * FEW else 0)
    for place in back[: most + 1].tolist():
        if not kept[place] or time_s[place] >= time_s[place - 1] - GAP_STEPS * usual:
            continue  # seen to already
        above = _run(time_s[max(place - FEW - 1, 0) : place][::-1] > time_s[place] + GAP_STEPS * usual)
        below = _run(time_s[place : place + FEW + 1] < time_s[place - 1] - GAP_STEPS * usual)
        if min(above, below) > FEW or (above == below and len(time_s) < 2 * FEW):
            raise Refusal(
                f"{path}: the times in {name!r} go back by {time_s[place - 1] - time_s[place]:.6g} s after {place} samples; "
                "give --rate to take the samples one after another"
            )
        kept[slice(place - above, place) if _is_above(time_s, place, above, below) else slice(place, place + below)] = False
    first, last = _ends(time_s, kept, usual)
    kept[:first], kept[last:] = False, False
    n_damaged = int((~kept).sum())
    left = time_s[kept]
    if n_damaged > most * (1 if most > 1 else FEW) or (np.diff(left) < -GAP_STEPS * usual).any():
        raise Refusal(f"{path}: the times in {name!r} go back again and again; give --rate to take the samples one after another")
    return kept, _left_out(n_damaged, "a damaged time")


def _is_above(time_s: Kept, place: int, above: int, below: int) -> bool:
    """Whether the times before a place are the damaged ones, not those from there on: the fewer, of as many those that leave no jump."""
    if above != below or place - above - 1 < 0 or place + below >= len(time_s):
        return above < below or (above == below and place + below >= len(time_s))
    return bool(abs(time_s[place] - time_s[place - above - 1]) < abs(time_s[place + below] - time_s[place - 1]))


def unwrapped(stamps: Real[np.ndarray, " row"]) -> Real[np.ndarray, " row"]:
    """Counts of a clock with few bits, counted on where they begin anew."""
    finite = np.flatnonzero(np.isfinite(stamps))
    values = stamps[finite]
    steps = np.diff(values.astype(np.float64))
    back = np.flatnonzero(steps < 0)
    if not len(back) or len(back) > len(values) // 10:
        return stamps
    usual = float(np.median(steps))
    for wrap in WRAPS:
        after = steps[back] + wrap
        if values.max() < wrap and values.min() >= 0 and ((after >= 0) & (after <= max(GAP_STEPS * usual, wrap / 100))).all():
            counted = stamps.copy()
            counted[finite] += (wrap * np.concatenate([[0], np.cumsum(steps < 0)])).astype(counted.dtype)
            return counted
    return stamps


def _run(true: Bool[np.ndarray, " some"]) -> int:
    """How many are true from the first on."""
    return int(true.argmin()) if not true.all() else len(true)


def _ends(time_s: Kept, kept: Bool[np.ndarray, " kept"], usual: float) -> tuple[int, int]:
    """The first and the end of the times without a few at either end that are far from all others."""
    places = np.flatnonzero(kept)
    far = max(FAR_S, 1000 * usual)
    if len(places) < 2 * FEW:
        return 0, len(time_s)
    head = np.flatnonzero(np.diff(time_s[places[: FEW + 1]]) > far)
    tail = np.flatnonzero(np.diff(time_s[places[-FEW - 1 :]]) > far)
    first = int(places[head[-1] + 1]) if len(head) else 0
    last = int(places[len(places) - FEW + tail[0]]) if len(tail) else len(time_s)
    return first, last


def _left_out(count: int, reason: str) -> tuple[str, ...]:
    return (f"{count} sample{'s' if count > 1 else ''} with {reason} left out",) if count else ()


def _even(signal: Signal, time_s: Signal) -> tuple[Signal, float] | None:
    steps = np.diff(time_s)
    mean = float(steps.mean())
    off_grid = np.arange(len(time_s)) * -mean
    off_grid += time_s - time_s[0]
    farthest = np.abs(off_grid, out=off_grid).max()
    repeated = (steps == 0).any()  # two samples at one time: the times are printed with too few digits
    if np.median(steps) <= 0 or (farthest >= (mean if repeated else EVEN * mean) and (repeated or farthest >= _digit_s(time_s))):
        return None
    return signal, 1 / mean


def _digit_s(time_s: Signal) -> float:
    """The value of the last printed digit of the times: what rounding may move them by."""
    digits = (digit for digit in (1e-1, 1e-2, 1e-3, 1e-4) if np.abs(time_s / digit - np.round(time_s / digit)).max() < 1e-3)
    return 1.001 * next(digits, 0.0)


def _placed(signal: Signal, time_s: Signal, rate_hz: float) -> tuple[Grid, float] | None:
    """The samples at their places on an even grid with holes; None where they lie on none."""
    steps = np.diff(time_s)
    places = np.concatenate([[0], np.cumsum(np.round(steps * rate_hz))])
    if not (np.diff(places) > 0).all() or places[-1] == len(places) - 1:
        return None
    slope, start = np.polyfit(places, time_s, 1)
    tolerance = max(0.02 * slope, min(_digit_s(time_s), EVEN * slope))
    if np.abs(time_s - start - places * slope).max() > tolerance:
        return None
    grid = np.full(int(places[-1]) + 1, np.nan)
    grid[places.astype(np.int64)] = signal
    return grid, 1 / float(slope)


def _spaced(
    signal: Signal, rows: Int[np.ndarray, " packet"], times: Float64[np.ndarray, " packet"], path: Path
) -> tuple[Grid, float, tuple[str, ...]]:
    """Samples of which only some have a time, evenly between; where the times stay behind by more than half a packet, samples were lost."""
    sizes, waits = np.diff(rows), np.diff(times)
    packet = float(np.median(sizes))
    step = float(np.median(waits / sizes))
    jumps = np.zeros(len(sizes))
    for _ in range(5):
        late = times - rows * step
        jumps = np.zeros(len(sizes))
        least = max(0.5 * packet, GAP_STEPS) * step
        for place in np.flatnonzero(waits - sizes * step > 1.5 * least)[: 10**5]:
            jump = np.median(late[place + 1 : place + 6]) - np.median(late[max(place - 4, 0) : place + 1])
            jumps[place] = jump if jump > least else 0.0
        new_step = float((times[-1] - times[0] - jumps.sum()) / (rows[-1] - rows[0]))
        if new_step <= 0 or abs(new_step / step - 1) < 1e-12:
            break
        step = new_step
    lost = np.round(jumps / step).astype(np.int64)
    _refuse_vast(float(lost.sum()), len(signal), "the packets", path)
    before = np.zeros(len(signal), np.int64)
    before[rows[1:]] = lost
    places = np.arange(len(signal)) + np.cumsum(before)
    grid = np.full(int(places[-1]) + 1, np.nan)
    grid[places] = signal
    notes = (f"one time for about {packet:g} samples: the samples are spaced evenly",) if packet > 1 else ()
    return grid, 1 / step, notes + ((f"{lost.sum()} samples were lost: their places are left missing",) if lost.any() else ())


def _refuse_vast(n_grid: float, n_samples: int, name: str, path: Path) -> None:
    if not n_grid <= MOST_MISSING[0] * n_samples + MOST_MISSING[1]:
        raise Refusal(
            f"{path}: the gaps in the times of {name!r} are {n_grid / n_samples:.3g} times as long as the samples; cut the file at the gaps"
        )


def _credible(rate_hz: float, name: str, path: Path) -> float:
    if not 0 < rate_hz <= HIGHEST_RATE_HZ:
        raise Refusal(f"{path}: the times in {name!r} make {rate_hz:.6g} Hz; give --time-unit, or --rate")
    return rate_hz


def _interpolated(signal: Signal, time_s: Signal, rate_hz: float) -> Grid:
    from scipy.interpolate import Akima1DInterpolator

    is_given = np.isfinite(signal) & (np.diff(time_s, prepend=-np.inf) > 0)
    if is_given.sum() < 2:
        return np.full(len(signal), np.nan)
    time_s, signal, start_s, end_s = time_s[is_given], signal[is_given], time_s[0], time_s[-1]
    grid = start_s + np.arange(int((end_s - start_s) * rate_hz + 1e-6) + 1) / rate_hz
    even = Akima1DInterpolator(time_s, signal, method="makima")(grid)
    after = np.clip(np.searchsorted(time_s, grid), 1, len(time_s) - 1)
    even[time_s[after] - time_s[after - 1] > GAP_STEPS / rate_hz] = np.nan
    return np.asarray(even, np.float64)
