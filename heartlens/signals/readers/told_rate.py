"""The rate that a file of named arrays tells: single numbers called fs, rate, ecg_fs, fs_ecg and the like, and even times of the samples.

All of them must agree to 1 %, the numbers exactly. Where they do not, a given rate decides if it is one of them.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from heartlens.refusal import Refusal
from heartlens.signals.column_names import KINDS, canonical_unit, column_called, shown, words_of
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import positive

WITHIN = r"(?:.*[./])?(?:.*[_ -])?"  # a structure, a group
OF_SIGNALS = r"(?:(?:lead|channel|ch|signals?|sig|raw|data|adc|daq|record(?:ing)?|acquisition|header|hdr|info|meta|sampl(?:e|ing))[_ -])*"
SAMPLING = r"sampl(?:e|ing)_?(?:freq(?:uency)?|rate)(?:_?hz)?"
PLAIN = rf"(?:{SAMPLING}|samp_?(?:freq|rate)|rate_?hz|fs_?hz|frequency|s?freq|s?rate|f_?s|sf|sr|hz)"
RATE = re.compile(rf"(?:.*[./])?{OF_SIGNALS}{PLAIN}", re.IGNORECASE)  # not heart_rate, resp_rate, cutoff_frequency
OF_LEAD = re.compile(rf"{WITHIN}(?:(?P<front>[^./ ]+?){PLAIN}|{PLAIN}[._/ -]?(?P<behind>[^./ ]+))", re.IGNORECASE)
TIME = re.compile(rf"{WITHIN}(?:t|tm|times?|timestamps?)(?:_?s)?", re.IGNORECASE)
TIME_WORDS = frozenset(["time", "times", "timestamp", "timestamps", "elapsed", "zeit", "zeitstempel", "tiempo", "tempo", "heure", "время"])
NO_TIME = frozenset(["series", "real"])  # a time series is a signal
AROUND = frozenset(["lead", "ch", "channel", "signal", "sig", "raw"])  # words that may stand beside a lead's name
PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "min": 1 / 60, "h": 1 / 3600}
GUESSED = ("s", "ms", "us", "ns")
UNEVEN = 0.6  # of a step: times printed with few digits are nearer than that
LEAST_HZ = 2.0
ALIKE = 0.01
BLOCK = 2**20  # times looked at together
MOST_SHOWN = 4


@dataclass(frozen=True)
class Times:
    """An array of times: `values` reads it, `unit` is the file's word for its unit, empty or empty; no hint changes it if `is_fixed`."""

    values: Callable[[], Shaped[np.ndarray, "..."]]
    unit: str = ""
    is_fixed: bool = False


def is_time(name: str) -> bool:
    """Whether the name is that of times.

    >>> [is_time(name) for name in ("t", "ecg/time", "time_ms", "Time [us]", "time_series", "t_wave", "ECG")]
    [True, True, True, True, False, False, False]
    """
    words = words_of(name.rsplit("/", 1)[-1])
    has_unit = words[:1] == ("t",) and bool(column_called(name).unit)
    is_named = has_unit or bool(TIME_WORDS.intersection(words) and not NO_TIME.intersection(words))
    return TIME.fullmatch(name) is not None or (is_named and column_called(name).kind == "time")


def may_tell_rate(name: str) -> bool:
    """Whether a single number of this name may be a rate; `tells_rate` knows it when the leads are known."""
    return (RATE.fullmatch(name) or OF_LEAD.fullmatch(name)) is not None


def tells_rate(name: str, leads: Collection[str]) -> bool:
    """Whether a single number of this name is a rate: alone or named after a lead, in front or behind.

    >>> [tells_rate(name, ["val"]) for name in ("fs", "ecg_fs", "fs_ecg", "ECGfs", "samplerate_ecg", "fs_val", "fs_resp", "hz_notch")]
    [True, True, True, True, True, True, False, False]
    """
    if RATE.fullmatch(name):
        return True
    match = OF_LEAD.fullmatch(name)
    of = ((match["front"] or match["behind"]) if match else "").strip("_-").lower()
    kinds = [column_called(word).kind for word in words_of(of) if word not in AROUND]
    is_long = len(of) > 3 or of.startswith(("ecg", "ekg", "ppg", "bvp")) or f"_{of}" in name.lower()  # sri is no rate of lead I
    return bool(of) and (of in {lead.lower() for lead in leads} or (is_long and bool(kinds) and all(kind in KINDS for kind in kinds)))


