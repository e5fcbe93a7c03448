"""The trial of one analysis: models that learnt nothing judged as if each were the model, and effects of known size looked for.

Model i is judged beside the null set i modulo their number: several sets, so that a rate does not rest on one draw of the twins' limit.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from heartlens.analysis import Measured, summarize
from heartlens.inference.verdict import NOT_TESTED, YES
from heartlens.refusal import Refusal
from heartlens.tally import Tally
from heartlens.trial import VERDICT, Effect, Rate, answered
from heartlens.trial.pool import SHUFFLED, Pool

JUDGED_SEED, NULL_SEED = 2026, 3000  # of the models that are judged, and of the first null set
OWN_NULL = "random"  # models drawn at another scale than the model's weights have twins of their own kind


@dataclass(frozen=True)
class Outcome:
    """What became of one rule: of `kind` models that learnt nothing (its false-yes rate), or of an effect (its power).

    `n_not_tested` are models of which nothing was tested; they count as no yes.
    """

    analysis: str
    rule: str
    fingerprint: str
    kind: str
    rate: Rate
    n_not_tested: int
    n_null_sets: int
    effect: Effect | None = None


def null_sets(pool: Pool, kind: str, n_sets: int) -> list[dict[str, Tally]]:
    """Sets of as many twins as the analysis has by default, no model in two of them and none of those that are judged."""
    if not pool.is_twinned:
        return [{}]
    own = kind if kind.startswith(OWN_NULL) else SHUFFLED
    return [pool.as_twins(own, pool.analysis.n_twins, NULL_SEED + number) for number in range(n_sets)]


def false_yes(pool: Pool, kind: str, n_models: int, n_sets: int) -> list[Outcome]:
    """For each rule, how often it says yes of models that learnt nothing. Refuses an analysis whose summary holds no verdict."""
    nulls = null_sets(pool, kind, n_sets)
    n_yes, n_not_tested, rules = Counter[str](), Counter[str](), dict[str, str]()
    for index, measured in enumerate(pool.as_model(kind, n_models, JUDGED_SEED)):
        answers = answered(summarize(pool.analysis, _beside(measured, nulls[index % len(nulls)])))
        if not answers:
            raise Refusal(
                f"{type(pool.analysis).__name__} has no trial: its summary has no variable that ends in {VERDICT}; decide with "
                "heartlens.inference.verdict.decide in summarize, or list the analysis as one that decides nothing"
            )
        for name, answer in answers.items():
            rules[name] = answer.rule
            n_yes[name] += answer.is_yes
            n_not_tested[name] += not answer.is_tested
    analysis = type(pool.analysis).__name__
    return [Outcome(analysis, name, rules[name], kind, Rate(n_yes[name], n_models), n_not_tested[name], len(nulls)) for name in rules]


def power(pool: Pool, effects: tuple[Effect, ...], n_models: int, n_sets: int) -> list[Outcome]:
    """For each effect, how often its rule finds it, put into models that learnt nothing."""
    nulls = null_sets(pool, SHUFFLED, n_sets) if effects else []
    n_yes, n_not_tested, rules = [0] * len(effects), [0] * len(effects), [""] * len(effects)
    for index, measured in enumerate(pool.as_model(SHUFFLED, n_models, JUDGED_SEED) if effects else ()):
        for number, effect in enumerate(effects):
            tally = effect.add(measured.tally, np.random.default_rng([number, index]))
            own = {name: effect.add(each, np.random.default_rng([number, index])) for name, each in measured.twins.items()}
            summary = summarize(pool.analysis, _beside(Measured(tally, own), nulls[index % len(nulls)]))
            answer = summary[f"{effect.rule}{VERDICT}"]
            rules[number] = str(answer.attrs.get("rule", ""))
            n_yes[number] += str(answer.sel(effect.where).values) == YES
            n_not_tested[number] += str(answer.sel(effect.where).values) == NOT_TESTED
    analysis = type(pool.analysis).__name__
    return [
        Outcome(analysis, effect.rule, rules[number], SHUFFLED, Rate(n_yes[number], n_models), n_not_tested[number], len(nulls), effect)
        for number, effect in enumerate(effects)
    ]


def _beside(measured: Measured, nulls: Mapping[str, Tally]) -> Measured:
    return Measured(measured.tally, {**measured.twins, **nulls})


def raised(tally: Tally, top: str, bottom: str, lift: float, sd: float, rng: np.random.Generator, **where: Any) -> Tally:
    """The tally with `top` at `where` `lift` times `bottom`, times a lognormal number for each record (mean 1, `sd` of the logarithm)."""
    sums = tally.sums.copy(deep=True)
    between = xr.DataArray(np.exp(rng.normal(-(sd**2) / 2, sd, sums.sizes["record"])), dims="record")
    even = sums[bottom].sel({axis: place for axis, place in where.items() if axis in sums[bottom].dims})
    values = even * between * lift
    sums[top].loc[dict(where)] = values.transpose(*sums[top].sel(where).dims).values
    return Tally(sums.assign_attrs(tally.sums.attrs), tally.sample)
