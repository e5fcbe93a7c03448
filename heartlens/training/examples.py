"""What a task head learns from: windows, each with its record and its target, one class a window or one for each of its tokens."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int64, Shaped, UInt8

from heartlens.axes import CONTEXT, KINDS, LEVELS
from heartlens.refusal import Refusal
from heartlens.training.corpus import Corpus, units_of

Which = Shaped[np.ndarray, " chosen"]


@dataclass(frozen=True)
class Examples:
    """Windows of one kind; `target` is an index into `classes`, of the window (last token) or of every token.

    `start_s` is each window's start in its record; `event_s` the true times by record where every token has a target.
    """

    kind: str
    classes: tuple[str, ...]
    tokens: UInt8[np.ndarray, "window time"]
    record: Shaped[np.ndarray, " window"]
    start_s: Float[np.ndarray, " window"]
    target: Int64[np.ndarray, "window target"]
    source: str
    notes: tuple[str, ...] = ()
    event_s: Mapping[str, Float[np.ndarray, " event"]] | None = None
    person_of: Mapping[str, str] = field(default_factory=dict)  # of the records whose person is known

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def sha256(self) -> str:
        """The identity of windows and targets."""
        names = "|".join(f"{name} {start_s:.6f}" for name, start_s in zip(self.record, self.start_s, strict=True))
        return hashlib.sha256(names.encode() + self.tokens.tobytes() + self.target.tobytes()).hexdigest()

    @property
    def last_only(self) -> bool:
        """Whether the last token alone has a target."""
        return self.target.shape[1] == 1

    @property
    def records(self) -> list[str]:
        """The records' names, sorted."""
        return [str(name) for name in np.unique(self.record)]

    def of(self, which: Which) -> "Examples":
        """The chosen windows."""
        return replace(self, **{name: getattr(self, name)[which] for name in ("tokens", "record", "start_s", "target")})

    def where(self, records: list[str]) -> Which:
        """The indices of the windows of `records`."""
        return np.flatnonzero(np.isin(self.record, records))

    @property
    def unit(self) -> Shaped[np.ndarray, " window"]:
        """The person of each window, or its record where that is not known."""
        return np.array([self.person_of.get(str(name)) or str(name) for name in self.record])

    def class_of_unit(self, records: list[str]) -> dict[str, int]:
        """The class of each person (or record) of `records`: the commonest of its records' classes, of several the first."""
        class_of = self.class_of_record()
        classes = {unit: [class_of[record] for record in own] for unit, own in units_of(records, self.person_of).items()}
        return {unit: max(sorted(set(own)), key=own.count) for unit, own in classes.items()}

    def records_of(self, units: Iterable[str]) -> list[str]:
        """The records of persons (or records)."""
        own = units_of(self.records, self.person_of)
        return [record for unit in units for record in own[unit]]

    def class_of_record(self) -> dict[str, int]:
        """Each record's class: that of its windows, or 0 for all where every token has one (such records do not differ)."""
        first = dict(zip(self.record[::-1], self.target[::-1, 0], strict=True))
        return {str(name): int(value) if self.last_only else 0 for name, value in first.items()}


def window_examples(corpus: Corpus, label_of: Mapping[str, int], classes: tuple[str, ...], stride: int) -> Examples:
    """Windows every `stride` samples, each of its record's class."""
    cuts = _cut(corpus.of(label_of), stride)
    target = np.array([[label_of[str(name)]] for name in cuts[1]], np.int64)
    return Examples(corpus.kind, classes, *cuts, target, corpus.source, corpus.notes, person_of=corpus.person_of)


def token_examples(corpus: Corpus, event_s: Mapping[str, np.ndarray], name: str, half_width_s: float, stride: int) -> Examples:
    """Windows every `stride` samples, whose tokens within `half_width_s` of an event (and the nearest one in any case) are positive."""
    tokens, record, start_s = _cut(corpus.of(event_s), stride)
    rate_hz = KINDS[corpus.kind].rate_hz
    half_width = round(half_width_s * rate_hz)
    target = np.zeros(tokens.shape, np.int64)
    for row, who, start in zip(target, record, start_s, strict=True):
        middle = np.round((event_s[str(who)] - start) * rate_hz).astype(int)
        near = (middle[:, None] + np.arange(-half_width, half_width + 1)).ravel()
        row[near[(near >= 0) & (near < CONTEXT)]] = 1
    if not target.any():
        raise Refusal(f"{corpus.source}: no event lies in any window; are the times in seconds from the recording's start?")
    about = (corpus.source, corpus.notes, event_s, corpus.person_of)
    return Examples(corpus.kind, (f"no {name}", name), tokens, record, start_s, target, *about)


def _cut(corpus: Corpus, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, record and start of every window that is not flat."""
    windows, records, starts = [], [], []
    begins = corpus.start_s or (0.0,) * len(corpus.signal)
    for signal, name, begin in zip(corpus.signal, corpus.record, begins, strict=True):
        view = np.lib.stride_tricks.sliding_window_view(signal, CONTEXT)[::stride]
        low, high = view.min(axis=1, keepdims=True), view.max(axis=1, keepdims=True)
        live = (high > low)[:, 0]
        scaled = (view[live] - low[live]) / (high - low)[live]
        windows.append(np.round(scaled * LEVELS).astype(np.uint8))
        records += [name] * int(live.sum())
        starts.append(begin + np.flatnonzero(live) * stride / KINDS[corpus.kind].rate_hz)
    if not records:
        raise Refusal(f"{corpus.source}: every window is flat")
    return np.concatenate(windows), np.array(records), np.concatenate(starts)
