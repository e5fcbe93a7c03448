"""The pairs that are patched: a recording's windows, the same as they would be without one thing, and a control that is changed as much."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from heartlens.refusal import Refusal, unknown
from heartlens.signals import counterfactuals as cf
from heartlens.signals.landmarks import NONE
from heartlens.windows import Windows

Able = Bool[np.ndarray, " window"]
Change = Callable[[Windows, int], Windows]  # of windows, by a seed
BOTH = ("ecg", "ppg")
SNR_DB = 10.0  # of the noise


@dataclass(frozen=True)
class Edit:
    """A counterfactual: the kinds of signal it is for, which windows can have it, what it does, and its control, in words too."""

    kinds: tuple[str, ...]
    able: Callable[[Windows], Able]
    changed: Change
    control: Change
    control_told: str
    moves_beats: bool = False


@dataclass(frozen=True)
class Pairs:
    """Windows and their counterfactuals, one for one, with the controls of these (None: there are none). Refuses sides that do not fit."""

    clean: Windows
    corrupt: Windows
    control: Windows | None = None

    def __post_init__(self) -> None:
        for other in (self.corrupt, self.control):
            if other is not None:
                _refuse_difference(self.clean, other)


def able_for(windows: Windows, counterfactual: str) -> Able:
    """Which windows have the landmarks that a counterfactual needs. Refuses one that there is not for this kind of signal."""
    legal = [name for name, edit in EDITS.items() if windows.kind in edit.kinds]
    if counterfactual not in legal:
        raise unknown(f"counterfactual of the {windows.kind}", counterfactual, legal)
    return EDITS[counterfactual].able(windows)


def pairs_of(windows: Windows, counterfactual: str, seed: int, with_control: bool) -> Pairs:
    """The pairs of windows that `able_for` holds of."""
    edit = EDITS[counterfactual]
    return Pairs(windows, edit.changed(windows, seed), edit.control(windows, seed) if with_control else None)


def _flat(kind: str, wave: str) -> Edit:
    return Edit(
        (kind,),
        lambda windows: cf.has_wave(windows, wave),
        lambda windows, _: cf.flattened(windows, wave),
        lambda windows, _: cf.with_flat_baseline(windows, wave),
        "as many tokens of baseline flattened, every wave as it is",
    )


def _moved(changed: Change, part: float | None = None) -> Edit:
    told = "diastole warped as much, every beat where it is"
    return Edit(BOTH, cf.can_be_warped, changed, lambda windows, seed: cf.with_warped_baseline(windows, seed, part), told, moves_beats=True)


def _rhythm(name: str) -> Edit:
    return _moved(lambda windows, seed: cf.with_rhythm(windows, name, seed))


def _beat(part: float) -> Edit:
    return _moved(lambda windows, _: cf.with_middle_beat_moved(windows, part), part)


def _noise() -> Edit:
    return Edit(
        BOTH,
        lambda windows: np.asarray((windows.wave != NONE).any(axis=1) & (windows.wave == NONE).any(axis=1)),
        lambda windows, seed: cf.with_noise(windows, SNR_DB, windows.wave != NONE, seed),
        lambda windows, seed: cf.with_noise(windows, SNR_DB, windows.wave == NONE, seed),
        "as much noise between the waves, every wave as it is",
    )


EDITS = {
    "irregular": _rhythm("irregular"),
    "regular": _rhythm("regular"),
    "gradual": _rhythm("gradual"),
    "early_beat": _beat(-0.5),
    "late_beat": _beat(0.5),
    "without_p": _flat("ecg", "P"),
    "flattened_T": _flat("ecg", "T"),
    "flattened_notch": _flat("ppg", "dicrotic_notch"),
    "noisy_waves": _noise(),
}


def _refuse_difference(clean: Windows, other: Windows) -> None:
    told = [f"{len(each)} {each.kind} windows of {each.tokens.shape[1]} tokens at {each.rate_hz:g} Hz" for each in (clean, other)]
    if told[0] != told[1]:
        raise Refusal(f"a pair must be of the same length and rate; given: {' and '.join(told)}")
    if not np.array_equal(clean.record, other.record):
        raise Refusal("a pair must be of the same record, window for window; these are of different records")
