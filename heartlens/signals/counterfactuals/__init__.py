"""Windows as they would be if one thing were otherwise: no P wave, another rhythm, a beat elsewhere, a flat T wave, noise.

Each takes windows to as many windows on the same scale: low and high stay, and every new token is an old one or lies between two old
ones, so none leaves 0 to LEVELS and nothing is clipped (noise folds back there). Landmarks are carried along. Windows that lack what
an edit needs are refused with their records; `keeping` leaves them out instead, counted.
"""

from heartlens.signals.counterfactuals.intervals import RHYTHMS
from heartlens.signals.counterfactuals.kept import keeping
from heartlens.signals.counterfactuals.noise import with_noise
from heartlens.signals.counterfactuals.rhythm import with_beat_moved, with_middle_beat_moved, with_rhythm, with_warped_baseline
from heartlens.signals.counterfactuals.warp import UNABLE, can_be_warped
from heartlens.signals.counterfactuals.waves import FLAT, flattened, has_wave, with_flat_baseline, without_p

__all__ = [
    "FLAT",
    "RHYTHMS",
    "UNABLE",
    "can_be_warped",
    "flattened",
    "has_wave",
    "keeping",
    "with_beat_moved",
    "with_flat_baseline",
    "with_middle_beat_moved",
    "with_noise",
    "with_rhythm",
    "with_warped_baseline",
    "without_p",
]
