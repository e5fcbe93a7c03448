"""The trial of a continuation: persons whose rhythm is kept as often with and without a part, and as often as that of others."""

from typing import Any

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import N_PERSONS, made_up

READOUT, N_LAYERS, N_HEADS, N_CONTINUED = "period_kept", 3, 6, 8  # continuations of each person
PARTS = {"ablated": (N_LAYERS, N_HEADS), "mlp_ablated": (N_LAYERS,), "layer_ablated": (N_LAYERS,)}
SIDES = ("intact", "again", "others", "prompt", "real")
PLACE = {"readout": READOUT, "layer": 0, "head": 1}


def trial() -> Trial:
    """Of any model may be true that a part changes the rhythm; that a model keeps it is about learning."""
    nulls = (
        Null(
            ("keeps", "changes", "mlp_changes", "layer_changes"), "rhythms kept at each person's own rate, whatever is taken away", _study
        ),
        Null(
            ("matters",), "heads without which a rhythm is kept more or less often, at random, whatever their norm", _of_heads_that_differ
        ),
    )
    more, fewer = "the own period kept 0.3 more often than others'", "the period kept 0.3 less often without one head"
    effects = (
        Effect("keeps", more, {}, 0.9, _with_rhythm, _study),
        Effect("changes", fewer, PLACE, 0.5, _with_head, _study),
    )
    return Trial({"n_draws": 1}, effects, nulls, frozenset({"changes", "mlp_changes", "layer_changes", "matters"}), options={"how": "none"})


def _study(rng: np.random.Generator, of_heads: float = 0.0) -> Measured:
    """How often each person's continuations keep the period; `of_heads` is the SD between heads of what they change that rate by."""
    rate = rng.beta(3, 3, N_PERSONS)
    true = rng.normal(0, of_heads, (N_LAYERS, N_HEADS)) if of_heads else np.zeros((N_LAYERS, N_HEADS))
    sums = {side: rng.binomial(N_CONTINUED, rate)[:, None] for side in SIDES}
    for name, sizes in PARTS.items():
        shift = true if name == "ablated" else np.zeros(sizes)
        rates = np.clip(rate.reshape(-1, *(1 for _ in sizes)) + shift, 0, 1)
        sums[name] = rng.binomial(N_CONTINUED, np.broadcast_to(rates, (N_PERSONS, *sizes)))[:, None]
    counts = {f"{name}_count": float(N_CONTINUED) for name in sums}
    norm = np.broadcast_to(rng.lognormal(0, 0.5, (N_LAYERS, N_HEADS)), (N_PERSONS, N_LAYERS, N_HEADS))
    axes = {name: ("readout", *("layer", "head")[: len(PARTS.get(name.removesuffix("_count"), ()))]) for name in (*sums, *counts)}
    places = {"readout": [READOUT], "layer": range(N_LAYERS), "head": range(N_HEADS)}
    attrs = {"kind": "ecg", "n_prompt": 250, "slowest_bpm": 48.0, "how": "zero", "n_draws": N_CONTINUED}
    everything: dict[str, Any] = sums | counts | {"norm": norm, "n_windows": 1.0}
    return Measured(made_up({**axes, "norm": ("layer", "head"), "n_windows": ()}, places, attrs, **everything), {})


def _of_heads_that_differ(rng: np.random.Generator) -> Measured:
    return _study(rng, of_heads=0.1)


def _with_rhythm(tally: Tally, rng: np.random.Generator) -> Tally:
    """The tally of a model that keeps the period of its own windows in 0.6 of the continuations, and others' in 0.3."""
    return _kept(tally, rng, {"intact": 0.6, "others": 0.3}, {})


def _with_head(tally: Tally, rng: np.random.Generator) -> Tally:
    """The tally of a model that keeps the period in 0.6 of the continuations, and without one head in 0.3."""
    intact = _kept(tally, rng, {"intact": 0.6, "again": 0.6}, {})
    return _kept(intact, rng, {"ablated": 0.3}, {"layer": 0, "head": 1})


def _kept(tally: Tally, rng: np.random.Generator, rates: dict[str, float], where: dict[str, int]) -> Tally:
    sums = tally.sums.copy(deep=True)
    for name, rate in rates.items():
        kept = rng.binomial(N_CONTINUED, rate, (N_PERSONS, 1)).astype(float)
        sums[name].loc[where] = kept
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
