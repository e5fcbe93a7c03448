"""The parts of verdicts that need no model, on simulated persons whose truth is known: do intervals cover, do tests keep their level?

Lifts: each person's even share is lognormal (SD 0.3), the lift varies between persons (SD 0.3 or 0.5 of its logarithm), and all, a third or
a tenth of the persons have the wave. Only studies in which a yes is possible count: LEAST_UNITS persons have it. AUCs: the mean over
persons of an AUC of 4 positive and 6 negative windows. Paired changes: symmetric ones and skewed ones (exponential), of mean 0.
"""

from typing import Any

import numpy as np

from heartlens.inference.intervals import mean_interval, ratio_interval
from heartlens.inference.paired import p_values_of_change
from heartlens.inference.verdict import LEAST_UNITS
from heartlens.trial import Rate

N_STUDIES = 4000
PERSONS, BETWEEN_SD, CARRIERS = (8, 10, 25, 50, 100), (0.3, 0.5), {"all": 1.0, "a third": 1 / 3, "a tenth": 0.1}
AUC, LIFT = 0.87, 1.5
COVERAGE, ALPHA = 0.93, 0.05
PART = "simulated persons"
Rows = list[dict[str, Any]]


def simulated_rows(seed: int = 0, n_studies: int = N_STUDIES) -> Rows:
    """A row for each interval and each test, at each number of persons."""
    rng = np.random.default_rng(seed)
    rows = [
        lift_coverage(rng, n_studies, n_persons, sd, carriers)
        for carriers in CARRIERS
        for sd in BETWEEN_SD
        for n_persons in PERSONS
        if n_persons * CARRIERS[carriers] >= LEAST_UNITS
    ]
    rows += [auc_coverage(rng, n_studies, n_persons) for n_persons in PERSONS[:3]]
    for name, draw in (("normal", rng.standard_normal), ("exponential", lambda size: rng.exponential(size=size) - 1)):
        for n_persons in PERSONS[:3]:
            changed = np.asarray(draw((n_persons, n_studies)))
            low, high = mean_interval(changed)
            text = f"mean of paired {name} changes, {n_persons} persons"
            rows.append(_row("mean_interval", "coverage", text, (low <= 0) & (high >= 0), seed))
            p_value = p_values_of_change(changed, seed=seed, n_permutations=999)
            rows.append(_row("p_values_of_change", "false yes", f"p < {ALPHA:g}, {text}", p_value < ALPHA, seed))
            both = (p_value < ALPHA) & ((low > 0) | (high < 0))
            rows.append(_row("mean_interval and p_values_of_change", "false yes", f"both, {text}", both, seed))
    return rows


def lift_coverage(rng: np.random.Generator, n_studies: int, n_persons: int, sd: float, carriers: str) -> dict[str, Any]:
    """How often the interval of a lift holds the true one."""
    size = (n_persons, n_studies)
    even = np.exp(rng.normal(0, 0.3, size)) * (rng.random(size) < CARRIERS[carriers])
    low, high = ratio_interval(even * LIFT * np.exp(rng.normal(-(sd**2) / 2, sd, size)), even)
    is_possible = (even > 0).sum(axis=0) >= LEAST_UNITS
    text = f"lift, {n_persons} persons of whom {carriers} have the wave, between-person SD {sd:g}"
    return _row("ratio_interval", "coverage", text, ((low <= LIFT) & (high >= LIFT))[is_possible])


def auc_coverage(rng: np.random.Generator, n_studies: int, n_persons: int) -> dict[str, Any]:
    """How often the interval of a mean AUC holds the true one."""
    from scipy.stats import norm

    shift = np.sqrt(2) * norm.ppf(AUC)
    positive, negative = rng.normal(shift, 1, (n_persons, n_studies, 4, 1)), rng.normal(0, 1, (n_persons, n_studies, 1, 6))
    low, high = mean_interval((positive > negative).mean(axis=(2, 3)))
    text = f"mean AUC ({AUC:g}) of 4 + 6 windows each, {n_persons} persons"
    return _row("mean_interval", "coverage", text, (low <= AUC) & (high >= AUC))


def _row(rule: str, what: str, effect: str, happened: np.ndarray, seed: int = 0) -> dict[str, Any]:
    rate = Rate(int(happened.sum()), len(happened))
    low, high = rate.interval
    wanted = {"wanted": COVERAGE} if what == "coverage" else {}
    measured = {"n_yes": rate.n_yes, "n": rate.n, "rate": rate.value, "low": low, "high": high}
    return {
        "part": PART,
        "rule": rule,
        "fingerprint": "",
        "what": what,
        "effect": effect,
        **wanted,
        **measured,
        "seeds": f"simulated {seed}",
    }
