"""The head scan finds what was planted and nothing else. Every expectation follows from what was planted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import model_of, random_state

from heartlens.analyses import head_scan
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import fold, measure, run, silent, summarize
from heartlens.axes import CONTEXT
from heartlens.inference.verdict import is_yes
from heartlens.models.nulls.twins import twins
from heartlens.models.planted import FirstToken, SamePhase, Wave, planted, silenced
from heartlens.models.subject import subject_of
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

TOKEN = np.arange(CONTEXT)
CYCLE, SPANS = 80, {"P": (8, 16), "QRS": (22, 30), "T": (48, 62)}  # of regular ECG windows: tokens of a cycle, of each wave in it
WINDOWS = regular("ecg", 8)
SCAN = HeadScan(n_permutations=1999, n_twins=59, twin_windows=8)
QUICK = HeadScan(n_permutations=99, n_twins=2, twin_windows=1)
P_HEAD, SINK_HEAD, AHEAD_HEAD = (1, 3), (0, 2), (1, 6)
EVERY = {"query", "wave", "layer", "head"}
PER_HEAD = ("share", "even_share", "lift", "lift_low", "lift_high", "p_value", "q_value", "attends_verdict")


def in_wave(wave):
    """Which of the CONTEXT tokens lie in a wave."""
    (first, last), place = SPANS[wave], TOKEN % CYCLE
    return (place >= first) & (place <= last)


def at(summary, name, head, **where):
    return summary[name].sel(layer=head[0], head=head[1], **where)


@pytest.fixture(scope="module")
def even():
    return run(replace(QUICK, n_permutations=999), planted({}, WINDOWS), WINDOWS)


@pytest.fixture(scope="module")
def measured():
    """8 records and 59 twins, some of which carry the planted head's large weights: enough to survive all controls."""
    return measure(SCAN, planted({P_HEAD: Wave("P", lag=1), SINK_HEAD: FirstToken()}, WINDOWS), WINDOWS)


@pytest.fixture(scope="module")
def found(measured):
    return summarize(SCAN, measured)


def test_even_attention_has_lift_one_everywhere(even):
    for name in ("lift", "lift_by_lag", "lift_by_phase"):
        found = even[name].values
        assert found[~np.isnan(found)] == pytest.approx(1, abs=1e-6)
    assert np.isfinite(even["lift"]).all()
    assert np.isfinite(even["lift_by_lag"].sel(query="all", lag=slice(0, 5))).all()
    assert np.isfinite(even["lift_by_phase"].sel(query="all")).all()


def test_even_attention_is_never_significant(even):
    tested, other_kinds = even["p_value"].sel(query="all"), even["p_value"].drop_sel(query="all")
    assert (tested > 0.99).all()
    assert other_kinds.isnull().all()  # nothing is tested of asking tokens of one kind
    assert not (even["q_value"] < 0.05).any()
    assert not is_yes(even, "attends").any()
    assert even["auc"].values == pytest.approx(0.5)  # what float32 rounds off must not rank the keys


def test_even_attention_by_arithmetic(even):
    """A token t attends to t + 1 tokens alike: entropy log(t + 1), and 1 / (t + 1) of it on the first."""
    assert even["effective_tokens"].values == pytest.approx((CONTEXT + 1) / 2, rel=1e-5)
    assert even["sink_share"].values == pytest.approx(np.mean(1 / (TOKEN + 1)), rel=1e-5)
    for wave in SPANS:
        expected = np.mean(np.cumsum(in_wave(wave)) / (TOKEN + 1))
        assert even["even_share"].sel(query="all", wave=wave).values == pytest.approx(expected, rel=1e-6)
        assert even["even_share"].sel(query="last", wave=wave).values == pytest.approx(in_wave(wave).mean(), rel=1e-6)


def test_the_planted_head_is_found_first(found):
    scan = found.sel(query="all")
    strongest = scan["lift"].argmax(...)
    assert tuple(strongest[axis].item() for axis in ("wave", "layer", "head")) == (0, *P_HEAD)  # wave 0 is P
    first_p = SPANS["P"][0]  # tokens before it have no P to look at; all later ones look at nothing else
    share = (CONTEXT - first_p) / CONTEXT
    assert at(scan, "share", P_HEAD, wave="P").item() == pytest.approx(share, rel=1e-5)
    even_share = np.mean(np.cumsum(in_wave("P")) / (TOKEN + 1))
    assert at(scan, "lift", P_HEAD, wave="P").item() == pytest.approx(share / even_share, rel=1e-5)
    # of 63 P tokens the last cycle's 9 receive nothing, as do all others but the 8 before the first P
    wins = 54 * 437 + 9 * 429 / 2
    assert at(scan, "auc", P_HEAD, wave="P").item() == pytest.approx(wins / (63 * 437), rel=1e-4)


