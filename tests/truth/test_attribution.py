"""Attribution finds what was planted, to the number: every expectation follows from arithmetic on what was planted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import model_of, random_state
from scipy import stats

from heartlens.analyses.attribution import Attribution
from heartlens.analyses.attribution.outputs import asked
from heartlens.analysis import fold, run, silent
from heartlens.axes import CONTEXT
from heartlens.models.origin import Origin
from heartlens.models.planted import CopiesValue, FirstToken, Raises, planted
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

WINDOWS = regular("ecg", 12)
PERIODIC = regular("ecg", 6, periodic=True)
HEAD, AMOUNT = (1, 3), 2.5
QUICK = Attribution(n_permutations=1999, n_twins=0, patch_windows=0)


@pytest.fixture(scope="module")
def found():
    """12 records, and 20 twins to which 0 is planted."""
    model = planted({HEAD: Raises(AMOUNT, "QRS"), (0, 2): FirstToken()}, WINDOWS)
    blank = fold(QUICK, subject_of(planted({HEAD: Raises(0.0, "QRS")}, WINDOWS)), WINDOWS[:1], silent)
    return QUICK.summarize(fold(QUICK, subject_of(model), WINDOWS, silent), {f"twin {index}": blank for index in range(20)})


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


def test_only_the_planted_head_survives(found):
    survives = found["direct_survives"].sel(output="logit")
    assert bool(survives.sel(layer=HEAD[0], head=HEAD[1]))
    assert int(survives.sum()) == 1
    assert not found["direct_mlp_survives"].any()
    said = " ".join(QUICK.findings(found).verdict)
    assert "L2H4 +2.50" in said


def test_what_a_twin_also_adds_does_not_survive():
    model = planted({HEAD: Raises(AMOUNT, "QRS")}, WINDOWS)
    tally = fold(QUICK, subject_of(model), WINDOWS, silent)
    summary = QUICK.summarize(tally, {"as good": tally})
    assert float(summary["direct_q_value"].sel(layer=HEAD[0], head=HEAD[1])[0]) < 0.05
    assert not summary["direct_survives"].any()
    assert "no head survives" in " ".join(QUICK.findings(summary).verdict)


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
    assert "patched with that of another record" in " ".join(analysis.findings(summary).verdict)


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
