"""The trial of a circuit: sets of nodes that are no better than random ones, nodes without which a circuit is as faithful."""

from functools import partial

import numpy as np

from heartlens.analysis import Measured
from heartlens.tally import Tally
from heartlens.trial import Effect, Null, Trial
from heartlens.trial.studies import N_PERSONS, between_persons, made_up

N_NODES, N_MEMBERS, N_RANDOM, LEAST_CHANGE = 12, 6, 20, 0.25
NODES = [f"node {node}" for node in range(N_NODES)]
SIZES = [0, N_MEMBERS, N_NODES]


def trial() -> Trial:
    """Of any model a circuit may be found that beats random sets: all rules are tried on simulated studies, their logits read."""
    nulls = (
        Null(("changes",), f"a logit that moves by {LEAST_CHANGE:g}, the least of interest", partial(_study, change=LEAST_CHANGE)),
        Null(("keeps", "complete"), "a circuit drawn like the random sets, which keep 0.7 of the logit", _study),
        Null(("needed",), "a circuit as faithful without each of its nodes", _study),
    )
    effects = (
        Effect("changes", "1 logit, between-person SD 1", {}, 0.5, _as_it_is, partial(_study, change=1.0)),
        Effect(
            "keeps", "a circuit that keeps 0.9, random sets 0.4", {}, 0.9, partial(_with_circuit, name="circuit", off=0.1), _of_poor_sets
        ),
        Effect(
            "complete",
            "without the circuit 0.1 is kept, without random sets 0.6",
            {},
            0.9,
            partial(_with_circuit, name="rest", off=0.9),
            _of_poor_sets,
        ),
        Effect("needed", "a node without which 0.2 less is kept", {"node": NODES[0]}, 0.5, _with_needed, _study),
    )
    small = {"n_random": 20, "n_bootstraps": 0, "search_windows": 4}
    return Trial(small, effects, nulls, frozenset({"changes", "keeps", "complete", "needed"}), "task head")


def _study(rng: np.random.Generator, change: float = 2.0, off: float = 0.3, off_rest: float = 0.7) -> Measured:
    """How far the circuit and the random sets, and the nodes outside them, are off: parts of each person's change of the logit.

    Sets differ from each other (SD 0.1), each beside that between persons.
    """
    from heartlens.analyses.circuit import AXES_OF

    whole = rng.gamma(4.0, change / 4, N_PERSONS)
    places = {"node": NODES, "size": SIZES, "draw": range(N_RANDOM)}

    def parts(mean: float) -> np.ndarray:
        """The circuit's first, then the random sets': (person, set)."""
        return np.clip(rng.normal(mean, 0.1, 1 + N_RANDOM) + rng.normal(0, 0.1, (N_PERSONS, 1 + N_RANDOM)), 0, None) * whole[:, None]

    kept, rest = parts(off), parts(off_rest)
    member = (np.arange(N_NODES) < N_MEMBERS).astype(float)
    toggled = np.abs(kept[:, :1] + 0.05 * whole[:, None] * between_persons(rng, N_NODES))
    sums = {"off_none": whole, "off_circuit": kept[:, 0], "off_rest": rest[:, 0], "off_toggled": toggled}
    sums |= {"off_random_circuit": kept[:, 1:], "off_random_rest": rest[:, 1:], "in_circuit": np.tile(member, (N_PERSONS, 1))}
    sums |= {"whole": between_persons(rng, mean=1.0), "n_tested": 1.0, "n_windows": 1.0}
    return Measured(made_up(AXES_OF, places, {"kind": "ecg", "readout": "af_logit", "wanted": 0.8}, **sums), {})


def _of_poor_sets(rng: np.random.Generator) -> Measured:
    return _study(rng, off=0.6, off_rest=0.4)


def _as_it_is(tally: Tally, rng: np.random.Generator) -> Tally:
    return tally


def _with_circuit(tally: Tally, rng: np.random.Generator, name: str, off: float) -> Tally:
    """The tally of a circuit (or of the nodes outside it) that is off by this part of the change."""
    parts = np.clip(off + between_persons(rng, sd=0.1), 0, None)
    return Tally(tally.sums.assign({f"off_{name}": tally.sums["off_none"] * parts}), tally.sample)


def _with_needed(tally: Tally, rng: np.random.Generator) -> Tally:
    sums = tally.sums.copy(deep=True)
    more = 0.2 + between_persons(rng, sd=0.2)
    sums["off_toggled"].loc[{"node": NODES[0]}] = sums["off_circuit"] + sums["off_none"] * more
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
