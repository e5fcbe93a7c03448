"""A reliance finds what a model written by hand reads, to the last digit, and says no where nothing is read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of

from heartlens.analyses.reliance import LOGIT_EDGES, Reliance
from heartlens.analysis import measure, run, summarize
from heartlens.axes import CONTEXT
from heartlens.converters.hooked import EPSILON
from heartlens.converters.sizes import Sizes
from heartlens.findings import LEAST_UNITS
from heartlens.models.interventions.dose import embedding_dose
from heartlens.models.origin import Origin
from heartlens.models.planted import Raises, planted
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.windows import concatenate

FLAG, AMOUNT = 0, 3.0
QUICK = Reliance(n_twins=20, n_permutations=9999, twin_windows=LEAST_UNITS, rescale=False)  # lest scaling make or undo flags
READER = (0, 1)  # the head that reads


def reader(vocabulary=101, late=False):
    """The head READER attends evenly (`late`: to the window's second half alone) and its logit is AMOUNT times the part of FLAG tokens.

    Of 64 dimensions the first tells a flag (1, else -1), the second is minus that, the third and fourth the window's half; the next two
    are empty and written to (v and -v, v the part of flags twice less one), all others +1 and -1 in turn. So the mean is 0 and the
    variance 62 / 64 before the head has written.
    """
    sizes = Sizes(1, 2, 64, 32, 64, vocabulary, CONTEXT, 1, True)
    state = {name: torch.zeros(shape) + float("ln" in name and name.endswith("weight")) for name, shape in sizes.shapes().items()}
    table = state["token_embedding_table.weight"]
    table[:, 6::2], table[:, 7::2] = 1.0, -1.0
    table[:, 0], table[:, 1] = -1.0, 1.0
    table[FLAG, 0], table[FLAG, 1] = 1.0, -1.0
    half = torch.where(torch.arange(CONTEXT) < CONTEXT // 2, -1.0, 1.0)
    state["position_embedding_table.weight"][:, 2], state["position_embedding_table.weight"][:, 3] = half, -half
    scale = (62 / 64 + EPSILON) ** -0.5
    part = f"blocks.0.sa.heads.{READER[1]}."
    if late:
        state[f"{part}query.weight"][0, 6] = 400.0
        state[f"{part}key.weight"][0, 2] = 1.0
    state[f"{part}value.weight"][0, 0] = 1 / scale
    state["blocks.0.sa.proj.weight"][4, 32 * READER[1]], state["blocks.0.sa.proj.weight"][5, 32 * READER[1]] = 1.0, -1.0
    head = next(name for name in state if name.startswith("lm_head") and name.endswith("weight"))
    state[head][0, 4] = AMOUNT
    return state


def logit_of(tokens, late=False):
    """What the reader's logit is, by arithmetic."""
    seen = tokens[:, CONTEXT // 2 :] if late else tokens
    v = 2 * (seen == FLAG).mean(axis=1) - 1
    return AMOUNT * v / np.sqrt((62 + 2 * v**2) / 64 + EPSILON)


def task_model(state, task="AF (last token)"):
    model = model_of(state, dtype=torch.float64)
    model.origin = Origin("reader", "ecg", task, "", "", "", "", "none")
    return model


def flagged(windows):
    """Every token of a P wave is FLAG, no other one."""
    tokens = np.where(windows.wave == 0, FLAG, np.maximum(windows.tokens, FLAG + 1))
    return replace(windows, tokens=tokens.astype(np.uint8))


WINDOWS = flagged(simulated("ecg", 10, 1))


def expected(windows, late=False):
    """The effects by arithmetic, record by record (each has one window)."""
    regular, irregular = (cf.with_rhythm(windows, rhythm, rescale=False) for rhythm in ("regular", "irregular"))
    arms = (regular, irregular, *(cf.without_p(each, rescale=False) for each in (regular, irregular)))
    pr, pi, qr, qi = (logit_of(each.tokens, late) for each in arms)
    return {"rhythm": (pi - pr + qi - qr) / 2, "p_wave": (qr - pr + qi - pi) / 2, "interaction": qi - qr - pi + pr}


@pytest.fixture(scope="module")
def of_p():
    measured = measure(QUICK, task_model(reader()), WINDOWS)
    return measured, summarize(QUICK, measured)


def test_a_model_that_reads_p_waves_relies_on_them_as_much_as_it_does(of_p):
    _, summary = of_p
    for factor, effects in expected(WINDOWS).items():
        here = summary.sel(factor=factor)
        np.testing.assert_allclose(here["record_effect"].sel(record=WINDOWS.record), effects, atol=1e-6)
        assert here["effect"].item() == pytest.approx(effects.mean(), abs=1e-6)
    assert summary["effect"].sel(factor="p_wave").item() < -0.5
    assert summary["relies_verdict"].sel(factor="p_wave").item() == "yes"
    assert np.isnan(summary["effect"].sel(factor="rhythm_no_p").item())
    assert "absence of P waves? Yes (lowers it)" in " ".join(QUICK.findings(summary).verdict)


def test_its_sham_changes_nothing(of_p):
    _, summary = of_p
    for name in ("sham", "rival"):
        assert summary[name].sel(factor="p_wave").item() == pytest.approx(0, abs=1e-6)  # bent baseline holds no flag, nor does a T wave
        for factor in ("rhythm", "interaction"):
            assert np.abs(summary[name].sel(factor=factor).item()) < 0.05  # P waves that are compressed have fewer tokens
    assert np.abs(summary["effect"].sel(factor="rhythm").item()) < 0.05


def test_effects_by_dose_and_on_other_scales_are_what_arithmetic_says(of_p):
    """Slopes over half and whole edits; probabilities by the logistic function; quantiles by counting the records below."""
    _, summary = of_p
    regular, irregular = (cf.with_rhythm(WINDOWS, rhythm, rescale=False) for rhythm in ("regular", "irregular"))
    top = bottom = 0.0
    for before in (regular, irregular):
        for strength in (0.5, 1.0):
            after = cf.without_p(before, strength, rescale=False)
            dose = cf.dose_of(before, after)
            top += (dose * (logit_of(after.tokens) - logit_of(before.tokens))).sum()
            bottom += (dose**2).sum()
    here = summary.sel(factor="p_wave", change="effect")
    assert here["slope_token"].item() == pytest.approx(top / bottom, rel=1e-6)
    assert here["slope_token_low"] < here["slope_token"] < here["slope_token_high"] < 0
    assert here["slope_embedding"].item() < 0
    logits = [[logit_of(each.tokens) for each in (windows, cf.without_p(windows, rescale=False))] for windows in (regular, irregular)]
    probability = np.mean([1 / (1 + np.exp(-after)) - 1 / (1 + np.exp(-before)) for before, after in logits])
    assert summary["scaled_effect"].sel(scale="probability", factor="p_wave").item() == pytest.approx(probability, abs=1e-6)
    real = np.digitize(logit_of(WINDOWS.tokens), LOGIT_EDGES)

    def quantile(logit):
        place = np.digitize(logit, LOGIT_EDGES)[:, None]
        return (real < place).mean(axis=1) + (real == place).mean(axis=1) / 2

    expected_quantile = np.mean([quantile(after) - quantile(before) for before, after in logits])
    assert summary["scaled_effect"].sel(scale="quantile", factor="p_wave").item() == pytest.approx(expected_quantile, abs=1e-6)
    effect, sham = (summary["dose_token"].sel(factor="p_wave", change=of).item() for of in ("effect", "sham"))
    assert sham == pytest.approx(effect, rel=0.15)
    assert summary["dose_token"].sel(factor="interaction").isnull().all()


def test_the_dose_of_embeddings_is_the_length_of_their_change():
    """By the table: a flag more or less changes the first two dimensions by 2 each; other tokens have the same embedding."""
    subject = subject_of(task_model(reader()))
    after = cf.without_p(WINDOWS, rescale=False)
    n_changed = ((WINDOWS.tokens == FLAG) != (after.tokens == FLAG)).sum(axis=1)
    np.testing.assert_allclose(embedding_dose(subject.engine, WINDOWS.tokens, after.tokens), n_changed * np.sqrt(8), rtol=1e-6)
    with pytest.raises(Refusal, match="a dose is between as many windows"):
        embedding_dose(subject.engine, WINDOWS.tokens, after.tokens[:2])


def test_the_head_that_reads_carries_all_of_it_and_no_other_any(of_p):
    _, summary = of_p
    here = summary.sel(factor="p_wave")
    assert here["head_share"].sel(layer=READER[0], head=READER[1]).item() == pytest.approx(1, abs=1e-6)
    assert here["head_effect"].sel(layer=0, head=0).item() == pytest.approx(0, abs=1e-6)
    assert (summary["head_carries_verdict"].sel(factor="p_wave") == "yes").values.tolist() == [[False, True]]
    for factor, effects in expected(WINDOWS).items():
        carried = summary["head_effect"].sel(factor=factor, layer=READER[0], head=READER[1]).item()
        assert carried == pytest.approx(effects.mean(), abs=1e-6)
    assert "L1H2" in " ".join(QUICK.findings(summary).verdict)


def test_a_model_that_reads_where_beats_lie_changes_with_the_rhythm():
    """Flags in the second half alone count: which P waves lie there depends on the rhythm, and so the interaction on the P wave."""
    windows = WINDOWS[:4]
    analysis = replace(QUICK, n_twins=0)
    summary = run(analysis, task_model(reader(late=True)), windows)
    for factor, effects in expected(windows, late=True).items():
        assert np.abs(effects).max() > 0.01
        np.testing.assert_allclose(summary["record_effect"].sel(factor=factor, record=windows.record), effects, atol=1e-6)
    regular, irregular, gradual = (cf.with_rhythm(windows, rhythm, rescale=False) for rhythm in ("regular", "irregular", "gradual"))
    together, _ = cf.matched(
        regular, lambda each, part: cf.with_beats_moved_together(each, part, rescale=False), cf.dose_of(regular, irregular)
    )
    for name, other in (("rival", gradual), ("sham", together)):  # in the mean of the same two states as the effect
        states = [(regular, other), tuple(cf.without_p(each, rescale=False) for each in (regular, other))]
        difference = np.mean([logit_of(after.tokens, True) - logit_of(before.tokens, True) for before, after in states])
        assert summary[name].sel(factor="rhythm").item() == pytest.approx(difference, abs=1e-6)
        dose = np.mean([cf.dose_of(*pair) for pair in states])
        assert summary["dose_token"].sel(factor="rhythm", change=name).item() == pytest.approx(dose)
    assert not (summary["relies_verdict"] == "yes").any()  # without twins


def test_a_wave_that_is_known_by_its_place_is_not_relied_on():
    """The planted head raises the logit by where P waves would be: no edit of the signal changes that."""
    windows = regular("ecg", 6)
    summary = run(replace(QUICK, n_twins=2), planted({(1, 3): Raises(5.0, "P")}, windows), windows)
    assert summary["record_logit"].values == pytest.approx(5.0, abs=1e-4)
    np.testing.assert_allclose(summary["effect"].sel(factor=["rhythm", "p_wave", "interaction"]), 0, atol=1e-6)
    np.testing.assert_allclose(summary["head_effect"].sel(factor=["rhythm", "p_wave", "interaction"]), 0, atol=1e-6)
    assert not (summary["relies_verdict"] == "yes").any()
    verdict = " ".join(QUICK.findings(summary).verdict)
    assert "rely on the absence of P waves? Not tested" in verdict
    QUICK.plot(summary)


def test_windows_without_p_waves_have_the_rhythm_alone(of_p):
    af, analysis = simulated("ecg", 3, 1, "af"), replace(QUICK, n_twins=0)
    mixed = concatenate([WINDOWS[:2], replace(af, record=np.array([f"af {n}" for n in range(3)]))])
    summary = run(analysis, task_model(reader(late=True)), mixed)
    assert summary["n_records_with"].values.tolist() == [2, 2, 2, 3]
    assert any("Rhythm rests on 2 of the records" in caution for caution in analysis.findings(summary).cautions)
    regular, irregular = (logit_of(cf.with_rhythm(af, rhythm, rescale=False).tokens, True) for rhythm in ("regular", "irregular"))
    own = summary["record_effect"].sel(factor="rhythm_no_p", record=["af 0", "af 1", "af 2"])
    np.testing.assert_allclose(own, irregular - regular, atol=1e-6)
    np.testing.assert_allclose(summary["record_logit"].sel(record=WINDOWS.record[:2]), logit_of(WINDOWS[:2].tokens, True), atol=1e-6)
    analysis.plot(summary)


def test_what_a_twin_also_shows_does_not_survive(of_p):
    measured, _ = of_p
    summary = QUICK.summarize(measured.tally, {f"as good {index}": measured.tally for index in range(20)})
    assert summary["q_value"].sel(factor="p_wave").item() < 0.05
    assert not (summary["relies_verdict"] == "yes").any()
    assert "absence of P waves? Not shown" in " ".join(QUICK.findings(summary).verdict)


def test_what_its_sham_also_shows_does_not_survive(of_p):
    measured, _ = of_p
    sums = measured.tally.sums.copy(deep=True)
    sums["logit"].loc[{"p_wave": "baseline"}] = sums["logit"].sel(p_wave="removed").values
    summary = QUICK.summarize(replace(measured.tally, sums=sums), measured.twins)
    assert summary["excess"].sel(factor="p_wave").item() == pytest.approx(0, abs=1e-6)
    assert not (summary["relies_verdict"] == "yes").any()


def test_one_record_has_an_estimate_and_no_interval():
    summary = run(replace(QUICK, n_twins=0), task_model(reader()), WINDOWS[:1])
    assert summary["effect"].sel(factor="p_wave").item() == pytest.approx(expected(WINDOWS[:1])["p_wave"][0], abs=1e-6)
    assert np.isnan(summary["effect_low"].values).all()
    assert np.isnan(summary["p_value"].values).all()
    said = QUICK.findings(summary)
    assert "absence of P waves? Not tested: " in " ".join(said.verdict)
    assert any("There is one record" in caution for caution in said.cautions)
    QUICK.plot(summary)


def test_a_pulse_has_the_rhythm_alone():
    windows = simulated("ppg", 3, 1)
    model = task_model(reader(vocabulary=102, late=True))
    model.origin = replace(model.origin, kind="ppg")
    windows = replace(windows, tokens=np.where(windows.wave == 1, FLAG, np.maximum(windows.tokens, FLAG + 1)).astype(np.uint8))
    summary = run(replace(QUICK, n_twins=0), model, windows)
    assert summary["factor"].values.tolist() == ["rhythm"]
    regular, irregular = (logit_of(cf.with_rhythm(windows, rhythm, rescale=False).tokens, True) for rhythm in ("regular", "irregular"))
    assert summary["effect"].item() == pytest.approx((irregular - regular).mean(), abs=1e-6)
    assert "A pulse has no P wave" in " ".join(QUICK.findings(summary).verdict)
    QUICK.plot(summary)


def test_windows_that_cannot_be_warped_are_counted_by_record():
    unknown = replace(WINDOWS[:1], position=np.full((1, CONTEXT), np.nan), record=np.array(["unmarked"]))
    summary = run(replace(QUICK, n_twins=0), task_model(reader()), concatenate([WINDOWS[1:3], unknown]))
    assert summary["n_left_out"].sel(record="unmarked").item() == 1
    assert int(summary["n_left_out"].sum()) == 1
    assert any("unmarked: 1" in caution for caution in QUICK.findings(summary).cautions)
    with pytest.raises(Refusal, match="no window's rhythm can be changed: fewer than 4 beats"):
        run(replace(QUICK, n_twins=0), task_model(reader()), unknown)


def test_only_so_many_windows_are_swapped():
    analysis = replace(QUICK, n_twins=0, swap_windows=3)
    summary = run(analysis, task_model(reader()), WINDOWS)
    assert summary["n_swapped"].sel(factor="p_wave").item() == 3
    summary = run(replace(analysis, swap_windows=0), task_model(reader()), WINDOWS[:3])
    assert summary["head_effect"].isnull().all()
    analysis.findings(summary)
    analysis.plot(summary)


@pytest.mark.parametrize("task", ["beat (every token)"])
def test_a_model_without_a_logit_at_the_last_token_is_refused(task):
    with pytest.raises(Refusal, match=r"no task head that reads the last token.*legal: ecg-af, ppg-af"):
        run(QUICK, task_model(reader(), task), WINDOWS)
    from planted import random_state

    with pytest.raises(Refusal, match="no task head"):
        run(QUICK, model_of(random_state()), WINDOWS)


def test_the_logit_as_it_is_is_the_published_one(shared, monkeypatch):
    """On the paper's own ECG examples: 0.0124 and 0.9914."""
    from heartlens.models.load import load
    from heartlens.signals.read import read

    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt" / "Model_files"))
    folder = shared / "heartgpt" / "Example_inputs"
    files = [folder / "example_context_ECG.csv", folder / "example_context_ECG_AFib1.csv"]
    windows = read(files, kind="ecg", rate_hz=100.0)
    summary = run(replace(QUICK, n_twins=0, swap_windows=0), load("ecg-af", published_only=True), windows, keep_names=True)
    probability = 1 / (1 + np.exp(-summary["record_logit"].sel(record=list(windows.record)).values))
    assert probability == pytest.approx([0.0124, 0.9914], abs=5e-4)
