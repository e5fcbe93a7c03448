"""The trial of one analysis: models that learnt nothing judged as if each were the model, and effects of known size looked for.

Model i is judged beside the null set i modulo their number: several sets, so that a rate does not rest on one draw of the twins' limit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import xarray as xr

from heartlens.analysis import MODEL, Measured, summarize
from heartlens.inference.verdict import NOT_TESTED, VERDICT, YES
from heartlens.refusal import Refusal
from heartlens.tally import Tally
from heartlens.trial import Answered, Effect, Null, Rate, answered, trial_of
from heartlens.trial.pool import N_BATCH, OWN, SHUFFLED, Pool

JUDGED_SEED, NULL_SEED, STUDY_SEED = 2026, 3000, 1000  # of the models that are judged, of the first null set, of simulated studies
OWN_NULL = ("random", OWN)  # how kinds begin whose models have twins of their own kind, as those drawn at another scale


@dataclass(frozen=True)
class Outcome:
    """What became of one rule: of `kind` models that learnt nothing or simulated studies (its false-yes rate), or of an effect (its power).

    `n_not_tested` are models or studies of which nothing was tested; they count as no yes.
    """

    analysis: str
    rule: str
    fingerprint: str
    kind: str
    rate: Rate
    n_not_tested: int
    n_null_sets: int
    effect: Effect | None = None
    is_simulated: bool = False


# How parts of a trial are run: `run(part, tasks)` gives `part(pool, *task)` of each task, in order.
Run = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterable[Any]]


def in_turn(pool: Pool) -> Run:
    """One part after the other, in this process."""
    return lambda part, tasks: (part(pool, *task) for task in tasks)


def batches(n_models: int) -> list[range]:
    """The models' numbers, batch by batch."""
    return [range(first, min(first + N_BATCH, n_models)) for first in range(0, n_models, N_BATCH)]


def null_set(pool: Pool, kind: str, number: int, only: range | None = None) -> dict[str, Tally]:
    """As many twins as the analysis has by default, none of them in another set or among those that are judged."""
    null_kind, n_twins = kind if kind.startswith(OWN_NULL) else SHUFFLED, pool.analysis.n_twins if pool.is_twinned else 0
    if only is not None:
        return pool.as_twins(null_kind, n_twins, NULL_SEED + number, only)
    if (null_kind, number) not in pool.null_sets:
        pool.null_sets[null_kind, number] = pool.as_twins(null_kind, n_twins, NULL_SEED + number)
    return pool.null_sets[null_kind, number]


def false_yes(pool: Pool, kind: str, n_models: int, n_sets: int, run: Run | None = None) -> list[Outcome]:
    """For each rule that is about learning, how often it says yes of models that learnt nothing.

    Refuses an analysis whose summary holds no verdict.
    """
    run = run or in_turn(pool)
    _measured_nulls(pool, kind, n_sets, run)
    answers = list(chain.from_iterable(run(_judged, [(kind, only, n_models, n_sets) for only in batches(n_models)])))
    analysis, used, of_any_model = type(pool.analysis).__name__, n_sets if pool.is_twinned else 1, trial_of(pool.analysis).of_any_model
    return [
        Outcome(
            *(analysis, name, first.rule, kind, Rate(sum(each[name].is_yes for each in answers), n_models)),
            *(sum(not each[name].is_tested for each in answers), used),
        )
        for name, first in answers[0].items()
        if name not in of_any_model
    ]


def false_yes_of_studies(analysis: Any, nulls: tuple[Null, ...], n_studies: int) -> list[Outcome]:
    """For each rule of each null, how often it says yes of simulated studies in which there is nothing to find."""
    outcomes = []
    for number, null in enumerate(nulls):
        answers = [
            answered(summarize(analysis, null.draw(np.random.default_rng([STUDY_SEED, number, index])))) for index in range(n_studies)
        ]
        for name in null.rules:
            rate = Rate(sum(each[name].is_yes for each in answers), n_studies)
            n_not_tested = sum(not each[name].is_tested for each in answers)
            outcomes.append(
                Outcome(type(analysis).__name__, name, answers[0][name].rule, null.text, rate, n_not_tested, 0, is_simulated=True)
            )
    return outcomes


def power_of_studies(analysis: Any, effects: tuple[Effect, ...], n_studies: int) -> list[Outcome]:
    """For each effect that is put into simulated studies, how often its rule finds it."""
    outcomes = []
    for number, effect in enumerate(effects):
        if effect.study is None:
            continue
        answers = []
        for index in range(n_studies):
            seed = [STUDY_SEED, number, index]
            study = effect.study(np.random.default_rng([*seed, 2]))  # apart from what draws the effect's size in each person
            answers.append(_looked_for_in(analysis, effect, study, seed))
        outcomes.append(_power_outcome(type(analysis).__name__, effect, answers, "simulated studies", 0, is_simulated=True))
    return outcomes


