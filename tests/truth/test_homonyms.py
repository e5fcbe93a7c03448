"""Homonyms come apart where that was planted, by what was planted, and nowhere else; the published screen; what a null must give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from planted import model_of, random_state
from scipy import stats

from heartlens import figures
from heartlens.analyses.homonyms import POSITION, Homonyms
from heartlens.analyses.homonyms.means import per_record, shuffle_p_values, with_interval
from heartlens.analyses.similarity_screen import SimilarityScreen, similarity_screen
from heartlens.analysis import fold, run, silent
from heartlens.axes import CONTEXT
from heartlens.inference.verdict import is_yes
from heartlens.measures import homonyms as measures
from heartlens.measures.resample import q_values
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate.regular import regular
from heartlens.signals.tokens import tokenise
from heartlens.tally import Tally

WINDOWS = regular("ecg", 8)  # noise, the same cycles in all
QUARTER = np.nan_to_num(np.floor(WINDOWS.phase[0] * 4)).astype(int)
HOMONYMS = Homonyms(n_permutations=1999, n_twins=0)
LEVELS = ["embedding", "block 1", "block 2"]
BLOCK_2 = {"level": "block 2", "label": "phase"}
# The cosine screen of the published GUI on example_context_PPG, reference 485, by level: read off its screenshot, within 0.02
RED = (0.84, 0.73, 0.59, 0.55, 0.52, 0.49, 0.43, 0.43, 0.38)  # token 460
GREEN = (0.29, 0.34, 0.41, 0.44, 0.45, 0.48, 0.49, 0.50, 0.80)  # token 71


def blank():
    """A model in which every token has the vector e0 at every level."""
    state = {name: torch.zeros_like(tensor) for name, tensor in random_state().items()}
    model = model_of(state)
    with torch.no_grad():
        model.W_E[:, 0] = 1
    return model


def phase_in_block_2():
    """The blank model, but the last block adds e1, e2, e3 or e4 to the tokens of each quarter of the cycle: then the cosine of tokens of
    one quarter is 1 and that of tokens of two quarters 1 / 2."""
    model = blank()
    added = torch.zeros(CONTEXT, model.cfg.d_model)
    added[np.arange(CONTEXT), 1 + QUARTER] = 1
    model.add_perma_hook("blocks.1.hook_mlp_out", lambda value, hook: value + added)
    return model


def named(tally, n=50):
    return {f"twin {index}": tally for index in range(n)}


@pytest.fixture(scope="module")
def tallies():
    """The planted model's, and that of a model that knows nothing."""
    return tuple(fold(HOMONYMS, subject_of(model), WINDOWS, silent) for model in (phase_in_block_2(), blank()))


@pytest.fixture(scope="module")
def found(tallies):
    return HOMONYMS.summarize(tallies[0], named(tallies[1]))


def test_cosines_are_those_planted(found):
    for level in LEVELS:
        for label in measures.LABELS:
            if {"level": level, "label": label} != BLOCK_2 and level != "block 2":
                assert float(found["cosine_within"].sel(level=level, label=label)) == pytest.approx(1)
                assert float(found["cosine_between"].sel(level=level, label=label)) == pytest.approx(1)
                assert float(found["effect"].sel(level=level, label=label)) == pytest.approx(0, abs=1e-9)
    at = found.sel(BLOCK_2)
    assert float(at["cosine_within"]) == pytest.approx(1)
    assert float(at["cosine_between"]) == pytest.approx(0.5)
    assert float(at["silhouette"]) == pytest.approx(1)  # distance 0 to the own quarter, 1/2 to every other
    assert float(at["probe_accuracy"]) == pytest.approx(1)


def test_the_effect_is_the_planted_one_less_what_shuffled_labels_give(found):
    at = found.sel(BLOCK_2)
    assert float(at["effect"]) == pytest.approx(0.5 - float(at["cosine_within_null"] - at["cosine_between_null"]), abs=1e-6)
    assert 0.4 < float(at["effect"]) < 0.5  # a value of few visits keeps part of its labels in a shuffle: it errs to the low side


