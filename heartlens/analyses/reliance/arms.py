"""The arms of the experiment: each window with its P waves and its rhythm as they are or otherwise, and which differences answer what.

A window whose beats show P waves has the 2 x 2 of P wave (present, removed) and rhythm (regular, irregular), the controls' arms, and
itself; one without (in fibrillation; every pulse) the rhythms alone, under the P wave `none`. An effect is a sum of arms with these signs:
rhythm R = (PI - PR + QI - QR) / 2, P wave P = (QR - PR + QI - PI) / 2, interaction X = QI - QR - PI + PR (P, Q: present, removed; I, R:
irregular, regular), so that QI - PR = R + P, of which R - X/2 is rhythm alone, P - X/2 the P wave alone, and X only both together.
Sham: a change as large that should mean nothing takes the place of I (all inner beats moved together) or of Q (baseline beside P waves
bent); rival: another real one (the irregular intervals in order of length; T waves flattened, as far as is as large). Either is measured in
the same two states of the other factor as the effect. The interaction's are the mean of two, one factor replaced in each. `scaled`: P waves
present, but on the scale that the window has without them: what tokenising it anew alone does.
"""

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from heartlens.measures.irregularity import whole
from heartlens.measures.irregularity import without_p as lacks_p
from heartlens.signals import counterfactuals as cf
from heartlens.windows import Windows

P_WAVES = ("present", "removed", "baseline", "t_wave", "scaled", "none")
RHYTHMS = ("as_it_is", "regular", "irregular", "together", "gradual")
FACTORS = {"ecg": ("rhythm", "p_wave", "interaction", "rhythm_no_p"), "ppg": ("rhythm",)}
KINDS_OF = ("effect", "sham", "rival")
OTHER_RHYTHM = {"effect": "irregular", "sham": "together", "rival": "gradual"}  # than regular
OTHER_P = {"effect": "removed", "sham": "baseline", "rival": "t_wave"}  # than present
LEAST_P = 0.5  # of a window's whole beats must show a P wave for it to be removed

Strengths = Float[np.ndarray, " window"]
Arm = tuple[str, str]  # of P_WAVES and RHYTHMS
Swap = tuple[str, str, str, str]  # from an arm into an arm
Part = tuple[str, str]  # of a factor's effect or of its sham
Graded = tuple[str, str, Arm, Arm]  # factor, kind (of KINDS_OF), and the arms between which it is measured

WITH_P: list[Arm] = [
    ("present", "as_it_is"),
    ("scaled", "regular"),
    *((p_wave, rhythm) for p_wave in ("present", "removed") for rhythm in ("regular", *OTHER_RHYTHM.values())),
    *((p_wave, rhythm) for p_wave in ("baseline", "t_wave") for rhythm in ("regular", "irregular")),
]
WITHOUT_P: list[Arm] = [("none", rhythm) for rhythm in RHYTHMS]
SWAPS: dict[Swap, dict[Part, float]] = {  # what a swap into an arm counts in which factor's effect or sham
    ("present", "irregular", "present", "regular"): {
        ("effect", "rhythm"): 0.5,
        ("effect", "interaction"): -1.0,
        ("sham", "interaction"): -0.5,
    },
    ("removed", "irregular", "removed", "regular"): {("effect", "rhythm"): 0.5, ("effect", "interaction"): 1.0},
    ("removed", "regular", "present", "regular"): {("effect", "p_wave"): 0.5},
    ("removed", "irregular", "present", "irregular"): {("effect", "p_wave"): 0.5},
    ("present", "together", "present", "regular"): {("sham", "rhythm"): 0.5, ("sham", "interaction"): -0.5},
    ("removed", "together", "removed", "regular"): {("sham", "rhythm"): 0.5, ("sham", "interaction"): 0.5},
    ("baseline", "regular", "present", "regular"): {("sham", "p_wave"): 0.5},
    ("baseline", "irregular", "present", "irregular"): {("sham", "p_wave"): 0.5},
    ("baseline", "irregular", "baseline", "regular"): {("sham", "interaction"): 0.5},
}