def power(pool: Pool, effects: tuple[Effect, ...], n_models: int, n_sets: int, run: Run | None = None) -> list[Outcome]:
    """For each effect that is put into models that learnt nothing, how often its rule finds it."""
    effects = tuple(effect for effect in effects if effect.study is None)
    if not effects:
        return []
    run = run or in_turn(pool)
    _measured_nulls(pool, SHUFFLED, n_sets, run)
    answers_of_models = list(chain.from_iterable(run(_looked_for, [(effects, only, n_models, n_sets) for only in batches(n_models)])))
    analysis, used = type(pool.analysis).__name__, n_sets if pool.is_twinned else 1
    return [
        _power_outcome(analysis, effect, list(answers), SHUFFLED, used)
        for effect, answers in zip(effects, zip(*answers_of_models, strict=True), strict=True)
    ]


def _power_outcome(
    analysis: str, effect: Effect, answers: list[tuple[str, str]], kind: str, n_null_sets: int, is_simulated: bool = False
) -> Outcome:
    """What became of one effect, given what its rule answered, with the rule's fingerprint, each time."""
    rate = Rate(sum(answer == YES for answer, _ in answers), len(answers))
    n_not_tested = sum(answer == NOT_TESTED for answer, _ in answers)
    return Outcome(analysis, effect.rule, answers[0][1], kind, rate, n_not_tested, n_null_sets, effect, is_simulated)


def _measured_nulls(pool: Pool, kind: str, n_sets: int, run: Run) -> None:
    """Have the twins measured and kept, where the pool keeps them: each batch once, whoever asks for it later."""
    if pool.is_twinned and pool.folder is not None:
        list(run(_measured_null, [(kind, number, only) for number in range(n_sets) for only in batches(pool.analysis.n_twins)]))


def _measured_null(pool: Pool, kind: str, number: int, only: range) -> None:
    null_set(pool, kind, number, only)


def _judged(pool: Pool, kind: str, only: range, n_models: int, n_sets: int) -> list[dict[str, Answered]]:
    """What the rules answer of each model of a batch."""
    nulls = [null_set(pool, kind, number) for number in range(n_sets if pool.is_twinned else 1)]
    all_answers = []
    for index, measured in zip(only, pool.as_model(kind, n_models, JUDGED_SEED, only), strict=True):
        answers = answered(summarize(pool.analysis, _beside(measured, nulls[index % len(nulls)])))
        if not answers:
            raise Refusal(
                f"{type(pool.analysis).__name__} has no trial: its summary has no variable that ends in {VERDICT}; decide with "
                "heartlens.inference.verdict.decide in summarize, or list the analysis as one that decides nothing"
            )
        all_answers.append(answers)
    return all_answers


def _looked_for(pool: Pool, effects: tuple[Effect, ...], only: range, n_models: int, n_sets: int) -> list[list[tuple[str, str]]]:
    """Of each model of a batch, what the rule of each effect answers where the effect was put, and the rule's fingerprint."""
    nulls = [null_set(pool, SHUFFLED, number) for number in range(n_sets if pool.is_twinned else 1)]
    all_answers = []
    for index, measured in zip(only, pool.as_model(SHUFFLED, n_models, JUDGED_SEED, only), strict=True):
        beside_twins = _beside(measured, nulls[index % len(nulls)])
        all_answers.append([_looked_for_in(pool.analysis, effect, beside_twins, [number, index]) for number, effect in enumerate(effects)])
    return all_answers


def _looked_for_in(analysis: Any, effect: Effect, measured: Measured, seed: list[int]) -> tuple[str, str]:
    """What the rule answers where the effect was put into the model's tallies, on all windows and on the twins'; and its fingerprint."""
    drawn = effect.drawn(measured.tally, np.random.default_rng([*seed, 1]))
    added = partial(effect.add, **drawn)
    own = {name: added(tally, np.random.default_rng(seed)) for name, tally in measured.twins.items() if name == MODEL}
    changed = Measured(added(measured.tally, np.random.default_rng(seed)), {**measured.twins, **own})
    answer = summarize(analysis, changed)[f"{effect.rule}{VERDICT}"]
    return str(answer.sel({**effect.where, **drawn}).values), str(answer.attrs.get("rule", ""))


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
