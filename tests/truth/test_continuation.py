"""What is generated keeps its rhythm by the head that was planted to, and by no other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from heartlens.analyses.continuation import Continuation
from heartlens.analyses.continuation.sums import READOUTS, read
from heartlens.analysis import fold, run, silent
from heartlens.inference.verdict import is_yes
from heartlens.models.planted import CopiesValue, Raises, planted
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate.regular import regular
from heartlens.tally import Tally

COPIER = (1, 3)
WINDOWS = regular("ppg", 12, periodic=True)  # a cycle of 44 tokens, 0.88 s
QUICK = Continuation(how="zero", n_prompt=380, n_draws=2, n_permutations=999)


@pytest.fixture(scope="module")
def copier():
    return planted({COPIER: CopiesValue(margin=20.0)}, WINDOWS, heads=4, dtype=torch.float64)


@pytest.fixture(scope="module")
def measured(copier):
    return fold(QUICK, subject_of(copier), WINDOWS, silent)


@pytest.fixture(scope="module")
def found(measured):
    return QUICK.summarize(measured, {})


def at(summary, name, readout, head=COPIER):
    return summary[name].sel(readout=readout, layer=head[0], head=head[1]).item()


def test_the_copier_keeps_the_period_and_is_lost_with_its_head(found):
    assert found["intact"].sel(readout=["period_kept", "repeats", "period_s"]).values == pytest.approx([1, 1, 0.88])
    assert at(found, "value", "period_kept") < 0.1  # noise repeats in under 0.2 of the draws, a tenth of those at the period
    assert at(found, "effect", "repeats") < -0.8
    assert at(found, "effect_high", "period_kept") < 0
    for claim in ("changes", "matters"):
        answers = is_yes(found, claim).sel(readout="period_kept").transpose("layer", "head")
        assert np.argwhere(answers.values).tolist() == [list(COPIER)], claim
    assert (found["changes_verdict"].sel(readout="period_kept") == "no").sum() == 7
    assert is_yes(found, "layer_changes").sel(readout="period_kept").values.tolist() == [False, True]
    first, second = found["layer_effect"].sel(readout="period_kept").values.tolist()
    assert first == 0
    assert second < -0.9
    verdict = " ".join(QUICK.findings(found).verdict)
    assert "1 of 8 heads change the period kept, 7 surely do so by less than 0.05" in verdict
    assert "Beyond what heads of its norm show 1 of them matter: L2H4 -" in verdict


def test_every_other_part_changes_nothing(found):
    others = np.ones((2, 4), bool)
    others[COPIER] = False
    effect = found["effect"].transpose("layer", "head", "readout").values[others]
    assert (np.nan_to_num(effect) == 0).all()
    assert (np.nan_to_num(found["mlp_effect"]) == 0).all()
    assert (np.nan_to_num(found["null_effect"]) == 0).all()  # a copy depends on no random number


def test_what_other_records_also_have_is_not_kept(found):
    """All have one period, so that the model's is no nearer its own: the verdict says no."""
    assert found["others"].sel(readout="period_kept") == 1
    assert "does NOT keep the rhythm beyond chance" in QUICK.findings(found).verdict[0]


def test_who_is_nearer_its_own_rest_than_others_keeps_the_rhythm(measured):
    sums = measured.sums.copy(deep=True)
    sums["others"].loc[{"readout": "period_kept"}] *= 0.3
    summary = QUICK.summarize(Tally(sums, measured.sample), {})
    assert summary["beyond_others_effect"].sel(readout="period_kept") == pytest.approx(0.7)
    assert QUICK.findings(summary).verdict[0].startswith("The intact model keeps the rhythm: 100 %")


def test_what_heads_of_like_norm_do_or_random_numbers_does_not_matter(measured):
    for changed in ("ablated", "again"):
        sums = measured.sums.copy(deep=True)
        sums[changed].loc[{"readout": "period_kept"}] = 0
        summary = QUICK.summarize(Tally(sums, measured.sample), {})
        assert not is_yes(summary, "matters").sel(readout="period_kept").any(), changed
        assert is_yes(summary, "changes").sel(readout="period_kept").any() == (changed == "ablated")


