"""The trial of a patching: edits that move the readout no more than their control does, heads and waves that carry nothing."""

from functools import partial

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import between_persons, made_up

N_LAYERS, N_HEADS, N_TWINS, N_LAGS = 3, 6, 19, 4
WAVES = ["P", "QRS", "T", "all"]
HEAD = {"layer": 0, "head": 0}


def trial() -> Trial:
    """Every rule asks for more than twins show; on models nearly none gets as far, so simulated studies try each."""
    nulls = (
        Null(("moves",), "an edit and its control that move the logit by 0 in the mean", _of_nothing),
        Null(("moves",), "an edit and its control that move the logit alike, by 1", partial(_study, whole=1.0, control=1.0)),
        Null(("carries",), "a difference of 3 logits, of which no head carries any beyond the control", _of_no_carrier),
        Null(("at_wave", "direct", "path"), "a head that carries a difference, at no wave and no input", _of_a_carrier),
        Null(("in_stream", "in_cycle"), "a difference that the stream holds at no wave and no cycle", _of_a_carrier),
    )
    effects = (
        Effect("moves", "1 logit, between-person SD 1", {}, 0.5, _as_it_is, partial(_study, whole=1.0)),
        Effect("carries", "1 of 3 logits by one head, between-person SD 1", HEAD, 0.5, _with_a_carrier, _of_no_carrier),
    )
    return Trial({"n_twins": 19}, effects, nulls, needs="task head", options={"base": "none"})


def _study(rng: np.random.Generator, whole: float = 3.0, control: float = 0.0, of_heads: float = 0.0) -> Measured:
    """Differences of the edit and of its control; of half of the heads an effect `of_heads` under both. Twins do nothing."""
    from heartlens.analyses.patching import AXES_OF, OF_BASE, OF_TWINS

    places = {"place": WAVES, "layer": range(N_LAYERS), "head": range(N_HEADS), "part": ["Q", "K", "V"], "lag": range(N_LAGS)}
    places |= {"level": [f"level {level}" for level in range(N_LAYERS + 1)]}
    attrs = {"counterfactual": "without_p", "readout": "af_logit", "direction": "denoise", "receiver": "L3H1", "kind": "ecg"}
    axes = {name: along for name, along in AXES_OF.items() if name not in OF_BASE}
    sizes = {name: tuple(len(places[axis]) for axis in along) for name, along in axes.items()}
    effects = ("effect", "direct", "stream", "stream_back", "path", "control_effect")
    sums = {name: between_persons(rng, *sizes[name], sd=0.5) for name in effects}
    alike = of_heads * (np.arange(N_HEADS) % 2)
    sums["effect"][..., WAVES.index("all")] += alike
    sums["control_effect"] += alike
    difference, of_control = (between_persons(rng, mean=mean) for mean in (whole, control))
    readouts = {"clean": difference + 5.0, "corrupt": 5.0, "control": difference + 5.0 - of_control}
    counts = {"n_controls": 1.0, "n_pairs": 1.0, "n_windows": 1.0}
    tally = made_up(axes, places, attrs, **sums, **readouts, **counts)
    still = made_up(
        {name: axes[name] for name in OF_TWINS},
        places,
        attrs,
        effect=0 * sums["effect"],
        clean=5.0,
        corrupt=5.0,
        n_pairs=1.0,
        n_windows=1.0,
    )
    return Measured(tally, {"model": tally, **{f"shuffled {twin}": still for twin in range(N_TWINS)}})


def _of_nothing(rng: np.random.Generator) -> Measured:
    return _study(rng, whole=0.0)


def _of_no_carrier(rng: np.random.Generator) -> Measured:
    return _study(rng, of_heads=0.5)


def _of_a_carrier(rng: np.random.Generator) -> Measured:
    """One head carries the difference at all tokens, none at a wave's."""
    measured = _study(rng)
    tally = _with_a_carrier(measured.tally, rng)
    return Measured(tally, {**measured.twins, "model": tally})


def _as_it_is(tally: Tally, rng: np.random.Generator) -> Tally:
    return tally


def _with_a_carrier(tally: Tally, rng: np.random.Generator) -> Tally:
    """The tally with 1 logit of the difference carried by one head, by an SD of 1 between persons; nothing under the control."""
    sums = tally.sums.copy(deep=True)
    sums["effect"].loc[{**HEAD, "place": "all"}] = between_persons(rng, mean=1.0)
    sums["control_effect"].loc[HEAD] = between_persons(rng, sd=0.2)
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
