"""A person counts once, whatever the number of its records; a copy counts once, in shards and when more is added."""

from dataclasses import replace
from functools import reduce
from itertools import permutations

import numpy as np
import pytest
import torch
import xarray as xr
from planted import model_of, random_state

from heartlens import merge, store
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import Measured, run
from heartlens.cli import run_command
from heartlens.privacy import record_code
from heartlens.refusal import Refusal
from heartlens.signals.simulate import ecg, simulated
from heartlens.signals.source import Given
from heartlens.store import read_measured, read_summary
from heartlens.tally import Tally, added, of_units

SCAN = "heartlens.analyses.head_scan"
QUICK = ["--n-twins", "2", "--twin-windows", "3", "--n-rotations", "2", "--n-permutations", "99"]
QUICK += ["--format", "svg", "--rate", "100", "--quiet"]


def part(record, person, value, content=None):
    """A tally of one record; by default its content is its name."""
    about = {"person": ("record", [person]), "content": ("record", [content or record])}
    return Tally(xr.Dataset({"x": ("record", [float(value)])}, coords={"record": [record], **about}))


def parts():
    """Three records of p, one of q, two whose person is not known."""
    people = ["p", "p", "q", "", "p", ""]
    return [part(f"r{number}", person, 2.0**number) for number, person in enumerate(people)]


def test_a_person_of_three_records_is_one_unit():
    total = added(parts())
    assert total.records == [f"r{number}" for number in range(6)]
    assert total.persons == ["p", "p", "q", "", "p", ""]
    assert total.counts == {"unit": "person", "n_persons": 2, "n_units": 4, "n_records": 6}
    whole = total.whole.sums
    assert whole.x.to_series().to_dict() == {"p": 1 + 2 + 16, "q": 4, "r3": 8, "r5": 32}
    assert of_units(whole) == [["r0", "r1", "r4"], ["r2"], ["r3"], ["r5"]]


def test_where_nobody_is_known_the_record_is_the_unit():
    total = added([part("a", "", 1), part("b", "", 2)])
    assert total.counts == {"unit": "record", "n_persons": 0, "n_units": 2, "n_records": 2}
    assert total.whole.sums.record.values.tolist() == ["a", "b"]
    assert of_units(total.whole.sums) == [["a"], ["b"]]


def test_persons_add_in_any_order_and_come_back_from_disk(tmp_path):
    whole = added(parts())
    for order in list(permutations(range(6)))[::97]:
        total = reduce(Tally.__add__, [parts()[index] for index in order])
        xr.testing.assert_identical(total.sums, whole.sums)
    store.write_measured(Measured(whole, {"t": whole, "u": whole}, {}), tmp_path / "t.nc")
    back = read_measured(tmp_path / "t.nc")
    for tally in (back.tally, *back.twins.values()):
        xr.testing.assert_identical(tally.whole.sums, whole.whole.sums)
        assert tally.counts == whole.counts


def test_groups_hold_persons_whole(monkeypatch, tmp_path):
    monkeypatch.setattr("heartlens.tally.MOST_RECORDS", 3)
    total = added([part(f"r{number:02d}", f"p{number % 5}", 1.0) for number in range(40)])
    assert total.is_grouped
    assert total.counts == {"unit": "person", "n_persons": 5, "n_units": 5, "n_records": 40, "n_groups": 5}
    assert total.whole.sums.x.values.tolist() == [8.0] * 5  # of 128 groups, five people are in five, as their hashes tell
    store.write_measured(Measured(total, {}, {}), tmp_path / "t.nc")
    assert read_measured(tmp_path / "t.nc").tally.counts == total.counts


def test_a_record_of_two_persons_is_refused():
    with pytest.raises(Refusal, match="a is of two persons, p and q; a record has one person"):
        part("a", "q", 1) + part("a", "p", 1)


def test_equal_windows_of_two_records_leave_the_same_example_in_any_order():
    def of(name):
        return Tally(sample=xr.Dataset({"identity": ("example", ["0"]), "example_record": ("example", [name])}))

    for total in (of("b") + of("a"), of("a") + of("b")):
        assert total.sample.example_record.values.tolist() == ["a"]


