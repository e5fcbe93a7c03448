"""What another draw of reference windows changes is in the intervals; batches of references share no record; curves are of the AUC."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from heartlens.analyses.ablation import Ablation
from heartlens.analyses.ablation.figure import of_curves
from heartlens.analyses.ablation.summary import over_draws
from heartlens.analysis import fold, silent
from heartlens.models.interventions.ablations import MOST_OF_RECORD, reference_batches
from heartlens.models.planted import Raises, planted
from heartlens.models.subject import subject_of
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular
from heartlens.tally import Tally

WINDOWS = simulated("ecg", 10, 3, seed=0)
QUICK = Ablation(how="zero,resample", n_references=3, n_reference=2, n_twins=0, n_permutations=99)


def test_batches_share_no_record_and_follow_the_seed():
    batches = reference_batches(WINDOWS, 4, 5, seed=0)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    records = [set(batch.record) for batch in batches]
    assert all(not one & other for place, one in enumerate(records) for other in records[:place])
    assert all(len(of_batch) >= 2 for of_batch in records)
    again, other = (reference_batches(WINDOWS, 4, 5, seed=seed) for seed in (0, 1))
    assert [list(batch.identity) for batch in again] == [list(batch.identity) for batch in batches]
    assert [list(batch.identity) for batch in other] != [list(batch.identity) for batch in batches]


@pytest.mark.parametrize(("n_records", "n_batches"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (10, 4)])
def test_every_batch_has_two_records(n_records, n_batches):
    assert len(reference_batches(WINDOWS[np.isin(WINDOWS.record, WINDOWS.records[:n_records])], 4, 16, seed=0)) == n_batches


def test_batches_share_no_person_and_each_has_two():
    """Recordings of a person are one unit: resampling finds no partner in a batch of one person."""
    person = np.array([f"person {WINDOWS.records.index(name) // 4}" for name in WINDOWS.record])
    of_persons = replace(WINDOWS, person=person)[np.isin(person, ["person 0", "person 1"])]
    for seed in range(6):
        assert [set(batch.person) for batch in reference_batches(of_persons, 4, 16, seed)] == [{"person 0", "person 1"}]
    persons = [set(batch.person) for batch in reference_batches(replace(WINDOWS, person=WINDOWS.record), 4, 5, seed=0)]
    assert all(len(batch) >= 2 and not batch & other for place, batch in enumerate(persons) for other in persons[:place])


def test_of_one_record_no_more_than_so_many_windows():
    (batch,) = reference_batches(simulated("ecg", 2, 12, seed=0), 4, 100, seed=0)
    assert len(batch) == 2 * MOST_OF_RECORD


@pytest.mark.parametrize(("n_records", "n_batches"), [(20, 4), (50, 4), (50, 8)])
@pytest.mark.parametrize("between", [0.0, 1.0, 4.0])
def test_an_interval_over_records_and_draws_covers(n_records, n_batches, between):
    """Effects of records of standard deviation 1, of batches `between` standard errors of their mean: 95 % of intervals hold the true 0.

    2000 samples, whose share has a standard error of 0.5 %. The interval over records alone covers 61 % where between is 4 (4 batches).
    """
    rng = np.random.default_rng(0)
    of_record = rng.normal(size=(n_records, 2000))
    drawn = of_record.mean(axis=0) + between / np.sqrt(n_records) * rng.normal(size=(n_batches, 2000))
    effect, error = drawn.mean(axis=0), 2.0 * of_record.std(axis=0, ddof=1) / np.sqrt(n_records)
    low, high = over_draws(effect, effect - error, effect + error, drawn)
    assert ((low <= 0) & (high >= 0)).mean() >= 0.94
    if between == 4 and n_batches == 4:
        assert ((effect - error <= 0) & (effect + error >= 0)).mean() < 0.7


def test_one_batch_says_nothing_of_others():
    effect = np.array([1.0])
    assert over_draws(effect, effect - 1, effect + 1, effect[None]) == (effect - 1, effect + 1)


@pytest.fixture(scope="module")
def measured():
    """The first six of twelve records have the P wave that the planted head looks for; the sums with three batches of references."""
    windows = regular("ecg", 12, periodic=True)
    model = planted({(1, 3): Raises(6.0, "P")}, windows, heads=4, dtype=torch.float64)
    model.origin = replace(model.origin, task="atrial fibrillation (last token)")
    return windows, fold(QUICK, subject_of(model), windows, silent)


def test_effects_are_means_over_batches_and_intervals_hold_their_spread(measured):
    _, tally = measured
    assert tally.sums.sizes["reference"] == 3
    sums = tally.sums.copy(deep=True)
    moved = {"how": "resample", "readout": "af_logit", "layer": 0, "head": 2}
    for reference in range(3):
        sums["ablated"].loc[moved | {"reference": reference}] = sums["intact"].sel(readout="af_logit") + reference + 1
    summary = QUICK.summarize(Tally(sums), {})
    effect, low, high = (summary[f"effect{end}"].sel(moved).item() for end in ("", "_low", "_high"))
    assert effect == pytest.approx(2)
    margin = 4.302653 * 1 / np.sqrt(3)  # Student's t of 2 degrees of freedom; records do not differ
    assert (low, high) == (pytest.approx(2 - margin, abs=1e-4), pytest.approx(2 + margin, abs=1e-4))
    assert summary.attrs["n_references"] == 3
    untouched = summary["effect"].sel(moved | {"head": 1}).item()
    assert untouched == pytest.approx(0, abs=1e-9)
    assert "3 batches of reference windows" in " ".join(QUICK.findings(summary).methods)


def test_of_zero_every_batch_has_the_same_sums(measured):
    zero = measured[1].sums["ablated"].sel(how="zero")
    assert (zero == zero.isel(reference=0)).all()


def test_with_labels_curves_are_of_the_auc(measured, tmp_path):
    """Without all heads every record has the same logit: the AUC falls to a half, and says so, whatever the mean logit does."""
    windows, tally = measured
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{name},{'A' if place < 6 else 'N'}\n" for place, name in enumerate(windows.records)))
    sums = tally.sums.copy(deep=True)
    sums["intact"].loc[{"readout": "af_probability"}] = np.repeat([0.9, 0.1], 6)
    for name in ("cumulative_layers", "cumulative_heads"):
        sums[name].loc[{"readout": "af_probability"}] = 0.5
    summary = replace(QUICK, labels=str(path)).summarize(Tally(sums), {})
    assert of_curves(summary) == "af_auc"
    assert summary["layers_removed_effect"].sel(readout="af_auc").values == pytest.approx(-0.5)
    curves = [line for line in QUICK.findings(summary).verdict if "taken away" in line and "change of" in line]
    assert len(curves) == 3
    assert all("change of af auc" in line for line in curves)
    assert of_curves(QUICK.summarize(tally, {})) == "af_logit"


def test_what_batches_differ_by_reaches_what_lies_beyond_heads_of_one_norm():
    """One head whose effect differs with the batch, at random around 0: with the batches' margin it does not matter, without it would.

    40 studies of 32 heads, 12 records and 4 batches; at most 5 % of studies may name it, of which 99 % of tests count 5.
    """
    rng, counts = np.random.default_rng(0), {4: 0, 1: 0}
    for _ in range(40):
        changes = 0.05 * rng.normal(size=(12, 4, 1, 32)) + 0.05 * rng.normal(size=(12, 1, 1, 32))
        changes[..., 0] += rng.normal(size=(1, 4, 1))
        for n_batches in counts:
            batches = changes if n_batches == 4 else changes.mean(axis=1, keepdims=True)
            sums = {
                "intact": (("record", "readout"), np.zeros((12, 1))),
                "bottom": (("record", "readout"), np.ones((12, 1))),
                "ablated": (("record", "reference", "how", "readout", "layer", "head"), batches[:, :, None, :, None]),
                "norm": (("record", "layer", "head"), np.ones((12, 1, 32))),
                "n_windows": ("record", np.ones(12)),
            }
            places = {"record": [f"r{place}" for place in range(12)], "how": ["mean"], "readout": ["af_logit"]}
            attrs = {"kind": "ecg", "answers": "last token", "waves": ""}
            summary = Ablation(how="mean", n_permutations=99).summarize(Tally(xr.Dataset(sums, coords=places, attrs=attrs)), {})
            counts[n_batches] += (summary["excess_low"][..., 0] > 0).item() or (summary["excess_high"][..., 0] < 0).item()
    print(f"a head that differs with the batch alone lies beyond its peers in {counts[4]} of 40 studies, as one batch in {counts[1]}")
    assert counts[4] <= 5
    assert counts[1] >= 30


def test_what_batches_differ_by_reaches_the_cost_inside_a_wave():
    """A token inside the P wave costs 1, 2, 3 nats more, by batch, in every record: 2, give or take 4.3 / sqrt(3)."""
    names = ["cross_entropy", "cross_entropy_P"]
    ablated = np.zeros((12, 3, 1, 2, 1, 4))
    ablated[..., 0] = 10.0 * np.arange(1, 4)[:, None, None, None]
    sums = {
        "intact": (("record", "readout"), np.zeros((12, 2))),
        "bottom": (("record", "readout"), np.tile([20.0, 10.0], (12, 1))),
        "ablated": (("record", "reference", "how", "readout", "layer", "head"), ablated),
        "norm": (("record", "layer", "head"), np.ones((12, 1, 4))),
        "n_windows": ("record", np.ones(12)),
    }
    places = {"record": [f"r{place}" for place in range(12)], "how": ["mean"], "readout": names, "layer": [0], "head": range(4)}
    tally = Tally(xr.Dataset(sums, coords=places, attrs={"kind": "ecg", "answers": "every token", "waves": "P"}))
    found = Ablation(how="mean", n_permutations=99).summarize(tally, {}).isel(how=0, layer=0, head=0).sel(wave="P")
    margin = 4.302653 / np.sqrt(3)
    ends = [found[f"inside_excess{end}"].item() for end in ("", "_low", "_high")]
    assert ends == pytest.approx([2, 2 - margin, 2 + margin], abs=1e-5)
