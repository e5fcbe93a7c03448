"""A small trial of every analysis: models that learnt nothing, each judged as if it were the model, get no more yes than by chance.

The whole trial is `make calibrate`; docs/calibration.md has its rates.
"""

import ast
import atexit
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from planted import model_of, random_state
from scipy.stats import binom, binomtest

import heartlens
from heartlens.axes import CONTEXT
from heartlens.inference.intervals import ratio_interval
from heartlens.inference.verdict import Claim, decide
from heartlens.models.nulls.unlearnt import LEARNT_NOTHING, SCALES, layers_permuted, rows_permuted
from heartlens.models.subject import subject_of
from heartlens.options import options_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.standard import Standard
from heartlens.tally import Tally, tallied
from heartlens.trial import Rate, answered, trial_of
from heartlens.trial.judged import JUDGED_SEED, NULL_SEED, false_yes, false_yes_of_studies, power, power_of_studies, raised
from heartlens.trial.pool import Pool
from heartlens.trial.published import DECIDES_NOTHING, analyses, kinds_of

PACKAGE = Path(heartlens.__file__).parent / "analyses"
SMALL = {"n_twins": 49, "twin_windows": 10, "n_permutations": 999}  # 49 twins are the fewest that can give p = 0.02
N_MODELS, N_SETS, N_STUDIES = 16, 1, 10
FEWER_MODELS = {  # of analyses whose measurement or summary takes long: two could be yes by chance, so one shows as much
    "ablation": 1,
    "attention_cycles": 4,
    "attention_shift": 1,
    "attribution": 4,
    "circuit": 1,
    "continuation": 1,
    "homonyms": 1,
    "patching": 1,
    "reliance": 1,
}
ON_STUDIES_ALONE = {  # analysis -> rules that ask only where another answer is yes, or need more twins than a small trial can measure
    "patching": {"carries", "at_wave", "direct", "path", "in_stream", "in_cycle"},
    "reliance": {"relies", "head_carries"},
}
TRIED = sorted(analyses().keys() - DECIDES_NOTHING.keys())
STUDIED = [name for name in TRIED if trial_of(analyses()[name]()).nulls]


def most(n, rate=0.05):
    """More yes than that are due to chance in fewer than one of a thousand trials of `n`, if each is wrong at this rate."""
    return int(binom.ppf(0.999, n, rate))


@cache
def subject(needs="base"):
    return subject_of(model_of(random_state(scale=0.3, task_head=needs != "base")))


@cache
def windows(rhythm="sinus"):
    return simulated("ecg", n_records=10, windows_per_record=1, rhythm=rhythm)


@cache
def base_of_fine_tuned():
    """A checkpoint that the tests' task head could have been fine-tuned from: of its sizes, other in every tensor."""
    from safetensors.torch import save_file

    path = Path(tempfile.mkdtemp()) / "base.safetensors"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    save_file(random_state(scale=0.3, seed=1), path)
    return str(path)


def small(analysis):
    """An analysis with the options of a small trial, those it names itself last."""
    trial, legal = trial_of(analysis()), {option.name for option in options_of(analysis)}
    chosen = {name: value for name, value in SMALL.items() if name in legal}
    base = {"base": base_of_fine_tuned()} if trial.needs == "fine-tuned" else {}
    return replace(analysis(), **chosen | base | dict(trial.options) | dict(trial.small))


def small_pool(name):
    trial = trial_of(analyses()[name]())
    return Pool(small(analyses()[name]), subject(trial.needs), windows(trial.rhythm))


@pytest.mark.parametrize("name", TRIED)
def test_no_rule_says_yes_of_models_that_learnt_nothing_more_often_than_chance(name):
    trial, n_models = trial_of(analyses()[name]()), FEWER_MODELS.get(name, N_MODELS)
    kind = next(iter(kinds_of(trial)))
    for outcome in false_yes(small_pool(name), kind, n_models, N_SETS):
        is_of_studies = outcome.rule in ON_STUDIES_ALONE.get(name, ())
        assert outcome.n_not_tested < n_models or is_of_studies, f"{outcome.rule}: nothing was ever tested"
        assert outcome.rate.n_yes <= most(n_models), f"{outcome.rule}: {outcome.rate.n_yes} of {n_models}"


@pytest.mark.parametrize("name", STUDIED)
def test_no_rule_says_yes_of_studies_in_which_there_is_nothing_more_often_than_chance(name):
    for outcome in false_yes_of_studies(small(analyses()[name]), trial_of(analyses()[name]()).nulls, N_STUDIES):
        assert outcome.n_not_tested < N_STUDIES, f"{outcome.rule}: nothing was ever tested"
        assert outcome.rate.n_yes <= most(N_STUDIES), f"{outcome.rule}, {outcome.kind}: {outcome.rate.n_yes} of {N_STUDIES}"