class Arms:
    """The windows in each arm; the rhythm is changed first, then waves. Shams, and flattened T waves, have the dose of the whole edit.

    Each is made when it is first asked for, and kept.
    """

    def __init__(self, windows: Windows, seed: int, *, rescale: bool = True) -> None:
        self.windows, self.seed, self.rescale = windows, seed, rescale
        self._rhythms: dict[tuple[str, float], Windows] = {}
        self._arms: dict[tuple[Arm, float, float], Windows] = {}

    def of(self, arm: Arm, p_strength: float = 1.0, rhythm_strength: float = 1.0) -> Windows:
        """The windows in an arm, of which P waves and rhythm are changed by these strengths (1: wholly; the rhythm counts from regular)."""
        key = arm, p_strength, rhythm_strength
        if key not in self._arms:
            self._arms[key] = self._changed(*key)
        return self._arms[key]

    def _changed(self, arm: Arm, p_strength: float, rhythm_strength: float) -> Windows:
        p_wave, rhythm = arm
        windows = self._rhythm(rhythm, rhythm_strength)
        if p_wave == "removed":
            return cf.without_p(windows, p_strength, seed=self.seed, rescale=self.rescale)
        if p_wave == "baseline":
            return self._with_bent(windows, p_strength * self._bent)
        if p_wave == "t_wave":
            return self._without_t(windows, p_strength * self._flattened)
        return cf.on_scale_of(windows, self.of(("removed", rhythm))) if p_wave == "scaled" else windows

    def _rhythm(self, rhythm: str, strength: float) -> Windows:
        if (rhythm, strength) not in self._rhythms:
            self._rhythms[rhythm, strength] = self._made(rhythm, strength)
        return self._rhythms[rhythm, strength]

    def _made(self, rhythm: str, strength: float) -> Windows:
        if rhythm == "as_it_is":
            return self.windows
        if rhythm == "together":
            return self._moved_together(self._rhythm("regular", 1.0), strength * self._together)
        return cf.with_rhythm(self.windows, rhythm, self.seed, strength, since="regular", rescale=self.rescale)

    def _moved_together(self, windows: Windows, strength: cf.Strength) -> Windows:
        return cf.with_beats_moved_together(windows, strength, self.seed, rescale=self.rescale)

    def _with_bent(self, windows: Windows, strength: cf.Strength) -> Windows:
        return cf.with_bent_baseline(windows, "P", strength, rescale=self.rescale)

    def _without_t(self, windows: Windows, strength: cf.Strength) -> Windows:
        return cf.flattened(windows, "T", strength, seed=self.seed, rescale=self.rescale)

    @cached_property
    def _together(self) -> Strengths:
        """The strength of the rhythm's sham in each window."""
        return self._as_much_as("irregular", "present", self._moved_together, 1.0)

    @cached_property
    def _bent(self) -> Strengths:
        """The strength of the P wave's sham in each window."""
        return self._as_much_as("regular", "removed", self._with_bent, cf.MOST_BENT)

    @cached_property
    def _flattened(self) -> Strengths:
        """The strength of the P wave's rival in each window."""
        return self._as_much_as("regular", "removed", self._without_t, 1.0)

    def _as_much_as(self, rhythm: str, p_wave: str, edit: Callable[[Windows, cf.Strength], Windows], most: float) -> Strengths:
        """The strengths at which an edit of the regular windows with P waves has the dose of another arm."""
        regular = self._rhythm("regular", 1.0)
        return cf.matched(regular, edit, cf.dose_of(regular, self.of((p_wave, rhythm))), most)[1]


@cf.made_once
def arms_of(windows: Windows, seed: int, *, rescale: bool = True) -> Arms:
    """The arms of windows."""
    return Arms(windows, seed, rescale=rescale)


