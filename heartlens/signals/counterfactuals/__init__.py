"""Windows as they would be if one thing were otherwise: P waves gone, halved, inverted or put in, another rhythm, f waves, noise.

Each edit takes windows to as many windows, tokenised as the published procedure tokenises a recording: scaled to their own least and
largest value (`rescale=False`: the old scale is kept, and what leaves it is cut off). What an edit takes away is filled with the window's
own baseline, its noise and drift. `strength` is the dose: 1 is the whole edit, and an array gives each window its own; `dose_of` tells
how much the tokens changed, `matched` finds the strength of a sham whose dose is equal. Landmarks are carried along. Windows that lack
what an edit needs are refused with their records; `keeping` leaves them out instead, counted.
"""

from heartlens.signals.counterfactuals.atria import (
    PWave,
    can_have_p,
    has_beats,
    p_waves_of,
    with_f_waves,
    with_p_waves,
    without_f_waves,
)
from heartlens.signals.counterfactuals.baseline import at_rest
from heartlens.signals.counterfactuals.dose import dose_of, first_matched, matched
from heartlens.signals.counterfactuals.intervals import RHYTHMS
from heartlens.signals.counterfactuals.kept import keeping
from heartlens.signals.counterfactuals.made_once import made_once
from heartlens.signals.counterfactuals.noise import with_noise
from heartlens.signals.counterfactuals.rhythm import (
    movable_beats,
    with_beat_moved,
    with_beats_moved_together,
    with_middle_beat_moved,
    with_rhythm,
    with_warped_baseline,
)
from heartlens.signals.counterfactuals.scale import Strength, on_scale_of
from heartlens.signals.counterfactuals.warp import UNABLE, can_be_warped
from heartlens.signals.counterfactuals.waves import (
    FLAT,
    MOST_BENT,
    bent_baselines,
    flattened,
    has_wave,
    waves_of_beats,
    with_bent_baseline,
    with_flat_baseline,
    without_p,
)

__all__ = [
    "FLAT",
    "MOST_BENT",
    "RHYTHMS",
    "UNABLE",
    "PWave",
    "Strength",
    "at_rest",
    "bent_baselines",
    "can_be_warped",
    "can_have_p",
    "dose_of",
    "first_matched",
    "flattened",
    "has_beats",
    "has_wave",
    "keeping",
    "made_once",
    "matched",
    "movable_beats",
    "on_scale_of",
    "p_waves_of",
    "waves_of_beats",
    "with_beat_moved",
    "with_beats_moved_together",
    "with_bent_baseline",
    "with_f_waves",
    "with_flat_baseline",
    "with_middle_beat_moved",
    "with_noise",
    "with_p_waves",
    "with_rhythm",
    "with_warped_baseline",
    "without_f_waves",
    "without_p",
]