def test_a_model_of_which_it_is_not_sure_is_told_from_one_that_does_not(measured):
    """Half of the records are nearer their own rest: 0.5 of others' with an interval from below 0.05; seven records decide nothing."""
    sums = measured.sums.copy(deep=True)
    sums["others"].loc[{"readout": "period_kept", "record": sums["record"].values[:2]}] = 0
    unsure = QUICK.summarize(Tally(sums, measured.sample), {})
    assert unsure["beyond_others_effect"].sel(readout="period_kept") == pytest.approx(2 / 12)
    assert unsure["keeps_verdict"] == "not shown"
    assert QUICK.findings(unsure).verdict[0].startswith("It is not shown that the intact model keeps the rhythm")
    few = QUICK.summarize(Tally(measured.sums.isel(record=slice(7)), measured.sample), {})
    assert (few["keeps_verdict"] == "not tested").all()
    assert (few["changes_verdict"] == "not tested").all()
    assert "not tested (7 records have this readout, 8 are needed)" in QUICK.findings(few).verdict[3]


def test_readouts_are_arithmetic():
    nan = np.nan
    top, count = read(np.array([[70, 1.0], [60, 0.8], [nan, nan], [60, 1.0]]), np.array([[60, 0.9], [60, 0.8], [60, 0.8], [nan, nan]]))
    expected = {
        "period_kept": ([0, 1, 0, 0], [1, 1, 1, 0]),
        "rate_kept": ([0, 1, 0, 0], [1, 1, 1, 0]),
        "repeats": ([1, 1, 0, 1], [1, 1, 1, 1]),
        "period_s": ([1, 0.8, 0, 1], [1, 1, 0, 1]),
        "heart_rate_bpm": ([70, 60, 0, 60], [1, 1, 0, 1]),
        "period_error_s": ([0.1, 0, 0, 0], [1, 1, 0, 0]),
        "rate_error_bpm": ([10, 0, 0, 0], [1, 1, 0, 0]),
    }
    for place, name in enumerate(READOUTS):
        assert top[:, place].tolist() == pytest.approx(expected[name][0]), name
        assert count[:, place].tolist() == expected[name][1], name


def test_one_record_gives_point_estimates(copier):
    summary = run(replace(QUICK, n_draws=1), copier, WINDOWS[:1])
    assert np.isnan(summary["effect_low"]).all()
    for claim in ("keeps", "changes", "matters", "mlp_changes", "layer_changes"):
        assert (summary[f"{claim}_verdict"] == "not tested").all(), claim
    assert "point estimates" in " ".join(QUICK.findings(summary).verdict)


def test_the_page_and_the_findings_are_of_the_summary_alone(found):
    assert QUICK.plot(found).axes
    told = QUICK.findings(found)
    assert all(len(row) == len(told.columns) for row in told.rows)
    json.dumps(told.verdict)


def test_refusals(copier):
    with pytest.raises(Refusal, match=r"unknown how 'men'; did you mean 'mean'.*legal: mean, zero, resample"):
        Continuation(how="men")
    for n_prompt in (99, 401):
        with pytest.raises(Refusal, match=f"n-prompt is {n_prompt}; legal: 100 to 400"):
            Continuation(n_prompt=n_prompt)
    with pytest.raises(Refusal, match="there is one record; give more, or --how mean"):
        run(Continuation(how="resample"), copier, WINDOWS[:1])
    with pytest.raises(Refusal, match="takes a sample of all windows first"):
        Continuation().measure(copier, WINDOWS[:1])
    with pytest.raises(Refusal, match="generates nothing; give its base"):
        run(QUICK, planted({COPIER: Raises(6.0, "foot")}, WINDOWS), WINDOWS)


def test_with_nothing_replaced_the_intact_model_answers_as_it_does_beside_its_parts(copier, found):
    alone = replace(QUICK, how="none")
    summary = run(alone, subject_of(copier), WINDOWS)
    for name in ("intact", "intact_low", "again", "others", "prompt", "null_effect", "keeps_verdict"):
        np.testing.assert_array_equal(summary[name].values, found[name].values, err_msg=name)
    assert "effect" not in summary
    findings = alone.findings(summary)
    assert findings.question == "Does the model keep the rhythm in what it generates?"
    assert findings.rows == ()
    assert not any("heads" in line for line in findings.verdict)
    assert len(alone.plot(summary).axes) == 3  # how often, the recording, the continuation