def graded(kind: str, *, with_p: bool) -> list[Graded]:
    """Between which arms each factor's edit, its sham and its rival are measured by dose; the interaction has no dose."""
    if not with_p:
        return [(FACTORS[kind][-1], of, ("none", "regular"), ("none", other)) for of, other in OTHER_RHYTHM.items()]
    rhythm: list[Graded] = [
        ("rhythm", of, (p_wave, "regular"), (p_wave, other)) for of, other in OTHER_RHYTHM.items() for p_wave in ("present", "removed")
    ]
    return rhythm + [("p_wave", of, ("present", at), (other, at)) for of, other in OTHER_P.items() for at in ("regular", "irregular")]


def shows_p(windows: Windows) -> Bool[np.ndarray, " window"]:
    """Which windows show a P wave in LEAST_P of their whole beats, and a T wave (without which there is no rival)."""
    if windows.kind != "ecg":
        return np.zeros(len(windows), bool)
    state = whole(lacks_p(windows), windows)
    n_whole = (state >= 0).sum(axis=1)
    return ((state == 0).sum(axis=1) >= LEAST_P * np.maximum(n_whole, 1)) & cf.has_wave(windows, "T") & cf.has_wave(windows, "P")


def swaps(kind: str, *, with_p: bool) -> dict[Swap, dict[Part, float]]:
    """The head swaps of windows with or without P waves, as SWAPS."""
    last = FACTORS[kind][-1]
    return SWAPS if with_p else {("none", OTHER_RHYTHM[of], "none", "regular"): {(of, last): 1.0} for of in ("effect", "sham")}


@cache
def contrast(kind: str, factor: str, of: str) -> xr.DataArray:
    """What each arm counts in a factor's effect, or in that of its sham or rival; made once, not to be changed."""
    places = {"p_wave": list(P_WAVES), "rhythm": list(RHYTHMS)}
    weights = xr.DataArray(np.zeros((len(P_WAVES), len(RHYTHMS))), dims=("p_wave", "rhythm"), coords=places)
    for weight, p_wave, rhythm in _terms(kind, factor, of):
        weights.loc[{"p_wave": p_wave, "rhythm": rhythm}] += weight
    return weights


def _terms(kind: str, factor: str, of: str) -> list[tuple[float, str, str]]:
    """The terms of a contrast: weight and arm."""
    p_wave, rhythm = OTHER_P[of], OTHER_RHYTHM[of]
    if kind != "ecg" or factor == "rhythm_no_p":
        return [(-1.0, "none", "regular"), (1.0, "none", rhythm)]
    if factor == "rhythm":
        return [(sign / 2, at, each) for at in ("present", "removed") for sign, each in ((-1, "regular"), (1, rhythm))]
    if factor == "p_wave":
        return [(sign / 2, each, at) for at in ("regular", "irregular") for sign, each in ((-1, "present"), (1, p_wave))]
    pairs = [(p_wave, rhythm)] if of == "effect" else [(p_wave, "irregular"), ("removed", rhythm)]
    return [
        (p_sign * sign / len(pairs), p_each, each)
        for p_other, other in pairs
        for p_sign, p_each in ((-1, "present"), (1, p_other))
        for sign, each in ((-1, "regular"), (1, other))
    ]


def as_grid(values: dict[Arm, Shaped[np.ndarray, "window ..."]]) -> Shaped[np.ndarray, "window p_wave rhythm ..."]:
    """The arms' values in their places; 0 in the places of arms without values."""
    like = next(iter(values.values()))
    grid = np.zeros((len(like), len(P_WAVES), len(RHYTHMS), *like.shape[1:]), like.dtype)
    for (p_wave, rhythm), each in values.items():
        grid[:, P_WAVES.index(p_wave), RHYTHMS.index(rhythm)] = each
    return grid