def test_the_null_of_the_probe_is_chance(found):
    """The tokens are noise, so a value tells nothing of the quarter or the slope."""
    for label, chance in (("phase", 1 / 4), ("slope", 1 / 2)):
        assert float(found["probe_accuracy_null"].sel(level="block 2", label=label)) == pytest.approx(chance, abs=0.05)
    assert float(found["probe_accuracy"].sel(level="embedding", label="phase")) == pytest.approx(0.25, abs=0.01)  # all vectors are one


def test_only_the_planted_level_and_label_hold(found):
    apart = is_yes(found, "apart")
    assert bool(apart.sel(BLOCK_2))
    assert int(apart.sum()) == 1
    assert found["grows_verdict"].sel(label="phase").item() == "yes"
    assert found["grows_verdict"].sel(label="slope").item() != "yes"
    said = " ".join(HOMONYMS.findings(found).verdict)
    assert "Parts of the cycle: shown to come apart at block 2 (" in said
    assert "Rising against falling slope: shown to come apart at no level" in said


def test_all_growth_is_in_the_last_block(found):
    at = found.sel(label="phase")
    assert float(at["last_step"]) == pytest.approx(float(at["growth"]))
    assert float(at["growth"]) == pytest.approx(float(at["effect"].sel(level="block 2")))
    assert float(at["trend"]) == pytest.approx(float(at["growth"]) / 2)  # least squares over 0, 0, g


def test_what_a_twin_also_shows_does_not_hold(tallies):
    summary = HOMONYMS.summarize(tallies[0], {**named(tallies[1]), "a twin as good": tallies[0], "and another": tallies[0]})
    assert float(summary["q_value"].sel(BLOCK_2)) < 0.05
    assert not is_yes(summary, "apart").any()


def test_without_twins_nothing_holds(tallies):
    summary = HOMONYMS.summarize(tallies[0], {})
    assert not is_yes(summary, "apart").any()
    assert (summary["apart_verdict"] == "not tested").all()


def test_what_shuffled_labels_cannot_exclude_does_not_hold(tallies):
    """Three levels at p = 1 / 40 at best: q = 0.075, however large the effect."""
    analysis = replace(HOMONYMS)
    object.__setattr__(analysis, "n_permutations", 39)
    summary = analysis.summarize(tallies[0], named(tallies[1]))
    assert float(summary["effect_low"].sel(BLOCK_2)) > 0.4
    assert float(summary["q_value"].sel(BLOCK_2)) == pytest.approx(0.075)
    assert not is_yes(summary, "apart").any()


def test_position_alone_is_told_apart_from_tokens():
    """Phase planted into the position embedding is there at every level, and in the position alone."""
    model = blank()
    with torch.no_grad():
        model.W_pos[np.arange(CONTEXT), 1 + QUARTER] = 1
    summary = run(replace(HOMONYMS, n_twins=20, twin_windows=8), model, WINDOWS)
    at = summary.sel(label="phase")
    assert at["cosine_between"].values == pytest.approx([0.5] * 3)
    assert float(at["position_cosine_between"]) == pytest.approx(0)  # without the e0 of the tokens
    assert float(at["position_cosine_within"]) == pytest.approx(1)
    assert (at["apart_verdict"] == "yes").all()
    assert POSITION not in summary["level"].values
    assert not float(at["growth_low"]) > 1e-6
    assert any("Position alone" in caution for caution in HOMONYMS.findings(summary).cautions)


@pytest.mark.parametrize("vectors", ["raw", "centred", "normed"])
def test_what_all_vectors_share_leaves_centred_and_normed_ones(vectors):
    """A large vector common to all tokens hides the planted quarters from the raw cosine, one common to all coordinates too."""
    model = phase_in_block_2()
    with torch.no_grad():
        model.W_E[:, 0] = 1 if vectors == "normed" else 100
        model.W_E.add_(100 if vectors == "normed" else 0)
    summary = HOMONYMS.summarize(fold(replace(HOMONYMS, vectors=vectors), subject_of(model), WINDOWS[:2], silent), {})
    between = float(summary["cosine_between"].sel(BLOCK_2))
    if vectors == "raw":
        assert between == pytest.approx(1, abs=1e-3)
    elif vectors == "normed":  # two 1s among 8 coordinates: less the mean 1/4, length² 2 - 8/16 and product 1 - 8/16
        assert between == pytest.approx(1 / 3, abs=1e-3)
    else:  # four directions less their mean point away from each other, exactly by 1/3 if the quarters are equal
        assert between == pytest.approx(-1 / 3, abs=0.05)


