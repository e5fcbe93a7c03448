"""The arms of the experiment: each window with its P waves and its rhythm as they are or otherwise, and which differences answer what.

A window whose beats show P waves has the 2 x 2 of P wave (present, removed) and rhythm (regular, irregular), the controls' arms, and
itself; one without (in fibrillation; every pulse) the rhythms alone, under the P wave `none`. An effect is a sum of arms with these signs:
rhythm R = (PI - PR + QI - QR) / 2, P wave P = (QR - PR + QI - PI) / 2, interaction X = QI - QR - PI + PR (P, Q: present, removed; I, R:
irregular, regular), so that QI - PR = R + P, of which R - X/2 is rhythm alone, P - X/2 the P wave alone, and X only both together.
Sham: the same with a change that should mean nothing (warped baseline, flat baseline); rival: with another real one (the irregular
intervals in order of length, no T wave).
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Shaped

from heartlens.measures.irregularity import whole
from heartlens.measures.irregularity import without_p as lacks_p
from heartlens.signals import counterfactuals as cf
from heartlens.windows import Windows

P_WAVES = ("present", "removed", "baseline", "t_wave", "none")
RHYTHMS = ("as_it_is", "regular", "irregular", "gradual", "warped")
FACTORS = {"ecg": ("rhythm", "p_wave", "interaction", "rhythm_no_p"), "ppg": ("rhythm",)}
KINDS_OF = ("effect", "sham", "rival")
LEAST_P = 0.5  # of a window's whole beats must show a P wave for it to be removed

FOUR = [(p_wave, rhythm) for p_wave in ("present", "removed", "baseline", "t_wave") for rhythm in ("regular", "irregular")]
WITH_P = [*FOUR, ("present", "as_it_is"), ("present", "gradual"), ("present", "warped")]
WITHOUT_P = [("none", rhythm) for rhythm in RHYTHMS]
SWAPS: dict["Swap", dict[tuple[str, str], float]] = {  # from which arm into which, and what it counts in which factor's effect or sham
    ("present", "irregular", "present", "regular"): {("effect", "rhythm"): 0.5, ("effect", "interaction"): -1.0},
    ("removed", "irregular", "removed", "regular"): {("effect", "rhythm"): 0.5, ("effect", "interaction"): 1.0},
    ("removed", "regular", "present", "regular"): {("effect", "p_wave"): 0.5},
    ("removed", "irregular", "present", "irregular"): {("effect", "p_wave"): 0.5},
    ("present", "warped", "present", "regular"): {("sham", "rhythm"): 1.0},
    ("baseline", "regular", "present", "regular"): {("sham", "p_wave"): 1.0},
}
Swap = tuple[str, str, str, str]

Arm = tuple[str, str]  # of P_WAVES and RHYTHMS


def arms(windows: Windows, which: list[Arm], seed: int) -> dict[Arm, Windows]:
    """The windows in each arm; the rhythm is changed first, then waves are taken out."""
    regular = cf.with_rhythm(windows, "regular", seed)
    rhythms = {"as_it_is": windows, "regular": regular, "warped": cf.with_warped_baseline(regular, seed)}
    rhythms |= {name: cf.with_rhythm(windows, name, seed) for name in ("irregular", "gradual")}
    return {(p_wave, rhythm): _with_p(rhythms[rhythm], p_wave) for p_wave, rhythm in which}


def _with_p(windows: Windows, p_wave: str) -> Windows:
    if p_wave == "t_wave":
        return cf.flattened(windows, "T")
    edits = {"removed": cf.without_p, "baseline": cf.with_flat_baseline}
    return edits[p_wave](windows) if p_wave in edits else windows


def shows_p(windows: Windows) -> Bool[np.ndarray, " window"]:
    """Which windows show a P wave in LEAST_P of their whole beats, and a T wave (without which there is no rival)."""
    if windows.kind != "ecg":
        return np.zeros(len(windows), bool)
    state = whole(lacks_p(windows), windows)
    known = (state >= 0).sum(axis=1)
    return ((state == 0).sum(axis=1) >= LEAST_P * np.maximum(known, 1)) & cf.has_wave(windows, "T") & cf.has_wave(windows, "P")


def swaps(kind: str, *, with_p: bool) -> dict[Swap, dict[tuple[str, str], float]]:
    """The head swaps of windows with or without P waves, as SWAPS. The interaction has no sham of its own: none is measured."""
    last, rhythms = FACTORS[kind][-1], {"effect": "irregular", "sham": "warped"}
    return SWAPS if with_p else {("none", rhythm, "none", "regular"): {(of, last): 1.0} for of, rhythm in rhythms.items()}


def contrast(kind: str, factor: str, of: str) -> xr.DataArray:
    """What each arm counts in a factor's effect, or in that of its sham or rival."""
    with_p = kind == "ecg" and factor != "rhythm_no_p"
    weights = _two_by_two(factor, of) if with_p else _difference("none", {"effect": "irregular", "sham": "warped", "rival": "gradual"}[of])
    places = {"p_wave": list(P_WAVES), "rhythm": list(RHYTHMS)}
    found = xr.DataArray(np.zeros((len(P_WAVES), len(RHYTHMS))), dims=("p_wave", "rhythm"), coords=places)
    for (p_wave, rhythm), weight in weights.items():
        found.loc[{"p_wave": p_wave, "rhythm": rhythm}] = weight
    return found


def _two_by_two(factor: str, of: str) -> dict[Arm, float]:
    if factor == "rhythm" and of != "effect":
        return _difference("present", {"sham": "warped", "rival": "gradual"}[of])
    other = {"effect": "removed", "sham": "baseline", "rival": "t_wave"}[of]
    signs = {"rhythm": (-0.5, 0.5, -0.5, 0.5), "p_wave": (-0.5, -0.5, 0.5, 0.5), "interaction": (1.0, -1.0, -1.0, 1.0)}[factor]
    cells = [(p_wave, rhythm) for p_wave in ("present", other) for rhythm in ("regular", "irregular")]
    return dict(zip(cells, signs, strict=True))


def _difference(p_wave: str, rhythm: str) -> dict[Arm, float]:
    return {(p_wave, "regular"): -1.0, (p_wave, rhythm): 1.0}


def as_grid(values: dict[Arm, Shaped[np.ndarray, "window ..."]]) -> Shaped[np.ndarray, "window p_wave rhythm ..."]:
    """The arms' values in their places, 0 in the places of arms that there are none of."""
    like = next(iter(values.values()))
    grid = np.zeros((len(like), len(P_WAVES), len(RHYTHMS), *like.shape[1:]), like.dtype)
    for (p_wave, rhythm), each in values.items():
        grid[:, P_WAVES.index(p_wave), RHYTHMS.index(rhythm)] = each
    return grid
