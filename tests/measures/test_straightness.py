"""Statistics that tell a line from a recording: by arithmetic, and on real recordings the check that every edit must pass."""

import numpy as np
import pytest

from heartlens.analyses.reliance.arms import shows_p
from heartlens.measures.straightness import PIECE, edit_aucs, high_frequency_power, straightness
from heartlens.signals import counterfactuals as cf
from heartlens.signals.read import read


def rows(*functions, n_time=40):
    return np.array([function(np.arange(n_time)) for function in functions]).astype(np.uint8)


def test_a_line_is_straight_and_a_saw_is_not():
    tokens = rows(lambda t: 2 * t, lambda t: 50 + 3 * (t % 2), lambda t: np.where(t < 20, 2 * t, 50 + 3 * (t % 2)))
    inside = np.ones(tokens.shape, bool)
    saw = np.polynomial.polynomial.polyfit(np.arange(PIECE), np.arange(PIECE) % 2 * 3.0, 1)
    deviation = np.std(np.arange(PIECE) % 2 * 3.0 - saw[0] - saw[1] * np.arange(PIECE))
    assert straightness(tokens, inside)[:2] == pytest.approx([0, deviation], abs=1e-9)
    assert high_frequency_power(tokens, inside)[:2] == pytest.approx([0, 36])  # second differences of +-6
    second_half = np.arange(40)[None] >= np.full(3, 20)[:, None]
    assert straightness(tokens, second_half) == pytest.approx([0, deviation, deviation], abs=1e-9)
    nowhere = second_half & (np.arange(40) < 22)
    assert np.isnan(straightness(tokens, nowhere)).all()
    assert np.isnan(high_frequency_power(tokens, nowhere)).all()


def test_equal_windows_cannot_be_told_apart_and_lines_can():
    noise = np.random.default_rng(0).integers(40, 60, (12, 60)).astype(np.uint8)
    inside = np.ones(noise.shape, bool)
    assert set(edit_aucs(noise, inside, noise, inside).values()) == {0.5}
    assert set(edit_aucs(noise, inside, np.full_like(noise, 50), inside).values()) == {1.0}


EDITS = {  # with the wave that is filled; None: all baseline is compared
    "P removed": (lambda windows: cf.without_p(windows), "P"),
    "P removed, old scale": (lambda windows: cf.without_p(windows, rescale=False), "P"),
    "T flattened": (lambda windows: cf.flattened(windows, "T"), "T"),
    "irregular": (cf.with_rhythm, None),
    "regular": (lambda windows: cf.with_rhythm(windows, "regular"), None),
    "in order": (lambda windows: cf.with_rhythm(windows, "gradual"), None),
    "beats moved together": (cf.with_beats_moved_together, None),
    "early beat": (cf.with_middle_beat_moved, None),
    "late beat": (lambda windows: cf.with_middle_beat_moved(windows, 0.5), None),
    "diastole warped": (cf.with_warped_baseline, None),
    "baseline replaced": (cf.with_flat_baseline, None),
    "baseline bent": (cf.with_bent_baseline, None),
    "irregular, P removed": (lambda windows: cf.without_p(cf.with_rhythm(windows)), None),
}


@pytest.fixture(scope="module")
def ludb(shared):
    windows = read(shared / "data/ludb", lead="ii", landmarks="expert")
    return windows[cf.can_be_warped(windows) & shows_p(windows)]


@pytest.mark.parametrize("name", list(EDITS))
def test_no_detector_tells_an_edited_window_of_ludb_from_a_genuine_one(ludb, name):
    """Edited stretches against genuine baseline; where in the window they lie is not told. `pytest -s` prints the AUCs."""
    edit, wave = EDITS[name]
    edited = edit(ludb)
    aucs = edit_aucs(ludb.tokens, cf.at_rest(ludb), edited.tokens, ludb.inside(wave) if wave else cf.at_rest(edited))
    print(f"\n{name}: " + ", ".join(f"{statistic} {area:.2f}" for statistic, area in aucs.items()))
    assert max(aucs.values()) <= 0.6
