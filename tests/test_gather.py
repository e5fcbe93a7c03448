"""Recordings are folded one by one: the same numbers as at once, in bounded memory, in any order and after any stop to the same bits."""

import weakref
from dataclasses import dataclass, replace
from functools import reduce
from itertools import permutations

import numpy as np
import pytest
import xarray as xr
from planted import model_of, random_state

from heartlens import store
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import finished, measure, n_sample, run, started, summarize
from heartlens.gather import Gathered, Gathering, Open, Total, gathered
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.sample import Sample
from heartlens.signals.simulate import simulated
from heartlens.signals.source import Given, Look, Part, ahead
from heartlens.tally import Tally, added
from heartlens.windows import Windows

SCAN = HeadScan(n_rotations=2, n_permutations=99, n_lags=2, n_phases=3, n_twins=2, twin_windows=3)
N_RECORDS, PER_RECORD = 5, 5


@pytest.fixture(scope="module")
def model():
    return model_of(random_state(layers=1))


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", n_records=N_RECORDS, windows_per_record=PER_RECORD)


@pytest.fixture
def in_parts(monkeypatch):
    """Recordings arrive in parts of two windows."""
    monkeypatch.setattr("heartlens.signals.source.MOST_AT_ONCE", 2)


@pytest.fixture(scope="module")
def each(model, windows):
    """What is gathered of each recording."""
    gathering, parts = started(SCAN, subject_of(model), Given(windows), Given(windows).names())
    return list(gathering.recordings(parts))


def same(left: Gathered, right: Gathered):
    assert (left.read, left.n_recordings, left.sample.n_windows) == (right.read, right.n_recordings, right.sample.n_windows)
    for name in ("sums", "sample", "fine"):
        xr.testing.assert_identical(getattr(left.tally, name), getattr(right.tally, name))
    np.testing.assert_array_equal(left.tally.members, right.tally.members)
    np.testing.assert_array_equal(left.sample.windows.identity, right.sample.windows.identity)


def test_one_by_one_is_as_at_once(model, windows, in_parts):
    at_once, one_by_one = run(SCAN, model, windows), run(SCAN, model, Given(windows))
    assert one_by_one.attrs == at_once.attrs
    xr.testing.assert_allclose(one_by_one, at_once, rtol=1e-5)  # float32: other chunks round otherwise


@pytest.mark.parametrize("n_windows", [1, 3, 5, 6, 9, 99])
def test_the_sample_is_that_of_all_windows(windows, n_windows):
    """In parts, with the recordings in another order, and one recording longer than all others."""
    unequal = windows[np.array([0, 1, 2, 3, 4, *range(5, N_RECORDS * PER_RECORD, PER_RECORD)])]
    has_fewer = np.arange(len(unequal)) % 3 == 0
    unequal = replace(unequal, wave=np.where(has_fewer[:, None] & (unequal.wave > 0), -1, unequal.wave).astype(np.int8))
    total = Sample(n_windows)
    for record in unequal.records[::-1]:
        sample = Sample(n_windows)
        for part in unequal[unequal.record == record].chunks(2):
            sample = sample.seen(part)
        total += sample
    assert set(total.windows.identity) == set(unequal.subset(n_windows).identity)


def test_values_add_in_any_order_to_the_same_bits(each):
    whole = gathered(each)
    for order in list(permutations(range(N_RECORDS)))[::29]:
        same(gathered([each[index] for index in order]), whole)
    same(gathered(each[:2]) + (gathered(each[2:4]) + each[4]), whole)
    total = Total(Gathered())
    for value in each:
        total.add(value)
    same(total.value, whole)


def test_a_stop_at_any_part_and_going_on_gives_the_same_bits(model, windows, in_parts, each, tmp_path):
    names = Given(windows).names()
    whole = gathered(each)
    for n_done in (1, 2, 3, 5, 7, 14):  # of three parts each
        gathering, parts = started(SCAN, subject_of(model), Given(windows), names)
        total, opened = Total(Gathered()), Open()

        def limited(parts=parts, n_done=n_done):
            yield from (part for _, part in zip(range(n_done), parts, strict=False))

        def on_part(under_way):
            nonlocal opened
            opened = under_way

        for recording in gathering.recordings(limited(), None, on_part):
            total.add(recording)
            opened = Open()
        store.write_gathered(total.value, opened, {}, tmp_path / "partial.nc")
        before, opened, _ = store.read_gathered(tmp_path / "partial.nc")
        assert (before.n_recordings, opened.n_parts) == divmod(n_done, 3)
        gathering, parts = started(SCAN, subject_of(model), Given(windows), names[before.n_recordings :])
        same(gathered([before, *gathering.recordings(parts, opened)]), whole)


