"""The numbers of a circuit by arithmetic: sums made up, no model."""

import numpy as np
import pytest
import xarray as xr

from heartlens.analyses.circuit.summary import summarized

TESTED = np.array([1, 2, 1, 2, 0])  # windows; the last record was searched
OFF_NONE = np.array([10.0, 30, 20, 40, 0])
OFF_CIRCUIT = np.array([5.0, 3, 2, 4, 0])


def by_node(*columns):
    return ("record", "node"), np.stack([np.array(column, float) for column in columns], axis=1)


@pytest.fixture(scope="module")
def found():
    """Three nodes, of which the first is the circuit; four random sets."""
    draws = np.stack([OFF_CIRCUIT, OFF_NONE / 2, OFF_NONE, 0 * OFF_NONE], axis=1)
    sums = {
        "off_none": ("record", OFF_NONE),
        "off_circuit": ("record", OFF_CIRCUIT),
        "off_rest": ("record", 0.7 * OFF_NONE),
        "off_toggled": by_node([9, 25, 16, 34, 0], [4, 2, 1, 3, 0], OFF_CIRCUIT),
        "off_path": (("record", "size"), np.stack([OFF_NONE, OFF_CIRCUIT], axis=1)),
        "off_without_path": (("record", "size"), np.stack([0 * OFF_NONE, OFF_NONE], axis=1)),
        "off_random": (("record", "draw", "size"), np.stack([draws, draws], axis=2)),
        "off_random_circuit": (("record", "draw"), draws),
        "whole": ("record", np.array([3.0, 3, 3, 3, 100])),
        "n_tested": ("record", TESTED.astype(float)),
        "in_circuit": by_node([2] * 5, [0] * 5, [0] * 5),
        "rank": by_node([0] * 5, [2] * 5, [4] * 5),
        "returns": by_node([2] * 5, [1] * 5, [0] * 5),
        "searched_faithfulness": ("record", np.full(5, 1.8)),
        "n_windows": ("record", np.full(5, 2.0)),
    }
    places = {"record": list("abcde"), "node": ["L1H1", "L1H2", "MLP 1"], "size": [0, 1], "draw": range(4)}
    return summarized(xr.Dataset(sums, coords=places), seed=0)


def test_faithfulness_is_of_sums_over_records(found):
    assert float(found["faithfulness"]) == pytest.approx(1 - 14 / 100)
    assert float(found["faithfulness_low"]) < 0.86 < float(found["faithfulness_high"])
    assert float(found["rest_faithfulness"]) == pytest.approx(0.3)
    assert found["path_faithfulness"].values == pytest.approx([0, 0.86])


def test_a_gain_is_what_a_member_adds_and_another_would_add(found):
    """Without the first node 84 is off, not 14; with the second 10; the third changes nothing."""
    assert found["gain"].values == pytest.approx([0.70, 0.04, 0])
    assert (found["gain_low"] <= found["gain"]).all()
    assert (found["gain_high"] >= found["gain"]).all()
    assert float(found["gain_low"][0]) < 0.69 < 0.71 < float(found["gain_high"][0])


def test_random_sets_as_faithful_count_the_circuit_itself_too(found):
    """Of four one is as faithful and one more so: (1 + 2) / (1 + 4)."""
    assert float(found["random_p_value"]) == pytest.approx(3 / 5)


def test_what_is_read_is_the_mean_over_tested_windows(found):
    assert float(found["whole"]) == pytest.approx(12 / 6)
    assert float(found["change"]) == pytest.approx(100 / 6)
    assert found["rank"].values.tolist() == [0, 1, 2]
    assert found["returns"].values.tolist() == [1, 0.5, 0]
    assert (found.attrs["n_tested_records"], found.attrs["n_tested_windows"], found.attrs["circuit_size"]) == (4, 6, 1)