def told_rate(
    numbers: Mapping[str, Any], times: Mapping[str, Times], leads: Collection[str], hints: Hints, path: Path
) -> tuple[float | None, tuple[str, ...]]:
    """The rate in Hz that the file tells, None where it tells none, and notes. Refuses several, unless the given one is among them."""
    rate_of = {name: positive(value, f"rate {name}", path) for name, value in numbers.items() if tells_rate(name, leads)}
    agree = len({round(rate, 6) for rate in rate_of.values()}) < 2
    stated_hz = [*rate_of.values(), *([hints.rate_hz] if hints.rate_hz else [])]
    notes: tuple[str, ...] = ()
    for name, own in times.items():
        try:
            rate_of[f"times {name}"] = _rate_of(name, own, stated_hz, hints, path)
        except Refusal as refusal:
            if hints.rate_hz is None:
                raise
            notes += (f"the times are not used ({str(refusal).removeprefix(f'{path}: ')}), {hints.rate_hz:g} Hz was given",)
    rates_hz = list(rate_of.values())
    if agree and all(_is_alike(rate, rates_hz[0]) for rate in rates_hz):
        return next(iter(rates_hz), None), notes
    listed = ", ".join(f"{shown(name)} {rate:.6g} Hz" for name, rate in list(rate_of.items())[:MOST_SHOWN])
    given_hz = hints.rate_hz
    near = [rate for rate in rates_hz if given_hz is not None and _is_alike(rate, given_hz)]
    if given_hz is None or not near:
        other = "" if given_hz is None else f", and {given_hz:g} Hz, which was given, is none of them"
        raise Refusal(f"{path}: holds several rates ({listed}){other}; give that of the lead with --rate")
    rate_hz = min(near, key=lambda rate: abs(rate - given_hz))
    return rate_hz, (*notes, f"{rate_hz:.6g} Hz taken, as given, of several rates that the file tells ({listed})")


def _is_alike(rate_hz: float, other_hz: float) -> bool:
    return abs(rate_hz / other_hz - 1) <= ALIKE


def _rate_of(name: str, times: Times, stated_hz: list[float], hints: Hints, path: Path) -> float:
    """The rate of even times in the unit that is given or told, else in the one that agrees with a known rate, else in seconds."""
    step = _even_step(times.values().reshape(-1))
    if step is None:
        raise Refusal(f"{path}: the times {shown(name)} are uneven; write signal and times as CSV, where gaps are kept, or give --rate")
    stated = next((unit for unit in (canonical_unit(times.unit), column_called(name).unit) if unit in PER_S), None)
    unit = stated if times.is_fixed else hints.time_unit or stated
    fitting = [each for each in GUESSED if any(_is_alike(PER_S[each] / step, rate) for rate in stated_hz)]
    rate_hz = PER_S[unit or next(iter(fitting), "s")] / step
    if rate_hz < LEAST_HZ:
        raise Refusal(f"{path}: the times {shown(name)} have a step of {1 / rate_hz:g} s, which is no rate; give --time-unit")
    return rate_hz


def _even_step(times: Shaped[np.ndarray, " sample"]) -> float | None:
    """The step between times, None where they are not even; looked at a block at a time."""
    step = (float(times[-1]) - float(times[0])) / (len(times) - 1)
    blocks = (np.diff(times[first : first + BLOCK + 1].astype(np.float64)) for first in range(0, len(times) - 1, BLOCK))
    is_even = step > 0 and all((np.abs(steps - step) < UNEVEN * step).all() for steps in blocks)
    return step if is_even else None
