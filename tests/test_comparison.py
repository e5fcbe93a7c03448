"""Differences of two results with their intervals: against the textbook's, and against samples whose true difference is known."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from heartlens import comparison
from heartlens.analysis import Measured
from heartlens.comparison import compared
from heartlens.refusal import Refusal
from heartlens.tally import Tally


@dataclass(frozen=True)
class Mean:
    """The mean over units."""

    def summarize(self, tally, twins):
        return xr.Dataset({"value": tally.sums["value"].mean("record")})


def measured(values, names):
    """Values by unit, or by unit and sample: each sample stands for a layer, and has an interval of its own."""
    values = np.asarray(values, float).reshape(len(names), -1)
    sums = xr.Dataset({"value": (("record", "layer"), values)}, coords={"record": list(names), "layer": np.arange(values.shape[1])})
    return Measured(Tally(sums.sortby("record")), {}, {"analysis": "Mean"})


def interval(a, b):
    found = compared(Mean(), a, b)
    return [float(found[f"value_{name}"].item()) for name in ("difference", "low", "high")], found.attrs["n_paired"]


def test_paired_means_have_the_paired_t_interval():
    rng = np.random.default_rng(0)
    a = rng.normal(size=12)
    b = a + 0.3 + 0.1 * rng.normal(size=12)
    names = [f"r{number:02d}" for number in range(12)]
    found, n_paired = interval(measured(a, names), measured(b, names))
    expected = stats.ttest_rel(b, a).confidence_interval()
    assert n_paired == 12
    assert found == pytest.approx([(b - a).mean(), expected.low, expected.high])


def test_unpaired_means_have_welchs_interval():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=9), rng.normal(1, 3, size=14)
    found, n_paired = interval(measured(a, [f"a{n:02d}" for n in range(9)]), measured(b, [f"b{n:02d}" for n in range(14)]))
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert n_paired == 0
    assert found == pytest.approx([b.mean() - a.mean(), expected.low, expected.high])


def test_many_units_are_left_out_in_groups_and_the_interval_covers():
    """80 samples of 100 units in 32 groups; the true difference is 0.5."""
    rng, names = np.random.default_rng(2), [f"r{number:03d}" for number in range(100)]
    a = rng.normal(size=(100, 80))
    intervals = compared(Mean(), measured(a, names), measured(a + 0.5 + rng.normal(size=(100, 80)), names))
    covered = int(((intervals["value_low"] <= 0.5) & (intervals["value_high"] >= 0.5)).sum())
    assert comparison.MOST_GROUPS == 32
    assert intervals.sizes["layer"] == 80
    assert 70 <= covered <= 80  # binomial: 0.95 of 80, and below 70 in 0.002 of all studies


def test_one_unit_has_no_interval():
    found, _ = interval(measured([1.0], ["a"]), measured([2.0], ["a"]))
    assert found[0] == 1.0
    assert np.isnan(found[1:]).all()


def test_other_analyses_and_places_are_refused():
    other = measured([1.0, 2.0], ["a", "b"])
    with pytest.raises(Refusal, match=r"different analyses \(Mean and Else\)"):
        compared(Mean(), other, Measured(other.tally, {}, {"analysis": "Else"}))
    elsewhere = Measured(Tally(other.tally.sums.assign_coords(layer=[3])), {}, {"analysis": "Mean"})
    with pytest.raises(Refusal, match="no effect at the same place"):
        compared(Mean(), other, elsewhere)
