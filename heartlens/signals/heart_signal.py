"""Is it an ECG, a pulse wave (PPG), or neither; and does it point up? Asked of the signal itself, whatever its name is.

An ECG has sharp complexes that return at once; a pulse takes 0.1 s and more to rise, rises more steeply than it falls, and does not return.
What is slower than any heart is breathing. Each window is asked, and a recording is refused where fewer than LIKE_AT_LEAST of them are
like its kind: one with much artefact is not. The limits lie between what was measured on recordings of every kind (docs/reading.md).
"""

from collections import Counter

import numpy as np
from jaxtyping import Bool, Shaped

from heartlens.signals.traits import Traits, median

LIKE_AT_LEAST = 0.4
SLOW = 0.09  # breathing has more of its slope below 0.5 Hz
ONE_WAY, PULSE_ONE_WAY = 0.2, 0.4
NOT_SHARP, SHARP = 0.03, 0.1
PEAKED_QRS, PEAKED_SLOPE = 3.8, 4.4  # noise has 3
STEEP = 0.25  # noise and most accelerations stay below
DOWN = -1.0
POSITIVE_LEADS = ("i", "ii", "v5", "v6", "mlii", "mli")  # whose QRS points up in most hearts

Reasons = Shaped[np.ndarray, " window"]


def not_of_kind(traits: Traits, kind: str) -> str:
    """What speaks against a signal of that kind, in words that follow its name; empty where nothing does, and where there is no window."""
    reasons = _against_ecg(traits) if kind == "ecg" else _against_pulse(traits)
    if not len(reasons) or (reasons == "").mean() >= LIKE_AT_LEAST:
        return ""
    return Counter(reasons[reasons != ""].tolist()).most_common(1)[0][0]


def like_ecg(traits: Traits) -> Bool[np.ndarray, " window"]:
    """Which windows have the sharp complexes of an ECG, that no pulse has."""
    has_complexes = (traits.peaked_qrs > PEAKED_QRS) & (traits.peaked_slope > PEAKED_SLOPE)
    return np.asarray((traits.one_way < PULSE_ONE_WAY) & (traits.sharp > SHARP) & has_complexes)


def points_down(traits: Traits) -> bool:
    """Whether a pulse wave falls more steeply than it rises: it is upside down, as the light that a camera or reflecting sensor sees."""
    return bool((traits.steep_rise <= -STEEP).sum() > (traits.steep_rise >= STEEP).sum())


def reversed_lead(traits: Traits, lead: str) -> str:
    """A note where an ECG lead whose waves usually point up has QRS, P and T down; empty for others, of which many do so by nature."""
    if lead.strip().lower() not in POSITIVE_LEADS or not len(traits.upward):
        return ""
    if median(traits.upward) > DOWN or median(traits.rounded) > 0:
        return ""
    return f"lead {lead} looks upside down (QRS, P and T point down): if electrodes or wires were swapped, turn it with --invert"


def _against_ecg(traits: Traits) -> Reasons:
    is_one_way = traits.one_way - traits.sharp > ONE_WAY
    is_pulse = is_one_way & (traits.sharp < 2 * SHARP) & (np.abs(traits.steep_rise) > STEEP)
    return np.select(
        (traits.slow > SLOW, is_pulse, is_one_way | (traits.sharp < NOT_SHARP)),
        (
            "moves as slowly as breathing, not as a heart beats",
            "rises and falls like a pulse or a pressure",
            "has no sharp complexes, as an ECG has",
        ),
        default="",
    )


def _against_pulse(traits: Traits) -> Reasons:
    return np.select(
        (like_ecg(traits), traits.slow > SLOW, np.abs(traits.steep_rise) < STEEP),
        (
            "has sharp complexes, as an ECG has",
            "moves as slowly as breathing, not as a heart beats",
            "rises as slowly as it falls, which pulses do not",
        ),
        default="",
    )
