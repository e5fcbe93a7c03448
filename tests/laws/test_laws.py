"""The laws of a tally, for every analysis: chunks, records, workers, files combine with `+` in any order, and nothing is lost."""

import atexit
import importlib
import pkgutil
import shutil
import tempfile
from functools import cache, reduce
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import model_of, random_state
from safetensors.torch import save_file

import heartlens.analyses
from heartlens.analysis import Measured
from heartlens.cli import _analysis_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.store import read_measured, write_measured
from heartlens.tally import N_EXAMPLES, Tally

FEW = settings(max_examples=2, deadline=None, derandomize=True)
N_WINDOWS = 6  # of three records, two each


def analyses():
    """Every module of heartlens.analyses that has an analysis by the naming convention."""
    modules = [f"heartlens.analyses.{module.name}" for module in pkgutil.iter_modules(heartlens.analyses.__path__)]
    return [_analysis_of(module) for module in modules if _has_analysis(module)]


def _has_analysis(module):
    name = "".join(part.capitalize() for part in module.rsplit(".", 1)[-1].split("_"))
    return hasattr(importlib.import_module(module), name)


def fine_tuned_base():
    """A checkpoint that the tests' model could have been fine-tuned from: of its sizes, other in every tensor."""
    path = Path(tempfile.mkdtemp()) / "base.safetensors"
    save_file(random_state(seed=1), path)
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    return str(path)


@cache
def windows():
    return simulated("ecg", n_records=3, windows_per_record=2)


ARGUMENTS = {  # of analyses that cannot do without, or that take long
    "AttentionShift": {"base": fine_tuned_base()},
    "Ablation": {"how": "zero"},
    "Attribution": {"n_steps": 1},
    "Circuit": {"n_random": 2},
    "Continuation": {"how": "zero", "n_prompt": 400, "n_draws": 1},
    "Reliance": {"swapped": frozenset(map(str, windows().identity[[0, 3]]))},
}
OF_TASK_HEADS = {"Reliance"}  # analyses of a task head's one output
every_analysis = pytest.mark.parametrize(
    "analysis", [analysis(**ARGUMENTS.get(analysis.__name__, {})) for analysis in analyses()], ids=lambda analysis: type(analysis).__name__
)


@cache
def model(task_head):
    return model_of(random_state(task_head=task_head), dtype=torch.float64)  # so that the size of a batch rounds nothing


@cache
def measured(analysis, chosen):
    return analysis.measure(model(type(analysis).__name__ in OF_TASK_HEADS), windows()[np.array(chosen)])


def same(left, right, rtol=1e-9):
    xr.testing.assert_allclose(left.sums.sortby("record"), right.sums.sortby("record"), rtol=rtol, atol=1e-12)
    assert left.sums.record.values.tolist() == right.sums.record.values.tolist()
    xr.testing.assert_identical(left.sample, right.sample)


chunks = st.permutations(range(N_WINDOWS)).flatmap(
    lambda order: st.lists(st.integers(1, N_WINDOWS - 1), unique=True, max_size=4).map(
        lambda cuts: [tuple(order[first:last]) for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), N_WINDOWS], strict=True)]
    )
)


def test_the_analyses_are_found():
    assert "HeadScan" in [analysis.__name__ for analysis in analyses()]


@every_analysis
@FEW
@given(parts=chunks)
def test_a_chunked_measurement_is_the_whole(analysis, parts):
    whole = measured(analysis, tuple(range(N_WINDOWS)))
    same(reduce(lambda total, part: total + measured(analysis, part), parts, Tally()), whole)


@every_analysis
@FEW
@given(parts=chunks)
def test_order_does_not_matter(analysis, parts):
    tallies = [measured(analysis, part) for part in parts]
    same(reduce(Tally.__add__, tallies), reduce(Tally.__add__, tallies[::-1]))


@every_analysis
def test_zero_changes_nothing(analysis):
    one = measured(analysis, (0, 1, 2))
    for total in (Tally() + one, one + Tally()):
        xr.testing.assert_identical(total.sums, one.sums)
        xr.testing.assert_identical(total.sample, one.sample)
    assert not (Tally() + Tally()).sums.data_vars
    assert (Tally() + Tally()).records == []


@every_analysis
def test_sums_associate_and_commute(analysis):
    a, b, c = (measured(analysis, chosen) for chosen in ((0, 3), (1, 2), (4, 5)))
    same((a + b) + c, a + (b + c))
    same(a + b, b + a)


