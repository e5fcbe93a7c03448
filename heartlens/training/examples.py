"""What a task head learns from: windows, each with its record and its target, one of the window or one for each of its tokens.

A target is a class, several labels that hold or not, or several numbers.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped, UInt8

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.head import Answers, Head
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenised
from heartlens.training.corpus import Corpus, units_of
from heartlens.training.targets import Targets

Which = Shaped[np.ndarray, " chosen"]


@dataclass(frozen=True)
class Examples:
    """Windows of one kind; `target` is that of the window (last token) or of every token: an index into `classes`.

    Where the head `answers` with labels or numbers, `classes` are their names, and a target has one value for each: 0 or 1, or the number,
    NaN where there is none. `start_s` is each window's start in its record; `event_s` the true times by record where every token has a
    class.
    """

    kind: str
    classes: tuple[str, ...]
    tokens: UInt8[np.ndarray, "window time"]
    record: Shaped[np.ndarray, " window"]
    start_s: Float[np.ndarray, " window"]
    target: Int64[np.ndarray, "window target *output"] | Float64[np.ndarray, "window target output"]
    source: str
    notes: tuple[str, ...] = ()
    event_s: Mapping[str, Float[np.ndarray, " event"]] | None = None
    person_of: Mapping[str, str] = field(default_factory=dict)  # of the records whose person is known
    answers: Answers = "classes"
    units: tuple[str, ...] = ()  # of the numbers

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def sha256(self) -> str:
        """The identity of windows and targets."""
        names = "|".join(f"{name} {start_s:.6f}" for name, start_s in zip(self.record, self.start_s, strict=True))
        return hashlib.sha256(names.encode() + self.tokens.tobytes() + self.target.tobytes()).hexdigest()

    def head(self, unmasked: bool = False, bandpass: bool = False) -> Head:
        """What a head that learnt these answers."""
        reads = "last" if self.last_only else "every"
        return Head(self.answers, reads, self.classes, self.units, self.tokens.shape[1], unmasked, bandpass)

    def n_targets(self, which: Which) -> int:
        """How much the chosen windows count in a mean loss: their number, or that of the numbers that they have."""
        return int(np.isfinite(self.target[which]).sum()) if self.answers == "numbers" else len(which)

    def label(self, place: int) -> "Examples":
        """The same windows with one of the labels as their class."""
        name = self.classes[place]
        return replace(self, classes=(f"no {name}", name), target=self.target[..., place], answers="classes")

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
        """Each record's class: that of its windows, or 0 for all where every token has one (such records do not differ).

        Of several labels the one that fewest records have, or lack, tells; records with numbers do not differ.
        """
        if self.answers == "numbers":
            return dict.fromkeys(self.records, 0)
        if self.answers == "labels":
            share = self.target[:, 0].mean(axis=0)
            return self.label(int(np.argmin(np.minimum(share, 1 - share)))).class_of_record()
        first = dict(zip(self.record[::-1], self.target[::-1, 0], strict=True))
        return {str(name): int(value) if self.last_only else 0 for name, value in first.items()}


def window_examples(
    corpus: Corpus, label_of: Mapping[str, int | list[int]], classes: tuple[str, ...], stride: int, n_tokens: int = CONTEXT
) -> Examples:
    """Windows of `n_tokens` every `stride` samples, each of its record's class, or with its record's labels."""
    cuts = _cut(corpus.of(label_of), stride, n_tokens)
    target = np.array([[label_of[str(name)]] for name in cuts[1]], np.int64)
    answers: Answers = "labels" if target.ndim == 3 else "classes"
    return Examples(corpus.kind, classes, *cuts, target, corpus.source, corpus.notes, person_of=corpus.person_of, answers=answers)


def token_examples(
    corpus: Corpus, event_s: Mapping[str, np.ndarray], name: str, half_width_s: float, stride: int, n_tokens: int = CONTEXT
) -> Examples:
    """Windows every `stride` samples, whose tokens within `half_width_s` of an event (and the nearest one in any case) are positive."""
    tokens, record, start_s = _cut(corpus.of(event_s), stride, n_tokens)
    rate_hz = KINDS[corpus.kind].rate_hz
    half_width = round(half_width_s * rate_hz)
    target = np.zeros(tokens.shape, np.int64)
    for row, who, start in zip(target, record, start_s, strict=True):
        middle = np.round((event_s[str(who)] - start) * rate_hz).astype(int)
        near = (middle[:, None] + np.arange(-half_width, half_width + 1)).ravel()
        row[near[(near >= 0) & (near < n_tokens)]] = 1
    if not target.any():
        raise Refusal(f"{corpus.source}: no event lies in any window; are the times in seconds from the recording's start?")
    about = (corpus.source, corpus.notes, event_s, corpus.person_of)
    return Examples(corpus.kind, (f"no {name}", name), tokens, record, start_s, target, *about)


def number_examples(corpus: Corpus, targets: Targets, reads: str, stride: int, n_tokens: int = CONTEXT) -> Examples:
    """Windows with their numbers: every `stride` samples where numbers have no time or every token is read, else one for each time.

    Refuses times that no window fits, and beginnings of windows where every token is read. Times without a whole window are counted.
    """
    corpus = corpus.of(targets.value)
    rate_hz, notes = KINDS[corpus.kind].rate_hz, [*corpus.notes, *targets.notes]
    if reads == "every" or not targets.place:
        if targets.place == "start_s":
            raise Refusal(
                "numbers are of windows that begin at start_s, and --reads every asks for a number of every token; call the column time_s"
            )
        tokens, record, start_s = _cut(corpus, stride, n_tokens)
        shape = (len(tokens), n_tokens if reads == "every" else 1, len(targets.names))
        target = np.full(shape, np.nan)
        for row, name, start in zip(target, record, start_s, strict=True):
            value, token = targets.value[str(name)], np.round((targets.time_s[str(name)] - start) * rate_hz).astype(int)
            if not targets.place:
                row[:] = value
            else:
                inside = (token >= 0) & (token < n_tokens)
                row[token[inside]] = value[inside]
    else:
        lead_s = 0.0 if targets.place == "start_s" else (n_tokens - 1) / rate_hz
        windows, records, starts, values = [], [], [], []
        n_without = 0
        begins = corpus.start_s or (0.0,) * len(corpus.signal)
        for name in corpus.records:
            n_kept = 0
            parts = [(signal, begin) for signal, who, begin in zip(corpus.signal, corpus.record, begins, strict=True) if who == name]
            for time_s, value in zip(targets.time_s[name], targets.value[name], strict=True):
                for signal, begin in parts:
                    first = round((time_s - lead_s - begin) * rate_hz)
                    if 0 <= first <= len(signal) - n_tokens and np.ptp(signal[first : first + n_tokens]) > 0:
                        windows.append(tokenised(signal[None, first : first + n_tokens])[0])
                        records.append(name)
                        starts.append(begin + first / rate_hz)
                        values.append([value])
                        n_kept += 1
                        break
            n_without += len(targets.time_s[name]) - n_kept
        if not windows:
            raise Refusal(f"{corpus.source}: no window fits any {targets.place}; are the times in seconds from the recording's start?")
        notes += [f"{n_without} of {n_without + len(windows)} times have no whole window in a usable stretch"] * bool(n_without)
        tokens, record, start_s, target = np.stack(windows), np.array(records), np.array(starts), np.array(values, float)
    kept = np.flatnonzero(np.isfinite(target).any(axis=(1, 2)))
    if not len(kept):
        raise Refusal(f"{corpus.source}: no number lies in any window; are the times in seconds from the recording's start?")
    every = Examples(corpus.kind, targets.names, tokens, record, start_s, target, corpus.source, tuple(notes))
    return replace(every.of(kept), person_of=corpus.person_of, answers="numbers", units=targets.units)


def _cut(corpus: Corpus, stride: int, n_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, record and start of every window that is not flat."""
    windows, records, starts = [], [], []
    begins = corpus.start_s or (0.0,) * len(corpus.signal)
    for signal, name, begin in zip(corpus.signal, corpus.record, begins, strict=True):
        view = np.lib.stride_tricks.sliding_window_view(signal, n_tokens)[::stride]
        live = np.ptp(view, axis=1) > 0
        windows.append(tokenised(view[live]))
        records += [name] * int(live.sum())
        starts.append(begin + np.flatnonzero(live) * stride / KINDS[corpus.kind].rate_hz)
    if not records:
        raise Refusal(f"{corpus.source}: every window is flat")
    return np.concatenate(windows), np.array(records), np.concatenate(starts)
