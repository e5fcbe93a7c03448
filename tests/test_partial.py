"""Runs that are stopped, killed or given bad recordings: what was measured is kept, and going on gives the result of one run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from planted import random_state

from heartlens import store
from heartlens.cli import run_command
from heartlens.folder import MARKER
from heartlens.partial import Shard, shard_named
from heartlens.refusal import Refusal
from heartlens.signals.simulate import ecg
from heartlens.store import PARTIAL_TALLY, read_summary

SCAN = "heartlens.analyses.head_scan"
QUICK = ["--n-twins", "2", "--twin-windows", "2", "--n-rotations", "2", "--n-permutations", "99", "--offline", "--format", "svg"]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", "")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checkpoints, five recordings, and one that is none."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(random_state(layers=1), folder / "own.pth")
    torch.save(random_state(layers=1, seed=1), folder / "other.pth")
    (folder / "hearts").mkdir()
    for number in range(5):
        np.save(folder / "hearts" / f"{number}.npy", ecg.simulate(np.random.default_rng(number), 12.0)[0])
    (folder / "bad.npy").write_bytes(b"no array")
    return folder


def command(folder, *arguments, checkpoint="own.pth", data=("hearts",)):
    return [str(folder / checkpoint), "--data", *(str(folder / each) for each in data), "--rate", "100", *QUICK, *map(str, arguments)]


def run(folder, *arguments, **given):
    return run_command(SCAN, command(folder, *arguments, **given))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The summary of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "o"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_OFFLINE", "1")
        assert run(folder, "--out", out, "--quiet") == 0
    return read_summary(out / "summary.nc")


@pytest.fixture
def stopped(folder, monkeypatch, tmp_path, capsys):
    """A run that Ctrl-C stopped after two recordings."""
    write, saved = store.write_gathered, []

    def interrupted(*given):
        write(*given)
        saved.append(given[0].n_recordings)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("heartlens.partial.write_gathered", interrupted)
        assert run(folder, "--out", "o", "--save-every", 0) == 130
    message = "heartlens: interrupted; 2 recordings are kept in o/tally.partial.nc; --resume goes on with them"
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert {path.name for path in Path("o").iterdir()} == {PARTIAL_TALLY, MARKER}
    return Path("o")


def refused(capsys, code, message):
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.startswith("heartlens: ")
    assert said.err.count("\n") == 1, said.err
    assert message in said.err


def test_a_stopped_run_goes_on(folder, stopped, whole, capsys):
    assert run(folder, "--out", "o", "--resume") == 0
    assert "2 of 5 recordings were measured before" in capsys.readouterr().err
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)
    assert not (stopped / PARTIAL_TALLY).exists()


def test_what_a_stopped_run_saved_is_not_lost_by_accident(folder, stopped, whole, capsys):
    before = (stopped / PARTIAL_TALLY).read_bytes()
    message = "o/tally.partial.nc is what a stopped run has saved; --resume goes on with it, --overwrite starts anew"
    refused(capsys, run(folder, "--out", "o", "--quiet"), message)
    assert (stopped / PARTIAL_TALLY).read_bytes() == before
    assert run(folder, "--out", "o", "--quiet", "--overwrite") == 0
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)
    assert not (stopped / PARTIAL_TALLY).exists()


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["--n-lags", "3"], {}, "options was {"),
        (["--max-windows", "1"], {}, "data_options was {"),
        ([], {"checkpoint": "other.pth"}, "checkpoint was own.pth, now it is other.pth; --overwrite starts anew"),
        ([], {"data": ["hearts/0.npy", "hearts/1.npy"]}, "recordings_sha256 was "),
        (["--shard", "1/2"], {}, "shard was , now it is 1/2"),
    ],
)
def test_another_run_does_not_go_on_with_it(folder, stopped, capsys, arguments, given, message):
    before = (stopped / PARTIAL_TALLY).read_bytes()
    refused(capsys, run(folder, "--out", "o", "--quiet", "--resume", *arguments, **given), message)
    assert (stopped / PARTIAL_TALLY).read_bytes() == before


def test_a_partial_tally_is_no_result(folder, stopped, capsys):
    refused(
        capsys,
        run(folder, "--out", "new", "--quiet", "--add", stopped / PARTIAL_TALLY),
        "is the tally of a run that was stopped; only a finished tally.nc can be added to",
    )
    (stopped / PARTIAL_TALLY).write_bytes(b"no tally")
    refused(capsys, run(folder, "--out", "o", "--quiet", "--resume"), "o/tally.partial.nc is not a readable result")


def test_nothing_to_go_on_with(folder, whole, capsys):
    assert run(folder, "--out", "o", "--resume") == 0
    assert "no earlier run to go on with" in capsys.readouterr().err
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)


KILLED = """
import os, signal, sys
from heartlens import store
from heartlens.cli import run_command
from heartlens.folder import MARKER
replace, n_saved = store.Path.replace, 0
def killed(path, target):
    global n_saved
    if target.name != store.PARTIAL_TALLY: return replace(path, target)
    n_saved += 1
    if n_saved == 3 and {before}: os.kill(os.getpid(), signal.SIGKILL)
    replace(path, target)
    if n_saved == 3: os.kill(os.getpid(), signal.SIGKILL)