@every_analysis
def test_adding_leaves_both_as_they_were(analysis):
    a, b = measured(analysis, (0, 1)), measured(analysis, (1, 2))
    before = [part.copy(deep=True) for part in (a.sums, b.sums)]
    total = a + b
    total.sums[next(iter(total.sums))].values[:] = -1
    for one, kept in zip((a, b), before, strict=True):
        xr.testing.assert_identical(one.sums, kept)


@every_analysis
def test_tallies_come_back_from_disk_bit_for_bit(analysis, tmp_path):
    one = measured(analysis, (0, 3))
    twin = Tally((one.sums * 3).assign_attrs(one.sums.attrs), one.sample)
    write_measured(Measured(one, {"one": one, "another": twin}, {"seed": 1}), tmp_path / "tally.nc")
    back = read_measured(tmp_path / "tally.nc")
    assert back.attrs == {"seed": 1}
    for read, written in ((back.tally, one), (back.twins["one"], one), (back.twins["another"], twin)):
        xr.testing.assert_identical(read.sums, written.sums)
        xr.testing.assert_identical(read.sample, written.sample)
        assert {name: values.dtype for name, values in read.sums.items()} == {name: values.dtype for name, values in written.sums.items()}


@every_analysis
def test_more_records_than_fit_are_grouped_to_the_same_sums(analysis, monkeypatch):
    parts = [measured(analysis, (first, first + 1)) for first in (0, 2, 4)]  # a record each
    monkeypatch.setattr("heartlens.tally.MOST_RECORDS", 2)
    monkeypatch.setattr("heartlens.tally.N_GROUPS", 2)
    total, other = reduce(Tally.__add__, parts), reduce(Tally.__add__, parts[::-1])
    assert total.is_grouped
    for name in ("sums", "fine", "sample"):
        xr.testing.assert_identical(getattr(total, name), getattr(other, name))
    for name, values in total.whole.sums.items():
        np.testing.assert_allclose(values.sum("record"), sum(part.sums[name].sum("record") for part in parts), rtol=1e-9, atol=1e-12)


@every_analysis
def test_records_add_up(analysis):
    """Records of one side only are kept with their own counts; a record of both sides has the sum."""
    a, b = measured(analysis, (0, 2)), measured(analysis, (1, 4))
    total = a + b
    names = windows().record
    assert total.records == sorted({str(names[index]) for index in (0, 1, 2, 4)})
    assert total.sums.attrs == a.sums.attrs
    for name in a.sums.data_vars:
        x, y, z = (one.sums[name].sel(record=str(names[0])).values for one in (a, b, total))
        np.testing.assert_allclose(z, x + y, rtol=1e-12)
        np.testing.assert_array_equal(total.sums[name].sel(record=str(names[4])), b.sums[name].sel(record=str(names[4])))


@every_analysis
def test_the_sample_is_of_the_smallest_identity(analysis):
    """Of windows, or of the tokens that each window's own sample has."""
    chosen = (5, 1, 4, 3)
    parts = [measured(analysis, (index,)) for index in chosen]
    total = reduce(Tally.__add__, parts)
    if total.sample.sizes:
        n_examples = total.sample.attrs.get("n_examples", N_EXAMPLES)
        everyone = {str(name) for part in parts for name in part.sample["identity"].values}
        assert total.sample["identity"].values.tolist() == sorted(everyone)[:n_examples]
        if all(part.sample.sizes["example"] == 1 for part in parts):  # windows
            assert everyone == set(windows().identity[list(chosen)])


@every_analysis
def test_other_variables_are_an_error(analysis):
    one = measured(analysis, (0, 1))
    fewer = Tally(one.sums.drop_vars(next(iter(one.sums))), one.sample)
    for left, right in ((one, fewer), (fewer, one)):
        with pytest.raises(Refusal, match="do not count the same things"):
            left + right


@every_analysis
def test_other_axes_are_an_error(analysis):
    one = measured(analysis, (0, 1))
    axis = next(str(axis) for axis in one.sums.dims if axis != "record")
    for other in (
        one.sums.isel({axis: slice(1, None)}),
        one.sums.rename({axis: "elsewhere"}),
        one.sums.isel({axis: slice(None, None, -1)}),
    ):
        with pytest.raises(Refusal, match="do not share the axis"):
            one + Tally(other, one.sample)


@every_analysis
def test_only_tallies_add_to_a_tally(analysis):
    with pytest.raises(TypeError):
        measured(analysis, (0, 1)) + 1
