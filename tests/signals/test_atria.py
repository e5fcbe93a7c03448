"""P waves put in, f waves put in and taken out: against the simulation, where they are known."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG, joined, stretches

from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import NONE
from heartlens.signals.simulate import ecg
from heartlens.signals.tokens import amplitude


def test_p_waves_are_put_before_complexes_without_one():
    found = cf.with_p_waves(AF)
    for before, after, old in zip(AF.wave, found.wave, AF.tokens, strict=True):
        new = stretches(after, "P")
        assert len(new) >= 2
        assert stretches(after, "QRS") == stretches(before, "QRS")
        assert (before[after == 0] == NONE).all()
        onsets = [first for first, _ in stretches(before, "QRS")]
        assert all(min(onset - last for onset in onsets if onset > last) < 12 for _, last in new)
        assert len(old) == len(after)


def test_the_records_own_average_is_put_in_where_it_is_known():
    """P waves are taken out of half a record's beats' worth of windows and put back: the average of those that were there."""
    own = cf.p_waves_of(ECG)
    assert set(own) == set(map(str, ECG.record))
    without = cf.without_p(ECG)
    back = cf.with_p_waves(without, templates=own)
    for index in range(len(ECG)):
        inside = (back.wave[index] == 0) & (ECG.wave[index] == 0)
        assert inside.sum() > 20
        before, gone, put = (amplitude(each.tokens[index], each.low[index], each.high[index])[inside] for each in (ECG, without, back))
        assert np.corrcoef(before - gone, put - gone)[0, 1] > 0.6
        assert (put - gone).mean() == pytest.approx((before - gone).mean(), rel=0.35)


def test_a_window_that_shows_some_p_waves_gets_these_and_others_the_standard_one():
    some = cf.without_p(ECG, share=0.5, rescale=False)
    tripled = replace(some, tokens=np.where(some.wave == 0, np.minimum(some.tokens.astype(int) + 30, 100), some.tokens).astype(np.uint8))
    put_in = (cf.with_p_waves(tripled, rescale=False).wave == 0) & (some.wave != 0)
    plain = (cf.with_p_waves(some, rescale=False).tokens[put_in].mean(), cf.with_p_waves(tripled, rescale=False).tokens[put_in].mean())
    assert plain[1] > plain[0] + 5
    heights = [
        np.diff([amplitude(each.tokens[index], each.low[index], each.high[index])[found.wave[index] == 0].mean() for each in (AF, found)])[
            0
        ]
        / (AF.high - AF.low)[index]
        for found in [cf.with_p_waves(AF)]
        for index in range(len(AF))
    ]
    assert np.mean(heights) == pytest.approx(0.12 * 0.5, abs=0.03)  # the mean of a Gaussian 5 deviations wide is half its height


def test_the_strength_of_p_waves_is_their_height():
    half, whole = (cf.dose_of(AF, cf.with_p_waves(AF, strength, rescale=False)) for strength in (0.5, 1.0))
    assert (half / whole).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(cf.with_p_waves(AF, 0.0).tokens, AF.tokens)


@pytest.fixture(scope="module")
def fibrillation():
    """Hearts in fibrillation with f waves, the same without, and windows of the former."""
    pairs = []
    for seed in range(6):
        loud, still = (_fibrillating(seed, height) for height in (0.06, 0.0))
        window = cut(loud[0], replace(loud[1], span_s=(3.0, 8.1)), f"af {seed}")[:1]
        first = round(float(window.start_s[0]) * 100)
        pairs.append((window, (loud[0] - still[0])[first : first + 500]))
    return joined(*(window for window, _ in pairs)), np.array([wave for _, wave in pairs])


def _fibrillating(seed, height):
    """A heart whose f waves have this height, all else alike."""
    person = ecg.subject

    def changed(rng):
        return replace(person(rng), fibrillatory=height)

    ecg.subject = changed
    try:
        return ecg.simulate(np.random.default_rng(seed), 12.0, "af", 80.0)
    finally:
        ecg.subject = person


def test_f_waves_are_taken_out_as_far_as_average_beat_subtraction_can(fibrillation):
    windows, known = fibrillation
    found = cf.without_f_waves(windows)
    taken = amplitude(windows.tokens, windows.low, windows.high) - amplitude(found.tokens, found.low, found.high)
    inner = slice(30, -30)
    likeness = [np.corrcoef(estimate[inner], truth[inner])[0, 1] for estimate, truth in zip(taken, known, strict=True)]
    assert np.mean(likeness) > 0.7
    assert min(likeness) > 0.4  # a window of few beats has a poor average beat
    half = cf.without_f_waves(windows, 0.5)
    assert (cf.dose_of(windows, half) / cf.dose_of(windows, found)).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(cf.without_f_waves(windows, 0.0).tokens, windows.tokens)


def test_f_waves_put_in_lie_within_their_band_and_are_as_high_as_is_said():
    found = cf.with_f_waves(ECG, 2.0)
    added = amplitude(found.tokens, found.low, found.high) - amplitude(ECG.tokens, ECG.low, ECG.high)
    power = np.abs(np.fft.rfft(added - added.mean(axis=1, keepdims=True), axis=1)) ** 2
    hz = np.fft.rfftfreq(500, 0.01)
    fundamental = (hz >= 4) & (hz <= 9)
    assert (power[:, fundamental].sum(axis=1) / power.sum(axis=1)).min() > 0.6  # the rest is their second harmonic, and rounding
    heights = [
        np.median([np.ptp(row[a : b + 1]) for a, b in stretches(labels, "QRS")]) for row, labels in zip(ECG.tokens, ECG.wave, strict=True)
    ]
    sd = added.std(axis=1) / (ECG.high - ECG.low) * 100
    np.testing.assert_allclose(sd, 2 * 0.04 * np.array(heights) * np.sqrt((1 + 0.16) / 2 * 1.08), rtol=0.25)
    np.testing.assert_array_equal(found.wave, ECG.wave)


def test_pulses_and_windows_without_beats_are_refused():
    for edit in (cf.with_p_waves, cf.with_f_waves, cf.without_f_waves):
        with pytest.raises(Refusal, match="of the ecg; these are ppg"):
            edit(PPG)
    bare = replace(ECG[:2], wave=np.full_like(ECG.wave[:2], NONE))
    with pytest.raises(Refusal, match="fewer than 3 QRS complexes marked in 2 of 2 windows"):
        cf.with_f_waves(bare)
    with pytest.raises(Refusal, match="no room for a P wave in 8 of 8 windows"):
        cf.with_p_waves(ECG)
