"""What holds of every counterfactual: scale, record and landmarks stay, and what cannot be done is refused and counted."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG, joined

from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.scale import edited
from heartlens.signals.tokens import amplitude, tokenise

EDITS = {
    "without_p": cf.without_p,
    "half of P": lambda windows, **options: cf.without_p(windows, 0.5, **options),
    "P inverted": lambda windows, **options: cf.without_p(windows, 2.0, **options),
    "T": lambda windows, **options: cf.flattened(windows, "T", **options),
    "rhythm": cf.with_rhythm,
    "together": cf.with_beats_moved_together,
    "warped": cf.with_warped_baseline,
    "bent": cf.with_bent_baseline,
    "flat": cf.with_flat_baseline,
    "one beat": lambda windows, **options: cf.with_beat_moved(windows, 0.05, 2, **options),
    "noise": lambda windows, **options: cf.with_noise(windows, 32.0, **options),
    "f waves": cf.with_f_waves,
    "no f waves": cf.without_f_waves,
}


@pytest.mark.parametrize("name", list(EDITS))
def test_an_edited_window_is_tokenised_as_a_recording_is(name):
    """It touches 0 and 100, and its amplitudes outside the edit are what they were, to a token's width."""
    found = EDITS[name](ECG)
    assert (found.tokens.min(axis=1) == 0).all()
    assert (found.tokens.max(axis=1) == 100).all()
    kept = EDITS[name](ECG, rescale=False)
    for column in ("low", "high"):
        np.testing.assert_array_equal(getattr(kept, column), getattr(ECG, column))
    same = (kept.tokens == ECG.tokens) & (kept.tokens > 0) & (kept.tokens < 100)  # what left the old scale is cut off there
    width = np.maximum(found.high - found.low, ECG.high - ECG.low)[:, None] / 100
    change = np.abs(amplitude(found.tokens, found.low, found.high) - amplitude(ECG.tokens, ECG.low, ECG.high)) / width
    assert same.any(axis=1).all()
    assert change[same].max() <= 1.01


def test_record_and_start_stay_and_a_note_is_added():
    for edit in EDITS.values():
        found = edit(ECG)
        for name in ("record", "start_s"):
            np.testing.assert_array_equal(getattr(found, name), getattr(ECG, name))
        assert len(found) == len(ECG)
        assert found.notes[:-1] == ECG.notes
        assert (found.identity != ECG.identity).all()
    assert cf.without_p(ECG).notes[-1] == "P waves replaced by baseline"
    assert cf.without_p(ECG, 0.5, 0.5, rescale=False).notes[-1] == (
        "P waves replaced by baseline, 50 % of them, strength 0.5, on the old scale"
    )


def test_what_is_drawn_does_not_depend_on_the_other_windows():
    for edit in EDITS.values():
        np.testing.assert_array_equal(edit(ECG).tokens[2:4], edit(ECG[2:4]).tokens)
    assert (cf.with_rhythm(ECG, seed=1).tokens != cf.with_rhythm(ECG).tokens).any(axis=1).all()


def test_unknown_rhythms_and_waves_are_refused():
    with pytest.raises(Refusal, match="unknown rhythm 'iregular'; did you mean 'irregular'"):
        cf.with_rhythm(ECG, "iregular")
    with pytest.raises(Refusal, match=r"unknown wave of the ppg that can be taken out 'P'.*legal: dicrotic_notch"):
        cf.without_p(PPG)
    with pytest.raises(Refusal, match="legal: P, T"):
        cf.flattened(ECG, "QRS")


def test_windows_without_the_landmarks_are_counted_and_listed():
    with pytest.raises(Refusal, match=r"no P marked in 2 of 3 windows \(simulated ecg 00: 1, simulated ecg 01: 1\)"):
        cf.without_p(mixed := joined(AF[:2], ECG[2:3]))
    kept = cf.keeping(mixed, cf.has_wave(mixed, "P"), "no P marked")
    assert kept.skipped == (("no P marked", 2),)
    assert kept.notes[-1] == "no P marked: simulated ecg 00: 1, simulated ecg 01: 1"
    assert len(cf.without_p(kept)) == 1
    unknown = replace(ECG, position=np.full_like(ECG.position, np.nan))
    assert not cf.can_be_warped(unknown).any()
    with pytest.raises(Refusal, match=r"fewer than 4 beats marked.* in 8 of 8 windows"):
        cf.with_rhythm(unknown)


def test_a_change_elsewhere_is_an_error():
    support = np.zeros(ECG.tokens.shape, bool)
    support[:, :10] = True
    level = ECG.tokens.astype(float)
    level[0, 5] += 1
    assert edited(ECG, level, support, "x", rescale=True).notes[-1] == "x"
    level[0, 10] += 1
    with pytest.raises(AssertionError, match="levels outside"):
        edited(ECG, level, support, "x", rescale=True)


def test_scaling_follows_the_published_tokeniser():
    """Against the tokeniser itself, on amplitudes: a quarter of the height added at one token makes all others lower."""
    level = ECG.tokens.astype(float)
    level[:, 7] = 125.0
    support = np.arange(level.shape[1])[None] == np.full(len(ECG), 7)[:, None]
    found = edited(ECG, level, support, "x", rescale=True)
    np.testing.assert_array_equal(found.tokens, [tokenise(row) for row in level])
    np.testing.assert_allclose(found.high - found.low, 1.25 * (ECG.high - ECG.low))
    np.testing.assert_array_equal(found.low, ECG.low)
    scaled = cf.on_scale_of(ECG, found)
    np.testing.assert_array_equal(scaled.tokens[:, :7], found.tokens[:, :7])
    np.testing.assert_array_equal(scaled.tokens[:, 8:], found.tokens[:, 8:])
    kept = edited(ECG, level, support, "x", rescale=False)
    assert (kept.tokens[:, 7] == 100).all()
    with pytest.raises(Refusal, match="an edit of themselves"):
        cf.on_scale_of(ECG, found[::-1])


def test_what_was_skipped_before_is_still_counted():
    not_first = np.arange(len(ECG)) > 0
    twice = cf.keeping(cf.keeping(ECG, not_first, "one"), not_first[:-1], "another")
    assert twice.skipped == (("one", 1), ("another", 1))


def test_many_records_without_landmarks_are_told_by_number():
    many = joined(ECG, replace(AF, record=np.array([f"af {n}" for n in range(6)])))
    told = cf.keeping(many, np.arange(len(many)) == 0, "x").notes[-1]
    assert told.endswith(", and 5 more records")  # 13, of which 8 are named
    assert told.count(": 1") == 8
