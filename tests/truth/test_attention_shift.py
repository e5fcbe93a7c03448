"""The attention shift finds what was planted, nothing where nothing changed, and what the original models do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from planted import model_of, random_state
from safetensors.torch import save_file

from heartlens.analyses.attention_shift import AttentionShift
from heartlens.analysis import fold, measure, run, silent, summarize
from heartlens.axes import CONTEXT
from heartlens.converters.sizes import Sizes
from heartlens.inference.verdict import is_yes
from heartlens.measures.irregularity import above_median, irregularity, whole
from heartlens.models.load import load
from heartlens.models.origin import Origin
from heartlens.models.planted import Wave, planted, planted_state
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.store import read_measured, write_measured
from heartlens.tally import Tally

TOKEN = np.arange(CONTEXT)
WINDOWS = regular("ecg", 8)
P_HEAD = (1, 3)
P_SHARE = ((TOKEN % 80 >= 8) & (TOKEN % 80 <= 16)).mean()  # of regular ECG windows' last rows, evenly spread
FLAG = 100  # the token value that marks a beat
STRENGTH = 2.0  # flagged keys get exp(STRENGTH) times the attention of the others
QUICK = AttentionShift(n_permutations=999, n_twins=20, twin_windows=16, n_shuffles=20, n_rotations=20)


def stored(state, tmp_path):
    """The file of a base checkpoint."""
    path = tmp_path / "base.safetensors"
    save_file(state, path)
    return str(path)


@pytest.fixture
def even_base(tmp_path):
    return stored(planted_state({}, WINDOWS), tmp_path)


def flagging_state(strength):
    """Head 0 of one layer gives a token FLAG exp(strength) times the attention of any other; at 0 it attends evenly.

    The stream repeats (1, -1, 1, -1) at a flag, else (-1, 1, 1, -1): LayerNorm leaves it as it is, its first dimension tells which, its
    third is 1. The scores of flag and other key are twice the query over sqrt(64) apart. With 32 dimensions a random change of the query
    of the same norm adds 1 / sqrt(32) of it to the one that the key reads, so that twins show a fraction of it.
    """
    sizes = Sizes(1, 2, 64, 32, 64, 101, CONTEXT, 101, False)
    state = {name: torch.zeros(shape) + float("ln" in name and name.endswith("weight")) for name, shape in sizes.shapes().items()}
    state["token_embedding_table.weight"][:] = torch.tensor([-1.0, 1.0, 1.0, -1.0] * 16)
    state["token_embedding_table.weight"][FLAG] = torch.tensor([1.0, -1.0, 1.0, -1.0] * 16)
    state["blocks.0.sa.heads.0.query.weight"][0, 2] = 4 * strength
    state["blocks.0.sa.heads.0.key.weight"][0, 0] = 1.0
    return state


def flagged(windows, which):
    """The windows with FLAG as the value of every token in a cycle of `which` state, another value elsewhere."""
    state = np.take_along_axis(which, np.maximum(windows.cycle, 0).astype(int), axis=1)
    return replace(windows, tokens=np.where((state == 1) & (windows.cycle >= 0), FLAG, 10).astype(np.uint8))


def irregular(windows):
    return whole(above_median(irregularity(windows), 0.1), windows)


def test_identical_checkpoints_have_a_shift_of_exactly_zero(tmp_path):
    analysis = replace(QUICK, base=stored(random_state(), tmp_path), n_twins=2)
    summary = run(analysis, model_of(random_state()), simulated("ecg", 3, 1, "ectopy"))
    for name in ("shift", "gained", "lost", "sink_shift", "row_shift_by_head", "weight_change", "tensor_change", "effect"):
        assert (summary[name].fillna(0) == 0).all(), name
    assert not is_yes(summary, "shift").any()
    assert summary["shift_q_value"].isnull().all()  # nothing to test
    verdict = " ".join(analysis.findings(summary).verdict)
    assert "Changed weights: none" in verdict
    assert "exactly 0" in verdict
    analysis.plot(summary)


def test_a_planted_wave_is_found_and_no_other(even_base):
    """The head's last row moves from even attention to P waves alone."""
    summary = run(replace(QUICK, base=even_base, row="last"), planted({P_HEAD: Wave("P")}, WINDOWS), WINDOWS)
    here = summary.sel(layer=1, head=3)
    assert here["shift"].sel(wave="P").item() == pytest.approx(1 - P_SHARE, rel=1e-5)
    assert here["base_share"].sel(wave="P").item() == pytest.approx(P_SHARE, rel=1e-5)
    assert here["tuned_share"].sel(wave="P").item() == pytest.approx(1, rel=1e-5)
    assert here["gained"].item() == pytest.approx(1 - P_SHARE, rel=1e-5)
    assert here["lost"].item() == pytest.approx(1 - P_SHARE, rel=1e-5)
    assert here["sink_shift"].item() == pytest.approx(-1 / CONTEXT, rel=1e-4)
    survive = is_yes(summary, "shift")
    assert survive.sel(wave="P", layer=1, head=3).item()
    assert survive.sel(wave="P").sum() == 1
    assert "P: mean over heads of layer 2" in " ".join(QUICK.findings(summary).verdict)


