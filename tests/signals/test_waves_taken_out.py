"""Waves taken out: what fills their place is the window's own baseline, joined without a step, and nothing else changes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG, marked, stretches, unlabelled

from heartlens.axes import CONTEXT, KINDS
from heartlens.measures.straightness import edit_aucs
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.baseline import donors_of, noise_for, unrounded
from heartlens.signals.cut import cut
from heartlens.signals.simulate import ecg, simulated
from heartlens.signals.tokens import amplitude


@pytest.fixture(scope="module")
def quiet():
    """A heart without noise or baseline: between its waves the amplitude is 0 mV."""
    signal, landmarks = ecg.simulate(np.random.default_rng(3), 11.0, "sinus", 60.0, disturbed=False)
    return cut(signal, replace(landmarks, span_s=(3.0, 8.0)), "quiet")


def test_without_p_the_p_wave_is_the_baseline_that_lies_beneath(quiet):
    found = cf.without_p(quiet)
    was_p = quiet.wave == 0
    assert was_p.sum() > 40
    left = amplitude(found.tokens, found.low, found.high)[was_p]
    height = quiet.high[0] - quiet.low[0]
    assert np.abs(left).max() < 0.015 * height  # a token and a half: the edges of P have 4 % of its height
    assert amplitude(quiet.tokens, quiet.low, quiet.high)[was_p].max() > 0.05 * height


@pytest.mark.parametrize("wave", ["P", "T"])
def test_a_wave_is_replaced_by_baseline_and_all_else_stays(wave):
    found = cf.flattened(ECG, wave, rescale=False)
    outside = unlabelled(ECG, wave, near=2)
    assert (found.tokens == ECG.tokens)[outside].all()
    assert (found.tokens != ECG.tokens).any(axis=1).all()
    index = KINDS["ecg"].waves.index(wave)
    assert not (found.wave == index).any()
    assert (found.wave == ECG.wave)[ECG.wave != index].all()
    assert (found.segment[ECG.wave == index] == KINDS["ecg"].segments.index("baseline")).all()
    np.testing.assert_array_equal(found.position, ECG.position)


@pytest.mark.parametrize("wave", ["P", "T"])
def test_where_a_wave_was_there_is_the_noise_of_the_baseline_and_no_step(wave):
    """Second differences, which no line changes, are as large as between the waves; at the joints too."""
    index = KINDS["ecg"].waves.index(wave)
    found = cf.flattened(ECG, wave, rescale=False)
    bend = np.diff(found.tokens.astype(float), 2, axis=1) ** 2
    rest, filled = cf.at_rest(ECG)[:, 1:-1], (ECG.wave == index)[:, 1:-1]
    joints = np.zeros_like(filled)
    for row, labels in zip(joints, ECG.wave, strict=True):
        for first, last in stretches(labels, wave):
            row[[place for place in (first - 3, first - 2, last, last + 1) if 0 <= place < CONTEXT - 2]] = True
    for inside in (filled, joints):
        assert 0.6 < np.median(bend[inside].mean() / bend[rest].mean()) < 1.6
    assert bend[filled].mean() > 0.5  # a line has less than 0.1


def test_the_detector_of_lines_sees_a_line():
    """The check that edits must pass, on what was done before: P waves replaced by straight lines."""
    lines = ECG.tokens.astype(float)
    for row, labels in zip(lines, ECG.wave, strict=True):
        for first, last in stretches(labels, "P"):
            if first > 3 and last < CONTEXT - 4:
                row[first - 2 : last + 3] = np.interp(np.arange(first - 2, last + 3), [first - 3, last + 3], row[[first - 3, last + 3]])
    aucs = edit_aucs(ECG.tokens, cf.at_rest(ECG), np.round(lines).astype(np.uint8), ECG.wave == 0)
    assert min(aucs.values()) > 0.9


def test_a_window_is_scaled_anew_when_its_highest_token_goes_and_on_request_not():
    tall = np.minimum(ECG.tokens, 80)
    tall[ECG.wave == 0] = 100
    windows = replace(ECG, tokens=tall)
    kept, found = cf.without_p(windows, rescale=False), cf.without_p(windows)
    assert kept.tokens.max() < 90
    np.testing.assert_array_equal(kept.high, windows.high)
    assert (found.tokens.max(axis=1) == 100).all()
    assert (found.high < windows.high).all()
    alone = cf.on_scale_of(windows, found)
    assert (cf.dose_of(windows, alone) > 100).all()
    assert (np.abs(alone.tokens.astype(int) - found.tokens) <= 1)[unlabelled(windows, "P", near=2)].all()


def test_a_wave_at_the_windows_edge_is_joined_at_its_one_end():
    first = next(index for index, labels in enumerate(ECG.wave) if len(stretches(labels, "P")) > 2)
    windows = ECG[first : first + 1]
    start, _ = stretches(windows.wave[0], "P")[1]
    rolled = replace(windows, **{name: np.roll(getattr(windows, name), -start - 3, axis=1) for name in ("tokens", "wave", "segment")})
    found = cf.without_p(rolled, rescale=False)  # the window begins within a P wave
    length = stretches(rolled.wave[0], "P")[0][1] + 1
    step = np.abs(np.diff(found.tokens[0, : length + 4].astype(int)))
    assert step.max() <= np.abs(np.diff(ECG.tokens[first].astype(int)))[cf.at_rest(windows)[0, 1:]].max() + 1
    assert np.abs(found.tokens[0, : length + 2].astype(int) - int(rolled.tokens[0, length + 2])).max() < 8


def test_a_notch_goes_with_the_peak_behind_it():
    found = cf.flattened(PPG, "dicrotic_notch", rescale=False)
    assert not np.isin(found.wave, [2, 3]).any()
    assert (found.tokens == PPG.tokens)[found.wave >= 0].all()
    assert set(found.segment[PPG.wave == 2].tolist()) == {KINDS["ppg"].segments.index("downslope")}
    for row, labels in zip(found.tokens.astype(int), PPG.wave, strict=True):
        for _, last in stretches(labels, "diastolic_peak", kind="ppg"):
            before = [span for span in stretches(labels, "dicrotic_notch", kind="ppg") if span[1] < last]
            if before and last < CONTEXT - 2 and last - before[-1][0] < 40:
                assert np.diff(row[before[-1][0] - 1 : last + 2]).max() <= 3  # downhill without a notch, but for noise


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5, 1.0, 2.0])
def test_a_part_of_the_wave_goes_as_is_asked(quiet, strength):
    """Of a heart without noise, whose P waves stand on 0 mV: the mean height of what is left is 1 - strength of it, inverted at 2."""
    found = cf.without_p(quiet, strength)
    was_p = quiet.wave == 0
    before, after = (amplitude(each.tokens, each.low, each.high)[was_p].mean() for each in (quiet, found))
    assert after == pytest.approx((1 - strength) * before, abs=0.04 * before + 0.002 * (quiet.high[0] - quiet.low[0]))
    assert (found.wave == 0).any() == (strength != 1)
    if strength == 0:
        np.testing.assert_array_equal(found.tokens, quiet.tokens)


def test_the_noise_of_a_half_removed_wave_is_as_large_as_of_a_whole_one():
    bend = {part: np.diff(cf.without_p(ECG, part).tokens.astype(float), 2, axis=1)[(ECG.wave == 0)[:, 1:-1]] for part in (0.5, 1.0)}
    assert bend[0.5].var() == pytest.approx(bend[1.0].var(), rel=0.35)


def test_a_share_of_the_waves_goes_and_a_larger_share_takes_these_too():
    gone = []
    for share in (0.0, 0.34, 0.67, 1.0):
        found = cf.without_p(ECG, share=share)
        left = [len(stretches(labels, "P")) for labels in found.wave]
        whole = [len(stretches(labels, "P")) for labels in ECG.wave]
        assert [all_of - kept for all_of, kept in zip(whole, left, strict=True)] == [round(share * n) for n in whole]
        gone.append(found.wave != ECG.wave)
    for fewer, more in pairwise(gone):
        assert (more | ~fewer).all()


@pytest.mark.parametrize(
    ("edit", "strength"), [(cf.without_p, 2.5), (cf.without_p, -0.1), (cf.with_rhythm, 1.2), (cf.with_f_waves, np.nan)]
)
def test_a_strength_out_of_range_is_refused(edit, strength):
    with pytest.raises(Refusal, match=r"a strength is .*; legal: 0 \(unchanged\) to \d, 1 the whole edit"):
        edit(ECG, strength=strength)
    with pytest.raises(Refusal, match="share is 2; legal: 0"):
        cf.without_p(ECG, share=2.0)


def test_the_control_of_the_filling_touches_no_wave():
    found = cf.with_flat_baseline(ECG, rescale=False)
    changed = found.tokens != ECG.tokens
    assert not changed[~unlabelled(ECG, "P", near=2)].any()
    assert not changed[ECG.wave >= 0].any()
    assert changed.any(axis=1).all()
    np.testing.assert_array_equal(found.wave, ECG.wave)
    assert (cf.dose_of(ECG, found) < cf.dose_of(ECG, cf.without_p(ECG))).all()


def test_the_bent_baseline_changes_as_much_as_taking_the_waves_out_and_touches_no_wave():
    target = cf.dose_of(ECG, cf.without_p(ECG, rescale=False))
    found, strength = cf.matched(ECG, lambda windows, part: cf.with_bent_baseline(windows, "P", part, rescale=False), target, cf.MOST_BENT)
    assert not (found.tokens != ECG.tokens)[ECG.wave >= 0].any()
    np.testing.assert_array_equal(found.wave, ECG.wave)
    np.testing.assert_allclose(cf.dose_of(ECG, found), target, rtol=0.1)
    assert ((strength > 0.5) & (strength < 2)).all()
    np.testing.assert_array_equal(found.tokens, cf.with_bent_baseline(ECG, "P", strength, rescale=False).tokens)


def test_a_donor_is_sheared_so_that_its_ends_are_zero():
    """By arithmetic: of the squares 0 to 36 less the line between their ends; at a window's first token without the line."""
    rng = np.random.default_rng(0)
    donor = [np.arange(7.0) ** 2]
    np.testing.assert_allclose(noise_for(donor, 3, 7, 20, rng), np.arange(1.0, 6) ** 2 - 6 * np.arange(1.0, 6))
    np.testing.assert_allclose(noise_for(donor, 0, 4, 20, rng), np.arange(1.0, 6) ** 2 - 36)
    np.testing.assert_allclose(noise_for(donor, 15, 19, 20, rng), np.arange(1.0, 6) ** 2)
    joined = noise_for([np.array([0.0, 1.0, 0.0])], 3, 9, 20, rng)  # none is long enough: they follow each other
    np.testing.assert_allclose(joined, [1, 0, 1, 0, 1, 0, 1])


