"""Attribution finds what was planted, to the number: every expectation follows from arithmetic on what was planted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import model_of, random_state
from scipy import stats

from heartlens.analyses.attribution import Attribution
from heartlens.analyses.attribution.outputs import asked
from heartlens.analysis import MODEL, fold, run, silent
from heartlens.axes import CONTEXT
from heartlens.inference.verdict import is_yes
from heartlens.models.origin import Origin
from heartlens.models.planted import CopiesValue, FirstToken, Raises, planted
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.tally import Tally

WINDOWS = regular("ecg", 12)
PERIODIC = regular("ecg", 6, periodic=True)
HEAD, AMOUNT = (1, 3), 2.5
QUICK = Attribution(n_permutations=1999, n_twins=0, patch_windows=0)


@pytest.fixture(scope="module")
def found():
    """12 records, and 20 twins to which 0 is planted, on the same windows."""
    model = planted({HEAD: Raises(AMOUNT, "QRS"), (0, 2): FirstToken()}, WINDOWS)
    blank = fold(QUICK, subject_of(planted({HEAD: Raises(0.0, "QRS")}, WINDOWS)), WINDOWS, silent)
    tally = fold(QUICK, subject_of(model), WINDOWS, silent)
    return QUICK.summarize(tally, {MODEL: tally} | {f"twin {index}": blank for index in range(20)})


def test_the_planted_head_adds_what_was_planted_and_no_other_anything(found):
    direct = found["direct"].sel(output="logit")
    assert float(direct.sel(layer=HEAD[0], head=HEAD[1])) == pytest.approx(AMOUNT, abs=1e-5)
    others = direct.values.copy()
    others[HEAD] = 0
    assert np.abs(others).max() < 1e-6
    assert np.abs(found["direct_mlp"].values).max() < 1e-6
    assert float(found["direct_position"][0]) == pytest.approx(-AMOUNT / 2, abs=1e-5)  # before it writes, the fact is -1 ...
    assert float(found["direct_constant"][0]) == pytest.approx(AMOUNT / 2, abs=1e-6)  # ... which the bias takes back
    assert float(found["direct_embedding"][0]) == pytest.approx(0, abs=1e-6)
    assert float(found["logit"][0]) == pytest.approx(AMOUNT, abs=1e-5)


def test_only_the_planted_head_adds_to_the_output(found):
    adds = is_yes(found, "direct").sel(output="logit")
    assert bool(adds.sel(layer=HEAD[0], head=HEAD[1]))
    assert int(adds.sum()) == 1
    assert not is_yes(found, "direct_mlp").any()
    assert (found["direct_mlp_verdict"] == "no").all()
    assert "heads that add to it: L2H4 +2.50" in " ".join(QUICK.findings(found).verdict)


def test_what_a_twin_also_adds_is_not_shown():
    """The model itself among its 19 twins, on the same windows: one that is as good is enough."""
    tally = fold(QUICK, subject_of(planted({HEAD: Raises(AMOUNT, "QRS")}, WINDOWS)), WINDOWS, silent)
    blank = fold(QUICK, subject_of(planted({HEAD: Raises(0.0, "QRS")}, WINDOWS)), WINDOWS, silent)
    for best, answer in ((tally, "not shown"), (blank, "yes")):
        summary = QUICK.summarize(tally, {MODEL: tally, "best": best} | {f"twin {index}": blank for index in range(18)})
        assert float(summary["direct_q_value"].sel(layer=HEAD[0], head=HEAD[1])[0]) < 0.05
        assert summary["direct_verdict"].sel(layer=HEAD[0], head=HEAD[1])[0] == answer
        assert ("of no head it is shown that it adds to it" in " ".join(QUICK.findings(summary).verdict)) == (answer == "not shown")


def test_parts_carry_only_a_change_that_is_itself_shown():
    """Sums of 12 records made up: one head does 80 % of a whole change of 1 logit, or of a tenth of a logit."""
    analysis = replace(QUICK, patch_windows=12)
    tally = fold(QUICK, subject_of(planted({HEAD: Raises(AMOUNT, "QRS")}, WINDOWS)), WINDOWS, silent)
    for whole, change, carries in ((1.0, "yes", "yes"), (0.1, "no", "not shown")):
        sums = tally.sums.copy(deep=True)
        sums["n_pairs"][:], sums["patched_difference"][:] = 1, whole * np.linspace(0.9, 1.1, 12)
        sums["activation_patching"][:], sums["activation_patching_mlp"][:] = 0, 0
        sums["activation_patching"].loc[{"layer": HEAD[0], "head": HEAD[1]}] = 0.8 * sums["patched_difference"]
        summary = analysis.summarize(Tally(sums, tally.sample), {})
        assert summary["change_verdict"] == change
        assert float(summary["activation_patching"].sel(layer=HEAD[0], head=HEAD[1])) == pytest.approx(0.8)
        assert summary["activation_patching_verdict"].sel(layer=HEAD[0], head=HEAD[1]) == carries
        assert is_yes(summary, "activation_patching").sum() == (carries == "yes")
        assert (summary["activation_patching_mlp_verdict"] == ("no" if carries == "yes" else "not shown")).all()
        assert (
            f"1 of {summary['direct'][0].size} heads carry part of it, most L2H4 +0.80" in " ".join(analysis.findings(summary).verdict)
        ) == (carries == "yes")


def test_an_output_is_a_family_of_its_own():
    model = model_of(random_state(scale=0.4))
    summary = QUICK.summarize(fold(QUICK, subject_of(model), simulated("ecg", 9, 1), silent), {})
    for output in summary["output"].values:
        for name in ("direct", "direct_mlp"):
            family = summary.sel(output=output)
            expected = stats.false_discovery_control(family[f"{name}_p_value"].values.ravel())
            assert family[f"{name}_q_value"].values.ravel() == pytest.approx(expected)
    assert (summary["direct_verdict"] == "not tested").all()  # without twins


def test_patching_a_copying_head_moves_the_whole_change_and_no_other_anything():
    """The output reads nothing but what the head copied, so its activation in the partner is the partner's output."""
    analysis = replace(QUICK, patch_windows=2, n_steps=24)
    summary = run(analysis, planted({HEAD: CopiesValue(margin=1.0), (0, 2): FirstToken()}, PERIODIC), PERIODIC)
    at = {"layer": HEAD[0], "head": HEAD[1]}
    exact = summary["activation_patching"]
    assert float(exact.sel(at)) == pytest.approx(1, abs=1e-5)
    assert float(summary["attribution_patching"].sel(at)) == pytest.approx(1, abs=1e-2)
    assert float(np.abs(exact.where((exact["layer"] != HEAD[0]) | (exact["head"] != HEAD[1]), 0)).max()) < 1e-6
    assert float(np.abs(summary["activation_patching_mlp"]).max()) < 1e-6
    assert summary.attrs["n_pairs"] == 2
    assert "patched with that of another person" in " ".join(analysis.findings(summary).verdict)


