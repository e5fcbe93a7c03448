"""What a file of several signals offers, and the recording that one of them makes: the same for every binary format."""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Real, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.recording import MANY_SAMPLES, MOST_SAMPLES, Recording, agreed_rate, choose_lead, kind_of_lead, record_name
from heartlens.whole import sha256_of


@dataclass(frozen=True)
class Channel:
    """A signal of a file: `samples` reads it. `rate_hz` is None where the file does not tell it, `unit` empty."""

    name: str
    unit: str
    rate_hz: float | None
    samples: Callable[[], Shaped[np.ndarray, "..."]]


def recording_of(path: Path, hints: Hints, channels: Sequence[Channel], person: str = "", notes: tuple[str, ...] = ()) -> Recording:
    """The recording of the channel that `choose_lead` takes; the others are not read. Refuses what is no row of numbers."""
    if not channels:
        raise Refusal(f"{path}: the file holds no signal")
    units = [channel.unit for channel in channels]
    index, lead_notes = choose_lead([channel.name for channel in channels], hints.lead, hints.kind, path, units)
    channel = channels[index]
    rate_hz, rate_notes = agreed_rate(channel.rate_hz, hints.rate_hz, path)
    signal = one_signal(channel.samples(), channel.name, path)
    name, kind = channel.name, kind_of_lead(channel.name, channel.unit)
    all_notes = (*lead_notes, *rate_notes, *notes)
    return Recording(record_name(path), kind, name, rate_hz, signal, channel.unit, None, str(path), sha256_of(path), all_notes, person)


def one_signal(content: Shaped[np.ndarray, "..."], name: str, path: Path) -> Real[np.ndarray, " sample"]:
    """A vector, a column or a row as a signal. Refuses what is not numbers, and more than one row."""
    if content.dtype.kind not in "fiu":
        raise Refusal(f"{path}: {name} holds {content.dtype}, not numbers")
    if content.size == 0:
        raise Refusal(f"{path}: {name} is empty")
    if content.size != max(content.shape, default=0):
        raise Refusal(f"{path}: {name} has the shape {content.shape}; one signal is needed")
    if content.size > MOST_SAMPLES:
        raise Refusal(f"{path}: {name} has {content.size} samples; at most {MOST_SAMPLES} are read")
    return content.reshape(-1).astype(np.float32 if content.size > MANY_SAMPLES else np.float64)


def positive(text: Any, what: str, path: Path) -> float:
    """A positive number from text. Refuses anything else."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise Refusal(f"{path}: the {what} is {str(text)[:40]!r}, not a positive number")
    return number


def library(name: str, path: Path) -> Any:
    """A module of the extra `formats`. Refuses, with the extra's name, where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Refusal(f"{path}: {path.suffix} needs {name.split('.')[0]}; pip install 'heartlens[formats]'") from error
