"""The same bits on several processes, whatever happens to one of them; and one line where a cluster cannot be used."""

import os
import signal
import sys
import time
from dataclasses import dataclass, replace

import pytest
import torch
import xarray as xr

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'heartlens[dask]'")

import dask
from distributed import Client, LocalCluster

from heartlens import scale
from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import n_sample, started
from heartlens.cli import run_command
from heartlens.gather import gathered
from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.source import Look, Simulated
from heartlens.store import read_summary

SCAN = HeadScan(n_rotations=2, n_permutations=99, n_lags=2, n_phases=3, n_twins=2, twin_windows=3)
PEOPLE = Simulated("ecg", n_records=12)
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def model():
    return load("ecg-sim")


@pytest.fixture(scope="module")
def cluster():
    """Two workers; a task may end one of them."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1, **scale.START_AGAIN}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None, silence_logs=50) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def work(model):
    return scale.Work(SCAN, "ecg-sim", False, model.origin, PEOPLE, False, False, n_sample(SCAN), "auto")


@pytest.fixture(scope="module")
def whole(model):
    """What one process gathers."""
    gathering, parts = started(SCAN, subject_of(model), PEOPLE, PEOPLE.names())
    return gathered(list(gathering.recordings(parts)))


def same(left, right):
    assert (left.read, left.n_recordings) == (right.read, right.n_recordings)
    for name in ("sums", "sample"):
        xr.testing.assert_identical(getattr(left.tally, name), getattr(right.tally, name))
    assert left.sample.windows.identity.tolist() == right.sample.windows.identity.tolist()


def test_a_worker_that_is_killed_costs_its_tasks_only(cluster, work, whole, monkeypatch):
    monkeypatch.setattr(scale, "TASKS_PER_WORKER", 1)
    monkeypatch.setattr(scale, "MOST_RECORDINGS", 1)
    blocks = []
    with Client(cluster) as client:
        for block in scale.recordings(work, PEOPLE.names(), address=cluster.scheduler_address):
            if not blocks:  # the next two blocks have begun
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            blocks.append(block)
    assert len(blocks) == 6
    same(gathered(blocks), whole)


def test_the_command_gives_the_same_summary(tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    quick = ["--n-twins", "2", "--twin-windows", "2", "--n-rotations", "2", "--n-permutations", "99", "--format", "svg", "--quiet"]
    for out, options in (("one", []), ("many", ["--dask", cluster.scheduler_address])):
        assert run_command("heartlens.analyses.head_scan", ["ecg-sim", *quick, *options, "--out", str(tmp_path / out)]) == 0
    xr.testing.assert_identical(read_summary(tmp_path / "many" / "summary.nc"), read_summary(tmp_path / "one" / "summary.nc"))


@dataclass(frozen=True)
class Deadly:
    """A recording that ends the process that reads it."""

    kind: str = "ecg"

    def names(self):
        return ["deadly"]

    def parts(self, name):
        os._exit(1)

    def look(self, name):
        return Look(name)

    def without(self, names):
        raise AssertionError(names)


def refusal_of(work, names=("simulated ecg 00",), **where):
    with pytest.raises(Refusal) as refused:
        list(scale.recordings(work, list(names), **where))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_recording_that_ends_every_worker_is_refused(cluster, work):
    told = refusal_of(replace(work, source=Deadly()), ["deadly"], address=cluster.scheduler_address)
    assert told.startswith("every worker that measured ")


def test_a_checkpoint_that_workers_do_not_have_is_refused(cluster, work):
    told = refusal_of(replace(work, checkpoint="/nowhere/own.pth"), address=cluster.scheduler_address)
    assert told.startswith("a worker cannot load /nowhere/own.pth: no checkpoint file at /nowhere/own.pth")


def test_other_weights_are_refused(cluster, work):
    told = refusal_of(replace(work, origin=replace(work.origin, fingerprint="other")), address=cluster.scheduler_address)
    assert told == "a worker has other weights as ecg-sim than this process; give all of them the same file"


def test_other_versions_are_refused(cluster, work, monkeypatch):
    here = scale.versions()
    with pytest.raises(Refusal, match=r"this worker has torch .* \(here 0\.1\); install the same versions everywhere"):
        scale._measured(work, [], {**here, "torch": "0.1"})
    monkeypatch.setattr(scale, "_refuse_difference", lambda *given: scale_difference({**here, "numpy": "1.0"}, *given[1:]))
    told = refusal_of(work, address=cluster.scheduler_address)
    assert told.startswith("the worker tcp://")
    assert "has numpy " in told


scale_difference = scale._refuse_difference


def test_strict_refuses_on_workers_too(cluster, work):
    bad = replace(work, source=Missing(), strict=True)
    assert refusal_of(bad, ["missing"], address=cluster.scheduler_address) == "missing: it is broken"
    [block] = scale.recordings(replace(bad, strict=False), ["missing"], address=cluster.scheduler_address)
    assert block.read.notes == {"skipped missing: it is broken"}


@dataclass(frozen=True)
class Missing:
    """A recording that cannot be used."""

    kind: str = "ecg"

    def names(self):
        return ["missing"]

    def parts(self, name):
        raise Refusal("missing: it is broken")
        yield

    def look(self, name):
        return Look(name)

    def without(self, names):
        raise AssertionError(names)


@dataclass(frozen=True)
class Locked(Missing):
    """A recording that this process may not read."""

    def parts(self, name):
        raise PermissionError(13, "Permission denied", name)


def test_what_fails_in_a_task_is_not_called_a_lost_scheduler(cluster, work):
    with pytest.raises(PermissionError):
        list(scale.recordings(replace(work, source=Locked()), ["locked"], address=cluster.scheduler_address))


@pytest.mark.skipif(torch.cuda.is_available(), reason="workers here have a CUDA device")
def test_workers_compute_on_the_device_that_is_asked_for(cluster, work):
    refusal = refusal_of(replace(work, device="cuda"), address=cluster.scheduler_address)
    assert refusal.startswith("a worker cannot load ecg-sim: no CUDA device is here")


def test_a_scheduler_that_does_not_answer_is_refused(work, monkeypatch, tmp_path):
    monkeypatch.setattr(scale, "CONNECT_S", 1)
    file = tmp_path / "scheduler.json"
    expected = {"tcp://127.0.0.1:9": "no Dask scheduler answers there (", "nonsense://x": "no Dask scheduler answers there ("}
    expected[str(file)] = "there is no such scheduler file; start one with dask scheduler --scheduler-file"
    for address, message in expected.items():
        assert refusal_of(work, address=address).startswith(f"--dask {address}: {message}")
    for content, message in (
        ("none", "this is no scheduler file"),
        ('{"address": "tcp://127.0.0.1:9"}', "no Dask scheduler answers there ("),
    ):
        file.write_text(content)
        assert refusal_of(work, address=str(file)).startswith(f"--dask {file}: {message}")


def test_a_scheduler_without_workers_is_refused(work, monkeypatch):
    monkeypatch.setattr(scale, "WORKERS_S", 0.5)
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty:
        refusal = refusal_of(work, address=empty.scheduler_address)
        at = empty.scheduler_address
    assert refusal == f"the Dask scheduler at {at} has no workers, and none came within 0.5 s; start: dask worker {at}"


@pytest.mark.parametrize("come_back", [True, False])
def test_workers_may_be_lost_all_at_once(work, whole, monkeypatch, come_back):
    """Between the look at their versions and the first task, where a block's size is decided by how many there are."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=None, silence_logs=50) as cluster:

        def lost(client):
            cluster.scale(0)
            while client.nthreads():
                time.sleep(0.05)
            if come_back:
                cluster.scale(1)

        monkeypatch.setattr(scale, "_refuse_other_versions", lost)
        if come_back:
            same(gathered(list(scale.recordings(work, PEOPLE.names(), address=cluster.scheduler_address))), whole)
        else:
            monkeypatch.setattr(scale, "WORKERS_S", 0.5)
            assert refusal_of(work, address=cluster.scheduler_address).startswith("the Dask scheduler at ")


def test_a_worker_lost_while_versions_are_asked_is_no_refusal():
    class Client:
        def run(self, asked, on_error):
            return {"tcp://lost": OSError("closed"), "tcp://here": asked()}

    scale._refuse_other_versions(Client())


def test_without_dask_one_line_says_how_to_get_it(work, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert refusal_of(work, n_workers=2) == "--workers and --dask need Dask, which is not installed; pip install 'heartlens[dask]'"


def test_nothing_to_measure_starts_no_cluster(work):
    assert list(scale.recordings(work, [], n_workers=2)) == []