def test_variation_is_the_part_of_the_difference_between_records():
    """Of any model the terms' parts sum to 1, and each is the slope of the term on the logit."""
    model = model_of(random_state(scale=0.4))
    tally = fold(QUICK, subject_of(model), simulated("ecg", 5, 1), silent)
    summary = QUICK.summarize(tally, {})
    parts = [summary[f"{name}_variation"].sel(output="all") for name in ("direct", "direct_mlp", "direct_attention_bias")]
    alone = [summary[f"direct_{name}_variation"].sel(output="all") for name in ("embedding", "position", "constant")]
    assert sum(float(part.sum()) for part in (*parts, *alone)) == pytest.approx(1)
    term = (tally.sums["direct"] / tally.sums["n_tokens"]).sel(output="all", layer=1, head=0).values
    logit = (tally.sums["lens_logit"] / tally.sums["n_tokens"]).sel(output="all").isel(level=-1).values
    assert float(parts[0].sel(layer=1, head=0)) == pytest.approx(stats.linregress(logit, term).slope, rel=1e-4)


def test_partners_are_of_other_records_and_do_not_depend_on_the_order():
    windows = simulated("ecg", 3, 2)
    prepared, turned = (Attribution(patch_windows=4).prepared(None, each) for each in (windows, windows[::-1]))
    assert sorted(prepared.pairs) == sorted(windows.identity)[:4]
    owner = {token.tobytes(): record for token, record in zip(windows.tokens, windows.record, strict=True)}
    for window, identity in enumerate(windows.identity):
        if identity in prepared.pairs:
            assert owner[prepared.pairs[identity].tobytes()] != windows.record[window]
            np.testing.assert_array_equal(prepared.pairs[identity], turned.pairs[identity])


