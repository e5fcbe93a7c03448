"""The trial of a reliance: edits that move the logit by nothing, or no more than their shams do, and heads that carry nothing."""

from functools import partial

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import N_PERSONS, between_persons, made_up

N_LAYERS, N_HEADS, N_TWINS, N_BINS = 3, 6, 19, 3
HEAD = {"factor": "p_wave", "layer": 0, "head": 0}
SHAMS = {"irregular": "together", "removed": "baseline"}  # of each change the sham of the same dose


def trial() -> Trial:
    """Of models that learnt nothing the logit hardly moves; on simulated studies it does, no more than under the shams."""
    nulls = (
        Null(("relies",), "edits and shams that move the logit by 0 in the mean", partial(_study, effect=0.0)),
        Null(("relies",), "edits and shams that move the logit alike, by 1", partial(_study, effect=1.0, sham=1.0)),
        Null(
            ("head_carries",),
            "an effect of the P wave of 2 logits, of which no head carries any",
            _of_the_p_wave,
        ),
    )
    effects = (
        Effect("relies", "1 logit by the P wave, between-person SD 1", {"factor": "p_wave"}, 0.5, _as_it_is, _of_a_logit),
        Effect(
            "head_carries",
            "1 of 2 logits by one head, between-person SD 1",
            HEAD,
            0.5,
            _with_a_carrier,
            _of_the_p_wave,
        ),
    )
    return Trial({"n_twins": 3, "swap_windows": 0, "n_doses": 1, "n_permutations": 1999}, effects, nulls, needs="task head")


def _study(rng: np.random.Generator, effect: float, sham: float = 0.0, only: str = "") -> Measured:
    """Logits in every arm: a person's own, what each change does to it in the mean, and an SD of 1 between persons for each change.

    `only` names the one change that has the effect. Twins' logits never move.
    """
    from heartlens.analyses.reliance import AXES_OF
    from heartlens.analyses.reliance.arms import FACTORS, KINDS_OF, P_WAVES, RHYTHMS, WITH_P

    means = {change: effect if only in ("", change) else 0.0 for change in SHAMS} | dict.fromkeys(SHAMS.values(), sham)
    means |= {"gradual": 0.0, "t_wave": 0.0}
    moved = {change: between_persons(rng, mean=mean) for change, mean in means.items()}
    logit, n_arms = np.zeros((2, N_PERSONS, len(P_WAVES), len(RHYTHMS)))
    own = between_persons(rng)
    for p_wave, rhythm in WITH_P:
        place = (slice(None), P_WAVES.index(p_wave), RHYTHMS.index(rhythm))
        logit[place] = own + moved.get(p_wave, 0.0) + moved.get(rhythm, 0.0) + between_persons(rng, sd=0.1)
        n_arms[place] = 1.0
    places = {"p_wave": P_WAVES, "rhythm": RHYTHMS, "factor": FACTORS["ecg"], "change": KINDS_OF, "logit_bin": range(N_BINS)}
    places |= {"layer": range(N_LAYERS), "head": range(N_HEADS)}
    of_heads = (len(FACTORS["ecg"]), N_LAYERS, N_HEADS)
    sums = {name: between_persons(rng, *of_heads, sd=0.5) for name in ("head_effect", "head_sham")}
    in_one_bin = n_arms[..., None] * (np.arange(N_BINS) == 1)
    counts = {"n_arms": n_arms, "n_logits": in_one_bin, "n_swapped": 1.0, "n_windows": 1.0}
    tally = made_up(AXES_OF, places, {"kind": "ecg"}, logit=logit, **sums, **counts)
    still = made_up(AXES_OF, places, {"kind": "ecg"}, logit=0 * logit, **counts)
    return Measured(tally, {"model": tally, **{f"shuffled {twin}": still for twin in range(N_TWINS)}})


def _of_a_logit(rng: np.random.Generator) -> Measured:
    return _study(rng, effect=1.0, only="removed")


def _of_the_p_wave(rng: np.random.Generator) -> Measured:
    return _study(rng, effect=2.0, only="removed")


def _as_it_is(tally: Tally, rng: np.random.Generator) -> Tally:
    return tally


def _with_a_carrier(tally: Tally, rng: np.random.Generator) -> Tally:
    sums = tally.sums.copy(deep=True)
    sums["head_effect"].loc[HEAD] = between_persons(rng, mean=1.0)
    sums["head_sham"].loc[HEAD] = between_persons(rng, sd=0.2)
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
