"""Where the beats of a window begin and end, which windows can be warped, and what intervals they get."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import ECG, marked, stretches

from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.complexes import beats_of
from heartlens.signals.counterfactuals.intervals import above, intervals_as


def test_an_interval_in_which_beats_were_missed_is_not_warped():
    position = ECG.position.copy()
    position[0, 200:300] = np.nan
    assert cf.can_be_warped(replace(ECG, position=position)).tolist() == [False] + [True] * 7
    wave = ECG.wave.copy()
    middle = stretches(ECG.wave[1], "QRS")[2]
    wave[1, middle[0] : middle[1] + 1] = -1  # a mark without its complex
    assert cf.can_be_warped(replace(ECG, wave=wave)).tolist() == [True, False] + [True] * 6


@pytest.mark.parametrize("rhythm", cf.RHYTHMS)
def test_intervals_keep_their_sum_and_floors(rhythm):
    rng = np.random.default_rng(0)
    for _ in range(50):
        length = rng.uniform(60, 110, 6)
        floor = rng.uniform(30, 55, 6)
        new = intervals_as(rhythm, length, floor, rng)
        assert new.sum() == pytest.approx(length.sum())
        assert (new >= floor - 1e-9).all()
    np.testing.assert_allclose(above(np.array([80.0, 80.0]), np.array([90.0, 10.0])), [90.0, 70.0])


def test_edges_of_beats_are_those_of_their_waves():
    """Without a T wave a beat ends as far behind its mark as the others do, but before the next one's beginning."""
    beats = [50, 90, 180, 270]
    waves = [(1, beat - 5, beat + 5) for beat in beats] + [(2, beat + 20, beat + 40) for beat in beats[1:]] + [(0, 155, 164)]
    found = beats_of(marked(*waves, beats=beats), 0)
    assert found.number.tolist() == [1, 2, 3, 4]
    assert found.mark == pytest.approx(beats)
    assert (found.onset.tolist(), found.offset.tolist()) == ([45, 85, 175, 265], [55, 95, 185, 275])
    assert (found.start.tolist(), found.end.tolist()) == ([45, 85, 155, 265], [84, 130, 220, 310])


def test_complexes_that_all_but_touch_are_no_beats():
    beats = [50, 140, 220, 310]
    waves = [(1, beat - 5, beat + 5) for beat in beats]
    assert beats_of(marked(*waves, beats=beats), 0) is not None
    assert beats_of(marked(*waves, (1, 145, 212), beats=beats), 0) is None


def test_a_pulse_without_its_peak_has_not_the_next_ones():
    feet = [50, 95, 140]
    waves = [(0, foot - 1, foot + 1) for foot in feet] + [(1, foot + 9, foot + 15) for foot in feet[1:]]
    assert beats_of(marked(*waves, beats=feet, kind="ppg"), 0).number.tolist() == [2, 3]


@pytest.mark.parametrize(("n_beats", "apart", "able"), [(4, 60, True), (3, 60, False), (4, 40, False)])
def test_a_rhythm_needs_four_beats_and_a_fifth_of_room(n_beats, apart, able):
    """40 tokens apart, all but an eighth is the refractory floor of 0.35 s."""
    beats = [50 + apart * beat for beat in range(n_beats)]
    windows = marked(*((1, beat - 3, beat + 3) for beat in beats), *((2, beat + 10, beat + 14) for beat in beats), beats=beats)
    assert cf.can_be_warped(windows).tolist() == [able]


def test_intervals_in_order_of_length_grow_in_some_windows_and_shrink_in_others():
    generators = map(np.random.default_rng, range(20))
    changes = [np.sign(np.diff(intervals_as("gradual", np.full(5, 80.0), np.full(5, 35.0), rng))) for rng in generators]
    assert {tuple(signs) for signs in changes} == {(1, 1, 1, 1), (-1, -1, -1, -1)}
