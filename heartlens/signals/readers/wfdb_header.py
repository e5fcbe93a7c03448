"""The text header (.hea) of a WFDB record, every field checked: `wfdb` itself takes the good beginning of a bad field in silence.

The format: header(5) of the WFDB Applications Guide (https://physionet.org/physiotools/wag/header-5.htm).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from heartlens.refusal import Refusal
from heartlens.signals.recording import MOST_SAMPLES

MOST_BYTES = 4 * 2**20  # of a header: an intensive-care stay in 50,000 segments
MOST_SIGNALS = 1000
NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
RATE = re.compile(rf"({NUMBER})(?:/{NUMBER}(?:\({NUMBER}\))?)?")
STORAGE = re.compile(r"(\d{1,9})(?:x(\d{1,9}))?(?::(\d{1,9}))?(?:\+(\d{1,9}))?", re.ASCII)
GAIN = re.compile(rf"({NUMBER})(?:\(([+-]?[0-9]{{1,18}})\))?(?:/(\S+))?")
INTEGER = re.compile(r"[+-]?[0-9]+")
NAME = re.compile(r"[\w.-]+")
GAP = "~"
USUAL_GAIN = 200.0  # units per mV, where the header gives none
LONGEST_NUMBER = 20  # letters


@dataclass(frozen=True)
class Signal:
    """One signal's line. `per_frame` samples of it are in a frame; `skew` frames of it come late; `checksum` None: not recorded."""

    file: str
    storage: str
    per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    unit: str
    first_value: int
    checksum: int | None
    name: str
    is_calibrated: bool


@dataclass(frozen=True)
class Header:
    """A record: signals, or segments by name with their numbers of frames (`~` is a gap). `n_frames` None: not told."""

    path: Path
    rate_hz: float
    n_frames: int | None
    signals: tuple[Signal, ...]
    segments: tuple[tuple[str, int], ...]
    comments: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [signal.name for signal in self.signals]

    @property
    def units(self) -> list[str]:
        """Each signal's unit as the header tells it; mV where it tells none."""
        return [signal.unit for signal in self.signals]


def header_of(path: Path) -> Header:
    """The header in `path`. Refuses a field that is not what it should be, and sizes that no recording has."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise Refusal(f"{path}: a header of more than {MOST_BYTES >> 20} MiB")
    lines = content.decode("utf-8", errors="replace").splitlines()
    fields = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(fields) < 2 or len(fields[0]) < 2:
        raise Refusal(f"{path}: not a WFDB header of signals")
    return _parsed(path, fields, tuple(line.strip() for line in lines if line.lstrip().startswith("#")))


def segments_named_in(path: Path) -> list[str]:
    """The segments that a header lists; none if it is not a header of segments, or not a good one."""
    try:
        with path.open("rb") as file:
            if b"/" not in b"".join(file.readline(1000).split()[:1]):
                return []
        return [name for name, _ in header_of(path).segments]
    except (Refusal, OSError):
        return []


def _parsed(path: Path, fields: list[list[str]], comments: tuple[str, ...]) -> Header:
    name, _, n_segments = fields[0][0].partition("/")
    if not NAME.fullmatch(name):
        raise Refusal(f"{path}: not a WFDB header (it begins with {name[:40]!r})")
    n_signals = _whole(path, "number of signals", fields[0][1])
    if len(fields[0]) < 3:
        raise Refusal(f"{path}: missing rate; the header does not tell it")
    rate = RATE.fullmatch(fields[0][2])
    if not rate or not 0 < float(rate[1]) < math.inf:
        raise Refusal(f"{path}: the rate is {fields[0][2][:40]!r}, not a positive number of Hz")
    n_frames = _whole(path, "number of samples", fields[0][3]) if len(fields[0]) > 3 else 0
    if n_frames > MOST_SAMPLES:
        raise Refusal(f"{path}: announces {n_frames} samples; at most {MOST_SAMPLES} are read")
    signals: tuple[Signal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    if "/" in fields[0][0]:
        expected = _whole(path, "number of segments", n_segments)
        segments = tuple(_segment(path, line) for line in fields[1:])
        if len(segments) != expected:
            raise Refusal(f"{path}: announces {expected} segments and lists {len(segments)}")
    else:
        if not 0 < n_signals <= MOST_SIGNALS or len(fields) - 1 < n_signals:
            raise Refusal(f"{path}: announces {n_signals} signals and lists {len(fields) - 1}; legal: 1 to {MOST_SIGNALS}")
        signals = tuple(_signal(path, number, line) for number, line in enumerate(fields[1 : n_signals + 1]))
    return Header(path, float(rate[1]), n_frames or None, signals, segments, comments)


def _segment(path: Path, line: list[str]) -> tuple[str, int]:
    if len(line) != 2 or not (line[0] == GAP or NAME.fullmatch(line[0])):
        raise Refusal(f"{path}: {' '.join(line)[:60]!r} is not a segment's name and length")
    return line[0], _whole(path, f"length of segment {line[0]}", line[1])


def _signal(path: Path, number: int, line: list[str]) -> Signal:
    name = " ".join(line[8:]).strip(" ,") or f"signal {number}"
    storage = STORAGE.fullmatch(line[1]) if len(line) > 1 else None
    if not storage:
        raise Refusal(f"{path}: the line of {name} tells no storage format ({' '.join(line)[:60]!r})")
    gain = GAIN.fullmatch(line[2]) if len(line) > 2 else None
    if len(line) > 2 and not (gain and math.isfinite(float(gain[1]))):
        raise Refusal(f"{path}: the gain of {name} is {line[2][:40]!r}; legal: a number, (baseline) and /unit may follow")
    zero, first_value, checksum = (
        _optional(path, "zero", line, 4),
        _optional(path, "first value", line, 5),
        _optional(path, "checksum", line, 6),
    )
    per_frame = int(storage[2] or 1)
    if per_frame < 1:
        raise Refusal(f"{path}: {name} has {per_frame} samples a frame")
    per_unit = float(gain[1]) if gain else 0.0
    return Signal(
        file=line[0],
        storage=storage[1],
        per_frame=per_frame,
        skew=int(storage[3] or 0),
        offset=int(storage[4] or 0),
        gain=per_unit or USUAL_GAIN,
        baseline=int(gain[2]) if gain and gain[2] else zero or 0,
        unit=(gain[3] if gain else None) or "mV",
        first_value=first_value or 0,
        checksum=checksum or None,
        name=name,
        is_calibrated=per_unit != 0,
    )


def _whole(path: Path, what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER):
        raise Refusal(f"{path}: the {what} is {text[:40]!r}, not a whole number")
    return int(text)


def _optional(path: Path, what: str, line: list[str], place: int) -> int | None:
    """The whole number at a place of a line, None where the line ends before."""
    if len(line) <= place:
        return None
    text = line[place]
    if len(text) >= LONGEST_NUMBER or not INTEGER.fullmatch(text):
        raise Refusal(f"{path}: the {what} is {text[:40]!r}, not a whole number")
    return int(text)
