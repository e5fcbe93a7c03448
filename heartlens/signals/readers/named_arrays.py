"""Arrays by name, as MATLAB and HDF5 files hold them: which are signals, and which tell the rate, the times, the names of leads, the unit.

The rate is a single number called fs, rate, sfreq and the like, beside the signal or anywhere in the file where all such agree; else it
follows from even times in seconds. A matrix holds as many signals as its shorter side has rows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from heartlens.refusal import Refusal
from heartlens.signals.readers.channels import Channel, positive

WITHIN = r"(?:.*[._/ ])?"  # a structure, a group
SAMPLING = r"sampl(?:e|ing)_?(?:freq(?:uency)?|rate)(?:_?hz)?"
RATE = re.compile(rf"{WITHIN}(?:f_?s|sf|sr|s?rate|hz|s?freq|samp_?freq|frequency|fs_?hz|rate_?hz|{SAMPLING})", re.IGNORECASE)
TIME = re.compile(rf"{WITHIN}(?:t|tm|times?|timestamps?)(?:_?s)?", re.IGNORECASE)
NAMES = re.compile(rf"{WITHIN}(?:leads?|channels?|labels?|description|(?:lead|channel|ch|sig|signal)_?names?)", re.IGNORECASE)
LEAST = 50  # samples: fewer are no signal
MOST_ROWS = 512
UNEVEN = 0.6  # of a step: times printed with few digits are nearer than that
LEAST_HZ = 2.0
BLOCK = 2**20  # times looked at together


@dataclass(frozen=True)
class Array:
    """An array of a file: `values` reads all of it, `row` one row of a matrix, along its longer side. `unit` is empty where not told."""

    shape: tuple[int, ...]
    kind: str
    values: Callable[[], Shaped[np.ndarray, "..."]]
    row: Callable[[int], Shaped[np.ndarray, "..."]]
    unit: str = ""


def channels_of(arrays: Mapping[str, Array], texts: Mapping[str, list[str]], rates: Mapping[str, Any], path: Path) -> list[Channel]:
    """The signals among the arrays; `texts` are lists of words by name, `rates` single numbers by name. Refuses rates that disagree."""
    signals = {name: array for name, array in arrays.items() if _is_signal(array) and not TIME.fullmatch(name)}
    lengths = {_longest(array.shape) for array in signals.values()}
    times = {
        name: array for name, array in arrays.items() if TIME.fullmatch(name) and array.kind in "fiu" and _longest(array.shape) in lengths
    }
    rate_hz = _rate(rates, times, path)
    channels = []
    for name, array in signals.items():
        n_rows = _n_rows(array.shape)
        if n_rows == 1:
            channels.append(Channel(_last(name), array.unit, rate_hz, array.values))
        elif n_rows <= MOST_ROWS:
            names = next((words for key, words in texts.items() if NAMES.fullmatch(key) and len(words) == n_rows), None)
            labels = names or [f"{_last(name)} {number}" for number in range(n_rows)]
            channels += [Channel(label, array.unit, rate_hz, partial(array.row, number)) for number, label in enumerate(labels)]
    return channels


def _is_signal(array: Array) -> bool:
    return (
        array.kind in "fiu"
        and _longest(array.shape) >= LEAST
        and int(np.prod([size for size in array.shape if size > 1])) == _longest(array.shape) * _n_rows(array.shape)
    )


def _longest(shape: tuple[int, ...]) -> int:
    return max(shape, default=0)


def _n_rows(shape: tuple[int, ...]) -> int:
    """The shorter side of a matrix; 1 of a vector. 0 for what has more sides."""
    sides = sorted(size for size in shape if size != 1)
    return 0 if len(sides) > 2 else sides[0] if len(sides) == 2 else 1


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1] or name


def _rate(rates: Mapping[str, Any], times: Mapping[str, Array], path: Path) -> float | None:
    stated_hz = {name: positive(value, f"rate {name}", path) for name, value in rates.items() if RATE.fullmatch(name)}
    if len({round(rate, 6) for rate in stated_hz.values()}) > 1:
        listed = ", ".join(f"{name} {rate:g}" for name, rate in list(stated_hz.items())[:4])
        raise Refusal(f"{path}: holds several rates ({listed}); write a file that holds the one rate of the lead")
    rate_hz = next(iter(stated_hz.values()), None)
    for name, array in times.items():
        step = _even_step(array.values().reshape(-1))
        if step is None:
            raise Refusal(f"{path}: the times {name} are uneven; write signal and times as CSV, where gaps are kept")
        if 1 / step < LEAST_HZ:
            raise Refusal(f"{path}: the times {name} have a step of {step:g}, which in seconds is no rate; give --time-unit")
        if rate_hz is not None and abs(rate_hz * step - 1) > 0.01:
            raise Refusal(f"{path}: holds a rate of {rate_hz:g} Hz, but the times {name} tell {1 / step:g} Hz")
        rate_hz = rate_hz or 1 / step
    return rate_hz


def _even_step(times: Shaped[np.ndarray, " sample"]) -> float | None:
    """The step between times, None where they are not even; looked at a block at a time."""
    step = (float(times[-1]) - float(times[0])) / (len(times) - 1)
    blocks = (np.diff(times[first : first + BLOCK + 1].astype(np.float64)) for first in range(0, len(times) - 1, BLOCK))
    is_even = step > 0 and all((np.abs(steps - step) < UNEVEN * step).all() for steps in blocks)
    return step if is_even else None