def test_donors_lie_between_the_waves_and_loud_ones_are_left_out():
    waves = [(1, first, first + 9) for first in (50, 150, 250, 350)]
    windows = marked(*waves, beats=[55, 155, 255, 355])
    quiet = np.full((1, CONTEXT), 20, np.uint8) + np.random.default_rng(0).integers(0, 2, (1, CONTEXT), dtype=np.uint8)
    quiet[0, 200:210] = 90  # an unmarked beat
    windows = replace(windows, tokens=quiet, segment=np.where(windows.wave < 0, 3, 1).astype(np.int8))
    donors = donors_of(windows, 0)
    assert [len(donor) for donor in donors] == [46, 86, 86, 136]  # two tokens less than is free at either end; the third stretch is loud
    assert max(donor.max() for donor in donors) < 30


def test_unrounded_rounds_to_the_same_tokens_and_is_smoother():
    tokens = ECG.tokens.astype(float)
    trace = unrounded(tokens)
    np.testing.assert_array_equal(np.round(trace), tokens)
    assert (np.diff(trace, 2, axis=1) ** 2).mean() < (np.diff(tokens, 2, axis=1) ** 2).mean()
    np.testing.assert_allclose(unrounded(np.array([5.0, 5.0, 5.0])), 5.0)


def test_windows_without_any_baseline_are_filled_all_the_same():
    """Every token lies in a wave: the noise that smoothing leaves is taken."""
    wave = np.where(ECG.wave < 0, 2, ECG.wave).astype(np.int8)
    found = cf.without_p(replace(ECG, wave=wave))
    assert (found.tokens != ECG.tokens).any(axis=1).all()
    assert len(cf.without_p(AF[:0])) == 0


