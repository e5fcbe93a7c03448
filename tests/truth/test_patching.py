"""Patching finds the planted head and no other, to the number; bad pairs and readouts are refused, lacking landmarks counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.analyses.attribution.outputs import asked
from heartlens.analyses.patching import Patching
from heartlens.analyses.patching.readouts import readout_of
from heartlens.analysis import fold, measure, silent, summarize
from heartlens.axes import CONTEXT
from heartlens.converters.hooked import hooked_model
from heartlens.inference.verdict import is_yes
from heartlens.models.load import load
from heartlens.models.origin import Origin
from heartlens.models.planted import Raises, planted_state
from heartlens.models.readouts import true_beats
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals import without_p
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

HEAD, AMOUNT, FLAG = (1, 3), 2.5, 100
REGULAR = regular("ecg", 10)
WINDOWS = replace(REGULAR, tokens=np.where(REGULAR.inside("P"), FLAG, 40 + REGULAR.tokens % 20).astype(np.uint8))
QUICK = Patching(counterfactual="without_p", rescale=False, n_permutations=1999, n_twins=0, twin_windows=1)


def flagging(dtype=torch.float64):
    """`Raises` planted on P waves that are told by their tokens' value FLAG, not by their place: without one the logit is 0."""
    state = planted_state({HEAD: Raises(AMOUNT, "P")}, REGULAR, heads=4)
    token, place = (state[f"{name}_embedding_table.weight"] for name in ("token", "position"))
    inside = torch.from_numpy(REGULAR.inside("P")[0])
    told = (place != place[0]).any(dim=0)
    token[:, told] = place[~inside][0, told]
    token[FLAG, told] = place[inside][0, told]
    place[:, told] = 0.0
    model = hooked_model(state, dtype=dtype, name="planted")
    model.origin = Origin("planted", "ecg", "task head", "", "", "", "", "none")
    return model


@pytest.fixture(scope="module")
def measured():
    """10 records, and 19 twins, the fewest with a p-value of 0.05; all on the same windows."""
    return measure(replace(QUICK, n_twins=19, twin_windows=8), flagging(), WINDOWS)


@pytest.fixture(scope="module")
def found(measured):
    return summarize(QUICK, measured)


@pytest.fixture(scope="module", params=["denoise", "noise"])
def exact(request):
    """Both directions, without statistics."""
    analysis = replace(QUICK, direction=request.param)
    return analysis.summarize(fold(analysis, subject_of(flagging()), WINDOWS[:2], silent), {})


def elsewhere(values):
    """All but the planted head's."""
    others = values.copy()
    others[HEAD] = 0
    return np.abs(others).max()


def test_the_planted_head_carries_all_and_no_other_anything(exact):
    assert float(exact["difference"]) == pytest.approx(AMOUNT, abs=1e-6)
    assert float(exact["corrupt_readout"]) == pytest.approx(0, abs=1e-6)
    for effect in (exact["effect"].sel(place="all"), exact["effect"].sel(place="no wave"), exact["direct"]):  # the last token is in no wave
        assert float(effect[HEAD]) == pytest.approx(AMOUNT, abs=1e-6)
        assert elsewhere(effect.values) < 1e-6
    assert np.abs(exact["effect"].sel(place=["P", "QRS", "T"])).max() < 1e-6