@pytest.mark.parametrize("name", STUDIED)
def test_rules_find_known_effects_in_studies_as_often_as_they_should(name):
    for outcome in power_of_studies(small(analyses()[name]), trial_of(analyses()[name]()).effects, N_STUDIES):
        n_missed = N_STUDIES - outcome.rate.n_yes
        assert n_missed <= most(N_STUDIES, 1 - outcome.effect.power), f"{outcome.rule}, {outcome.effect.text}: {n_missed} missed"


@pytest.mark.parametrize("name", TRIED)
def test_every_rule_is_tried_on_what_can_show_it_wrong(name):
    """Rules that may be true of any model, and those that ask only where another answer is yes, on studies."""
    trial = trial_of(analyses()[name]())
    of_studies = {rule for null in trial.nulls for rule in null.rules}
    assert trial.of_any_model | ON_STUDIES_ALONE.get(name, set()) <= of_studies


def decides_in_verdict(name):
    """Whether a package of analyses imports what decides."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / name).glob("*.py")]
    return any(
        node.module in ("heartlens.inference.verdict", "heartlens.standard")
        and {"decide", "lift_among_twins"} & {each.name for each in node.names}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    )


def test_every_analysis_decides_in_one_place():
    assert {name for name in analyses() if not decides_in_verdict(name)} == DECIDES_NOTHING.keys()


@dataclass(frozen=True)
class Yes(Standard):
    """Says yes of any lift that differs from 1: its twins have no say."""

    def measure(self, model, windows):
        from heartlens.models.attended import attended

        share, even_share = attended(model, windows, np.broadcast_to(np.arange(CONTEXT) == 0, (len(windows), CONTEXT, CONTEXT)))
        return tallied(windows, share=share, even_share=even_share)

    def summarize(self, tally, twins):
        share, even = (tally.sums[name].transpose("record", ...) for name in ("share", "even_share"))
        low, high = ratio_interval(share.values, (share * 0 + even).values)
        effect = (share.sum("record") / even.sum("record")).rename("lift")
        ends = (effect.copy(data=low), effect.copy(data=high))
        claim = Claim("differs", "the head differs", "lift", 0.1, "each head alone", null=1.0, either=True)
        return decide(claim, effect, *ends, n_units=share.sizes["record"]).assign(lift=effect)


@dataclass(frozen=True)
class Undecided(Yes):
    """Decides nothing, and is not listed as such."""

    def summarize(self, tally, twins):
        return xr.Dataset({"lift": tally.sums["share"].sum("record")})


def test_a_rule_that_ignores_its_twins_fails():
    (outcome,) = false_yes(Pool(replace(small(Yes), n_twins=0), subject(), windows()), "shuffled", most(N_MODELS) + 3, 1)
    assert outcome.rate.n_yes > most(N_MODELS)


def test_an_analysis_without_a_verdict_is_refused():
    with pytest.raises(Refusal, match="Undecided has no trial: its summary has no variable that ends in _verdict"):
        false_yes(Pool(replace(small(Undecided), n_twins=0), subject(), windows()[:2]), "shuffled", 1, 1)


def test_every_kind_of_model_that_learnt_nothing_is_judged():
    pool = Pool(replace(small(analyses()["previous_beat"]), n_twins=1), subject(), windows()[:2])
    for kind in LEARNT_NOTHING:
        (outcome,) = false_yes(pool, kind, 2, 1)
        assert outcome.rate.n == 2
        assert outcome.n_not_tested == 2  # of two persons nothing is tested


def tensors(models):
    from heartlens.converters.lens import parameters

    return [{name: tensor.detach().clone() for name, tensor in parameters(model).items()} for _, model in models]


def test_models_that_are_judged_and_models_that_make_a_null_are_never_the_same():
    pool = Pool(small(analyses()["previous_beat"]), subject(), windows())
    judged = tensors((name, each.model) for name, each in pool.models("shuffled", 5, JUDGED_SEED))
    nulls = [tensors((name, each.model) for name, each in pool.models("shuffled", 5, NULL_SEED + number)) for number in range(2)]
    everyone = [model["embed.W_E"].numpy().tobytes() for model in (*judged, *nulls[0], *nulls[1])]
    assert len(set(everyone)) == 15


def test_rearranged_models_keep_what_they_should():
    original = tensors([("", subject().model)])[0]
    for rows in tensors(rows_permuted(subject().model, 2, 0)):
        assert not (rows["embed.W_E"] == original["embed.W_E"]).all()
        np.testing.assert_array_equal(np.sort(rows["embed.W_E"].numpy(), axis=0), np.sort(original["embed.W_E"].numpy(), axis=0))
    for layers in tensors(layers_permuted(subject().model, 2, 0)):  # of two layers there is one other order
        for name in ("attn.W_Q", "mlp.W_in"):
            for here, there in ((0, 1), (1, 0)):
                np.testing.assert_array_equal(layers[f"blocks.{here}.{name}"], original[f"blocks.{there}.{name}"])
    small_one, large_one = (tensors(LEARNT_NOTHING[f"random x {scale}"](subject().model, 1, 0))[0] for scale in (SCALES[0], SCALES[-1]))
    np.testing.assert_allclose(large_one["embed.W_E"], small_one["embed.W_E"] * SCALES[-1] / SCALES[0], rtol=1e-5)


def test_a_pool_measures_a_model_once(tmp_path, monkeypatch):
    """Stored tallies are the measured ones to the last bit, and a trial that goes on measures nothing of what is stored."""
    analysis = small(analyses()["previous_beat"])
    pool = Pool(analysis, subject(), windows(), tmp_path)
    first = [each.tally for each in pool.as_model("shuffled", 3, JUDGED_SEED)]
    monkeypatch.setattr("heartlens.trial.pool.fold", None)
    for tally, again in zip(first, pool.as_model("shuffled", 3, JUDGED_SEED), strict=True):
        xr.testing.assert_identical(tally.sums, again.tally.sums)
    with pytest.raises(TypeError):  # another seed, and other windows, are measured
        list(pool.as_model("shuffled", 3, JUDGED_SEED + 1))
    with pytest.raises(TypeError):
        list(Pool(analysis, subject(), windows()[:5], tmp_path).as_model("shuffled", 3, JUDGED_SEED))


@pytest.mark.parametrize(("n_yes", "n"), [(0, 60), (3, 60), (60, 60), (10, 200)])
def test_intervals_of_rates_are_exact(n_yes, n):
    expected = binomtest(n_yes, n).proportion_ci(0.95, "exact")
    assert Rate(n_yes, n).interval == pytest.approx((expected.low, expected.high))


def test_a_partly_counts_as_yes_and_what_was_not_tested_is_told():
    summary = xr.Dataset({"a_verdict": ("head", ["no", "partly"]), "b_verdict": ((), "not tested"), "c": 1})
    answers = answered(summary)
    assert set(answers) == {"a", "b"}
    assert (answers["a"].is_yes, answers["a"].is_tested) == (True, True)
    assert (answers["b"].is_yes, answers["b"].is_tested) == (False, False)


def test_a_raised_tally_has_the_lift_it_was_given():
    record = [f"r{number}" for number in range(4000)]
    even = xr.DataArray(np.linspace(1, 2, 4000), dims="record", coords={"record": record})
    share = xr.DataArray(
        np.ones((4000, 2, 2)), dims=("record", "layer", "head"), coords={"record": record, "layer": [0, 1], "head": [0, 1]}
    )
    tally = Tally(xr.Dataset({"share": share, "even_share": even}))
    raised_sums = raised(tally, "share", "even_share", 1.5, 0.3, np.random.default_rng(0), layer=1, head=0).sums
    lift = (raised_sums["share"] / even).sel(layer=1, head=0)
    assert float(lift.mean()) == pytest.approx(1.5, abs=0.03)  # standard error 0.007
    assert float(np.log(lift).std()) == pytest.approx(0.3, abs=0.02)
    assert (raised_sums["share"].sel(layer=0) == 1).all()
    assert (raised_sums["share"].sel(layer=1, head=1) == 1).all()
    assert (tally.sums["share"] == 1).all()  # what was given stays as it was


def test_what_decides_a_tally_names_its_file(tmp_path):
    """The seed too, with which some analyses draw while they measure, and code of the analysis' package and of what it calls."""
    analysis = small(analyses()["patching"])
    pool, other = (Pool(each, subject(), windows(), tmp_path) for each in (analysis, replace(analysis, seed=1)))
    assert pool._path(analysis, windows(), "shuffled", 0, range(5)) != other._path(other.analysis, windows(), "shuffled", 0, range(5))
    files = {path.name for path in pool._measuring}
    assert {"effects.py", "pairs.py", "sweep.py", "kernels.py", "attention.py", "spans.py"} <= files
    assert not files & {"summary.py", "words.py", "verdict.py"}


def test_an_effect_is_put_into_any_head():
    """Its place is drawn for each model from those that there are; places that are given stay."""
    tally = Tally(xr.Dataset(coords={"layer": np.arange(3), "head": np.arange(2), "wave": ["P", "T"]}))
    effect = trial_of(analyses()["head_scan"]()).effects[0]
    drawn = [effect.drawn(tally, np.random.default_rng(seed)) for seed in range(50)]
    assert {(place["layer"], place["head"]) for place in drawn} == {(layer, head) for layer in range(3) for head in range(2)}
    assert all(place.keys() == {"layer", "head"} for place in drawn)


def test_a_large_effect_is_found_and_none_is_not():
    """A lift of 30 in one head of models that learnt nothing; the same rule at a head where nothing was put."""
    analysis = small(analyses()["head_scan"])
    effect = trial_of(analysis).effects[0]
    large = replace(effect, add=partial(effect.add.func, lift=30.0))
    elsewhere = replace(large, where={**large.where, "wave": "T"})
    found, not_there = power(Pool(analysis, subject(), windows()), (large, elsewhere), 2, 1)
    assert (found.rate.n_yes, not_there.rate.n_yes) == (2, 0)