@pytest.mark.parametrize(("windows", "wave"), [(ECG, "P"), (ECG, "T"), (PPG, "dicrotic_notch")])
def test_the_wave_of_one_beat_goes_and_all_else_stays(windows, wave):
    """Beat by beat, all that goes together where the waves of all beats go, and nothing twice."""
    window = windows[:1]
    spans = [each[1:] for each in cf.waves_of_beats(window) if each[0] == wave]
    assert len({beat for beat, _, _ in spans}) >= 3
    all_gone = cf.flattened(window, wave, rescale=False).wave != window.wave
    changed = np.zeros(CONTEXT, int)
    for beat in {beat for beat, _, _ in spans}:
        edited = cf.flattened(window, wave, beat=beat, rescale=False)
        gone = (edited.wave != window.wave)[0]
        assert all(gone[first : last + 1].all() for own, first, last in spans if own == beat)
        assert not any(gone[first : last + 1].any() for own, first, last in spans if own != beat)
        assert not (gone & ~all_gone[0]).any()
        near = np.convolve(gone, np.ones(7), "same") > 0
        assert (edited.tokens == window.tokens)[0, ~near].all()
        changed += gone
    assert changed.max() == 1


def test_the_sham_of_one_beat_bends_the_baseline_beside_it():
    window = ECG[:1]
    beat, first, last = next(each[1:] for each in cf.waves_of_beats(window) if each[0] == "P" and each[1] == 2)
    bent = cf.with_bent_baseline(window, "P", 2.0, beat=beat, rescale=False)
    moved = np.flatnonzero((bent.tokens != window.tokens)[0])
    assert len(moved)
    assert np.abs(moved - (first + last) / 2).max() < 100
    assert (bent.wave == window.wave).all()
    assert not np.isin(moved, np.arange(first, last + 1)).any()


