"""The pairs that are patched: a recording's windows, the same as they would be without one thing, and a control that is changed as much."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from heartlens.refusal import Refusal, unknown
from heartlens.signals.counterfactuals import can_be_warped, flattened, has_wave, with_flat_baseline, with_rhythm, with_warped_baseline
from heartlens.windows import Windows

WAVES = {"without_p": "P", "flattened_T": "T", "flattened_notch": "dicrotic_notch"}  # what is flattened
RHYTHMS = ("regular", "irregular", "gradual")
KINDS_OF = {"without_p": ("ecg",), "flattened_T": ("ecg",), "flattened_notch": ("ppg",), **dict.fromkeys(RHYTHMS, ("ecg", "ppg"))}
CONTROL = {"flat": "as many tokens of baseline flattened, every wave as it is", "warped": "diastole warped as much, every beat where it is"}

Edit = Callable[[Windows], Windows]


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


def able_for(windows: Windows, counterfactual: str) -> Bool[np.ndarray, " window"]:
    """Which windows have the landmarks that a counterfactual needs. Refuses one that there is not for this kind of signal."""
    legal = [name for name, kinds in KINDS_OF.items() if windows.kind in kinds]
    if counterfactual not in legal:
        raise unknown(f"counterfactual of the {windows.kind}", counterfactual, legal)
    return can_be_warped(windows) if counterfactual in RHYTHMS else has_wave(windows, WAVES[counterfactual])


def pairs_of(windows: Windows, counterfactual: str, seed: int, with_control: bool) -> Pairs:
    """The pairs of windows that `able_for` holds of."""
    edit, control = _edits(counterfactual, seed)
    return Pairs(windows, edit(windows), control(windows) if with_control else None)


def control_of(counterfactual: str) -> str:
    """What the control of a counterfactual is, in words."""
    return CONTROL["warped" if counterfactual in RHYTHMS else "flat"]


def _edits(counterfactual: str, seed: int) -> tuple[Edit, Edit]:
    if counterfactual in RHYTHMS:
        return lambda windows: with_rhythm(windows, counterfactual, seed), lambda windows: with_warped_baseline(windows, seed)
    wave = WAVES[counterfactual]
    return lambda windows: flattened(windows, wave), lambda windows: with_flat_baseline(windows, wave)


def _refuse_difference(clean: Windows, other: Windows) -> None:
    told = [f"{len(each)} {each.kind} windows of {each.tokens.shape[1]} tokens at {each.rate_hz:g} Hz" for each in (clean, other)]
    if told[0] != told[1]:
        raise Refusal(f"a pair must be of the same length and rate; given: {' and '.join(told)}")
    if not np.array_equal(clean.record, other.record):
        raise Refusal("a pair must be of the same record, window for window; these are of different records")