@dataclass(frozen=True)
class Endless:
    """Recordings that are made when they are asked for."""

    n_names: int
    kind: str = "ecg"

    def names(self):
        return [f"r{number:04d}" for number in range(self.n_names)]

    def parts(self, name):
        windows = simulated("ecg", n_records=1, windows_per_record=3, seed=int(name[1:]))
        yield replace(windows, record=np.full(3, name))

    def look(self, name):
        return Look(name)

    def without(self, names):
        raise AssertionError(names)


@dataclass(frozen=True)
class Counting:
    """An analysis that notes how many windows are alive while it measures."""

    most: list
    alive: list
    seed: int = 0

    def measure(self, model, windows):
        self.most[0] = max(self.most[0], sum(each() is not None for each in self.alive))
        return Tally(xr.Dataset({"n": ("record", np.ones(1))}, coords={"record": windows.records}))


def test_the_windows_in_memory_do_not_grow_with_the_recordings(model, monkeypatch):
    alive, made = [], Windows.__post_init__
    monkeypatch.setattr(Windows, "__post_init__", lambda self: (made(self), alive.append(weakref.ref(self)))[0])
    most = []
    for n_names in (20, 60):
        alive.clear()
        most.append([0])
        gathering = Gathering(Counting(most[-1], alive), subject_of(model), 4, False, False, map)
        total = Total(Gathered())
        for recording in gathering.recordings(ahead(Endless(n_names), n_workers=0)):
            total.add(recording)
        assert total.value.read.n_windows == 3 * n_names
        assert len(total.value.sample.windows) == 4
        assert len(alive) > 5 * n_names
    assert 0 < most[1][0] <= most[0][0] + 1


def refusing(windows, bad, at_end=False):
    """The parts of all recordings, of which one is refused, at once or after its first part."""
    for part in ahead(Given(windows)):
        if part.name != bad or (at_end and not part.is_last):
            yield part
        elif part.is_last:
            yield Part(bad, None, f"{bad}: broken", True, "file that cannot be read")


@pytest.mark.parametrize("at_end", [False, True])
def test_a_bad_recording_is_counted_and_leaves_nothing(model, windows, each, in_parts, at_end):
    names = Given(windows).names()
    gathering, _ = started(SCAN, subject_of(model), Given(windows), names)
    total = gathered(list(gathering.recordings(refusing(windows, names[2], at_end))))
    good = gathered(each[:2] + each[3:])
    xr.testing.assert_identical(total.tally.sums, good.tally.sums)
    assert total.n_lost == 1
    assert total.read.skipped == (("file that cannot be read", 1),)
    assert total.read.digest == good.read.digest
    with pytest.raises(Refusal, match=f"{names[2]}: broken"):
        list(replace(gathering, is_strict=True).recordings(refusing(windows, names[2], at_end)))


def test_nothing_usable_is_refused(model):
    parts = [Part(name, None, f"{name}: broken", True, "file that cannot be read") for name in "ab"]
    gathering = Gathering(SCAN, subject_of(model), n_sample(SCAN), False, False, map)
    with pytest.raises(Refusal, match=r"^a: broken \(and 1 more files without a usable window\)$"):
        finished(SCAN, subject_of(model), gathered(list(gathering.recordings(parts))))


def test_other_kinds_of_signal_are_refused(model, windows):
    pulse = simulated("ppg", n_records=1, windows_per_record=1)
    parts = [Part("a", windows[:1], is_last=True), Part("b", pulse, is_last=True)]
    gathering = Gathering(SCAN, subject_of(model), 1, True, False, map)
    with pytest.raises(Refusal, match="windows of ecg and ppg cannot be mixed"):
        list(gathering.recordings(parts))
    with pytest.raises(Refusal, match="planted reads ECG, the windows are PPG"):
        run(SCAN, model, Given(pulse))


