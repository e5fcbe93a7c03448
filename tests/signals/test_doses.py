"""Doses: how much an edit changes a window, shams of equal dose, and graded rhythms, by arithmetic on the tokens."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import ECG, PPG, beat_tokens

from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf


def test_a_dose_is_the_summed_change_of_the_tokens():
    tokens = ECG.tokens.copy()
    tokens[:, 3] ^= 1
    tokens[1, 7] = 100 - tokens[1, 7]
    expected = np.ones(len(ECG))
    expected[1] += abs(100 - 2 * int(ECG.tokens[1, 7]))
    np.testing.assert_array_equal(cf.dose_of(ECG, replace(ECG, tokens=tokens)), expected)
    with pytest.raises(Refusal, match="a dose is between as many windows; given 8 and 2"):
        cf.dose_of(ECG, ECG[:2])


def test_a_sham_is_matched_window_by_window():
    """An edit that adds ten tokens' worth of strength: the dose asked for is reached to the step of the grid, or as nearly as can be."""

    def edit(windows, strength):
        tokens = windows.tokens.copy()
        tokens[:, :10] = np.where(tokens[:, :10] > 50, tokens[:, :10] - 50, tokens[:, :10])
        level = tokens.astype(float)
        level[:, :10] += np.round(50 * np.broadcast_to(strength, len(windows)))[:, None]
        return replace(windows, tokens=level.astype(np.uint8))

    low = replace(ECG, tokens=np.full_like(ECG.tokens, 20))
    asked = np.array([0.0, 50, 120, 250, 400, 500, 700, 10])
    found, strength = cf.matched(low, edit, asked)
    np.testing.assert_allclose(cf.dose_of(low, found), [0, 50, 120, 250, 400, 500, 500, 10], atol=5)
    assert strength[0] == 0
    assert strength[5] == strength[6] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("windows", [ECG, PPG], ids=["ecg", "ppg"])
def test_the_sham_of_a_rhythm_has_its_dose_and_equal_intervals(windows):
    regular, irregular = (cf.with_rhythm(windows, rhythm) for rhythm in ("regular", "irregular"))
    target = cf.dose_of(regular, irregular)
    sham, _ = cf.matched(regular, cf.with_beats_moved_together, target)
    assert cf.dose_of(regular, sham).mean() == pytest.approx(target.mean(), rel=0.15)
    assert cf.dose_of(regular, cf.with_warped_baseline(regular)).mean() < 0.3 * target.mean()  # what the sham was before
    for before, after in zip(regular.position, sham.position, strict=True):
        change = np.diff(beat_tokens(after)) - np.diff(beat_tokens(before))
        assert (np.abs(change) > 0.6).sum() <= 2  # the first whole interval and the last
        assert change.sum() == pytest.approx(0, abs=0.6)


def test_beats_moved_together_move_by_the_strength():
    whole, half = (cf.with_beats_moved_together(ECG, part) for part in (1.0, 0.5))
    for before, far, near in zip(ECG.position, whole.position, half.position, strict=True):
        moved = [beat_tokens(each) - beat_tokens(before) for each in (far, near)]
        middle = len(moved[0]) // 2
        assert abs(moved[0][middle]) > 4
        assert moved[1][middle] == pytest.approx(moved[0][middle] / 2, abs=0.6)
        np.testing.assert_allclose(moved[0][[1, -1]][np.abs(moved[0][[1, -1]]) < 1], 0, atol=0.3)


def test_a_rhythm_is_graded_from_what_it_was_or_from_regular():
    regular, irregular = (cf.with_rhythm(ECG, rhythm) for rhythm in ("regular", "irregular"))
    np.testing.assert_array_equal(cf.with_rhythm(ECG, strength=0.0).tokens, ECG.tokens)
    np.testing.assert_array_equal(cf.with_rhythm(ECG, strength=0.0, since="regular").tokens, regular.tokens)
    np.testing.assert_array_equal(cf.with_rhythm(ECG, strength=1.0, since="regular").tokens, irregular.tokens)
    half = cf.with_rhythm(ECG, strength=0.5, since="regular")
    for one, other, between in zip(regular.position, irregular.position, half.position, strict=True):
        np.testing.assert_allclose(beat_tokens(between), (beat_tokens(one) + beat_tokens(other)) / 2, atol=0.8)
    with pytest.raises(Refusal, match="unknown rhythm 'regullar'"):
        cf.with_rhythm(ECG, since="regullar")


def test_each_window_may_have_a_strength_of_its_own():
    strength = np.linspace(0, 1, len(ECG))
    for edit in (cf.without_p, cf.with_rhythm, cf.with_bent_baseline, cf.with_flat_baseline, cf.with_warped_baseline, cf.with_f_waves):
        found = edit(ECG, strength=strength)
        for index in (0, 3, 7):
            alone = edit(ECG[index : index + 1], strength=float(strength[index]))
            np.testing.assert_array_equal(found.tokens[index], alone.tokens[0])
        assert found.notes[-1].endswith("strengths 0 to 1")
