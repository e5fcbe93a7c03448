"""The trial of an ablation: persons whose readout parts change by nothing in the mean, heads that differ at random, and known effects."""

from functools import partial

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import N_PERSONS, between_persons, made_up

N_LAYERS, N_HEADS, N_TOKENS, N_INSIDE = 4, 8, 499.0, 50.0
BETWEEN_SD = 0.5  # between persons, of the size of an effect; the largest of ECG-PT have 0.34 to 0.5
OTHERS_SD = 0.008  # nats a token: what heads of ECG-PT differ by, and persons at a head of small effect
PLACE = {"how": "zero", "layer": 1, "head": 2}
PARTS = {"ablated": (N_LAYERS, N_HEADS), "mlp_ablated": (N_LAYERS,), "layer_ablated": (N_LAYERS,)}
AXES = {
    "intact": ("readout",),
    "bottom": ("readout",),
    **{name: ("how", "readout", *("layer", "head")[: len(sizes)]) for name, sizes in PARTS.items()},
    "norm": ("layer", "head"),
    "n_windows": (),
}
PLACES = {"how": ["zero"], "layer": range(N_LAYERS), "head": range(N_HEADS)}


def trial() -> Trial:
    """Of any model may be true that a part changes a readout and that a head stands out; only *learnt* is about learning."""
    nats, logit = {"readout": "cross_entropy", **PLACE}, {"readout": "af_logit", **PLACE}
    effects = (
        Effect(
            "changes",
            "0.05 nats a token by one head, between-person SD 0.025",
            nats,
            0.9,
            partial(_with, size=0.05, sd=BETWEEN_SD * 0.05),
            _of_nats,
        ),
        Effect(
            "matters",
            "0.05 nats a token by one head, other heads' SD 0.008",
            nats,
            0.5,
            partial(_with, size=0.05, sd=BETWEEN_SD * 0.05),
            _of_nats,
        ),
        Effect("changes", "1 logit by one head, between-person SD 0.5", logit, 0.9, partial(_with, size=1.0, sd=BETWEEN_SD), _of_nothing),
    )
    nulls = (
        Null(("changes", "mlp_changes", "layer_changes"), "parts that change the logit by 0 in the mean", _of_nothing),
        Null(("matters",), "heads whose effects on the logit differ at random, whatever their norm", _of_heads_that_differ),
        Null(("inside",), "heads that cost 0.2 nats a token inside the wave and outside", _of_equal_costs),
    )
    of_any_model = frozenset({"changes", "mlp_changes", "layer_changes", "matters", "inside"})
    options = {"cumulative": False, "how": "resample"}  # ranks differ by model; *learnt* is asked of the last way alone
    return Trial({"n_twins": 19, "how": "zero"}, effects, nulls, of_any_model, options=options)


def _study(rng: np.random.Generator, readouts: list[str], bottom: list[float], **changes: np.ndarray) -> Measured:
    """Changes (person, readout, ...) of what is summed, by the part's sum; the norms of heads are lognormal."""
    attrs = {"kind": "ecg", "answers": "next token", "waves": "P" if len(readouts) > 1 else ""}
    sums = {name: values[:, None] for name, values in changes.items()}
    norm = np.broadcast_to(rng.lognormal(0, 0.5, (N_LAYERS, N_HEADS)), (N_PERSONS, N_LAYERS, N_HEADS))
    return Measured(
        made_up(AXES, {**PLACES, "readout": readouts}, attrs, **sums, bottom=np.tile(bottom, (N_PERSONS, 1)), norm=norm, n_windows=1.0), {}
    )


def _of_nothing(rng: np.random.Generator) -> Measured:
    return _study(rng, ["af_logit"], [1.0], **{name: between_persons(rng, 1, *sizes) for name, sizes in PARTS.items()})


def _of_heads_that_differ(rng: np.random.Generator) -> Measured:
    true = rng.normal(0, 1, (1, N_LAYERS, N_HEADS))
    return _study(rng, ["af_logit"], [1.0], ablated=true + between_persons(rng, 1, N_LAYERS, N_HEADS, sd=0.5))


def _of_equal_costs(rng: np.random.Generator) -> Measured:
    inside, outside = (between_persons(rng, N_LAYERS, N_HEADS, mean=0.2, sd=0.1) for _ in range(2))
    whole = N_INSIDE * inside + (N_TOKENS - N_INSIDE) * outside
    return _study(rng, ["cross_entropy", "cross_entropy_P"], [N_TOKENS, N_INSIDE], ablated=np.stack([whole, N_INSIDE * inside], axis=1))


def _of_nats(rng: np.random.Generator) -> Measured:
    """Heads that change the loss by little, between heads and between persons."""
    cost = rng.normal(0, OTHERS_SD, (N_LAYERS, N_HEADS)) + between_persons(rng, N_LAYERS, N_HEADS, sd=OTHERS_SD)
    return _study(
        rng, ["cross_entropy", "cross_entropy_P"], [N_TOKENS, N_INSIDE], ablated=np.stack([N_TOKENS * cost, N_INSIDE * cost], axis=1)
    )


def _with(tally: Tally, rng: np.random.Generator, size: float, sd: float) -> Tally:
    """The tally with an effect of this size by one head, for each unit of what readouts are divided by, and this SD between persons."""
    sums = tally.sums.copy(deep=True)
    sums["ablated"].loc[PLACE] = sums["bottom"] * between_persons(rng, mean=size, sd=sd)[:, None]
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