def test_one_record_has_no_interval_no_probe_and_holds_nothing(tallies):
    tally = fold(HOMONYMS, subject_of(phase_in_block_2()), WINDOWS[:1], silent)
    summary = HOMONYMS.summarize(tally, named(tallies[1]))
    assert summary["effect_low"].isnull().all()
    assert summary["probe_accuracy"].isnull().all()
    assert not is_yes(summary, "apart").any()
    assert any("one record" in caution for caution in HOMONYMS.findings(summary).cautions)


def test_windows_without_cycles_are_not_tested(tmp_path):
    lost = replace(WINDOWS[:2], position=np.full((2, CONTEXT), np.nan))
    summary = HOMONYMS.summarize(fold(HOMONYMS, subject_of(blank()), lost, silent), {})
    assert summary["effect"].isnull().all()
    assert summary["q_value"].isnull().all()
    assert HOMONYMS.findings(summary).verdict[1] == "Rising against falling slope: not tested, no pairs of both kinds."
    figures.save(HOMONYMS.plot(summary), tmp_path / "homonyms.svg")
    assert "no tokens were sampled" in (tmp_path / "homonyms.svg").read_text()


def test_the_figure_is_drawn_from_the_summary(found, tmp_path):
    figures.save(HOMONYMS.plot(found), tmp_path / "homonyms.svg")
    text = (tmp_path / "homonyms.svg").read_text()
    assert "different phase" in text
    assert "discs rise, triangles fall" in text


def test_the_sample_is_the_same_in_any_chunks():
    few = replace(HOMONYMS, n_sampled=100, n_shuffles=2)
    model = blank()
    whole = few.measure(model, WINDOWS[:4]).sample
    parts = sum((few.measure(model, WINDOWS[first:last]) for first, last in ((3, 4), (0, 2), (2, 3))), start=Tally()).sample
    xr.testing.assert_identical(whole, parts)
    assert whole.sizes["example"] == 100
    assert len(set(whole["identity"].values.tolist())) == 100
    assert len(set(whole["example_record"].values.tolist())) == 4
    assert not few.for_twins().measure(model, WINDOWS[:1]).sample.sizes


def test_the_published_similarity_screen(shared, tmp_path_factory, monkeypatch):
    from heartlens.models.load import load

    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt/Model_files"))
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
    tokens = tokenise(np.loadtxt(shared / "heartgpt/Example_inputs/example_context_PPG.csv", delimiter=","))
    screen = similarity_screen(load("ppgpt-500k"), tokens, reference=485, others=[460, 71])
    assert screen.dims == ("level", "other")
    np.testing.assert_allclose(screen.sel(other=460), RED, atol=0.02)
    np.testing.assert_allclose(screen.sel(other=71), GREEN, atol=0.02)


def test_the_screens_means_are_those_of_its_windows():
    screen = SimilarityScreen(reference=100, others="50, 7")
    both = screen.summarize(screen.measure(blank(), WINDOWS[:2]), {})
    each = [similarity_screen(blank(), tokens, 100, range(1, 501)) for tokens in WINDOWS.tokens[:2]]
    expected = (each[0] + each[1]) / 2
    np.testing.assert_allclose(both["cosine"], expected.sel(other=[50, 7]))
    np.testing.assert_allclose(both["cosine_any"], expected.drop_sel(other=100).mean("other"))
    for others in ("", "0", "7,501", "a"):
        with pytest.raises(Refusal, match="give token numbers from 1 to 500"):
            SimilarityScreen(others=others)


