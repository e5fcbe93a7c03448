"""The trial of an attribution: a partner's window that changes the output by no more than is of interest, parts that carry none of it."""

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import N_PERSONS, between_persons, made_up

N_LAYERS, N_HEADS, LEAST_CHANGE = 4, 8, 0.25
PLACE = {"output": "QRS", "layer": 0, "head": 1}
OF_PATCHING = frozenset({"change", "activation_patching", "activation_patching_mlp"})


def trial() -> Trial:
    """Of any model may be true that another window changes its output and that a part carries that: judged models patch nothing."""
    nulls = (
        Null(
            ("change",), f"a partner's window that changes the output by {LEAST_CHANGE:g} logits, the least of interest", _of_least_change
        ),
        Null(tuple(sorted(OF_PATCHING - {"change"})), "parts that carry nothing of a change of 2 logits", _of_nothing_carried),
    )
    effects = (
        Effect("direct", "1 logit by one head at QRS, between-person SD 1", PLACE, 0.5, _with_a_logit),
        Effect(
            "activation_patching",
            "1 of 2 logits carried by one head, between-person SD 1",
            {"layer": 0, "head": 1},
            0.9,
            _with_a_carrier,
            _of_nothing_carried,
        ),
    )
    return Trial({"n_twins": 19, "n_steps": 1}, effects, nulls, OF_PATCHING, options={"patch_windows": 0})


def _study(rng: np.random.Generator, whole: np.ndarray, heads: np.ndarray, mlps: np.ndarray) -> Measured:
    """What the partner changes by person, and what heads and MLPs carry of it."""
    from heartlens.analyses.attribution import AXES_OF
    from heartlens.models.residual import level_names

    places = {"output": ["all", "QRS"], "layer": range(N_LAYERS), "head": range(N_HEADS), "level": level_names(N_LAYERS)}
    patched = {f"{how}_patching": heads for how in ("activation", "attribution", "gradient")}
    patched |= {f"{how}_patching_mlp": mlps for how in ("activation", "attribution", "gradient")}
    direct = between_persons(rng, 2, N_LAYERS, N_HEADS)
    counts = {"n_tokens": 1.0, "n_pairs": 1.0, "n_windows": 1.0}
    attrs = {"kind": "ecg", "reads": "task head"}
    return Measured(made_up(AXES_OF, places, attrs, patched_difference=whole, direct=direct, **patched, **counts), {})


def _of_least_change(rng: np.random.Generator) -> Measured:
    whole = rng.gamma(2.0, LEAST_CHANGE / 2, N_PERSONS)
    return _study(rng, whole, np.zeros((N_PERSONS, N_LAYERS, N_HEADS)), np.zeros((N_PERSONS, N_LAYERS)))


def _of_nothing_carried(rng: np.random.Generator) -> Measured:
    whole = rng.gamma(4.0, 0.5, N_PERSONS)
    return _study(rng, whole, between_persons(rng, N_LAYERS, N_HEADS, sd=0.5), between_persons(rng, N_LAYERS, sd=0.5))


def _with_a_carrier(tally: Tally, rng: np.random.Generator) -> Tally:
    sums = tally.sums.copy(deep=True)
    sums["activation_patching"].loc[{"layer": 0, "head": 1}] = between_persons(rng, mean=1.0)
    return Tally(sums, tally.sample)


def _with_a_logit(tally: Tally, rng: np.random.Generator) -> Tally:
    """The tally with a logit more by one head, for each token that the output is read at; records differ by an SD of 1."""
    sums = tally.sums.copy(deep=True)
    more = sums["n_tokens"].sel(output=PLACE["output"]) * rng.normal(1, 1, sums.sizes["record"])
    sums["direct"].loc[PLACE] = sums["direct"].sel(PLACE) + more
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
