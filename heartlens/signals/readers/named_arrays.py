"""Arrays by name, as MATLAB and HDF5 files hold them: which are signals, and which tell the rate, the times, the names of leads, the unit.

The rate is told by single numbers and even times, anywhere in the file, which must agree (`told_rate`). A matrix holds as many signals
as its shorter side has rows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import Channel
from heartlens.signals.readers.told_rate import WITHIN, Times, is_time, told_rate

NAMES = re.compile(rf"{WITHIN}(?:leads?|channels?|labels?|description|(?:lead|channel|ch|sig|signal)_?names?)", re.IGNORECASE)
LEAST = 50  # samples: fewer are no signal
MOST_ROWS = 512


@dataclass(frozen=True)
class Array:
    """An array of a file: `values` reads all of it, `row` one row of a matrix, along its longer side. `unit` is empty where not told.

    `kind` is NumPy's, "t" for time stamps. `label` is the name alone, of a format in which not every dot or / ends a group.
    """

    shape: tuple[int, ...]
    kind: str
    values: Callable[[], Shaped[np.ndarray, "..."]]
    row: Callable[[int], Shaped[np.ndarray, "..."]]
    unit: str = ""
    label: str = ""


def channels_of(
    arrays: Mapping[str, Array], texts: Mapping[str, list[str]], numbers: Mapping[str, Any], hints: Hints, path: Path
) -> tuple[list[Channel], tuple[str, ...]]:
    """The signals among the arrays, and notes; `texts` are lists of words by name, `numbers` single numbers by name.

    Refuses rates that disagree, see `told_rate`.
    """
    signals = {name: array for name, array in arrays.items() if _is_signal(array) and not is_time(name)}
    lengths = {_longest(array.shape) for array in signals.values()}
    times = {
        name: Times(array.values, array.unit, array.kind == "t")
        for name, array in arrays.items()
        if is_time(name) and array.kind in "fiut" and _longest(array.shape) in lengths
    }
    rate_hz, notes = told_rate(numbers, times, [_label(name, array) for name, array in signals.items()], hints, path)
    channels = []
    for name, array in signals.items():
        n_rows = _n_rows(array.shape)
        if n_rows == 1:
            channels.append(Channel(_label(name, array), array.unit, rate_hz, array.values))
        elif n_rows <= MOST_ROWS:
            names = next((words for key, words in texts.items() if NAMES.fullmatch(key) and len(words) == n_rows), None)
            labels = names or [f"{_label(name, array)} {number}" for number in range(n_rows)]
            channels += [Channel(label, array.unit, rate_hz, partial(array.row, number)) for number, label in enumerate(labels)]
    return channels, notes


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


def _label(name: str, array: Array) -> str:
    return array.label or re.split(r"[./]", name)[-1] or name