def test_tallies_beside_different_bases_are_not_added():
    """Files of one name in two folders, given as --base: the options are the same, the bases are not."""
    sums = xr.Dataset({"n_windows": ("record", [1.0])}, {"record": ["a"]}, {"base_fingerprint": "aaa"})
    other = sums.assign_coords(record=["b"]).assign_attrs(base_fingerprint="bbb")
    with pytest.raises(Refusal, match=r"compare with different bases \(fingerprints aaa, bbb\); give both the same --base"):
        added([Tally(sums), Tally(other)])


# More records than are kept one by one.


@pytest.fixture
def few(monkeypatch):
    """At most four records, then two groups."""
    monkeypatch.setattr("heartlens.tally.MOST_RECORDS", 4)
    monkeypatch.setattr("heartlens.tally.N_GROUPS", 2)


def number(name, values):
    return Tally(xr.Dataset({"x": (("record", "place"), np.array([values], float))}, coords={"record": [name], "place": [0, 1]}))


def numbers():
    """Values whose sum depends on the order in float64."""
    rng = np.random.default_rng(0)
    return [number(f"record {index}", rng.normal(size=2) * 10.0 ** rng.integers(-6, 6)) for index in range(40)]


def test_groups_add_in_any_order_to_the_same_bits(few):
    parts = numbers()
    whole = added(parts)
    assert whole.records == ["group 000", "group 001"]
    rng = np.random.default_rng(1)
    for _ in range(10):
        order = rng.permutation(len(parts))
        cut = int(rng.integers(1, len(parts)))
        left, right = (reduce(Tally.__add__, [parts[index] for index in side]) for side in (order[:cut], order[cut:]))
        for total in (left + right, right + left):
            xr.testing.assert_identical(total.sums, whole.sums)
            xr.testing.assert_identical(total.fine, whole.fine)
            np.testing.assert_array_equal(total.members, whole.members)
    plain = np.sum([part.sums.x.values[0] for part in parts], axis=0)
    np.testing.assert_allclose(whole.whole.sums.x.sum("record"), plain, rtol=1e-12)


def test_records_are_grouped_when_there_are_more_than_fit(few):
    parts = numbers()
    four = added(parts[:4])
    assert not four.is_grouped
    assert not (four + four).is_grouped
    assert (four + parts[4]).is_grouped
    assert (parts[4] + four + parts[4]).is_grouped
    assert len((four + parts[4]).members) == 5


def test_zero_changes_no_group(few):
    total = added(numbers())
    for same in (total + Tally(), Tally() + total):
        xr.testing.assert_identical(same.sums, total.sums)
        xr.testing.assert_identical(same.fine, total.fine)
        np.testing.assert_array_equal(same.members, total.members)


def test_a_grouped_scan_says_so_and_comes_back_as_it_was(few, model, windows, tmp_path):
    measured = measure(SCAN, model, Given(windows))
    summary = summarize(SCAN, measured)
    assert (summary.attrs["n_records"], summary.attrs["n_groups"]) == (5, 2)
    assert "5 records are kept in 2 groups" in " ".join(SCAN.findings(summary).cautions)
    store.write_measured(measured, tmp_path / "tally.nc")
    back = store.read_measured(tmp_path / "tally.nc")
    for name in ("sums", "sample", "fine"):
        xr.testing.assert_identical(getattr(back.tally, name), getattr(measured.tally, name))
    xr.testing.assert_identical(summarize(SCAN, back), summary)


def test_a_grouped_record_still_counts_once(few, model, windows):
    total = measure(SCAN, model, Given(windows))
    again = measure(SCAN, model, windows[windows.record == windows.records[3]])
    with pytest.raises(Refusal, match=f"both tallies have counted {windows.records[3]}"):
        store.add(total, again)
    with pytest.raises(Refusal, match=r"both tallies have counted recording [0-9a-f]{16}, "):
        store.add(total, total)


def test_the_size_on_disk_does_not_grow_with_the_records(few, tmp_path):
    sizes = []
    for n_parts in (10, 40):
        store.write_gathered(Gathered(added(numbers()[:n_parts])), Open(), {}, tmp_path / "t.nc")
        sizes.append((tmp_path / "t.nc").stat().st_size)
    assert sizes[1] - sizes[0] <= 30 * 16  # a hash each