def test_the_difference_goes_from_the_p_waves_to_the_last_token(exact):
    stream = exact["stream"] / AMOUNT
    np.testing.assert_allclose(stream.sel(place="all"), 1, atol=1e-6)
    np.testing.assert_allclose(stream.sel(place="P"), [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(stream.sel(place="no wave"), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(stream.sel(place=["QRS", "T"]), 0, atol=1e-6)


def test_one_cycles_p_wave_is_enough_to_restore_and_too_little_to_take_away(exact):
    back = exact["stream_back"].isel(level=0) / AMOUNT
    each = 1 if exact.attrs["direction"] == "denoise" else 0
    np.testing.assert_allclose(back.isel(lag=slice(7)), each, atol=1e-6)
    assert abs(float(back.isel(lag=7))) < 1e-12  # there is no eighth cycle


def test_only_the_planted_head_carries_the_difference(found):
    assert str(found["moves_verdict"].values) == "yes"
    for claim, where in (("carries", {}), ("direct", {}), ("at_wave", {"place": "no wave"})):
        carries = is_yes(found, claim).sel(where)
        assert bool(carries[HEAD])
        assert int(carries.sum()) == 1
    assert set(np.unique(found["at_wave_verdict"].sel(place=["P", "QRS", "T"]).values[HEAD])) == {"no"}
    assert found["effect_part"].sel(place="all").values[HEAD] == pytest.approx(1, abs=1e-6)
    assert np.abs(found["control_effect"]).max() < 1e-6
    told = " ".join(QUICK.findings(found).verdict)
    assert "Heads that carry part of it: L2H4 +1.00 (+1.00 to +1.00)" in told
    assert "the counterfactual moves the readout" in told
    assert ") logit, control " in told
    QUICK.plot(found)


def test_what_a_twin_also_carries_is_not_shown(measured):
    """A twin with the same effects, of which only the difference is smaller: its best head is as good as the model's."""
    model = measured.twins["model"]
    less = model.sums.assign(corrupt=model.sums["clean"] - 0.5 * (model.sums["clean"] - model.sums["corrupt"]))
    summary = QUICK.summarize(measured.tally, {**measured.twins, "shuffled 0": replace(model, sums=less)})
    assert str(summary["moves_verdict"].values) == "yes"
    assert float(summary["carries_twin_p"][HEAD]) == pytest.approx(2 / 20)
    assert not is_yes(summary, "carries").any()
    assert "Not shown of any head" in " ".join(QUICK.findings(summary).verdict)


def test_twins_on_too_few_records_judge_nothing(measured):
    few = {name: replace(twin, sums=twin.sums.isel(record=slice(3))) for name, twin in measured.twins.items()}
    summary = QUICK.summarize(measured.tally, few)
    assert str(summary["moves_verdict"].values) == "not tested"
    assert (summary["carries_verdict"] == "not tested").all()


def test_a_head_that_the_control_moves_as_much_carries_nothing(measured):
    """The control's effect is that of the edit for every head, though the control does not move the readout."""
    tally = measured.tally
    as_control = tally.sums.assign(control_effect=tally.sums["effect"].sel(place="all", drop=True))
    summary = QUICK.summarize(replace(tally, sums=as_control), measured.twins)
    assert str(summary["moves_verdict"].values) == "yes"
    assert not is_yes(summary, "carries").any()
    summary = QUICK.summarize(replace(tally, sums=as_control.assign(control=tally.sums["corrupt"])), measured.twins)
    assert str(summary["moves_verdict"].values) == "not shown"
    assert (summary["carries_verdict"] == "not tested").all()
    assert "No head is judged" in " ".join(QUICK.findings(summary).verdict)
    QUICK.plot(summary)


def test_edits_that_do_not_move_the_readout_make_no_head_carry_anything(measured):
    """Nothing reads the T wave, nor the baseline that its control flattens. Twins of another edit tell as much of nothing."""
    analysis = replace(QUICK, counterfactual="flattened_T")
    summary = analysis.summarize(fold(analysis, subject_of(flagging()), WINDOWS, silent), measured.twins)
    assert str(summary["moves_verdict"].values) == "no"
    assert (summary["carries_verdict"] == "not tested").all()
    assert summary["effect_part"].isnull().all()


def test_one_record_gives_the_point_estimate_and_no_verdict():
    summary = QUICK.summarize(fold(QUICK, subject_of(flagging()), WINDOWS[:1], silent), {})
    assert float(summary["effect"].sel(place="all")[HEAD]) == pytest.approx(AMOUNT, abs=1e-6)
    assert summary["effect_low"].isnull().all()
    assert summary["effect_p_value"].isnull().all()
    told = QUICK.findings(summary)
    assert "not tested whether it moves the readout" in told.verdict[0]
    assert any("one record" in caution for caution in told.cautions)
    QUICK.plot(summary)


def test_records_without_landmarks_are_counted_and_listed():
    bare = replace(WINDOWS[:2], wave=np.where(WINDOWS.inside("P"), -1, WINDOWS.wave)[:2].astype(np.int8))
    windows = replace(WINDOWS[:3], wave=np.concatenate([bare.wave, WINDOWS.wave[2:3]]))
    summary = QUICK.summarize(fold(QUICK, subject_of(flagging()), windows, silent), {})
    assert summary.attrs["n_records"] == 1
    assert float(summary["effect"].sel(place="all")[HEAD]) == pytest.approx(AMOUNT, abs=1e-6)
    cautions = " ".join(QUICK.findings(summary).cautions)
    assert "2 records lack the landmarks" in cautions
    assert all(str(record) in cautions for record in bare.record)
    with pytest.raises(Refusal, match="none was patched"):
        QUICK.summarize(fold(QUICK, subject_of(flagging()), bare, silent), {})


def test_ones_own_pairs_give_the_same_but_have_no_control_and_so_no_verdict(measured):
    analysis, windows = replace(QUICK, direction="noise"), WINDOWS[:1]
    own = analysis.measure_pairs(flagging(), windows, without_p(windows, rescale=False)).sums
    made = analysis.measure(flagging(), windows).sums
    for name in ("effect", "stream", "direct", "clean", "corrupt"):
        np.testing.assert_allclose(own[name], made[name], atol=1e-12)
    tally = QUICK.measure_pairs(flagging(), WINDOWS, without_p(WINDOWS))
    summary = QUICK.summarize(tally, measured.twins)
    assert str(summary["moves_verdict"].values) == "not tested"
    assert (summary["carries_verdict"] == "not tested").all()
    QUICK.plot(summary)
    assert "control not measured (no interval)" in QUICK.findings(summary).verdict[0]


def test_windows_that_do_not_differ_are_kept_and_counted():
    tally = QUICK.measure_pairs(
        flagging(),
        WINDOWS[:3],
        replace(WINDOWS[:3], tokens=np.concatenate([WINDOWS.tokens[:1], without_p(WINDOWS[1:3], rescale=False).tokens])),
    )
    summary = QUICK.summarize(tally, {})
    assert (int(summary["n_unchanged"]), summary.attrs["n_records"]) == (1, 3)
    assert float(summary["difference"]) == pytest.approx(2 / 3 * AMOUNT, abs=1e-6)
    assert "1 windows not at all" in QUICK.findings(summary).verdict[0]


def shortened(windows):
    return replace(windows, **{name: getattr(windows, name)[:, :400] for name in ("tokens", "wave", "segment", "position")})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (WINDOWS[:1], "1 ecg windows"),
        (shortened(WINDOWS[:2]), "400 tokens"),
        (regular("ppg", 2), "at 50 Hz"),
        (WINDOWS[2:4], "same record"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(other, said):
    with pytest.raises(Refusal, match=said):
        QUICK.measure_pairs(flagging(), WINDOWS[:2], other)


@pytest.mark.parametrize(
    ("task", "readout", "legal"),
    [
        ("task head", "cross_entropy", "af_logit"),
        (None, "af_logit", "cross_entropy, cross_entropy_P"),
        ("beat (every token)", "p", "beat_prob"),
    ],
)
def test_a_readout_without_its_output_is_refused(task, readout, legal):
    model = flagging() if task else model_of(random_state())
    model.origin = replace(model.origin, task=task)
    with pytest.raises(Refusal, match=f"legal: {legal}"):
        replace(QUICK, readout=readout).measure(model, WINDOWS[:1])


def test_a_counterfactual_of_the_other_kind_is_refused():
    with pytest.raises(Refusal, match="legal: irregular, regular"):
        QUICK.measure(flagging(), regular("ppg", 1))


@pytest.mark.parametrize(("option", "value"), [("receiver", "8.5"), ("n_lags", 1)])
def test_options_that_are_none_are_refused(option, value):
    with pytest.raises(Refusal, match="legal"):
        Patching(**{option: value})


def test_what_is_read_where():
    time, model, pulse = np.arange(CONTEXT), model_of(random_state()), regular("ppg", 1)
    wave = readout_of(subject_of(model), WINDOWS[:1], "cross_entropy_P")
    np.testing.assert_array_equal(wave.weight[0] > 0, ((time + 1) % 80 >= 8) & ((time + 1) % 80 <= 16) & (time < CONTEXT - 1))
    np.testing.assert_array_equal(wave.following[:, :-1], WINDOWS.tokens[:1, 1:])
    model.cfg.d_vocab_out, model.origin = 1, replace(model.origin, task="beat (every token)")
    beat = readout_of(subject_of(model), pulse, "auto")
    np.testing.assert_array_equal(
        np.flatnonzero(beat.weight[0]), np.arange(12, CONTEXT - 7, 44)
    )  # the peak: tokens 9 to 15; the last reaches the end
    assert (beat.reads, beat.weight.sum()) == ("probability", pytest.approx(1))


def test_a_beat_is_read_at_one_token_by_all_analyses():
    """Of two tokens as near the later one, whether its number is even or odd."""
    subject, windows = subject_of(load("ppg-sim-beat")), simulated("ppg", 4, 1, seed=3)
    middles = true_beats(windows)
    assert {float(place) % 1 for place in np.concatenate(middles)} == {0.0, 0.5}
    expected = np.zeros(windows.tokens.shape, bool)
    for row, places in zip(expected, middles, strict=True):
        row[[int(place) if place % 1 == 0 else int(place + 0.5) for place in places]] = True
    np.testing.assert_array_equal(asked(subject, windows).inside[:, 0], expected)
    patched = readout_of(subject, windows, "beat_probability").weight > 0
    assert patched.any()
    assert not (patched & ~expected).any()  # patching leaves out beats that the window cuts off
