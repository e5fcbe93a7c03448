"""Results on disk: what was written comes back bit for bit, what failed leaves nothing, and only what belongs together is added."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from planted import model_of, random_state

from heartlens import store
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import measure, summarize
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

SCAN = HeadScan(n_rotations=2, n_permutations=99, n_lags=2, n_phases=3, n_twins=2, twin_windows=1)


@pytest.fixture(scope="module")
def model():
    return model_of(random_state())


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", n_records=4, windows_per_record=1)


@pytest.fixture(scope="module")
def measured(model, windows):
    return measure(SCAN, model, windows[:2])


@pytest.fixture(scope="module")
def later(model, windows):
    return measure(SCAN, model, replace(windows[2:], sources=("tonight",), skipped=(("flat window", 3),)))


def identical(left, right):
    for part in ("sums", "sample"):
        xr.testing.assert_identical(getattr(left, part), getattr(right, part))


def test_a_summary_comes_back_as_it_was(measured, tmp_path):
    summary = summarize(SCAN, measured)
    store.write_summary(summary, tmp_path / "deep" / "summary.nc")
    back = store.read_summary(tmp_path / "deep" / "summary.nc")
    xr.testing.assert_identical(back, summary)
    assert {name: one.dtype for name, one in back.items()} == {name: one.dtype for name, one in summary.items()}


def test_tallies_come_back_as_they_were(measured, tmp_path):
    store.write_measured(measured, tmp_path / "tally.nc")
    back = store.read_measured(str(tmp_path / "tally.nc"))
    (tmp_path / "tally.nc").unlink()  # it is in memory, not on loan
    identical(back.tally, measured.tally)
    assert back.twins.keys() == measured.twins.keys()
    for name in back.twins:
        identical(back.twins[name], measured.twins[name])
    assert back.attrs == measured.attrs
    xr.testing.assert_identical(summarize(SCAN, back), summarize(SCAN, measured))


def test_a_summary_is_in_memory_after_reading(measured, tmp_path):
    path = tmp_path / "summary.nc"
    store.write_summary(summarize(SCAN, measured), path)
    back = store.read_summary(path)
    path.unlink()
    assert np.isfinite(back["lift"].sel(query="all").values).all()


def test_without_twins(measured, tmp_path):
    store.write_measured(replace(measured, twins={}), tmp_path / "tally.nc")
    assert store.read_measured(tmp_path / "tally.nc").twins == {}


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_is_cut_short_leaves_what_was_there(failure, tmp_path, monkeypatch):
    path = tmp_path / "result"
    store.write_text(path, "before")

    def cut_short(file):
        raise failure

    monkeypatch.setattr("os.fsync", cut_short)
    with pytest.raises(type(failure)):
        store.write_text(path, "after")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("result", "before")]


def test_a_written_file_replaces_the_old_one_and_leaves_no_other(tmp_path):
    for text in ("one", "two"):
        store.write_text(tmp_path / "page.html", text)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "two")]


@pytest.mark.parametrize("read", [store.read_summary, store.read_measured])
@pytest.mark.parametrize("content", [b"", b"no result", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_no_result_is_refused(read, content, tmp_path):
    path = tmp_path / "tally.nc"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"tally\.nc is not a readable result") as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("read", [store.read_summary, store.read_measured])
def test_a_truncated_result_is_refused(read, measured, tmp_path):
    path = tmp_path / "tally.nc"
    store.write_measured(measured, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Refusal, match="is not a readable result"):
        read(path)


@pytest.mark.parametrize("read", [store.read_summary, store.read_measured])
def test_a_missing_result_is_refused(read, tmp_path):
    for path in (tmp_path / "none.nc", tmp_path):
        with pytest.raises(Refusal, match="no result file at"):
            read(path)


def test_a_tally_that_lacks_a_part_is_refused(measured, tmp_path):
    store.write_measured(measured, tmp_path / "tally.nc")
    parts = store.read_datasets(tmp_path / "tally.nc")
    for lacking in ("model/sums", "model/members", "twins/sample"):
        store.write_datasets({place: part for place, part in parts.items() if place != lacking}, tmp_path / "less.nc")
        with pytest.raises(Refusal, match=r"less\.nc is not a readable result"):
            store.read_measured(tmp_path / "less.nc")


def test_a_summary_is_no_tally(measured, tmp_path):
    store.write_summary(summarize(SCAN, measured), tmp_path / "summary.nc")
    with pytest.raises(Refusal, match=r"holds no tallies; give a tally\.nc"):
        store.read_measured(tmp_path / "summary.nc")


def test_a_tally_is_no_summary(measured, tmp_path):
    store.write_measured(measured, tmp_path / "tally.nc")
    with pytest.raises(Refusal, match=r"holds no summary; give a summary\.nc"):
        store.read_summary(tmp_path / "tally.nc")


def test_what_was_measured_apart_adds_up(model, windows, measured, later):
    together = store.add(measured, later)
    whole = measure(SCAN, model, windows)
    xr.testing.assert_allclose(together.tally.sums, whole.tally.sums, rtol=1e-6)
    assert together.tally.records == windows.records
    xr.testing.assert_identical(together.tally.sample, whole.tally.sample)
    for name in together.twins:
        parts = (measured.twins[name], later.twins[name])
        assert float(together.twins[name].sums["share"].sum()) == pytest.approx(sum(float(one.sums["share"].sum()) for one in parts))
    assert together.attrs["data_sources"].splitlines() == [*windows.sources, "tonight"]
    assert together.attrs["data_skipped"] == "3 x flat window"
    assert together.attrs["data_is_simulated"] == 1
    assert together.attrs["data_sha256"] not in (measured.attrs["data_sha256"], later.attrs["data_sha256"])
    assert store.add(later, measured).attrs["data_sha256"] == together.attrs["data_sha256"]


def test_a_stored_tally_adds_to_a_new_one(measured, later, tmp_path):
    store.write_measured(measured, tmp_path / "tally.nc")
    identical(store.add(store.read_measured(tmp_path / "tally.nc"), later).tally, store.add(measured, later).tally)


def test_a_record_counts_once(measured):
    with pytest.raises(Refusal, match="both tallies have counted simulated ecg 00, simulated ecg 01; a record counts once"):
        store.add(measured, measured)


@pytest.mark.parametrize("name", ["analysis", "options", "checkpoint", "checkpoint_fingerprint", "checkpoint_processing", "data_kind"])
def test_tallies_of_another_meaning_are_refused(measured, later, name):
    other = replace(later, attrs={**later.attrs, name: "other"})
    with pytest.raises(Refusal, match=rf"differ in {name} \(.*other\) and cannot be added"):
        store.add(measured, other)


def test_tallies_without_provenance_are_refused(measured, later):
    with pytest.raises(Refusal, match="cannot be added"):
        store.add(replace(measured, attrs={}), later)


def test_other_twins_are_refused(measured, later):
    with pytest.raises(Refusal, match="different twins"):
        store.add(measured, replace(later, twins=dict(list(later.twins.items())[:1])))
