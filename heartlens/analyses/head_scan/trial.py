"""The trial of the head scan: lifts that its rule must find, put into one head of models that learnt nothing, at one wave."""

from functools import partial

import numpy as np

from heartlens.tally import Tally
from heartlens.trial import ANY, Effect, Trial
from heartlens.trial.judged import raised

BETWEEN_SD = 0.3  # between persons, of the logarithm of the lift; heads of ECG-PT with a lift above 1.3 have .30 to .34


def trial() -> Trial:
    """Lifts of 2 and of 1.5; the small trial draws fewer rotations and permutations."""
    small = {"n_permutations": 1999, "n_rotations": 10, "n_lags": 1, "n_phases": 2}
    return Trial(small, tuple(_lift(lift, wanted) for lift, wanted in ((2.0, 0.9), (1.5, 0.5))))


def _lift(lift: float, wanted: float) -> Effect:
    text = f"a lift of {lift:g} at P in one head, drawn at random, between-person SD {BETWEEN_SD:g}"
    where = {"query": "all", "wave": "P", "layer": ANY, "head": ANY}
    return Effect("attends", text, where, wanted, partial(_with_lift, lift=lift))


def _with_lift(tally: Tally, rng: np.random.Generator, lift: float, **head: int) -> Tally:
    """The tally with the lift in both sums that the rule reads: the share, and of the rotations the one by nothing."""
    seed, place = int(rng.integers(2**32)), {"wave": "P", **head}
    for top, where in (("share", place), ("rotated_share", {**place, "rotation": 0.0})):
        if top in tally.sums and (top == "share" or tally.sums.sizes.get("rotation", 0) > 0):
            tally = raised(tally, top, f"even_{top}", lift, BETWEEN_SD, np.random.default_rng(seed), **where)
    return tally