def test_the_summary_of_persons_is_that_of_their_windows_as_one_record():
    """Six records of three people give the numbers of three records that hold the same windows."""
    windows = simulated("ecg", n_records=6, windows_per_record=1)
    person = np.array([f"p{number % 3}" for number in range(6)])
    model, scan = model_of(random_state(layers=1)), HeadScan(n_rotations=2, n_permutations=99, n_lags=2, n_twins=2, twin_windows=3)
    by_person = run(scan, model, replace(windows, person=person), keep_names=True)
    as_records = run(scan, model, replace(windows, record=person, person=np.full(6, "")))
    assert (by_person.attrs["unit"], by_person.attrs["n_units"], by_person.attrs["n_records"]) == ("person", 3, 6)
    assert (as_records.attrs["unit"], as_records.attrs["n_units"], as_records.attrs["n_records"]) == ("record", 3, 3)
    assert any("3 persons (6 records)" in caution for caution in scan.findings(by_person).cautions)
    for name in set(as_records.data_vars) - {"example_record"}:  # the name that is drawn beside the example
        xr.testing.assert_allclose(by_person[name].drop_vars("records_of_unit", errors="ignore"), as_records[name], rtol=1e-5)
    streamed = run(scan, model, Given(replace(windows, person=person)), keep_names=True)
    xr.testing.assert_allclose(streamed, by_person, rtol=1e-5)
    assert streamed.attrs == by_person.attrs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    torch.save(random_state(layers=1), folder / "own.pth")
    hearts = [ecg.simulate(np.random.default_rng(number), 12.0)[0] for number in range(4)]
    for name, number in {"a": 0, "b": 1, "c": 0, "d": 2, "e": 0, "f": 3}.items():
        (folder / "hearts").mkdir(exist_ok=True)
        np.save(folder / "hearts" / f"{name}.npy", hearts[number])
    (folder / "persons.csv").write_text("record,person\na,Ann\nb,Ann\nd,Bob\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_OFFLINE", "1")
        assert measured(folder, "whole") == 0
        for number in (1, 2):
            assert measured(folder, str(number), "--shard", f"{number}/2") == 0
    return folder


def measured(folder, out, *arguments, data="hearts", persons=True):
    who = ["--persons", str(folder / "persons.csv")] if persons else []
    return run_command(SCAN, [str(folder / "own.pth"), "--data", str(folder / data), *QUICK, *who, *arguments, "--out", str(folder / out)])


def test_a_copy_counts_once_and_shards_with_copies_are_the_whole(folder, tmp_path):
    summary = read_summary(folder / "whole" / "summary.nc")
    assert {name: summary.attrs[name] for name in ("unit", "n_persons", "n_units", "n_records")} == {
        "unit": "person",
        "n_persons": 2,
        "n_units": 3,
        "n_records": 4,
    }
    hearts = record_code("hearts/").rstrip("/")
    notes = summary.attrs["data_notes"]
    assert f"2 left out, the same recording under another name: {hearts}/c is {hearts}/a; {hearts}/e is {hearts}/a" in notes
    assert f"1 of 4 records have no known person ({hearts}/f)" in notes
    shards = [str(folder / number) for number in "21"]
    assert merge.run_command([*shards, "--out", str(tmp_path / "all"), "--format", "svg", "--quiet"]) == 0
    xr.testing.assert_identical(read_summary(tmp_path / "all" / "summary.nc"), summary)


def test_what_is_added_leaves_out_what_was_counted(folder, tmp_path):
    for name in "cd":
        (tmp_path / "more").mkdir(exist_ok=True)
        (tmp_path / "more" / f"new {name}.npy").write_bytes((folder / "hearts" / f"{name}.npy").read_bytes())
    np.save(tmp_path / "more" / "g.npy", ecg.simulate(np.random.default_rng(9), 12.0)[0])
    more = ["--add", str(folder / "whole" / "tally.nc"), "--quiet"]
    assert measured(folder, str(tmp_path / "both"), *more, data=tmp_path / "more", persons=False) == 0
    summary = read_summary(tmp_path / "both" / "summary.nc")
    assert (summary.attrs["n_records"], summary.attrs["n_units"], summary.attrs["n_persons"]) == (5, 4, 2)
    assert f"2 left out, counted before: {record_code('more/new c')}; {record_code('more/new d')}" in summary.attrs["data_notes"]
