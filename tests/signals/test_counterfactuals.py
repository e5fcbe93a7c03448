"""What holds of every counterfactual: scale, record and landmarks stay, and what cannot be done is refused and counted."""

from dataclasses import replace

import numpy as np
import pytest
from counterfacts import AF, ECG, PPG, joined

from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.kept import checked


def test_scale_record_and_start_stay_and_a_note_is_added():
    for found in (
        cf.without_p(ECG),
        cf.with_rhythm(ECG),
        cf.with_warped_baseline(ECG),
        cf.with_beat_moved(ECG, 0.05, 2),
        cf.with_noise(ECG),
    ):
        for name in ("low", "high", "record", "start_s"):
            np.testing.assert_array_equal(getattr(found, name), getattr(ECG, name))
        assert len(found) == len(ECG)
        assert found.notes[:-1] == ECG.notes
        assert (found.identity != ECG.identity).all()
    assert cf.without_p(ECG).notes[-1] == "P waves replaced by a line"


def test_what_is_drawn_does_not_depend_on_the_other_windows():
    for edit in (cf.with_rhythm, cf.with_warped_baseline, cf.without_p):
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
    other = ECG.tokens.copy()
    other[0, 5] += 1
    assert checked(ECG, replace(ECG, tokens=other), support, "x").notes[-1] == "x"
    other[0, 10] += 1
    with pytest.raises(AssertionError, match="tokens outside"):
        checked(ECG, replace(ECG, tokens=other), support, "x")
    with pytest.raises(AssertionError, match="low"):
        checked(ECG, replace(ECG, low=ECG.low + 1), support, "x")


def test_what_was_skipped_before_is_still_counted():
    not_first = np.arange(len(ECG)) > 0
    twice = cf.keeping(cf.keeping(ECG, not_first, "one"), not_first[:-1], "another")
    assert twice.skipped == (("one", 1), ("another", 1))


def test_many_records_without_landmarks_are_told_by_number():
    many = joined(ECG, replace(AF, record=np.array([f"af {n}" for n in range(6)])))
    told = cf.keeping(many, np.arange(len(many)) == 0, "x").notes[-1]
    assert told.endswith(", and 5 more records")  # 13, of which 8 are named
    assert told.count(": 1") == 8


@pytest.mark.parametrize("name", ["record", "start_s", "low", "high"])
def test_a_scale_or_record_that_changed_is_an_error(name):
    with pytest.raises(AssertionError, match="changed one of"):
        checked(
            ECG,
            replace(ECG, **{name: np.roll(getattr(ECG, name), 1) if name == "record" else getattr(ECG, name) + 1}),
            np.ones(ECG.tokens.shape, bool),
            "x",
        )
