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
Change = Callable[[Windows, int, bool], Windows]  # of windows, by a seed; tokenised anew or on the old scale
BOTH = ("ecg", "ppg")
SNR_DB = 10.0  # of the noise
MOST_NOISE = 4.0  # times that noise, in a control
NOISE_IN_WORDS = "noise between the waves until as many tokens have changed, every wave and beat as it is"


@dataclass(frozen=True)
class Edit:
    """A counterfactual: the kinds of signal it is for, which windows can have it, what it does, and its control, in words too."""

    kinds: tuple[str, ...]
    able: Callable[[Windows], Able]
    changed: Change
    control: Callable[[Windows, cf.Strength, int, bool], Windows]  # the same by a strength too, 0 to `most`
    control_in_words: str
    most: float = 1.0
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
    """Which windows have the landmarks that a counterfactual needs. Refuses a counterfactual that this kind of signal does not have."""
    legal = [name for name, edit in EDITS.items() if windows.kind in edit.kinds]
    if counterfactual not in legal:
        raise unknown(f"counterfactual of the {windows.kind}", counterfactual, legal)
    return EDITS[counterfactual].able(windows)


@cf.made_once
def pairs_of(windows: Windows, counterfactual: str, seed: int, with_control: bool, *, rescale: bool = True) -> Pairs:
    """The pairs of windows for which `able_for` is true; the control is as strong as gives it the counterfactual's dose (`cf.dose_of`)."""
    edit = EDITS[counterfactual]
    corrupt = edit.changed(windows, seed, rescale)
    if not with_control:
        return Pairs(windows, corrupt)
    control, _ = cf.matched(
        windows, lambda given, strength: edit.control(given, strength, seed, rescale), cf.dose_of(windows, corrupt), edit.most
    )
    return Pairs(windows, corrupt, control)


def _flat(kind: str, wave: str) -> Edit:
    return Edit(
        (kind,),
        lambda windows: cf.has_wave(windows, wave),
        lambda windows, seed, rescale: cf.flattened(windows, wave, seed=seed, rescale=rescale),
        lambda windows, strength, seed, rescale: cf.with_bent_baseline(windows, wave, strength, rescale=rescale),
        "baseline bent until as many tokens have changed, every wave as it is",
        most=cf.MOST_BENT,
    )


def _rhythm(name: str) -> Edit:
    return Edit(
        BOTH,
        cf.can_be_warped,
        lambda windows, seed, rescale: cf.with_rhythm(windows, name, seed, rescale=rescale),
        lambda windows, strength, seed, rescale: cf.with_beats_moved_together(windows, strength, seed, rescale=rescale),
        "all inner beats moved together until as many tokens have changed, the intervals between them as they are",
        moves_beats=True,
    )


def _beat(part: float) -> Edit:
    return Edit(
        BOTH,
        lambda windows: cf.can_be_warped(windows) & _has_both(windows),
        lambda windows, _, rescale: cf.with_middle_beat_moved(windows, part, rescale=rescale),
        _noise_between,
        NOISE_IN_WORDS,
        most=MOST_NOISE,
        moves_beats=True,
    )


def _atria(able: Callable[[Windows], Able], changed: Change) -> Edit:
    return Edit(
        ("ecg",),
        lambda windows: able(windows) & _has_both(windows),
        changed,
        _noise_between,
        NOISE_IN_WORDS,
        most=MOST_NOISE,
    )


def _noise_between(windows: Windows, strength: cf.Strength, seed: int, rescale: bool) -> Windows:
    return cf.with_noise(windows, SNR_DB, windows.wave == NONE, seed, strength, rescale=rescale)


def _has_both(windows: Windows) -> Able:
    """Which windows have tokens in waves and between them."""
    return np.asarray((windows.wave != NONE).any(axis=1) & (windows.wave == NONE).any(axis=1))


EDITS = {
    "irregular": _rhythm("irregular"),
    "regular": _rhythm("regular"),
    "gradual": _rhythm("gradual"),
    "early_beat": _beat(-0.5),
    "late_beat": _beat(0.5),
    "without_p": _flat("ecg", "P"),
    "flattened_T": _flat("ecg", "T"),
    "flattened_notch": _flat("ppg", "dicrotic_notch"),
    "with_p_waves": _atria(cf.can_have_p, lambda windows, _, rescale: cf.with_p_waves(windows, rescale=rescale)),
    "with_f_waves": _atria(cf.has_beats, lambda windows, seed, rescale: cf.with_f_waves(windows, seed=seed, rescale=rescale)),
    "without_f_waves": _atria(cf.has_beats, lambda windows, _, rescale: cf.without_f_waves(windows, rescale=rescale)),
    "noisy_waves": Edit(
        BOTH,
        _has_both,
        lambda windows, seed, rescale: cf.with_noise(windows, SNR_DB, windows.wave != NONE, seed, rescale=rescale),
        _noise_between,
        NOISE_IN_WORDS,
        most=MOST_NOISE,
    ),
}


def _refuse_difference(clean: Windows, other: Windows) -> None:
    described = [f"{len(each)} {each.kind} windows of {each.tokens.shape[1]} tokens at {each.rate_hz:g} Hz" for each in (clean, other)]
    if described[0] != described[1]:
        raise Refusal(f"a pair must be of the same length and rate; given: {' and '.join(described)}")
    if not np.array_equal(clean.record, other.record):
        raise Refusal("a pair must be of the same record, window for window; these are of different records")