store.Path.replace = killed
run_command({module!r}, {arguments!r})
"""


@pytest.mark.parametrize(("before", "n_kept"), [(True, 2), (False, 3)], ids=["half a save", "a save"])
def test_a_killed_run_goes_on(folder, whole, tmp_path, capsys, before, n_kept):
    """SIGKILL right before, and right after, the third save is put in its place."""
    code = KILLED.format(before=before, module=SCAN, arguments=command(folder, "--out", "o", "--save-every", 0))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(store.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False, env=environment)
    assert done.returncode == -9, done.stderr
    assert run(folder, "--out", "o", "--resume") == 0
    assert f"{n_kept} of 5 recordings were measured before" in capsys.readouterr().err
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)
    assert {path.name for path in Path("o").iterdir()} == {"summary.nc", "tally.nc", "head_scan.svg", "report.html", "options.toml", MARKER}


def test_a_stop_while_twins_are_measured_keeps_all_recordings(folder, whole, monkeypatch, capsys):
    def interrupt(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("heartlens.analysis._of_twins", interrupt)
        assert run(folder, "--out", "o", "--quiet") == 130
    assert "5 recordings are kept in o/tally.partial.nc" in capsys.readouterr().err
    assert run(folder, "--out", "o", "--quiet", "--resume") == 0
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)


def test_a_bad_recording_is_left_out_and_counted(folder, capsys):
    assert run(folder, "--out", "o", data=["hearts/0.npy", "bad.npy", "hearts/1.npy"]) == 3
    said = capsys.readouterr().err
    assert f"skipped {folder}/bad.npy" in said
    assert "skipped 1: file that cannot be read" in said
    assert read_summary("o/summary.nc").attrs["n_records"] == 2


def test_strict_stops_at_a_bad_recording_and_keeps_the_others(folder, capsys):
    data = ["hearts/0.npy", "bad.npy", "hearts/1.npy"]
    assert run(folder, "--out", "o", "--quiet", "--strict", "--save-every", 0, data=data) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"heartlens: {folder}/bad.npy")
    assert said.count("\n") == 1
    assert not Path("o/summary.nc").exists()


def test_strict_leaves_nothing_where_nothing_was_measured(folder, capsys):
    refused(capsys, run(folder, "--out", "o", "--quiet", "--strict", data=["bad.npy", "hearts/1.npy"]), "bad.npy")
    assert not Path("o").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save-every", "-1"], "--save-every -1; both must be 0 or more"),
        (["--save-every", "nan"], "--save-every nan; both must be 0 or more"),
        (["--workers", "-2"], "--workers is -2"),
        (["--shard", "0/3"], "--shard 0/3: legal are 1/n to n/n, for instance 2/8"),
        (["--shard", "4/3"], "--shard 4/3: legal are"),
        (["--shard", "one"], "--shard one: legal are"),
        (["--shard", "1/9"], "--shard 1/9: there are 5 recordings, and every shard needs one; give at most 5 shards"),
        (["--workers", "2", "--dask", "tcp://x:1"], "--workers and --dask exclude each other"),
        (["--shard", "1/2", "--add", "tally.nc"], "--shard and --add exclude each other"),
    ],
)
def test_bad_options(folder, capsys, arguments, message):
    refused(capsys, run(folder, "--out", "o", "--quiet", *arguments), message)
    assert not Path("o").exists()


@pytest.mark.parametrize("option", [["--shard", "1/2"], ["--workers", "2"], ["--dask", "tcp://localhost:1"]])
def test_an_analysis_that_needs_all_recordings_says_so(folder, capsys, option):
    given = [str(folder / "own.pth"), "--data", str(folder / "hearts"), "--rate", "100", "--out", "o", "--quiet", *option]
    refused(
        capsys, run_command("heartlens.analyses.circuit", given), "Circuit looks at all recordings before it measures any, in one process"
    )


def test_shards_are_every_nth_recording_by_name():
    names = ["b", "e", "a", "d", "c"]
    parts = [Shard(number, 2).names(names) for number in (1, 2)]
    assert parts == [["a", "c", "e"], ["b", "d"]]
    assert shard_named(" 2/8 ") == Shard(2, 8)
    with pytest.raises(Refusal):
        shard_named("2/")


@pytest.mark.parametrize("place", ["heartlens.analyses.head_scan.HeadScan.plot", "heartlens.store.write_summary"])
def test_what_fails_while_a_result_is_written_keeps_all_recordings(folder, whole, monkeypatch, capsys, place):
    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(place, full)
        assert run(folder, "--out", "o", "--quiet") == 2
    assert "o cannot be written (No space left on device); name another folder with --out" in capsys.readouterr().err
    assert {path.name for path in Path("o").iterdir()} == {PARTIAL_TALLY, MARKER}
    assert run(folder, "--out", "o", "--quiet", "--resume") == 0
    xr.testing.assert_identical(read_summary("o/summary.nc"), whole)