def test_the_planted_head_looks_one_cycle_back(found):
    by_lag = at(found.sel(query="all", wave="P"), "lift_by_lag", P_HEAD)
    assert by_lag.lag.values[np.nanargmax(by_lag.values)] == 1
    share = at(found.sel(query="all", wave="P"), "share_by_lag", P_HEAD).values
    first_p = SPANS["P"][0]
    assert share[:2] == pytest.approx([(CYCLE - first_p) / CONTEXT, (CONTEXT - CYCLE) / CONTEXT], rel=1e-5)
    assert share[2:] == pytest.approx(0, abs=1e-5)
    by_phase = at(found.sel(query="all"), "lift_by_phase", P_HEAD)
    assert (SPANS["P"][0] - 26) / CYCLE <= by_phase.phase.values[np.nanargmax(by_phase.values)] - 1 <= (SPANS["P"][1] - 26) / CYCLE


def test_the_planted_head_survives_and_no_other(found):
    assert at(found, "attends_verdict", P_HEAD, query="all", wave="P").item() == "yes"
    assert is_yes(found, "attends").sum() == 1
    verdict = " ".join(HeadScan().findings(found).verdict)
    assert "Of 48 questions (16 heads x 3 waves): 1 yes" in verdict
    assert "P: L2H4 lift " in verdict


def test_a_head_for_each_wave_is_found_and_no_other():
    heads = {"P": (1, 3), "QRS": (0, 5), "T": (1, 0)}
    summary = run(SCAN, planted({head: Wave(wave) for wave, head in heads.items()}, WINDOWS), WINDOWS)
    assert is_yes(summary, "attends").sum() == 3
    assert {at(summary, "attends_verdict", head, wave=wave, query="all").item() for wave, head in heads.items()} == {"yes"}


def test_a_head_of_the_same_phase_looks_from_each_wave_at_the_one_before():
    summary = run(QUICK, planted({P_HEAD: SamePhase(lag=1)}, WINDOWS), WINDOWS)
    for wave in SPANS:
        n, n_first = in_wave(wave).sum(), in_wave(wave)[:CYCLE].sum()  # those of the first cycle look at themselves
        by_lag = at(summary, "share_by_lag", P_HEAD, query=wave)
        assert by_lag.sel(wave=wave).values == pytest.approx([n_first / n, (n - n_first) / n, *[0] * 6], rel=1e-5, abs=1e-5)
        assert by_lag.sel(wave=[other for other in SPANS if other != wave]).values == pytest.approx(0, abs=1e-5)
        lift = summary["lift"].sel(query=wave, wave=wave)
        assert np.unravel_index(lift.values.argmax(), lift.shape) == P_HEAD


def test_what_a_twin_also_shows_does_not_survive(measured):
    summary = SCAN.summarize(measured.tally, measured.twins | {f"as good {number}": measured.tally for number in range(6)})
    assert at(summary, "q_value", P_HEAD, query="all", wave="P").item() < 0.05
    assert not is_yes(summary, "attends").any()


def test_what_the_phase_null_cannot_exclude_does_not_survive(measured):
    """One head in 48 tests at p = 1 / 100 has q = 0.48, however large its lift."""
    summary = replace(SCAN, n_permutations=99).summarize(measured.tally, measured.twins)
    assert at(summary, "attends_twin_p", P_HEAD, wave="P").item() < 0.05
    assert at(summary, "q_value", P_HEAD, query="all", wave="P").item() == pytest.approx(0.48)
    assert not is_yes(summary, "attends").any()


def test_one_value_for_all_records_is_an_interval_of_width_zero(found):
    low, lift, high = (at(found, name, P_HEAD, query="all", wave="P").item() for name in ("lift_low", "lift", "lift_high"))
    assert (low, high) == pytest.approx((lift, lift), rel=1e-6)


def test_the_sink_head(found):
    assert at(found, "sink_share", SINK_HEAD).item() == pytest.approx(1, rel=1e-5)
    assert at(found, "effective_tokens", SINK_HEAD).item() == pytest.approx(1, rel=1e-4)
    assert at(found, "lift", SINK_HEAD, query="all").values == pytest.approx(0, abs=1e-5)  # the first token lies in no wave


def test_without_its_sink_a_sink_head_is_even():
    summary = run(replace(QUICK, exclude_sink=True), planted({SINK_HEAD: FirstToken()}, WINDOWS), WINDOWS[:2])
    assert at(summary, "lift", SINK_HEAD, query="all").values == pytest.approx(1, abs=1e-4)
    rows = TOKEN[1:]  # the first token has no key but the sink
    expected = np.mean(np.cumsum(in_wave("P"))[1:] / rows)
    assert summary["even_share"].sel(query="all", wave="P").values == pytest.approx(expected, rel=1e-5)
    assert at(summary, "sink_share", SINK_HEAD).item() == pytest.approx(1, rel=1e-5)  # of the pattern as it is


