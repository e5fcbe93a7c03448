"""The circuit that is found is the planted one, on records it was not searched on; every expectation follows from what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens import figures
from heartlens.analyses.circuit import Circuit
from heartlens.analyses.circuit.search import Search, evenly_split
from heartlens.analysis import run
from heartlens.measures.circuit import Path, harm, nested, pruned
from heartlens.models.interventions.circuit import kept_values, kept_values_of_one, node_names, pair_of, readout_name
from heartlens.models.planted import CopiesValue, FirstToken, Wave, planted
from heartlens.models.readouts import readouts_of, with_readout
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

WINDOWS = regular("ecg", 16, periodic=True)  # 8 are tested, the fewest that are judged
QUICK = Circuit(search_windows=2, n_bootstraps=2, n_random=20)
PLANTS = {(1, 3): CopiesValue(margin=2.0), (0, 2): FirstToken(), (1, 5): Wave("P")}


@pytest.fixture(scope="module")
def found():
    return run(QUICK, planted(PLANTS, WINDOWS), WINDOWS)


def test_the_circuit_is_the_planted_head(found):
    assert [str(name) for name in found["node"].values[found["in_circuit"].values]] == ["L2H4"]
    assert found.attrs["circuit_size"] == 1
    assert float(found["faithfulness"]) == pytest.approx(1, abs=1e-6)
    assert float(found["rest_faithfulness"]) == pytest.approx(0, abs=1e-6)
    assert found["path_faithfulness"].sel(size=[0, 1, 8]).values == pytest.approx([0, 1, 1], abs=1e-6)
    assert found["without_path_faithfulness"].sel(size=[0, 1, 8]).values == pytest.approx([1, 0, 0], abs=1e-6)


def test_only_the_planted_head_adds_anything_and_always_returns(found):
    by_name = dict(zip(map(str, found["node"].values), found["gain"].values, strict=True))
    assert by_name.pop("L2H4") == pytest.approx(1, abs=1e-6)
    assert np.abs(list(by_name.values())).max() < 1e-6
    assert float(found["returns"].sel(node="L2H4")) == 1
    assert float(found["returns"].sum()) == 1


def test_random_sets_keep_nothing_but_where_they_have_the_head(found):
    random = found["random_circuit_faithfulness"].values
    assert set(np.round(random, 6)) <= {0.0, 1.0}
    assert found["random_faithfulness"].sel(size=16).values.max() == pytest.approx(1)
    assert str(found["keeps_verdict"].values) == ("yes" if random.max() < 0.5 else "not shown")
    assert str(found["changes_verdict"].values) == "yes"


def test_random_circuits_have_as_many_heads_and_mlps_as_the_circuit():
    """A model of 16 heads and 2 MLPs; the circuit is 3 heads and one MLP."""
    subject = subject_of(planted(PLANTS, WINDOWS))
    order = np.array([0, 5, 16, 9, *(node for node in range(18) if node not in (0, 5, 16, 9))])
    search = Search(Path(order, 4, 1.0), np.zeros(18))
    sets = QUICK._sets(subject, search, [0, 18])
    assert sets["off_random_circuit"][:, :16].sum(axis=1).tolist() == [3] * 20
    assert sets["off_random_circuit"][:, 16:].sum(axis=1).tolist() == [1] * 20
    assert len(np.unique(sets["off_random_circuit"], axis=0)) > 15
    np.testing.assert_array_equal(sets["off_random_rest"], ~sets["off_random_circuit"])


def test_tallies_of_two_circuits_do_not_add_up():
    """Unsearched, each seed draws its own."""
    model = model_of(random_state())
    one, other = (replace(QUICK, seed=seed).measure(model, WINDOWS[seed : seed + 1]) for seed in (0, 1))
    with pytest.raises(Refusal, match=r"do not share the axis member, path;.*all recordings at once"):
        one + other


def test_what_is_said(found):
    said = QUICK.findings(found)
    assert "1 of 18 nodes keep 100 %" in said.verdict[0]
    assert "L2H4" in said.verdict[0]
    assert "8 records that were not searched" in said.verdict[1]
    assert "the other nodes alone have faithfulness 0.00" in said.verdict[3].replace("-0.00", "0.00")
    assert "1 of 1 nodes are needed" in said.verdict[4]
    assert len(said.rows) == 18
    assert isinstance(QUICK.plot(found), figures.Page)


def test_a_model_that_nothing_changes_is_refused():
    """Nothing planted: the output is constant, so there is nothing to search."""
    with pytest.raises(Refusal, match="the readout of the 2 searched windows does not change when all heads and MLPs are resampled"):
        run(QUICK, planted({(0, 2): FirstToken()}, WINDOWS), WINDOWS)


def test_windows_none_of_which_has_the_readout_are_refused():
    judged = with_readout(model_of(random_state(scale=0.4)), "mine", lambda outputs, windows: (mean_of_level_50(outputs, windows), [0.0]))
    with pytest.raises(Refusal, match="none of the 1 searched windows has the readout"):
        run(replace(QUICK, search_windows=1), judged, simulated("ecg", 2, 1))


def test_searches_on_resampled_records_are_of_those_that_have_the_readout():
    """One of two searched records has it; a draw without that record has nothing to search and does not count."""
    windows = simulated("ecg", 4, 1)
    searched_records, _ = evenly_split(windows)
    has_it = sorted(searched_records)[0]

    def of_some(outputs, windows):
        return mean_of_level_50(outputs, windows), (windows.unit == has_it) * 1.0

    prepared = replace(QUICK, n_bootstraps=20).prepared(with_readout(model_of(random_state(scale=0.4)), "mine", of_some), windows)
    assert np.array_equal(prepared.search.returns, prepared.search.path.circuit)


def test_a_model_without_a_circuit_is_said_to_have_none():
    """On tested records nothing changes the readout."""
    judged = with_readout(planted(PLANTS, WINDOWS), "mine", _of_searched, (0.05, "nats"))
    summary = run(replace(QUICK, n_bootstraps=0), judged, WINDOWS)
    assert np.isnan(summary["faithfulness"])
    assert str(summary["changes_verdict"].values) == "no"
    assert str(summary["keeps_verdict"].values) == "not tested"
    told = QUICK.findings(summary).verdict
    assert "is off by 0 (0 to 0) nats: less than 0.05 nats, the smallest change of interest" in told[1]
    assert "there is nothing to keep and no set is judged" in told[1]
    assert "The circuit alone is off by (" in told[2]
    QUICK.plot(summary)


def test_records_are_searched_or_tested_never_both(found):
    one, other = evenly_split(WINDOWS)
    assert one | other == set(WINDOWS.records)
    assert not one & other
    assert found.attrs["n_tested_records"] == len(other) == 8
    turned, _ = evenly_split(WINDOWS[::-1])
    assert turned == one


def test_fewer_than_two_records_are_refused():
    with pytest.raises(Refusal, match="two or more"):
        run(QUICK, planted(PLANTS, WINDOWS), WINDOWS[:1])


def test_kept_values_are_those_of_hooks():
    """Every set, run by TransformerLens' hooks: heads and MLPs that are not kept have the partner's activation."""
    model = model_of(random_state(scale=0.4), dtype=torch.float64)
    subject = subject_of(model)
    windows = simulated("ecg", 2, 1)
    pair = pair_of(subject, windows.tokens, windows.tokens[::-1].copy())
    own, other = (torch.from_numpy(tokens.astype(np.int64)) for tokens in (windows.tokens, windows.tokens[::-1].copy()))
    _, known = model.run_with_cache(other)
    sets = np.random.default_rng(0).random((3, 6)) < 0.5
    found = kept_values(subject, windows, pair, sets)
    for row, values in zip(sets, found, strict=True):
        hooks = []
        for layer in range(2):
            for head in range(2):
                if not row[2 * layer + head]:
                    hooks.append((f"blocks.{layer}.attn.hook_z", _put(head, known)))
            if not row[4 + layer]:
                hooks.append((f"blocks.{layer}.hook_mlp_out", lambda x, hook: known[hook.name]))
        logits = model.run_with_hooks(own, fwd_hooks=hooks)
        expected = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), own[:, 1:], reduction="none").mean(-1)
        assert values == pytest.approx(expected.detach().numpy(), abs=1e-9)
    first = pair_of(subject, windows.tokens[:1], windows.tokens[1:])
    assert kept_values_of_one(subject, windows[:1], first, sets) == pytest.approx(found[:, 0], abs=1e-9)
    assert node_names(subject) == ["L1H1", "L1H2", "L2H1", "L2H2", "MLP 1", "MLP 2"]


@pytest.mark.parametrize(
    ("task", "name"),
    [(None, "cross_entropy"), ("atrial fibrillation (last token)", "af_logit"), ("beat (every token)", "beat_probability")],
)
def test_the_readout_is_what_the_checkpoint_answers(task, name):
    model = model_of(random_state(task_head=task is not None))
    model.origin = replace(model.origin, task=task)
    assert readout_name(subject_of(model), WINDOWS) == name


def mean_of_level_50(outputs, windows):
    return outputs[..., 50 % outputs.shape[-1]].double().mean(dim=-1)


@pytest.mark.parametrize("task", [None, "atrial fibrillation (last token)", "beat (every token)"])
def test_a_readout_of_ones_own_is_the_one_that_a_circuit_keeps(task):
    model = model_of(random_state(task_head=task is not None))
    model.origin = replace(model.origin, task=task)
    judged = with_readout(model, "mine", mean_of_level_50)
    assert readout_name(judged, WINDOWS) == readouts_of(judged, WINDOWS)[0] == "mine"


@pytest.mark.parametrize(("smallest", "in_summary"), [((2.0, "tokens"), (2.0, "tokens")), (None, (0.25, "units of its own"))])
def test_a_circuit_tells_the_unit_of_a_readout_of_ones_own(smallest, in_summary):
    model, windows = model_of(random_state(scale=0.4)), simulated("ecg", 4, 1)
    summary = run(replace(QUICK, n_bootstraps=0), with_readout(model, "mine", mean_of_level_50, smallest), windows)
    assert (summary["changes_verdict"].attrs["null"], summary.attrs["readout_unit"]) == in_summary
    assert summary["changes_verdict"].attrs["unit"] == in_summary[1]
    assert f"{in_summary[1]}: " in QUICK.findings(summary).verdict[1]


def _of_searched(outputs, windows):
    """The level 50, of the records that are searched alone: that of others is 0."""
    searched_records, _ = evenly_split(WINDOWS)
    return mean_of_level_50(outputs, windows) * torch.from_numpy(np.isin(windows.unit, sorted(searched_records)) * 1.0)


def _put(head, known):
    def put(x, hook):
        x = x.clone()
        x[:, :, head] = known[hook.name][:, :, head]
        return x

    return put


def test_greedy_pruning_of_a_known_sum():
    """The readout is the sum of what is kept of 5, 3, 1, 1: 80 % faithful are the first two, and with the tie's second 90 % three."""
    worth = np.array([1.0, 5.0, 1.0, 3.0])

    def values(kept):
        return (kept @ worth)[:, None]

    off = harm(values, 4)
    assert off[:, 0].tolist() == worth.tolist()
    path = pruned(values, off, np.ones(1), 0.8)
    assert path.order.tolist() == [1, 3, 2, 0]
    assert (path.size, path.faithfulness) == (2, pytest.approx(0.8))
    assert path.circuit.tolist() == [False, True, False, True]
    assert pruned(values, off, np.ones(1), 0.9).size == 3
    assert nested(path.order, [0, 1, 4]).sum(axis=1).tolist() == [0, 1, 4]


@pytest.mark.parametrize(("weight", "order", "size", "faithfulness"), [((1, 1), [0, 2, 1], 1, 6 / 8), ((3, 1), [0, 1, 2], 1, 14 / 18)])
def test_windows_that_err_both_ways_do_not_cancel_and_count_by_their_weight(weight, order, size, faithfulness):
    """Two windows' readouts are 10 + what is kept of (4, -4), (1, -1), (0, 2): all are 5 and -3 away from none."""
    worth = np.array([[4.0, -4.0], [1.0, -1.0], [0.0, 2.0]])

    def values(kept):
        return 10 + kept @ worth

    path = pruned(values, harm(values, 3), np.array(weight, float), 0.6)
    assert path.order.tolist() == order
    assert (path.size, path.faithfulness) == (size, pytest.approx(faithfulness))


@pytest.mark.parametrize(("option", "value"), [("wanted", 0.0), ("wanted", 1.5), ("n_random", 0), ("search_windows", 0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(Refusal, match="legal"):
        Circuit(**{option: value})
