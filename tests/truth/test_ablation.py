"""An ablation finds what was planted, at exactly its cost, and nothing else. Expectations follow from the plants."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from heartlens.analyses.ablation import Ablation
from heartlens.analyses.ablation.figure import deciding
from heartlens.analysis import MODEL, fold, measure, run, silent, summarize
from heartlens.converters.hooked import hooked_model
from heartlens.inference.verdict import is_yes
from heartlens.models.planted import CopiesValue, Raises, planted, planted_state, silenced
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate.regular import regular
from heartlens.tally import Tally

LAG = 80  # tokens of a regular ECG cycle
PLAIN = regular("ecg", 12, periodic=True)
LATE = replace(PLAIN, wave=np.where(np.arange(500) < LAG, np.int8(-1), PLAIN.wave))  # no wave where what is copied is not planted
COPY, COPIER = CopiesValue(margin=20.0), (1, 3)
QUICK = Ablation(how="zero", n_twins=2, twin_windows=2, n_permutations=999)
DOUBLE = {"heads": 4, "dtype": torch.float64}
HOWS = {"how": "zero,resample"}


@pytest.fixture(scope="module")
def copier():
    return planted({COPIER: COPY}, PLAIN, **DOUBLE)


@pytest.fixture(scope="module")
def measured(copier):
    return measure(replace(QUICK, **HOWS), copier, LATE)


@pytest.fixture(scope="module")
def found(measured):
    return summarize(replace(QUICK, **HOWS), measured)


@pytest.fixture(scope="module")
def detector():
    model = planted({COPIER: Raises(6.0, "P")}, PLAIN, **DOUBLE)
    model.origin = replace(model.origin, task="atrial fibrillation (last token)")
    return model


@pytest.fixture(scope="module")
def detector_tally(detector):
    return fold(replace(QUICK, cumulative=False), subject_of(detector), PLAIN, silent)


def at(summary, name, head=COPIER, **where):
    return summary[name].sel(layer=head[0], head=head[1], **where).item()


def without_copier(values):
    """All heads' values but the planted one's."""
    kept = np.ones((2, 4), bool)
    kept[COPIER] = False
    return values.transpose("layer", "head", ...).values[kept]


@pytest.mark.parametrize("wave", ["P", "QRS", "T"])
def test_the_planted_head_costs_exactly_its_loss(found, wave):
    inside = LATE.inside(wave)[:, LAG:]
    cost = np.log(101) - COPY.loss(PLAIN)[inside].mean()
    assert at(found, "effect", readout=f"cross_entropy_{wave}", how="zero") == pytest.approx(cost, abs=1e-6)
    copied_right = at(found, "effect", readout=f"amplitude_error_{wave}", how="zero")
    assert copied_right == pytest.approx(np.abs(50 - PLAIN.tokens[:, LAG:][inside].astype(float)).mean(), abs=1e-3)


def test_every_other_head_costs_nothing(found):
    assert np.abs(without_copier(found["effect"])).max() < 1e-6
    assert (without_copier(found["p_value"]) == 1).all()


def test_the_planted_head_matters_and_no_other(found):
    for claim in ("changes", "matters"):
        answers = is_yes(found, claim)
        assert np.argwhere(answers.sel(how="zero", readout="cross_entropy").transpose("layer", "head").values).tolist() == [list(COPIER)]
        assert not without_copier(answers).any()
    assert (without_copier(found["changes_verdict"]) == "no").all()
    assert at(found, "expected", readout="cross_entropy", how="zero") == pytest.approx(0, abs=1e-6)
    verdict = " ".join(QUICK.findings(found).verdict)
    assert "cross entropy, zero: 1 of 8 heads change it, most L2H4" in verdict
    assert "7 surely by less than 0.05 nats a token. Beyond what heads of its norm show 1 of them matter: L2H4" in verdict


def test_mlps_that_do_nothing_cost_nothing_and_the_layer_costs_its_head(found):
    assert np.abs(found["mlp_effect"]).max() < 1e-6
    layer = found["layer_effect"].sel(readout="cross_entropy", how="zero").values
    assert layer == pytest.approx([0, at(found, "effect", readout="cross_entropy", how="zero")], abs=1e-6)


def test_taken_away_cumulatively_the_planted_head_comes_first(found):
    assert str(found["rank"].values[0]) == "L2H4"
    curve = found["heads_removed_effect"].sel(readout="cross_entropy").values
    assert curve == pytest.approx(at(found, "effect", readout="cross_entropy", how="resample"), abs=1e-6)
    first, last = (found["layers_removed_effect"].sel(readout="cross_entropy", end=end).values for end in ("first", "last"))
    assert first == pytest.approx([0, curve[0]], abs=1e-6)
    assert last == pytest.approx([curve[0]] * 2, abs=1e-6)


def test_ablation_is_zeroing_the_output_weights(copier, found):
    state = planted_state({COPIER: COPY}, PLAIN, heads=4)
    quiet = hooked_model(silenced(state, *COPIER), dtype=torch.float64)
    with torch.inference_mode():
        tokens = torch.from_numpy(LATE.tokens.astype(np.int64))
        loss = [torch.nn.functional.cross_entropy(one(tokens)[:, :-1].transpose(1, 2), tokens[:, 1:]) for one in (copier, quiet)]
    assert at(found, "effect", readout="cross_entropy", how="zero") == pytest.approx(float(loss[1] - loss[0]), abs=1e-5)


def test_a_wave_ratio_is_the_cost_inside_over_that_outside(copier, found):
    with torch.inference_mode():
        log_p = copier(torch.from_numpy(PLAIN.tokens.astype(np.int64))).log_softmax(-1).numpy()
    nats = -np.take_along_axis(log_p[:, :-1], PLAIN.tokens[:, 1:, None].astype(int), -1)[..., 0]
    cost, inside = np.log(101) - nats, LATE.inside("T")[:, 1:]
    expected = cost[inside].mean() / cost[~inside].mean()
    assert at(found, "wave_ratio", wave="T", how="zero") == pytest.approx(expected, rel=1e-6)
    assert at(found, "wave_ratio_low", wave="T", how="zero") <= expected <= at(found, "wave_ratio_high", wave="T", how="zero")
    assert np.isnan(without_copier(found["wave_ratio"])).all()


@pytest.mark.parametrize("wave", ["P", "QRS", "T"])
def test_what_a_head_costs_more_inside_a_wave_is_its_cost_for_a_token_there_less_that_elsewhere(copier, found, wave):
    with torch.inference_mode():
        log_p = copier(torch.from_numpy(PLAIN.tokens.astype(np.int64))).log_softmax(-1).numpy()
    nats = -np.take_along_axis(log_p[:, :-1], PLAIN.tokens[:, 1:, None].astype(int), -1)[..., 0]
    cost, inside = np.log(101) - nats, LATE.inside(wave)[:, 1:]
    apart = np.mean([row[mask].mean() - row[~mask].mean() for row, mask in zip(cost, inside, strict=True)])
    assert at(found, "inside_excess", wave=wave, how="zero") == pytest.approx(apart, abs=1e-5)
    assert (
        at(found, "inside_verdict", wave=wave, how="zero") == "yes"
    )  # the tokens of the first cycle, where nothing is copied, are no wave's
    assert not without_copier(is_yes(found, "inside")).any()


def test_nothing_planted_is_nothing_found():
    nothing = run(replace(QUICK, n_twins=0), planted({}, PLAIN, **DOUBLE), PLAIN[:8])
    assert (nothing["changes_verdict"] == "no").all()
    assert np.abs(nothing["effect"]).max() < 1e-6
    told = " ".join(QUICK.findings(nothing).verdict)
    assert "0 of 8 heads change it; 8 surely by less than 0.05 nats" in told
    assert "Whether that is learnt (zero): not tested" in told


def test_seven_records_decide_nothing(copier):
    summary = run(replace(QUICK, n_twins=0), copier, LATE[:7])
    for claim in ("changes", "matters", "learnt", "mlp_changes", "layer_changes", "inside"):
        assert (summary[f"{claim}_verdict"] == "not tested").all(), claim
    told = QUICK.findings(summary).verdict[1]
    assert "not tested (7 records have this readout, 8 are needed); the largest effects, point estimates: L2H4" in told
    assert "inside it than outside" not in " ".join(QUICK.findings(summary).verdict)


def test_what_every_twin_also_shows_is_not_learnt(measured):
    """19 twins are the fewest that may show anything: with those that stand out as far the answer is not shown, with silent ones yes."""
    silent_sums = measured.tally.sums.copy(deep=True)
    silent_sums["ablated"][:] = silent_sums["intact"]
    analysis = replace(QUICK, **HOWS)
    for twin, answer in ((measured.tally, "not shown"), (Tally(silent_sums), "yes")):
        summary = analysis.summarize(measured.tally, {MODEL: measured.tally} | {f"twin {place}": twin for place in range(19)})
        assert at(summary, "learnt_verdict", readout="cross_entropy") == answer
        assert at(summary, "matters_verdict", readout="cross_entropy", how="resample") == "yes"
    assert f"{answer == 'yes':d} heads stand: L2H4" in " ".join(analysis.findings(summary).verdict)
    few = analysis.summarize(measured.tally, {MODEL: measured.tally} | {f"twin {place}": Tally(silent_sums) for place in range(18)})
    assert at(few, "learnt_verdict", readout="cross_entropy") == "not tested"


def test_what_heads_of_the_same_norm_do_changes_the_readout_but_does_not_matter(measured):
    sums = measured.tally.sums.copy(deep=True)
    sums["ablated"][:] = sums["ablated"].sel(layer=COPIER[0], head=COPIER[1]).drop_vars(["layer", "head"])
    summary = replace(QUICK, **HOWS).summarize(Tally(sums), measured.twins)
    assert is_yes(summary, "changes").sel(readout="cross_entropy", how="zero").all()
    assert not is_yes(summary, "matters").any()


def test_the_logit_falls_by_what_was_planted(detector, detector_tally):
    summary = QUICK.summarize(detector_tally, {})
    assert at(summary, "effect", readout="af_logit", how="zero") == pytest.approx(-6, abs=1e-6)
    sigmoid = 1 / (1 + np.exp(-6))
    assert at(summary, "effect", readout="af_probability", how="zero") == pytest.approx(0.5 - sigmoid, abs=1e-6)
    assert np.abs(without_copier(summary["effect"])).max() < 1e-6
    assert summary["intact"].values == pytest.approx([6, sigmoid], abs=1e-6)


@pytest.fixture
def labels(tmp_path):
    """The first six of twelve records have AF."""
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{name},{'A' if place < 6 else 'N'}\n" for place, name in enumerate(PLAIN.records)))
    return replace(QUICK, labels=str(path))


def said(tally, intact, ablated):
    """The tally with these probabilities by record, of one head ablated; of all others as intact."""
    sums = tally.sums.copy(deep=True)
    for name, values in (("intact", intact), ("ablated", intact), ("mlp_ablated", intact), ("layer_ablated", intact)):
        place = sums[name].sel(readout="af_probability")
        sums[name].loc[{"readout": "af_probability"}] = np.broadcast_to(np.reshape(values, (12, *(1,) * (place.ndim - 1))), place.shape)
    sums["ablated"].loc[{"readout": "af_probability", "layer": 0, "head": 2}] = np.reshape(ablated, (12, 1, 1))
    return Tally(sums)


def test_labels_give_auc_rates_and_calibration(detector_tally, labels):
    intact, ablated = np.array([0.9] * 6 + [0.1] * 6), np.array([0.9] * 3 + [0.2] * 3 + [0.1] * 3 + [0.8] * 3)
    summary = labels.summarize(said(detector_tally, intact, ablated), {})
    expected = {  # intact, and its change: of 36 pairs all but 3 x 3 are won; 3 of 6 hits, 3 of 6 rejections
        "af_auc": (1, 27 / 36 - 1),
        "af_sensitivity": (1, -0.5),
        "af_specificity": (1, -0.5),
        "af_f1": (1, 6 / 12 - 1),
        "af_brier": (0.01, (3 * 0.01 + 3 * 0.64 + 3 * 0.01 + 3 * 0.64) / 12 - 0.01),
        "af_calibration_error": (0.1, (3 * 0.1 + 3 * 0.8 + 3 * 0.1 + 3 * 0.8) / 12 - 0.1),
    }
    for name, (value, effect) in expected.items():
        assert summary["intact"].sel(readout=name).item() == pytest.approx(value), name
        assert at(summary, "effect", (0, 2), readout=name, how="zero") == pytest.approx(effect), name
        assert at(summary, "effect_low", (0, 2), readout=name, how="zero") <= effect + 1e-9
    others = summary["effect"].sel(readout=list(expected), layer=1)
    assert np.abs(others).max() < 1e-12
    assert at(summary, "p_value", (0, 2), readout="af_auc", how="zero") < 0.05


def test_a_class_has_a_logit_of_its_own(detector_tally, labels):
    sums = detector_tally.sums.copy(deep=True)
    sums["ablated"].loc[{"readout": "af_logit", "record": PLAIN.records[:6]}] += 1.0
    summary = labels.summarize(Tally(sums), {})
    assert at(summary, "effect", readout="af_logit_A", how="zero") == pytest.approx(-5, abs=1e-6)
    assert at(summary, "effect", readout="af_logit_N", how="zero") == pytest.approx(-6, abs=1e-6)
    assert summary["n_records_with"].sel(readout="af_logit_A") == 6


def test_beats_are_judged_by_their_f1():
    windows = regular("ppg", 4)
    model = planted({COPIER: Raises(6.0, "systolic_peak")}, windows, **DOUBLE)
    model.origin = replace(model.origin, task="beat (every token)")
    sums = fold(replace(QUICK, cumulative=False), subject_of(model), windows, silent).sums.copy(deep=True)
    sums["bottom"][:], sums["intact"][:], sums["ablated"][:] = 10, 0, 0
    sums["ablated"].loc[{"layer": 0, "head": 1, "readout": "beat_misses"}] = 2
    sums["ablated"].loc[{"layer": 0, "head": 1, "readout": "beat_extras"}] = 6
    summary = QUICK.summarize(Tally(sums), {})
    assert deciding(summary) == "beat_f1"
    assert at(summary, "effect", (0, 1), readout="beat_f1", how="zero") == pytest.approx(16 / (16 + 2 + 6) - 1)
    assert at(summary, "effect", (0, 1), readout="beat_extras", how="zero") == pytest.approx(0.6)
    assert at(summary, "effect", (0, 2), readout="beat_f1", how="zero") == 0


def test_one_record_gives_point_estimates(copier):
    summary = run(replace(QUICK, n_twins=0), copier, LATE[:1])
    assert at(summary, "effect", readout="cross_entropy_P", how="zero") > 4
    assert np.isnan(summary["effect_low"]).all()
    assert (summary["matters_verdict"] == "not tested").all()
    assert "point estimates" in " ".join(QUICK.findings(summary).verdict)


def test_the_page_and_the_findings_are_of_the_summary_alone(found, detector_tally, labels):
    for summary in (found, labels.summarize(detector_tally, {})):
        assert QUICK.plot(summary).axes
        told = QUICK.findings(summary)
        assert all(len(row) == len(told.columns) for row in told.rows)
        json.dumps(told.verdict)


def test_where_nothing_was_taken_away_cumulatively_no_empty_panel_is_drawn(found):
    alone = found.drop_vars([name for name in found.variables if "removed" in str(name)])
    assert len(QUICK.plot(alone).axes) == len(QUICK.plot(found).axes) - 2
    assert not any("taken away from" in line for line in QUICK.findings(alone).verdict)


def test_refusals(copier, detector, tmp_path):
    with pytest.raises(Refusal, match=r"unknown how 'nothing'.*legal: zero, mean"):
        Ablation(how="zero,nothing")
    with pytest.raises(Refusal, match="name each way once"):
        Ablation(how="zero,zero")
    with pytest.raises(Refusal, match="give two labels"):
        Ablation(classes="A")
    with pytest.raises(Refusal, match="takes a sample of all windows first"):
        Ablation(how="mean").measure(copier, PLAIN)
    with pytest.raises(Refusal, match="twin-windows is 1; legal: 2 to"):
        Ablation(twin_windows=1)
    with pytest.raises(Refusal, match="there is one record; give more, or --how zero,mean"):
        run(Ablation(), copier, PLAIN[:1])
    with pytest.raises(Refusal, match="no head that answers for a window"):
        replace(QUICK, labels="labels.csv").measure(copier, PLAIN[:1])
    with pytest.raises(Refusal, match="not a readable table"):
        run(replace(QUICK, labels=str(tmp_path / "none.csv"), n_twins=0), detector, PLAIN)
