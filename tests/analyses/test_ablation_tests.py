"""The tests of an ablation's effects by arithmetic: records and variants made up, no model."""

import numpy as np
import pytest

from heartlens.analyses.ablation.summary import task_of
from heartlens.analyses.ablation.tests import Records, intact_of
from heartlens.analyses.ablation.tests import tested as outcome  # pytest would take the name for a test

NAMES = ("af_logit", "af_probability")


def records(intact, bottom=None, positive=None, names=NAMES):
    """Records with these sums (record, readout), each of as many windows as `bottom` says."""
    intact = np.asarray(intact, float)
    bottom = np.ones_like(intact) if bottom is None else np.asarray(bottom, float)
    return Records(names, task_of(names), intact, bottom, None if positive is None else np.array(positive), 0.5, 0, 99)


def detected(n_lost, n=50):
    """`n` records with AF and as many without, all told right; one variant calls the first `n_lost` of those with AF negative, one none."""
    intact = np.stack([np.zeros(2 * n), np.repeat([0.9, 0.1], n)], axis=1)
    ablated = np.stack([intact, intact], axis=1)
    ablated[:n_lost, 0, 1] = 0.2
    return ablated, records(intact, positive=np.repeat([1, 0], n))


def test_a_change_of_a_merit_has_the_interval_and_the_error_of_a_proportion():
    """20 of 50 are lost: 0.4, give or take 1.96 sqrt(0.4 0.6 / 50)."""
    ablated, detector = detected(20)
    place = detector.readouts.index("af_sensitivity")
    numbers = {name: values[0, place] for name, values in outcome(ablated, detector).items()}
    assert numbers["effect"] == pytest.approx(-0.4)
    assert numbers["error"] == pytest.approx(np.sqrt(0.4 * 0.6 / 50), rel=0.1)
    assert numbers["low"] == pytest.approx(-0.4 - 0.136, abs=0.02)
    assert numbers["high"] == pytest.approx(-0.4 + 0.136, abs=0.02)


def test_a_merit_is_of_mean_probabilities_of_labelled_records_from_the_threshold_on():
    """Records of two windows, whose sums are twice the mean; 0.5 is called positive; the last has no label."""
    intact = np.stack([np.zeros(5), [1.0, 1.8, 0.2, 0.4, 2.0]], axis=1)
    detector = records(intact, np.full((5, 2), 2.0), positive=[1, 1, 0, 0, -1])
    numbers = dict(zip(detector.readouts, intact_of(detector)["intact"], strict=True))
    assert (numbers["af_sensitivity"], numbers["af_specificity"], numbers["af_f1"], numbers["af_auc"]) == (1, 1, 1, 1)
    assert numbers["af_brier"] == pytest.approx((0.5**2 + 0.1**2 + 0.1**2 + 0.2**2) / 4)


def test_one_record_of_a_class_has_no_interval():
    ablated, detector = detected(1, n=3)
    few = Records(detector.names, detector.task, detector.intact, detector.bottom, np.array([1, -1, -1, 0, 0, 0]), 0.5, 0, 99)
    place = few.readouts.index("af_sensitivity")
    numbers = outcome(ablated, few)
    assert numbers["effect"][0, place] == -1
    assert np.isnan(numbers["low"][0, place])
    assert np.isnan(numbers["error"][0, place])
    assert few.n_with[place] == 1


def test_what_has_no_interval_has_no_p():
    """A wave that one record alone has."""
    bottom = np.ones((6, 2))
    bottom[1:, 1] = 0
    numbers = outcome(np.repeat(bottom[:, None], 2, axis=1), records(np.zeros((6, 2)), bottom))
    assert np.isfinite(numbers["p_value"][:, 0]).all()
    assert np.isnan(numbers["p_value"][:, 1]).all()


def test_beats_missed_and_invented_lower_f1():
    """Of beats 4 of 20 are missed and 2 invented: F1 falls from 1 to 32 / (32 + 6)."""
    detector = records(np.zeros((2, 2)), np.full((2, 2), 10.0), names=("beat_misses", "beat_extras"))
    ablated = np.array([[[3.0, 1.0]], [[1.0, 1.0]]])
    np.testing.assert_allclose(outcome(ablated, detector)["effect"], [[4 / 20, 2 / 20, 32 / 38 - 1]])


def with_own(sums):
    """The sums (..., readout) with a readout of the caller's before the model's."""
    return np.concatenate([np.full((*sums.shape[:-1], 1), 7.0), sums], axis=-1)


def test_a_readout_of_ones_own_before_the_models_changes_no_merit():
    """Of a detector of records and of one of beats: the place of a readout follows from its name."""
    ablated, plain = detected(20)
    beats = np.array([[[3.0, 1.0]], [[1.0, 1.0]]]), records(np.zeros((2, 2)), np.full((2, 2), 10.0), names=("beat_misses", "beat_extras"))
    for variants, detector in ((ablated, plain), beats):
        own = records(with_own(detector.intact), with_own(detector.bottom), detector.positive, ("margin", *detector.names))
        assert own.merits == detector.merits
        n = len(own.merits)
        np.testing.assert_allclose(intact_of(own)["intact"][-n:], intact_of(detector)["intact"][-n:])
        np.testing.assert_allclose(outcome(with_own(variants), own)["effect"][:, -n:], outcome(variants, detector)["effect"][:, -n:])
