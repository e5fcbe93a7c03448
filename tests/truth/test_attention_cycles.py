"""Attention over prior cycles finds what was planted, with its lag, and nothing else. Every expectation follows from what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from planted import model_of, random_state

from heartlens.analyses.attention_cycles import AttentionCycles
from heartlens.analyses.attention_cycles.summary import summary_of
from heartlens.analyses.attention_cycles.words import broadening, broadens
from heartlens.analysis import beside, run
from heartlens.axes import CONTEXT
from heartlens.inference.verdict import is_yes
from heartlens.measures import cycles
from heartlens.models.planted import FirstToken, SamePhase, Wave, planted
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.tally import Tally

CYCLE = 80
WINDOWS = regular("ecg", 8)
CYCLES = AttentionCycles(n_permutations=999, n_twins=49, twin_windows=8)  # the fewest twins that can give p = 0.02
QUICK = AttentionCycles(n_permutations=99, n_twins=2, twin_windows=1)
SAME, WAVE, SINK = (1, 3), (0, 1), (0, 2)
PER_HEAD = ("same_phase_share", "same_phase_share_null", "same_phase_lift", "p_value", "q_value", "effective_tokens")


def at(summary, name, head):
    return summary[name].sel(layer=head[0], head=head[1])


@pytest.fixture(scope="module")
def found():
    plants = {SAME: SamePhase(lag=1), WAVE: Wave("QRS"), SINK: FirstToken()}
    return run(CYCLES, planted(plants, WINDOWS, heads=4), WINDOWS)


def test_the_planted_head_is_found_with_its_lag_and_no_other(found):
    holds = is_yes(found, "same_phase").transpose("layer", "head")
    assert np.argwhere(holds.values).tolist() == [list(SAME)]
    by_lag = at(found, "share_by_lag", SAME)
    assert int(by_lag.argmax("lag")) == 1
    assert by_lag.sel(lag=1).item() == pytest.approx(419 / 499, abs=1e-5)  # the sink asks nothing, and what would look at it looks evenly
    assert at(found, "same_phase_share", SAME).item() == pytest.approx(1, abs=1e-4)
    assert "L2H4" in CYCLES.findings(found).verdict[0]


def test_a_head_that_looks_two_cycles_back():
    summary = run(QUICK, planted({SAME: SamePhase(lag=2)}, WINDOWS), WINDOWS[:2])
    by_lag = at(summary, "share_by_lag", SAME)
    assert int(by_lag.argmax("lag")) == 2


def test_even_attention_has_lift_one_at_every_distance():
    summary = run(QUICK, planted({}, WINDOWS), WINDOWS)
    for name in ("lift_by_distance", "lift_by_difference", "same_phase_lift"):
        values = summary[name].values
        assert values[np.isfinite(values)] == pytest.approx(1, abs=1e-5)
    assert not is_yes(summary, "same_phase").any()
    expected = np.mean(np.arange(1, CONTEXT + 1)[1:])  # effective tokens of token t: t + 1
    assert summary["effective_tokens"].values == pytest.approx(expected, rel=1e-5)
    assert float(summary["slope"]) == pytest.approx(0, abs=1e-3)
    assert broadens(summary) == "not tested"  # 2 twins on 1 window


def test_a_head_for_a_wave_is_at_no_phase_of_its_own(found):
    """Tokens at all phases look at QRS alone: the difference is the asking token's own phase, spread over the whole cycle."""
    assert at(found, "same_phase_lift", WAVE).item() < 2
    assert at(found, "same_phase_lift", SAME).item() > 4.5
    assert at(found, "same_phase_verdict", WAVE).item() != "yes"


def test_the_sink_is_told_apart(found):
    assert at(found, "sink_share", SINK).item() == pytest.approx(1, rel=1e-5)
    even = found["even_share_by_lag"]  # what rounding left beside the sink is even
    assert at(found, "share_by_lag", SINK).values == pytest.approx(even.values, abs=1e-4)
    included = run(replace(QUICK, exclude_sink=False), planted({SINK: FirstToken()}, WINDOWS), WINDOWS[:2])
    assert at(included, "share_by_lag", SINK).sum().item() == pytest.approx(1, abs=1e-5)
    mean_distance = (CONTEXT - 1) / 2 / CYCLE
    assert at(included, "cycles_looked_back", SINK).item() == pytest.approx(mean_distance, rel=1e-4)


def test_cycles_looked_back(found):
    """A cycle back where there is one, else 0; the sink asks nothing."""
    expected = (CONTEXT - CYCLE) / (CONTEXT - 1)
    assert at(found, "cycles_looked_back", SAME).item() == pytest.approx(expected, abs=3e-3)


def test_shares_of_lags_are_parts_of_one():
    summary = run(QUICK, model_of(random_state()), simulated("ecg", 2, 1))
    assert (summary["share_by_lag"].sum("lag") <= 1 + 1e-6).all()
    assert (summary["share_by_lag"].sum("lag") > 0.9).all()