def test_baseline_is_bent_down_where_the_waves_point_up_or_the_other_way():
    down, up = (
        cf.with_bent_baseline(ECG, "P", 1.0, turned=turned, rescale=False).tokens.astype(int) - ECG.tokens for turned in (False, True)
    )
    assert (down.sum(axis=1) < 0).all()
    assert (up.sum(axis=1) > 0).all()


def test_a_sham_that_would_leave_the_scale_is_made_elsewhere():
    """Beside the T wave of one beat there is no dose between half of what is asked and twice as much: the window is scaled anew."""
    window = simulated("ecg", 3, 1)[2:]
    target = cf.dose_of(window, cf.flattened(window, "T", beat=1))
    own, *others = cf.bent_baselines("T", 1)
    beside, _ = cf.matched(window, own, target, cf.MOST_BENT)
    assert cf.dose_of(window, beside)[0] < 0.6 * target[0]
    sham = cf.first_matched(window, [own, *others], target[0], cf.MOST_BENT)
    np.testing.assert_allclose(cf.dose_of(window, sham), target, rtol=0.1)
    assert not (sham.tokens != window.tokens)[window.wave >= 0].any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"beat": 99}, "beat 99 is not shown whole; legal: 0 to"),
        ({"beat": 2, "share": 0.5}, "share is 0.5 and beat is 2; give one of them"),
    ],
)
def test_a_beat_that_is_not_there_is_refused(options, reason):
    with pytest.raises(Refusal, match=reason):
        cf.flattened(ECG[:1], "P", **options)


def test_a_wave_that_is_gone_cannot_go_twice():
    once = cf.flattened(ECG[:1], "P", beat=2)
    with pytest.raises(Refusal, match=r"beat 2 has no P marked; legal: \d"):
        cf.flattened(once, "P", beat=2)
