"""Stored files: what this program wrote comes back, whatever else is refused in one line, quickly and without reading elsewhere."""

import hashlib
import io
import resource
import time

import h5py
import numpy as np
import pytest
import xarray as xr

from heartlens.analysis import Measured
from heartlens.netcdf import FORMAT, read_datasets, write_datasets
from heartlens.refusal import Refusal
from heartlens.store import read_measured, read_summary, write_measured, write_summary
from heartlens.tally import Tally


def signed(content, version=FORMAT):
    return content + f"\nheartlens format {version} sha256 {hashlib.sha256(content).hexdigest()}\n".encode()


@pytest.fixture(scope="module")
def tally():
    coords = {"record": ["a", "b"], "layer": [0, 1], "person": ("record", ["p", ""]), "content": ("record", ["1", "2"])}
    sums = xr.Dataset(
        {"x": (("record", "layer"), np.arange(4.0).reshape(2, 2)), "n_windows": ("record", [1.0, 2.0])}, coords, {"kind": "ecg"}
    )
    attrs = {"analysis": "X", "data_kind": "ecg", "data_skipped": "", "data_sources": "a", "data_notes": ""}
    attrs |= {"data_sha256": "0" * 64, "data_is_simulated": 0, "data_windows": 3}
    return Measured(Tally(sums), {"t": Tally(sums), "u": Tally(sums)}, attrs)