def test_weighted_by_value_a_head_that_moves_nothing_has_no_attention():
    """Planted looks move nothing, so nothing is left; a random model's heads move something and differ from their raw weights."""
    looks = run(replace(QUICK, weights="value"), planted({SAME: SamePhase(lag=1)}, WINDOWS), WINDOWS[:2])
    assert at(looks, "share_by_lag", SAME).sum().item() == 0
    model, windows = model_of(random_state()), simulated("ecg", 2, 1)
    raw, weighted = (run(replace(QUICK, weights=weights), model, windows) for weights in ("attention", "value"))
    assert abs(raw["sink_share"] - weighted["sink_share"]).max() > 1e-3


def test_rollout_has_one_head():
    summary = run(replace(QUICK, weights="rollout"), planted({SAME: SamePhase(lag=1)}, WINDOWS), WINDOWS[:2])
    assert summary.sizes["head"] == 1
    first, second = summary["same_phase_lift"].sel(head=0).values
    assert first == pytest.approx(1, abs=1e-3)
    assert second > 1.1  # one of eight heads, and half of it the tokens themselves


def breadth(curve, spread=0.5, n_records=12, seed=0):
    """Sums of records whose effective tokens follow a curve over layers."""
    values = curve + np.random.default_rng(seed).normal(0, spread, (n_records, len(curve)))
    ones = np.ones((n_records, len(curve), 1))
    sums = dict.fromkeys(("cycles_top", "cycles_bottom", "sink_share"), (("record", "layer", "head"), ones))
    sums |= {"effective_tokens": (("record", "layer", "head"), values[..., None])}
    sums |= {"share": (("record", "layer", "head", "distance"), np.ones((*ones.shape, cycles.n_bins(3))))}
    sums |= {"even_share": (("record", "distance"), np.ones((n_records, cycles.n_bins(3))))}
    sums |= {name: (("record",), np.ones(n_records)) for name in ("n_asked", "n_windows")}
    return Tally(xr.Dataset(sums, coords={"record": np.arange(n_records), "head": [0]}))


@pytest.mark.parametrize(
    ("curve", "twin_curve", "answer"),
    [
        ([10, 20, 30], [15, 15, 15], "yes"),
        ([30, 20, 60], [15, 15, 15], "partly"),
        ([30, 20, 10], [15, 15, 15], "no"),
        ([10, 20, 30], [10, 21, 32], "not shown"),
    ],
)
def test_broadening_is_judged_against_twins(curve, twin_curve, answer):
    """A curve that twins have too comes from the weights' scale, not from learning."""
    twins = {"model": breadth(curve)} | {f"shuffled {n}": breadth(twin_curve, seed=n + 1) for n in range(49)}
    summary = summary_of(breadth(curve).sums, beside(twins), AttentionCycles(n_lags=3, n_permutations=99))
    assert broadens(summary) == answer
    assert f"broadens with depth: {answer}" in broadening(summary)


def test_one_record_has_no_interval_and_nothing_holds():
    summary = run(QUICK, planted({SAME: SamePhase(lag=1)}, WINDOWS), WINDOWS[:1])
    assert np.isnan(summary["same_phase_lift_low"]).all()
    assert not is_yes(summary, "same_phase").any()
    assert broadens(summary) == "not tested"


def test_the_null_is_calibrated():
    """Shares of 200 heads drawn without regard to phase: p < 0.05 for at most 5 % of them (10; 17 is their 98.5 % quantile)."""
    n_records, n_heads, n_distances = 6, 200, cycles.n_bins(3)
    axes, ones = ("record", "layer", "head"), np.ones((n_records, 1, n_heads))
    sums = dict.fromkeys(("cycles_top", "cycles_bottom", "sink_share", "effective_tokens"), (axes, ones))
    sums |= {name: (("record",), np.ones(n_records)) for name in ("n_asked", "n_windows")}
    sums |= {"share": ((*axes, "distance"), np.random.default_rng(0).gamma(1.0, size=(*ones.shape, n_distances)))}
    sums |= {"even_share": (("record", "distance"), np.ones((n_records, n_distances)))}
    summary = summary_of(
        xr.Dataset(sums, coords={"record": np.arange(n_records), "head": np.arange(n_heads)}), beside({}), AttentionCycles(n_lags=3)
    )
    assert 1 <= int((summary["p_value"] < 0.05).sum()) <= 17


def test_the_summary_has_what_is_promised():
    summary = run(QUICK, model_of(random_state(vocabulary=102), "ppg"), simulated("ppg", 2, 1))
    for name in PER_HEAD:
        assert set(summary[name].dims) == {"layer", "head"}, name
    assert set(summary["share_by_lag"].dims) == {"layer", "head", "lag"}
    assert summary["token_attention"].dims == ("example", "layer", "head", "time")
    assert QUICK.plot(summary).axes


@pytest.mark.parametrize(("option", "value"), [("asking_token", 0), ("asking_token", 501), ("n_lags", 1), ("phase_width", 1.0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(Refusal, match=option.replace("_", "-")):
        AttentionCycles(**{option: value})


def test_windows_without_any_cycle_are_refused():
    blind = replace(WINDOWS, position=np.full_like(WINDOWS.position, np.nan))
    with pytest.raises(Refusal, match="no token's place in the cycle is known"):
        run(QUICK, planted({}, WINDOWS), blind)
