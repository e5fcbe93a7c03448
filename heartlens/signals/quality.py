"""Which stretches of a recording can be used, and why the others cannot. Each window is judged, so that a bad minute costs a minute.

Laid end to end from the beginning of every stretch without a gap, windows are skipped that hold noise, mains hum, motion, spikes, jumps, a
lead that is off, or a signal cut off at a rail. The same windows tell whether the recording is of its kind (heart_signal). How many bad
windows are seen and how many good ones are lost: docs/reading.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal
from heartlens.signals import prepare
from heartlens.signals.heart_signal import PEAKED_QRS, PEAKED_SLOPE, SHARP, like_ecg, not_of_kind, points_down, reversed_lead
from heartlens.signals.recording import Recording
from heartlens.signals.traits import Traits, median, traits

AT_ONCE = 256  # windows judged together
GLIMPSE = 5000  # samples in which the converter's steps are looked for
ROUGH, LINE = 0.15, 0.6
BURST, BURST_ROUGH = 5.0, {"ecg": 0.08, "ppg": 0.04}  # times as rough as the recording's windows are, and so rough at least
SQUEEZED, CORE = 0.15, 0.25
SWINGS = 0.8
PULSE_NOISE = 0.2
STEEP_AT_LEAST, REGULAR_AT_LEAST = 0.25, 0.45
OFF, OFF_STEPS = 0.01, 2.5  # of the usual range of a second, and in steps of the converter: less is no heart
CUT_OFF_S = {"ecg": 0.25, "ppg": 1.0}  # at the very highest or lowest value of the recording, in one window
LEVELS_AT_LEAST = 8
EVEN_STEPS = 0.8
FLAT, MISSING = "flat window", "missing samples"
REASONS = ("lead off", "cut off at a rail", "spikes", "jump or drift larger than the beats", "mains hum", "noise", "motion")

Windows = Float[np.ndarray, "window sample"]


class Usable(NamedTuple):
    """The usable stretches of a recording; `left` are the stretches left after each reason, in order, the last of them usable."""

    left: tuple[tuple[str, list[slice]], ...]
    notes: tuple[str, ...] = ()

    @property
    def stretches(self) -> list[slice]:
        return self.left[-1][1]


def usable(recording: Recording, kind: str, polarity: str = "check") -> Usable:
    """The stretches of a recording that can be cut into windows; with `polarity` "as-is" (`Hints`), all without a gap that are not flat.

    Refuses a signal that is plainly not of the kind, and a pulse that points down; with "as-is" a note says so instead.
    """
    live = prepare.live_stretches(recording.signal, recording.rate_hz)
    left = [(MISSING, prepare.finite_stretches(recording.signal)), (FLAT, live)]
    starts, length = _laid(live, recording.rate_hz, kind)
    if not len(starts):
        return Usable(tuple(left))
    judged = _judge(recording, starts, length)
    faults = _faults(judged, kind, recording.rate_hz)
    objection, remedy = _objection(judged, faults, kind, polarity)
    if polarity == "as-is":
        return Usable(tuple(left), (f"{recording.name}: {recording.lead} taken as it is, though it {objection}",) if objection else ())
    if objection:
        raise Refusal(f"{recording.source}: {recording.lead} {objection}; {remedy}")
    for reason in REASONS:
        if (faults == reason).any():
            live = _without(live, starts[faults == reason], length)
            left.append((reason, live))
    note = reversed_lead(judged.traits.of(faults == ""), recording.lead) if kind == "ecg" else ""
    return Usable(tuple(left), (f"{recording.name}: {note}",) if note else ())


class _Judged(NamedTuple):
    """What was measured of each window: its traits, the range of each of its seconds, and for how many samples it lies at the recording's
    lowest or highest value; of the recording, the least step between two samples, how many values it has and how many steps are equal."""

    traits: Traits
    second: Float[np.ndarray, "window second"]
    at_rail: Int[np.ndarray, " window"]
    least_step: float
    n_levels: int
    even_steps: float


def _laid(stretches: list[slice], rate_hz: float, kind: str) -> tuple[Int[np.ndarray, " window"], int]:
    """The first samples of windows laid end to end in each stretch, the last of them at its end; and their length."""
    exact = CONTEXT * rate_hz / KINDS[kind].rate_hz
    length, starts = int(exact), []
    for stretch in stretches:
        n_whole = int((stretch.stop - stretch.start + 1e-6) / exact)
        if n_whole:
            starts += [stretch.start + round(number * exact) for number in range(n_whole)]
            if stretch.stop - starts[-1] > length + 1:
                starts.append(stretch.stop - length)
    return np.array(starts, int), length


def _judge(recording: Recording, starts: Int[np.ndarray, " window"], length: int) -> _Judged:
    """What is measured of the windows, some of them read at a time."""
    parts, seconds, lowest, highest = [], [], [], []
    per_second = max(round(recording.rate_hz), 1)
    n_seconds = length // per_second
    for first in range(0, len(starts), AT_ONCE):
        some = starts[first : first + AT_ONCE]
        samples = recording.samples(slice(int(some[0]), int(some[-1]) + length))
        windows = samples[(some - some[0])[:, None] + np.arange(length)]
        parts.append(traits(windows, recording.rate_hz))
        seconds.append(np.ptp(windows[:, : n_seconds * per_second].reshape(len(some), n_seconds, per_second), axis=2))
        low, high = windows.min(axis=1), windows.max(axis=1)
        lowest.append(np.stack([low, (windows == low[:, None]).sum(axis=1)]))
        highest.append(np.stack([high, (windows == high[:, None]).sum(axis=1)]))
        if not first:
            glimpse = windows.ravel()[:GLIMPSE]
    low, n_low = np.concatenate(lowest, axis=1)
    high, n_high = np.concatenate(highest, axis=1)
    at_rail = np.where(low == low.min(), n_low, 0) + np.where(high == high.max(), n_high, 0)
    steps = np.diff(glimpse)
    own = np.abs(steps)
    middle = np.partition(steps, len(steps) // 2)[len(steps) // 2]
    even = float((np.abs(steps - middle) <= 1e-6 * np.ptp(glimpse)).mean()) if middle else 0.0
    together = Traits(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    least = float(np.where(own > 0, own, np.inf).min())
    return _Judged(together, np.concatenate(seconds), at_rail.astype(int), least, _n_levels(glimpse), even)


def _n_levels(samples: Float[np.ndarray, " sample"]) -> int:
    """How many different values there are, as soon as it is clear that they are enough."""
    few = np.unique(samples[:: max(len(samples) // 200, 1)])
    return len(few) if len(few) >= LEVELS_AT_LEAST else len(np.unique(samples))


def _faults(judged: _Judged, kind: str, rate_hz: float) -> Shaped[np.ndarray, " window"]:
    """The reason for which each window is skipped, empty where there is none: of several, the first of REASONS."""
    its = judged.traits
    usual = np.sort(judged.second, axis=None)[3 * judged.second.size // 4]  # most seconds have a beat
    off = judged.second <= max(OFF * usual, OFF_STEPS * judged.least_step if np.isfinite(judged.least_step) else 0.0)
    is_noise = its.sharp > PULSE_NOISE if kind == "ppg" else (its.peaked_qrs < PEAKED_QRS) & (its.peaked_slope < PEAKED_SLOPE)
    is_burst = (its.rough > BURST_ROUGH[kind]) & (its.rough > BURST * median(its.rough))
    is_rough = (its.rough > ROUGH) | is_burst
    is_moved = its.one_way > SWINGS
    if kind == "ppg":
        is_moved = (its.steep_rise < 0) | (its.steep_rise < STEEP_AT_LEAST) & (its.regular < REGULAR_AT_LEAST)
    faulty = (
        (off[:, 1:] & off[:, :-1]).any(axis=1),
        judged.at_rail > CUT_OFF_S[kind] * rate_hz,
        its.core < CORE,
        its.beats < SQUEEZED,
        is_rough & (its.line > LINE),
        is_rough | is_noise,
        is_moved,
    )
    return np.select(faulty, REASONS, default="")


def _objection(judged: _Judged, faults: Shaped[np.ndarray, " window"], kind: str, polarity: str) -> tuple[str, str]:
    """Why the recording is refused as a whole, in words that follow its lead's name, and what to do; both empty where it is not."""
    other = "give another --lead, or --as-is to take it as it is"
    if judged.even_steps > EVEN_STEPS:
        return "grows by the same step from sample to sample, as a counter or a time does", other
    if judged.n_levels < LEVELS_AT_LEAST:
        return f"has only {judged.n_levels} different values, which is no signal", other
    clear = (faults == "") | (faults == "motion")  # whose shape can be seen
    other_kind = like_ecg(judged.traits) if kind == "ppg" else judged.traits.sharp < SHARP
    clear |= other_kind & ((faults == "noise") | (faults == "mains hum"))  # an ECG is noise to pulses, and pulses to an ECG
    its = judged.traits.of(clear)
    reason = not_of_kind(its, kind)
    if reason:
        remedy = f"give another --lead, a checkpoint for the other kind of signal, or --as-is to take it as {kind.upper()}"
        return f"{reason}: this is not {kind.upper()}", remedy
    if kind == "ppg" and points_down(its):
        turned = "it points up as recorded: leave --invert away" if polarity == "invert" else "give --invert to turn it"
        return "is upside down: its pulses fall more steeply than they rise", f"{turned}, or --as-is to take it as it is"
    return "", ""


def _without(stretches: list[slice], starts: Int[np.ndarray, " window"], length: int) -> list[slice]:
    """The stretches without the windows that begin at `starts`."""
    left = []
    for stretch in stretches:
        begin = stretch.start
        for start in starts[(starts >= stretch.start) & (starts < stretch.stop)].tolist():
            left.append(slice(begin, start))
            begin = start + length
        left.append(slice(begin, stretch.stop))
    return [part for part in left if part.stop > part.start]