def test_the_published_variant_sees_what_is_ahead():
    """A head that looks one cycle ahead sees nothing there while causal; unmasked, every token finds a P."""
    model, windows = planted({AHEAD_HEAD: Wave("P", lag=-1), (0, 6): Wave("P", lag=-1)}, WINDOWS), WINDOWS[:2]
    causal, published = (run(replace(QUICK, variant=variant), model, windows).sel(wave="P") for variant in ("causal", "published"))
    assert at(published, "share", AHEAD_HEAD, query="all").item() == pytest.approx(1, rel=1e-5)
    assert published["even_share"].sel(query="all", layer=1).values == pytest.approx(in_wave("P").sum() / CONTEXT, rel=1e-6)
    assert published["share"].sel(query="all", layer=1, head=0).values == pytest.approx(in_wave("P").sum() / CONTEXT, rel=1e-5)
    for query in ("P", "baseline", "last"):
        assert at(published, "lift", (1, 0), query=query).item() == pytest.approx(1, abs=1e-5)
    first_p = SPANS["P"][0]  # while causal, tokens before the first P find none, and later ones only their own and earlier ones
    assert at(causal, "share", AHEAD_HEAD, query="all").item() == pytest.approx((CONTEXT - first_p) / CONTEXT, rel=1e-5)
    assert abs(published.sel(layer=0)["share"] - causal.sel(layer=0)["share"]).max() < 1e-9  # the other blocks stay causal


def test_a_dead_head_is_even_in_any_model():
    state = silenced(random_state(scale=1.0), layer=1, head=0)
    summary = run(QUICK, model_of(state), simulated("ecg", 2, 1))
    assert at(summary, "lift", (1, 0), query="all").values == pytest.approx(1, abs=1e-5)
    assert abs(at(summary, "lift", (1, 1), query="all") - 1).max() > 0.01


def test_one_record_has_no_interval_and_no_survivor():
    summary = run(QUICK, planted({P_HEAD: Wave("P", lag=1)}, WINDOWS), WINDOWS[:1])
    assert np.isnan(summary["lift_low"]).all()
    assert np.isnan(summary["lift_high"]).all()
    assert (summary["attends_verdict"] == "not tested").all()
    assert any("one record" in caution for caution in QUICK.findings(summary).cautions)
    assert "no interval" in " ".join(QUICK.findings(summary).verdict)


def test_a_wave_that_nobody_has_is_not_tested():
    summary = run(QUICK, planted({P_HEAD: Wave("P", lag=1)}, WINDOWS), regular("ecg", 2, ("QRS", "T")))
    assert np.isnan(summary["lift"].sel(wave="P")).all()
    assert np.isnan(summary["q_value"].sel(wave="P")).all()
    assert np.isfinite(summary["q_value"].sel(wave="T", query="all")).all()
    assert "P: not tested, no record has this wave." in QUICK.findings(summary).verdict


def test_twins_of_a_random_model_are_no_finding(monkeypatch):
    """A random model is exchangeable with its random twins, so its largest lift exceeds all of 20 twins' by chance once in 21, for each
    wave; the interval's lower bound makes it rarer. Of 16 repeats 5 % are 0.8, with a standard deviation of 0.9: 3 at most are allowed."""
    scan = HeadScan(n_permutations=499, n_rotations=10, n_lags=1, n_phases=2, n_twins=20, twin_windows=8)
    windows = simulated("ecg", n_records=8, windows_per_record=1)
    base = model_of(random_state(layers=2, heads=1, scale=0.02))
    few = windows.subset(scan.twin_windows)
    pool = [fold(scan.for_twins(), subject_of(twin), few, silent) for _, twin in twins(base, 24, seed=1)]
    low = {id(tally): head_scan._low(tally) for tally in pool}
    low_of = head_scan._low
    monkeypatch.setattr(head_scan, "_low", lambda tally: low[id(tally)] if id(tally) in low else low_of(tally))  # once for each
    found = 0
    for repeat, (_, model) in enumerate(twins(base, 16, seed=2)):
        drawn = np.random.default_rng(repeat).choice(len(pool), 20, replace=False)
        summary = scan.summarize(fold(scan, subject_of(model), windows, silent), {f"twin {index}": pool[index] for index in drawn})
        found += bool(is_yes(summary, "attends").any())
    assert found <= 3


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_the_summary_has_what_is_promised(kind):
    waves = {"ecg": ["P", "QRS", "T"], "ppg": ["foot", "systolic_peak", "dicrotic_notch", "diastolic_peak"]}[kind]
    model = model_of(random_state(vocabulary={"ecg": 101, "ppg": 102}[kind]), kind)
    summary = run(QUICK, model, simulated(kind, 2, 1))
    for name in PER_HEAD:
        assert set(summary[name].dims) == EVERY, name
    assert set(summary["auc"].dims) == EVERY - {"query"}  # over all asking tokens
    assert summary["wave"].values.tolist() == waves
    assert {"all", "last"} <= set(summary["query"].values.tolist())
    for name in ("effective_tokens", "sink_share"):
        assert set(summary[name].dims) == {"layer", "head"}
    assert summary.sizes["layer"] == 2
    assert summary.sizes["head"] == 2
    promised = {"analysis", "options", "seed", "checkpoint", "checkpoint_sha256", "checkpoint_fingerprint", "data_kind", "data_sources"}
    promised |= {"data_sha256", "data_is_simulated", "versions", "git_commit", "n_records", "n_windows"}
    assert promised <= set(summary.attrs)
    assert (summary.attrs["n_records"], summary.attrs["n_windows"], summary.attrs["data_is_simulated"]) == (2, 2, 1)
