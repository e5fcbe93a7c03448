"""Beats elsewhere: the same beats, at the intervals asked for, and all else where it was."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG, beat_tokens, stretches, variation

from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.complexes import beats_of
from heartlens.signals.simulate import simulated


@pytest.mark.parametrize("windows", [ECG, AF, PPG], ids=["ecg", "af", "ppg"])
@pytest.mark.parametrize("rhythm", cf.RHYTHMS)
def test_beats_move_and_are_the_same_beats(windows, rhythm):
    windows = cf.keeping(windows, cf.can_be_warped(windows), "too few beats")
    found = cf.with_rhythm(windows, rhythm, rescale=False)
    core = ("QRS",) if windows.kind == "ecg" else ("systolic_peak",)
    for index in range(len(windows)):
        old, new = (stretches(each.wave[index], *core, kind=windows.kind) for each in (windows, found))
        assert [b - a for a, b in old] == [b - a for a, b in new]
        for (a, b), (c, d) in zip(old, new, strict=True):
            np.testing.assert_array_equal(found.tokens[index, c : d + 1], windows.tokens[index, a : b + 1])
        before, after = (beat_tokens(each.position[index]) for each in (windows, found))
        assert after[[0, -1]] == pytest.approx(before[[0, -1]], abs=0.15)  # the slope beside it is another
        for name in windows.waves:
            n_before, n_after = (len(stretches(each.wave[index], name, kind=windows.kind)) for each in (windows, found))
            assert n_before == n_after
        _, last = old[-1]
        assert (found.tokens[index, last + 1 :] == windows.tokens[index, last + 1 :]).all()


@pytest.mark.parametrize("windows", [ECG, AF], ids=["sinus", "af"])
def test_the_mark_is_at_the_peak_of_the_complex(windows):
    for rhythm in cf.RHYTHMS:
        found = cf.with_rhythm(windows, rhythm)
        for tokens, labels, position in zip(found.tokens, found.wave, found.position, strict=True):
            beats = beat_tokens(position)
            for first, last in stretches(labels, "QRS")[1:-1]:
                peak = first + int(np.argmax(tokens[first : last + 1]))
                assert np.abs(beats - peak).min() <= 1


def test_rhythms_are_what_they_are_called():
    """Against the intervals of independent gamma variables of the simulation's spread: sqrt(2) 0.22."""
    for windows in (ECG, AF):
        variations = {rhythm: np.array([variation(row) for row in cf.with_rhythm(windows, rhythm).position]) for rhythm in cf.RHYTHMS}
        assert np.abs(variations["irregular"] - 2**0.5 * 0.22).max() < 0.06
        assert variations["regular"].max() < 0.02
    for windows in (ECG, simulated("ecg", 60, 1, "af")):
        gradual = [np.sign(np.diff(np.diff(beat_tokens(row)), 1)) for row in cf.with_rhythm(windows, "gradual").position]
        assert np.mean([abs(signs.sum()) == len(signs) for signs in gradual]) > 0.7  # those not held back by a floor
    assert np.mean([variation(row) for row in ECG.position]) < 0.05 < 0.2 < np.mean([variation(row) for row in AF.position])


def test_diastole_takes_the_change_while_it_can():
    found = cf.with_rhythm(ECG, "irregular")
    kept, all_waves = 0, 0
    for index in range(len(ECG)):
        for name in ("P", "T"):
            old, new = (stretches(each.wave[index], name) for each in (ECG, found))
            all_waves += len(old)
            lengths = [(d - c + 1) / (b - a + 1) for (a, b), (c, d) in zip(old, new, strict=True)]
            assert min(lengths) >= 0.4
            assert max(lengths) <= 1
            kept += sum(length == 1 for length in lengths)
    assert kept / all_waves > 0.6


def test_a_warped_baseline_moves_no_wave():
    for windows in (ECG, AF):
        found = cf.with_warped_baseline(windows, rescale=False)
        np.testing.assert_array_equal(found.wave, windows.wave)
        np.testing.assert_allclose(found.position, windows.position, atol=1e-9)
        assert (found.tokens == windows.tokens)[windows.wave >= 0].all()
        assert (found.tokens != windows.tokens).mean() > 0.1


@pytest.mark.parametrize("by_s", [0.08, -0.08])
def test_one_beat_moves_and_its_neighbours_stay(by_s):
    found = cf.with_beat_moved(ECG, by_s, 2, rescale=False)
    for index in range(len(ECG)):
        before, after = (beat_tokens(each.position[index]) for each in (ECG, found))
        moved = np.where(np.abs(after - before) < 0.1, 0, after - before)
        assert moved[moved != 0] == pytest.approx([100 * by_s], abs=0.1)
        beat = int(np.flatnonzero(moved)[0])
        old, new = (stretches(each.wave[index], "QRS") for each in (ECG, found))
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
        outside = np.r_[0 : int(before[beat - 1]), int(before[beat + 1]) : CONTEXT]
        assert (found.tokens[index, outside] == ECG.tokens[index, outside]).all()


