"""Waves replaced by a line: where arithmetic puts it, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import ECG, PPG, lined, marked, stretches, unlabelled

from heartlens.axes import CONTEXT, KINDS
from heartlens.signals import counterfactuals as cf
from heartlens.signals.cut import cut
from heartlens.signals.simulate import ecg
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
def test_a_wave_is_replaced_by_a_line_and_all_else_stays(wave):
    found = cf.flattened(ECG, wave)
    outside = unlabelled(ECG, wave, near=2)
    assert (found.tokens == ECG.tokens)[outside].all()
    assert (found.tokens != ECG.tokens).any(axis=1).all()
    index = KINDS["ecg"].waves.index(wave)
    assert not (found.wave == index).any()
    assert (found.wave == ECG.wave)[ECG.wave != index].all()
    assert (found.segment[ECG.wave == index] == KINDS["ecg"].segments.index("baseline")).all()
    np.testing.assert_array_equal(found.position, ECG.position)
    for row, labels in zip(found.tokens.astype(int), ECG.wave, strict=True):
        for first, last in stretches(labels, wave):
            if first >= 3 and last < CONTEXT - 3:
                line = row[first - 1 : last + 2]
                assert np.abs(np.diff(line, 2)).max() <= 1  # rounding; no kink
                assert (np.diff(line) >= 0).all() or (np.diff(line) <= 0).all()


def test_a_window_is_not_scaled_anew_when_its_highest_token_goes():
    tall = ECG.tokens.copy()
    tall[:, :] = np.minimum(tall, 90)
    tall[ECG.wave == 0] = 100
    windows = replace(ECG, tokens=tall)
    assert cf.without_p(windows).tokens.max() == 90


def test_a_wave_at_the_windows_edge_becomes_level():
    first = next(index for index, labels in enumerate(ECG.wave) if len(stretches(labels, "P")) > 2)
    windows = ECG[first : first + 1]
    start, _ = stretches(windows.wave[0], "P")[1]
    shift = start + 3  # the window begins within a P wave
    rolled = replace(windows, **{name: np.roll(getattr(windows, name), -shift, axis=1) for name in ("tokens", "wave", "segment")})
    found = cf.without_p(rolled)
    length = stretches(rolled.wave[0], "P")[0][1] + 1
    assert len(set(found.tokens[0, : length + 2].tolist())) == 1


def test_a_notch_goes_with_the_peak_behind_it():
    found = cf.flattened(PPG, "dicrotic_notch")
    assert not np.isin(found.wave, [2, 3]).any()
    assert (found.tokens == PPG.tokens)[found.wave >= 0].all()
    for row, labels in zip(found.tokens.astype(int), PPG.wave, strict=True):
        for _, last in stretches(labels, "diastolic_peak", kind="ppg"):
            before = [span for span in stretches(labels, "dicrotic_notch", kind="ppg") if span[1] < last]
            if before and last < CONTEXT - 2 and last - before[-1][0] < 40:
                assert (np.diff(row[before[-1][0] - 1 : last + 2]) <= 0).all()  # downhill without a notch
    assert set(found.segment[PPG.wave == 2].tolist()) == {KINDS["ppg"].segments.index("downslope")}


def test_what_lies_between_notch_and_peak_goes_with_them():
    wave = PPG.wave.copy()
    for labels in wave:
        for name in ("dicrotic_notch", "diastolic_peak"):
            for first, last in stretches(labels, name, kind="ppg"):
                labels[first:last] = -1  # their last token is left
    narrow = replace(PPG, wave=wave)
    found = cf.flattened(narrow, "dicrotic_notch")
    for row, labels in zip(found.tokens.astype(int), wave, strict=True):
        both = (stretches(labels, name, kind="ppg") for name in ("dicrotic_notch", "diastolic_peak"))
        for (notch, _), (peak, _) in zip(*both, strict=False):
            if 0 < peak - notch < 30:
                assert np.abs(np.diff(row[notch - 1 : peak + 2], 2)).max() <= 1


def test_the_control_of_a_wave_taken_out_touches_no_wave():
    found = cf.with_flat_baseline(ECG)
    changed = found.tokens != ECG.tokens
    assert not changed[~unlabelled(ECG, "P", near=2)].any()
    assert not changed[ECG.wave >= 0].any()
    assert changed.any(axis=1).all()
    np.testing.assert_array_equal(found.wave, ECG.wave)
    replaced = sum(min(len(run), 25) for run in _straight(found, ECG))
    assert 0.3 < replaced / (cf.without_p(ECG).tokens != ECG.tokens).sum() < 3  # about as many tokens


def _straight(found, before):
    """The changed stretches of a counterfactual."""
    return [np.flatnonzero(a != b) for a, b in zip(found.tokens, before.tokens, strict=True)]


def test_lines_lie_where_arithmetic_puts_them():
    """Of P waves two tokens more on either side, but none of a QRS; of controls the middle of the longest baseline beside, once each."""
    p_waves, complexes = [(40, 49), (160, 169), (440, 449)], [(52, 61), (171, 180), (452, 461)]
    windows = marked(*((0, *span) for span in p_waves), *((1, *span) for span in complexes))
    np.testing.assert_array_equal(cf.without_p(windows).tokens, lined(windows, (38, 51), (158, 170), (438, 451)))
    control = cf.with_flat_baseline(windows).tokens  # baselines: 62 to 157; 181 to 437, and what then is left of its first half
    np.testing.assert_array_equal(control, lined(windows, (103, 116), (303, 315), (235, 248)))
