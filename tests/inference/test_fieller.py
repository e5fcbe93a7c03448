"""Fieller's interval by its definition and by simulation; a claim without its control is not tested."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import ttest_1samp

from heartlens.inference.intervals import fieller_interval
from heartlens.inference.verdict import Claim, decide

RNG = np.random.default_rng(0)
BOTTOM = RNG.normal(2, 0.5, 10)
TOP = 0.4 * BOTTOM + RNG.normal(0, 0.3, 10)


def test_at_its_ends_the_mean_of_what_is_left_is_at_the_border_of_the_t_test():
    for end in fieller_interval(TOP, BOTTOM):
        assert ttest_1samp(TOP - end * BOTTOM, 0).pvalue == pytest.approx(0.05, abs=1e-9)


def test_it_turns_with_the_signs():
    low, high = fieller_interval(TOP, BOTTOM)
    assert fieller_interval(-TOP, BOTTOM) == pytest.approx((-high, -low))
    assert fieller_interval(TOP, -BOTTOM) == pytest.approx((-high, -low))


def test_it_covers_nineteen_times_in_twenty():
    """4000 studies of 8 units, ratio 0.3, both means unsure and correlated."""
    rng = np.random.default_rng(1)
    bottom = rng.normal(1, 0.5, (8, 4000))
    top = 0.3 + 0.3 * (bottom - 1) + rng.normal(0, 0.5, (8, 4000))
    low, high = fieller_interval(top, bottom)
    known = np.isfinite(low)
    assert known.mean() > 0.9
    assert ((low <= 0.3) & (high >= 0.3))[known].mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("top", "bottom"), [(TOP[:1], BOTTOM[:1]), (TOP, BOTTOM - BOTTOM.mean())])
def test_it_is_not_known_of_one_unit_or_of_a_difference_that_may_be_nothing(top, bottom):
    assert np.isnan(fieller_interval(top, bottom)).all()


def test_a_claim_whose_control_was_not_measured_is_not_tested():
    claim = Claim("moves", "it moves", "logit", 0.1, "one question", either=True)
    effect, low, high = (xr.DataArray(value) for value in (2.0, 1.0, 3.0))
    for control, expected in ((0.5, "yes"), (-0.5, "not shown"), (np.nan, "not tested")):
        bounds = xr.DataArray(control), xr.DataArray(control + 0.8)
        assert str(decide(claim, effect, low, high, n_units=9, controls=[bounds])["moves_verdict"].values) == expected