@pytest.fixture(scope="module")
def stored(tally, tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "tally.nc"
    write_measured(tally, path)
    return path.read_bytes()


def refusal_of(path, read=read_measured):
    start = time.process_time()
    with pytest.raises(Refusal) as refused:
        read(path)
    assert time.process_time() - start < 5
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_is_netcdf_for_everybody(tally, tmp_path):
    write_measured(tally, tmp_path / "t.nc")
    with xr.open_dataset(tmp_path / "t.nc", group="model/sums", engine="h5netcdf") as sums:
        assert sums.x.sum() == 6


def test_damaged_files_are_refused_in_one_line(stored, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "t.nc"
    for _ in range(300):
        content = bytearray(stored)
        for place in rng.integers(len(content), size=rng.integers(1, 8)):
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        assert "not a readable result" in refusal_of(path) or "has format" in refusal_of(path)


def test_forged_files_give_our_refusals_or_a_sound_tally(stored, tmp_path):
    """Values changed and parts taken away by somebody who signs anew."""
    rng, path, n_refused = np.random.default_rng(1), tmp_path / "t.nc", 0
    content = stored[: stored.rindex(b"\nheartlens")]
    for _ in range(60):
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            places = []
            file.visit(places.append)
            place = places[rng.integers(len(places))]
            act = rng.integers(4)
            if act == 0:
                del file[place]
            elif act == 1 and len(file[place].attrs):
                names = list(file[place].attrs)
                del file[place].attrs[names[rng.integers(len(names))]]
            elif act == 2:
                del file[place]
                file[place] = [np.float64(rng.normal()), np.array(["x", "y"], "S1"), np.zeros((3, 1, 2), np.int8)][rng.integers(3)]
            else:
                names = list(file.attrs)
                file.attrs[names[rng.integers(len(names))]] = [b"\xff\xfe", np.nan, "x" * 99, np.zeros(3)][rng.integers(4)]
        path.write_bytes(signed(buffer.getvalue()))
        line = ""
        try:
            assert read_measured(path).tally.counts
        except Refusal as refusal:
            line = str(refusal)
            n_refused += 1
        assert "\n" not in line
    assert n_refused > 12


def with_link(file):
    file["model/sums/other"] = h5py.ExternalLink("/etc/passwd", "/")


def with_soft_link(file):
    file["model/sums/other"] = h5py.SoftLink("/model")


def with_storage(file):
    file.create_dataset("model/sums/other", (100,), "i1", external=[("/etc/passwd", 0, 100)])


def with_virtual(file):
    layout = h5py.VirtualLayout((100,), "i1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (100,))
    file.create_virtual_dataset("model/sums/other", layout)


def with_objects(file):
    file.create_dataset("model/sums/other", (2,), h5py.vlen_dtype(np.int32))


def with_sizes(file):
    file.create_dataset("model/sums/other", (10**12,), "f8", chunks=(10**4,))


def with_packed(file):
    file.create_dataset("model/sums/other", data=np.zeros(10**8, np.int8), chunks=(10**6,), compression="gzip")
    file.create_dataset("model/sums/another", (10**9,), "f8", chunks=(10**6,), compression="gzip")


def with_chunk(file):
    file.create_dataset("model/sums/other", (1,), "i1", maxshape=(None,), chunks=(2**31,))


def with_attribute(file):
    file.attrs.create("data_notes", np.zeros(10**4, "S1000"))


def with_many(file):
    for number in range(5000):
        file.create_group(f"model/{number}")


def with_loop(file):
    file["model/sums/loop"] = file["model"]


FORGED = {
    with_link: "is a link out of its place",
    with_soft_link: "is a link out of its place",
    with_storage: "is stored in another file",
    with_virtual: "is stored in another file",
    with_objects: "holds objects of type",
    with_sizes: "claims more than",
    with_packed: "claims more than",
    with_chunk: "has chunks of",
    with_attribute: "claims",
    with_many: "too many variables",
    with_loop: "groups lie too deep",
}


@pytest.mark.parametrize(("forge", "reason"), FORGED.items(), ids=[each.__name__ for each in FORGED])
def test_danger_is_refused_before_it_is_read(stored, forge, reason, tmp_path):
    buffer = io.BytesIO(stored[: stored.rindex(b"\nheartlens")])
    with h5py.File(buffer, "r+", track_order=True) as file:
        forge(file)
    (tmp_path / "t.nc").write_bytes(signed(buffer.getvalue()))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason in refusal_of(tmp_path / "t.nc")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 2**20


def test_other_formats_are_named(stored, tmp_path):
    path = tmp_path / "t.nc"
    content = stored[: stored.rindex(b"\nheartlens")]
    path.write_bytes(content)
    assert "is cut short, or of an earlier version of heartlens" in refusal_of(path)
    path.write_bytes(signed(content, 3))
    assert f"has format 3, this version reads format {FORMAT}" in refusal_of(path)
    path.write_bytes(b"record,x\na,1\n")
    assert "is no netCDF file of heartlens" in refusal_of(path)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero", tmp_path / "none.nc", tmp_path / ("x" * 300)):
        assert "no result file at" in (text := refusal_of(path)) or "cannot be read" in text


def test_a_forged_summary_is_one_refusal(tmp_path):
    write_summary(xr.Dataset({"x": ("a", np.arange(3))}), tmp_path / "s.nc")
    assert read_summary(tmp_path / "s.nc").x.sum() == 3
    write_datasets({"/": xr.Dataset(), "deep": xr.Dataset({"x": 1})}, tmp_path / "s.nc")
    assert "holds no summary" in refusal_of(tmp_path / "s.nc", read_summary)
    assert list(read_datasets(tmp_path / "s.nc")) == ["/", "deep"]


def test_a_file_is_written_without_asking_a_cluster_for_a_lock(tmp_path, monkeypatch):
    """A scan on Dask saves as it goes on; the cluster forgets a lock, and then the save failed."""
    distributed = pytest.importorskip("distributed")

    def lost(*names, **options):
        raise RuntimeError("Semaphore or Lock not known")

    with distributed.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
        monkeypatch.setattr("distributed.Lock.acquire", lost)
        write_datasets({"/": xr.Dataset({"a": ("x", np.arange(3000.0))})}, tmp_path / "a.nc")
    assert float(read_datasets(tmp_path / "a.nc")["/"]["a"].sum()) == 2999 * 1500