def test_one_record_is_attributed_but_not_patched():
    analysis = replace(QUICK, patch_windows=4)
    summary = run(analysis, planted({HEAD: Raises(AMOUNT, "QRS")}, WINDOWS), WINDOWS[:1])
    assert float(summary["direct"].sel(layer=HEAD[0], head=HEAD[1])[0]) == pytest.approx(AMOUNT, abs=1e-5)
    assert np.isnan(summary["direct_low"]).all()
    assert np.isnan(summary["activation_patching"]).all()
    said = analysis.findings(summary)
    assert "no interval" in " ".join(said.verdict)
    assert any("one record" in caution for caution in said.cautions)
    assert "Nothing was patched" in " ".join(said.verdict)


def test_what_is_read_of_each_model():
    time = np.arange(CONTEXT)
    model = model_of(random_state())
    base = asked(subject_of(model), WINDOWS[:2])
    assert base.names == ("all", "P", "QRS", "T")
    np.testing.assert_array_equal(base.inside[0, 1], ((time + 1) % 80 >= 8) & ((time + 1) % 80 <= 16) & (time < CONTEXT - 1))
    np.testing.assert_array_equal(base.token[:, :-1], WINDOWS.tokens[:2, 1:])
    assert base.value.sum(axis=1) == pytest.approx(1)
    pulse = regular("ppg", 2)
    for task, names in (("beat (every token)", ("beat", "elsewhere")), ("atrial fibrillation (last token)", ("logit",))):
        model.cfg.d_vocab_out = 1
        model.origin = Origin("tuned", "ppg", task, "", "", "", "", "none")
        read = asked(subject_of(model), pulse)
        assert (read.names, read.token) == (names, None)
        if names[0] == "beat":
            np.testing.assert_array_equal(np.flatnonzero(read.inside[0, 0]), np.arange(12, CONTEXT, 44))  # of 9 to 15
            np.testing.assert_array_equal(read.inside[0, 1], (time % 44 < 9) | (time % 44 > 15))
            assert read.value.sum(axis=1) == pytest.approx(0)
        else:
            np.testing.assert_array_equal(np.flatnonzero(read.inside[0, 0]), [CONTEXT - 1])
    model.cfg.d_vocab_out = 3
    with pytest.raises(Refusal, match="3 outputs"):
        asked(subject_of(model), pulse)


def test_windows_without_known_beats_are_refused():
    model = planted({HEAD: Raises(AMOUNT, "QRS")}, WINDOWS)
    model.origin = replace(model.origin, task="beat (every token)")
    unknown = replace(WINDOWS[:1], wave=np.full((1, CONTEXT), -1, np.int8), position=np.full((1, CONTEXT), np.nan))
    with pytest.raises(Refusal, match="landmarks"):
        run(QUICK, model, unknown)


@pytest.mark.parametrize(("option", "value"), [("patch_windows", -1), ("n_steps", 0), ("n_permutations", 5)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(Refusal, match="legal"):
        Attribution(**{option: value})