def test_what_is_lost_is_negative_and_found(tmp_path):
    """The other way round: a base that looks at P waves alone, fine-tuned to attend evenly."""
    base = stored(planted_state({P_HEAD: Wave("P")}, WINDOWS), tmp_path)
    tuned = model_of(planted_state({P_HEAD: Wave("P")}, WINDOWS) | _silent_head())
    summary = run(replace(QUICK, base=base, row="last"), tuned, WINDOWS)
    here = summary.sel(layer=1, head=3, wave="P")
    assert here["shift"].item() == pytest.approx(P_SHARE - 1, rel=1e-5)
    assert here["shift_verdict"].item() == "yes"
    assert here["shift_high"].item() < 0


def _silent_head():
    names = [f"blocks.1.sa.heads.3.{name}.weight" for name in ("query", "key", "value")]
    return {name: torch.zeros(8, 64) for name in names}


def test_all_rows_are_the_mean_of_all_rows(even_base):
    summary = run(replace(QUICK, base=even_base, row="all", n_twins=1), planted({P_HEAD: Wave("P")}, WINDOWS), WINDOWS[:2])
    is_p = (TOKEN % 80 >= 8) & (TOKEN % 80 <= 16)
    seen, share = np.cumsum(is_p) > 0, np.cumsum(is_p) / (TOKEN + 1)
    assert summary["even_share"].sel(wave="P").item() == pytest.approx(share.mean(), rel=1e-6)
    found = summary["shift"].sel(layer=1, head=3, wave="P").item()
    assert found == pytest.approx((seen - share).mean(), rel=1e-5)  # before the first P wave the head attends to everything


@pytest.mark.parametrize("row", ["last", "all"])
def test_blocks_that_are_alike_need_not_be_computed_twice(tmp_path, monkeypatch, row):
    """The sums are those of both models run whole."""
    state = random_state()
    query = "blocks.1.sa.heads.0.query.weight"
    tuned = model_of(state | {query: -state[query]})
    analysis = replace(QUICK, base=stored(state, tmp_path), row=row).for_twins()
    short = analysis.measure(tuned, WINDOWS[:2]).sums
    monkeypatch.setattr("heartlens.models.changes.n_alike", lambda subject, base: 0)
    xr.testing.assert_allclose(short, analysis.measure(tuned, WINDOWS[:2]).sums, rtol=1e-5, atol=1e-7)
    assert (short["gained"].sel(layer=0) == 0).all()
    assert (short["gained"].sel(layer=1) > 0).any()


@pytest.mark.parametrize(("task", "row"), [("atrial fibrillation (last token)", "last"), ("beat (every token)", "all"), (None, "all")])
def test_auto_asks_the_tokens_that_the_task_reads(tmp_path, task, row):
    model = model_of(random_state())
    model.origin = Origin("tuned", "ecg", task, "", "", "", "", "none")
    analysis = replace(QUICK, base=stored(random_state(seed=1), tmp_path))
    assert fold(analysis.for_twins(), subject_of(model), simulated("ecg", 1, 1), silent).sums.attrs["row"] == row


