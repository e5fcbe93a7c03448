"""From files to windows: find the recordings, read each, cut it into labelled windows.

What the models were shown is not filtered by their tokeniser, so nothing is filtered here unless `bandpass` asks for the paper's band.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.readers import read_recording
from heartlens.signals.recording import agreed_rate
from heartlens.signals.search import Paths, distinct_names, find
from heartlens.signals.windowing import LANDMARKS, windows_of
from heartlens.windows import Windows, concatenate


@dataclass(frozen=True)
class _Options:
    """What `read` was asked of every recording; its arguments by the same names, checked."""

    lead: str | int | None
    rate_hz: float | None
    kind: str | None
    landmarks: str
    bandpass: bool
    stride: int
    max_windows: int | None
    draw: int

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise unknown("kind", self.kind, KINDS)
        if self.landmarks not in LANDMARKS:
            raise unknown("landmarks", self.landmarks, LANDMARKS)
        if self.rate_hz is not None:
            agreed_rate(None, self.rate_hz, Path("--rate"))
        for name, count in (("stride", self.stride), ("max_windows", self.max_windows)):
            if count is not None and count < 1:
                raise Refusal(f"{name} is {count}; it must be at least 1")


def read(
    paths: Paths,
    *,
    lead: str | int | None = None,
    rate_hz: float | None = None,
    kind: str | None = None,
    landmarks: str = "auto",
    bandpass: bool = False,
    stride: int = CONTEXT,
    max_windows: int | None = None,
    draw: int = 0,
) -> Windows:
    """The windows of all recordings in `paths`: files, folders (searched throughout), patterns.

    `lead`, `rate_hz` and `kind` are for files that leave them open; `stride` counts samples at the model's rate; of one recording at
    most `max_windows` are kept; another `draw` starts the windows elsewhere. Refuses a named file that cannot be read, a mixture of kinds,
    and paths without any usable window; a file of a folder that is no recording, or a recording without a usable window beside others
    that have some, is counted and noted.
    """
    options = _Options(lead, rate_hz, kind, landmarks, bandpass, stride, max_windows, draw)
    found = find(paths)
    parts: list[Windows] = []
    failed: list[Refusal] = []
    for each, name in zip(found, distinct_names([each.path for each in found]), strict=True):
        try:
            parts.append(_windows(each.path, name, options))
        except _Unreadable as refusal:
            if each.named:
                raise Refusal(str(refusal)) from refusal
            failed.append(refusal)
        except Refusal as refusal:
            failed.append(refusal)
    if not parts:
        raise _nothing_usable(failed)
    return _with_failed(concatenate(parts), failed)


class _Unreadable(Refusal):
    """The file, not what is in it, is at fault."""


def _windows(path: Path, name: str, options: _Options) -> Windows:
    try:
        recording = read_recording(path, options.lead, options.rate_hz, options.kind)
        kind = recording.kind or options.kind
        if kind is None:
            raise Refusal(f"{path}: cannot tell ECG from PPG by the name {recording.lead!r}; give the kind, or another lead")
    except Refusal as refusal:
        raise _Unreadable(str(refusal)) from refusal
    recording = replace(recording, name=name)
    return windows_of(recording, kind, options.landmarks, options.bandpass, options.stride, options.max_windows, options.draw)


def _nothing_usable(failed: list[Refusal]) -> Refusal:
    others = f" (and {len(failed) - 1} more files without a usable window)" if len(failed) > 1 else ""
    return Refusal(f"{failed[0]}{others}")


def _with_failed(windows: Windows, failed: list[Refusal]) -> Windows:
    if not failed:
        return windows
    no_recording = sum(isinstance(refusal, _Unreadable) for refusal in failed)
    counted = (("file that is no recording", no_recording), ("recording without a usable window", len(failed) - no_recording))
    skipped = (*windows.skipped, *(pair for pair in counted if pair[1]))
    return replace(windows, skipped=skipped, notes=windows.notes + tuple(f"skipped {refusal}" for refusal in failed))