def test_the_screen_counts_tokens_from_one():
    tokens = WINDOWS.tokens[0]
    assert similarity_screen(blank(), tokens, 1, [500]).values == pytest.approx(1)
    for place in (0, 501):
        with pytest.raises(Refusal, match="tokens count from 1 to 500"):
            similarity_screen(blank(), tokens, 1, [place])


N_TOKENS, N_RECORDS = 60, 4


def sums_of_noise(seed, n_levels=2, n_shuffles=10, is_iid=False):
    """The sums of windows whose vectors know nothing of the labels; tokens of one visit share their vector, as neighbours in time do."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(N_RECORDS):
        token = np.repeat(rng.integers(4, size=N_TOKENS // 3), 3).astype(np.uint8)
        cycle, label = np.arange(N_TOKENS) // 10, np.repeat(rng.integers(2, size=N_TOKENS // 3), 3).astype(np.int8)
        visits = np.unique(np.stack([token, cycle, label]), axis=1, return_inverse=True)[1].reshape(-1)
        visits = np.arange(N_TOKENS) if is_iid else visits
        unit = measures.of_unit_length(rng.normal(size=(n_levels, N_TOKENS, 8))[:, visits])
        labels = measures.shuffled(token, cycle, label, n_shuffles, rng)
        found.append(measures.pair_sums(unit, measures.paired(token, cycle, label), labels))
    axes = {name: ("level", "shuffle") if values.ndim == 2 else ("shuffle",) for name, values in found[0].items()}
    sums = {name: (("record", "label", *axes[name]), np.stack([one[name] for one in found])[:, None]) for name in axes}
    nothing = xr.DataArray(np.zeros((N_RECORDS, n_levels)), dims=("record", "level"))
    return xr.Dataset(sums).assign(cosine_random=nothing, n_random=nothing.isel(level=0))


def test_under_the_null_significance_is_as_rare_as_it_says():
    """Of 200 seeds at most 5 % by the number a binomial of 200 and 0.05 exceeds once in 1000; and the same for q over 2 levels."""
    p_value = np.stack([shuffle_p_values(per_record(sums_of_noise(seed))["effect"], seed, 99)[:, 0] for seed in range(200)])
    most = stats.binom.ppf(0.999, 200, 0.05)
    assert ((p_value < 0.05).sum(axis=0) <= most).all()
    assert (p_value < 0.05).any()
    assert sum((q_values(one) < 0.05).any() for one in p_value) <= most


def test_random_vectors_have_the_silhouette_and_purity_of_chance():
    """The observed labels are one more shuffle: their silhouette and purity lie among those of shuffled labels."""
    ratios = xr.concat([per_record(sums_of_noise(seed, is_iid=True)) for seed in range(20)], dim="record", join="override").isel(label=0)
    for name in ("silhouette", "purity", "cosine_within", "cosine_between"):
        observed, null = ratios[name].isel(shuffle=0), ratios[name].isel(shuffle=slice(1, None)).mean("shuffle")
        error = (observed - null).std("record", ddof=1) / np.sqrt(observed.sizes["record"])
        assert (np.abs((observed - null).mean("record")) < 4 * error).all(), name
    assert ratios["silhouette"].isel(shuffle=0).mean("record").values == pytest.approx(0, abs=0.02)
    assert ratios["cosine_within"].isel(shuffle=0).mean("record").values == pytest.approx(0, abs=0.02)


def test_records_without_a_value_take_no_part_in_a_mean():
    values = xr.DataArray([1.0, np.nan, 3.0], dims="record")
    found = with_interval("x", values)
    assert float(found["x"]) == 2
    assert float(found["x_high"]) - 2 == pytest.approx(12.7062, abs=1e-3)  # t of 1 degree of freedom, standard error 1
    assert 2 - float(found["x_low"]) == pytest.approx(12.7062, abs=1e-3)


@pytest.mark.parametrize("wrong", [{"n_phases": 1}, {"n_shuffles": 1}, {"flat_slope": -1.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(Refusal, match="legal: "):
        Homonyms(**wrong)