@pytest.fixture(scope="module")
def of_irregular(tmp_path_factory):
    """A head that fine-tuning made to attend to beats of irregular interval, whose tokens carry a value of their own."""
    windows = simulated("ecg", 10, 2, "ectopy")
    windows = flagged(windows, irregular(windows))
    base = stored(flagging_state(0.0), tmp_path_factory.mktemp("base"))
    analysis = replace(QUICK, base=base, row="last", twin_windows=20)
    return analysis, windows, measure(analysis, model_of(flagging_state(STRENGTH)), windows)


def test_a_head_that_moves_to_irregular_beats_is_found(of_irregular):
    analysis, windows, measured = of_irregular
    summary = summarize(analysis, measured)
    raw = {}
    for record, tokens, state, cycle in zip(windows.record, windows.tokens, irregular(windows), windows.cycle, strict=True):
        flags = tokens == FLAG
        weight = np.where(flags, np.exp(STRENGTH), 1.0)
        change = weight / weight.sum() - 1 / CONTEXT
        if 1 in state and 0 in state:
            difference = change[state[cycle] == 1].mean() - change[state[cycle] == 0].mean()
            raw.setdefault(record, []).append(CONTEXT * difference)
    found = summary["effect_with_recency"].sel(feature="irregular", layer=0, head=0).item()
    assert len(raw) >= 8
    assert found == pytest.approx(np.mean([np.mean(values) for values in raw.values()]), rel=1e-4)
    here = summary.sel(feature="irregular", layer=0, head=0)
    assert here["effect"].item() == pytest.approx(found, rel=0.25)
    assert here["effect_verdict"].item() == "yes"
    assert summary.sel(feature="irregular", layer=0)["layer_effect_verdict"].item() == "yes"
    assert "irregular beats? yes" in " ".join(analysis.findings(summary).verdict)


def test_the_same_head_on_shuffled_beats_is_no_finding(of_irregular):
    """The same model and windows, the marked cycles drawn at random: the verdict says no."""
    analysis, windows, measured = of_irregular
    rng = np.random.default_rng(0)
    drawn = rng.permuted(irregular(windows), axis=1)
    other = flagged(windows, drawn)
    tally = fold(analysis, subject_of(model_of(flagging_state(STRENGTH))), other, silent)
    summary = analysis.summarize(tally, measured.twins)
    assert not is_yes(summary, "effect").any()
    assert "irregular beats? yes" not in " ".join(analysis.findings(summary).verdict)


def test_what_a_twin_also_shows_does_not_survive(of_irregular):
    analysis, _, measured = of_irregular
    twins = {f"as good {index}": measured.tally for index in range(50)}
    summary = analysis.summarize(measured.tally, twins)
    assert summary["effect_q_value"].sel(feature="irregular", layer=0, head=0).item() < 0.05
    assert not is_yes(summary, "effect").any()


def test_twins_without_irregular_beats_are_no_limit(of_irregular):
    analysis, _, measured = of_irregular
    blind = {name: Tally(twin.sums.assign(n_contrast=0 * twin.sums["n_contrast"]), twin.sample) for name, twin in measured.twins.items()}
    summary = analysis.summarize(measured.tally, blind)
    assert summary["effect_twin_p"].sel(feature="irregular").isnull().all()
    assert not is_yes(summary, "effect").any()
    assert any("rests on 0 records" in caution for caution in analysis.findings(summary).cautions)