def test_a_move_beyond_the_room_is_refused():
    with pytest.raises(Refusal, match=r"beat 2 cannot move by 3 s between its neighbours; legal: -0\.\d+ to 0\.\d+"):
        cf.with_beat_moved(ECG, 3.0, 2)
    with pytest.raises(Refusal, match=r"beat 0 has no neighbours on both sides; legal: 1 to"):
        cf.with_beat_moved(ECG, 0.1, 0)


@pytest.mark.parametrize("index", range(len(ECG)))
def test_the_farthest_legal_move_leaves_half_of_each_wave(index):
    windows = ECG[index : index + 1]
    with pytest.raises(Refusal, match="legal") as refusal:
        cf.with_beat_moved(windows, 3.0, 2)
    for by_s in map(float, str(refusal.value).rsplit("legal: ", 1)[1].split(" to ")):
        found = cf.with_beat_moved(windows, by_s, 2)
        for name in ("P", "T"):
            old, new = (stretches(each.wave[0], name) for each in (windows, found))
            shortest = min((d - c + 1) / (b - a + 1) for (a, b), (c, d) in zip(old, new, strict=True))
            assert 0.4 <= shortest <= 1
        assert np.diff(beat_tokens(found.position[0])).min() >= 34.9


def test_the_middle_of_a_diastole_moves_by_half_of_what_its_interval_would_change():
    """As far as a fifth of the diastole is left; told by the one high token that lies in the middle."""
    places = [(t[1], p[0]) for t, p in zip(stretches(ECG.wave[0], "T"), stretches(ECG.wave[0], "P")[1:], strict=False)]
    middles = [end + (start - end) // 2 for end, start in places]
    tokens = np.minimum(ECG.tokens[:1], 60)
    tokens[0, middles] = 100
    windows = replace(ECG[:1], tokens=tokens)
    intervals = [np.round(np.diff(beat_tokens(each.position[0]))) for each in (windows, cf.with_rhythm(windows))]
    found, moved = cf.with_warped_baseline(windows).tokens[0], []
    for (end, start), middle in zip(places, middles, strict=True):
        moved.append(end + int(np.argmax(found[end:start])) - middle)
        most = int(0.8 * (start - end) / 2)
        beat = int(np.searchsorted(beat_tokens(windows.position[0]), end)) - 1
        assert moved[-1] == pytest.approx(np.clip((intervals[1] - intervals[0])[beat] / 2, -most, most), abs=1)
    assert np.abs(moved).max() > 5


def test_the_warped_baseline_is_drawn_from_its_seed():
    assert (cf.with_warped_baseline(ECG, seed=1).tokens != cf.with_warped_baseline(ECG).tokens).any(axis=1).all()


@pytest.mark.parametrize("windows", [ECG, PPG], ids=["ecg", "ppg"])
@pytest.mark.parametrize("part", [-1, -0.5, 0.5, 1])
def test_the_middle_beat_moves_by_a_part_of_its_room(windows, part):
    """What room there is the refusal of too far a move tells."""
    for index in range(len(windows)):
        one = windows[index : index + 1]
        found = cf.with_middle_beat_moved(one, part)
        before, after = (beat_tokens(each.position[0]) for each in (one, found))
        moved = np.where(np.abs(after - before) < 0.3, 0, after - before)
        beat = int(np.flatnonzero(moved)[0])
        assert (moved != 0).sum() == 1
        whole = beats_of(one, 0)
        middle = len(whole) // 2
        assert before[beat] == pytest.approx(whole.mark[middle], abs=0.3)
        with pytest.raises(Refusal, match="legal") as refusal:
            cf.with_beat_moved(one, 30.0, middle)
        early, late = map(float, str(refusal.value).rsplit("legal: ", 1)[1].split(" to "))
        assert moved[beat] == pytest.approx(abs(part) * (late if part > 0 else early) * windows.rate_hz, abs=1.3)


def test_the_control_of_a_moved_beat_warps_the_diastoles_beside_it_alone():
    for windows in (ECG, PPG):
        found = cf.with_warped_baseline(windows, part=-0.5, rescale=False)
        np.testing.assert_array_equal(found.wave, windows.wave)
        np.testing.assert_allclose(found.position, windows.position, atol=1e-9)
        for index in range(len(windows)):
            beats = beats_of(windows, index)
            middle = len(beats) // 2
            changed = np.flatnonzero(found.tokens[index] != windows.tokens[index])
            assert len(changed) > 5
            assert beats.offset[middle - 1] < changed.min()
            assert changed.max() < beats.onset[middle + 1]


@pytest.mark.parametrize("part", [0, 1.5, float("nan")])
def test_a_part_of_the_room_is_between_all_of_it_and_all_of_it(part):
    with pytest.raises(Refusal, match="legal: -1 to 1, not 0"):
        cf.with_middle_beat_moved(ECG, part)
