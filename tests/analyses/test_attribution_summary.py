"""What is concluded of the parts of an output, on simulated models that are all alike: sums made up, no model."""

import numpy as np
from scipy.stats import binom

from heartlens.analyses.attribution import AXES_OF, Attribution
from heartlens.analysis import MODEL
from heartlens.models.residual import level_names
from heartlens.trial.studies import made_up

N_MODELS, N_TWINS, N_PERSONS, N_OUTPUTS = 10, 19, 10, 12
PLACES = {"output": [f"output {n}" for n in range(N_OUTPUTS)], "layer": [0, 1], "head": [0, 1], "level": level_names(2)}


def model(rng):
    """A model whose heads add to each output at random, alike in all persons; at the last output ten times as much."""
    adds = rng.normal(0, np.where(np.arange(N_OUTPUTS) == N_OUTPUTS - 1, 10.0, 1.0)[:, None, None], (N_OUTPUTS, 2, 2))
    direct = adds + rng.normal(0, 0.01, (N_PERSONS, N_OUTPUTS, 2, 2))
    return made_up(AXES_OF, PLACES, {"kind": "ecg", "reads": "task head"}, direct=direct, n_tokens=1.0, n_windows=1.0)


def test_a_model_like_its_twins_has_no_yes_at_any_of_many_outputs_more_often_than_chance():
    """Each output beside the twins by itself, as it was: 0.13 to 0.17 of shuffled models had a yes at one of four."""
    rng, analysis = np.random.default_rng(0), Attribution(patch_windows=0, n_permutations=999)
    twins = {f"shuffled {n}": model(rng) for n in range(N_TWINS)}
    n_with_yes = 0
    for _ in range(N_MODELS):
        tally = model(rng)
        summary = analysis.summarize(tally, {MODEL: tally, **twins})
        n_with_yes += bool((summary["direct_verdict"] == "yes").any())
    assert n_with_yes <= binom.ppf(0.99, N_MODELS, 0.05), f"{n_with_yes} of {N_MODELS}"