def test_one_record_survives_nothing(of_irregular, even_base):
    summary = run(replace(QUICK, base=even_base, n_twins=1), planted({P_HEAD: Wave("P")}, WINDOWS), WINDOWS[:1])
    assert not is_yes(summary, "shift").any()
    assert any("one record" in caution for caution in QUICK.findings(summary).cautions)


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_the_summary_has_what_is_promised(kind, tmp_path):
    vocabulary = {"ecg": 101, "ppg": 102}[kind]
    analysis = replace(QUICK, base=stored(random_state(vocabulary=vocabulary, seed=1), tmp_path), n_twins=0)
    summary = run(analysis, model_of(random_state(vocabulary=vocabulary), kind), simulated(kind, 2, 1, "af"))
    for name in ("shift", "shift_low", "shift_q_value", "shift_verdict", "base_share", "tuned_share"):
        assert set(summary[name].dims) == {"layer", "head", "wave"}, name
    for name in ("effect", "effect_low", "effect_p_value", "effect_verdict", "effect_with_recency"):
        assert set(summary[name].dims) == {"layer", "head", "feature"}, name
    assert summary["feature"].values.tolist() == {"ecg": ["irregular", "no_p"], "ppg": ["irregular"]}[kind]
    assert set(summary["row_shift"].dims) == {"example", "layer", "time"}
    assert summary["row_shift"].values == pytest.approx(summary["row_shift_by_head"].mean("head").values, abs=1e-6)
    assert {"base_checkpoint", "base_fingerprint", "row", "n_records", "git_commit"} <= set(summary.attrs)
    np.testing.assert_allclose(summary["gained"], summary["lost"], atol=1e-6)
    assert (summary["shift_verdict"] == "not tested").all()  # no twins
    analysis.plot(summary)
    analysis.findings(summary)


def test_a_base_that_is_not_known_is_asked_for():
    with pytest.raises(Refusal, match="name its base checkpoint"):
        run(AttentionShift(), model_of(random_state()), simulated("ecg", 1, 1))


@pytest.mark.parametrize(
    ("kind", "tuned", "base"), [("ecg", "ECGPT_AF_1k_iters", "ECGPT_560k_iters"), ("ppg", "PPGPT_AF_1k_iters", "PPGPT_500k_iters")]
)
def test_published_pairs_shift_as_the_originals_do(shared, monkeypatch, kind, tuned, base):
    """Against the original code's last rows; and only block 8, ln_f and the head differ."""
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt" / "Model_files"))
    after, before = (np.load(shared / "heartgpt" / "golden" / f"{name}.npz") for name in (tuned, base))
    names = [name for name in before["names"] if name in set(after["names"]) and name != "random_1"]  # drawn anew for each
    windows = simulated(kind, len(names), 1)
    places = [[list(golden["names"]).index(name) for name in names] for golden in (after, before)]
    windows = replace(windows, tokens=before["tokens"][places[1]].astype(np.uint8))
    shift = after["attention_last_row"][:, :, places[0]] - before["attention_last_row"][:, :, places[1]]
    analysis = AttentionShift(n_twins=0, n_permutations=99)
    model = load(f"{kind}-af", published_only=True)
    for index in range(len(names)):
        summary = run(analysis, model, windows[index : index + 1])
        np.testing.assert_allclose(summary["row_shift_by_head"].values[0], shift[:, :, index], atol=2e-5)
        assert (summary["row_shift_by_head"].sel(layer=slice(0, 6)) == 0).all()
    changed = {str(name) for name in summary["tensor"].values[(summary["tensor_change"] > 0).values]}
    assert changed
    assert all(name.startswith(("blocks.7.", "ln_f.")) for name in changed)
    assert "not one number changed in token_embedding_table, position_embedding_table, blocks 1-7" in analysis.findings(summary).verdict[0]


def test_a_task_head_s_shift_is_stored_beside_its_twins(tmp_path):
    """Model and twins differ in their output: the base's has 101, the task head 1."""
    measured = measure(AttentionShift(n_twins=2, twin_windows=1), load("ecg-sim-af"), simulated("ecg", 2, 1))
    write_measured(measured, tmp_path / "tally.nc")
    again = read_measured(tmp_path / "tally.nc")
    change = again.tally.sums["tensor_change"].isel(record=0).to_series()
    assert np.isnan(change["lm_head.weight"])
    assert (change.filter(like="blocks.0.") == 0).all()
    assert (change.filter(like="blocks.3.ffwd.net.0.weight") > 0).all()
    assert set(again.twins) == {"model", "perturbed 0", "perturbed 1"}
