"""Shards joined are one run; shards that do not fit together are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from planted import random_state

from heartlens import merge
from heartlens.cli import run_command
from heartlens.privacy import record_code
from heartlens.signals.simulate import ecg
from heartlens.store import read_datasets, read_measured, read_summary, write_datasets

SCAN = "heartlens.analyses.head_scan"
QUICK = [
    "--n-twins",
    "2",
    "--twin-windows",
    "3",
    "--n-rotations",
    "2",
    "--n-permutations",
    "99",
    "--format",
    "svg",
    "--rate",
    "100",
    "--quiet",
]
N_SHARDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings, the run over all of them, and over each shard; of another checkpoint and other options, a shard each."""
    folder = tmp_path_factory.mktemp("shards")
    torch.save(random_state(layers=1), folder / "own.pth")
    torch.save(random_state(layers=1, seed=1), folder / "other.pth")
    (folder / "hearts").mkdir()
    for number in range(7):
        np.save(folder / "hearts" / f"{number}.npy", ecg.simulate(np.random.default_rng(number), 12.0)[0])
    np.save(folder / "hearts" / "short.npy", np.arange(100) % 7 / 7)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_OFFLINE", "1")
        assert measured(folder, "whole") == 3  # one is too short
        codes = [measured(folder, str(number), "--shard", f"{number}/{N_SHARDS}") for number in range(1, N_SHARDS + 1)]
        assert sorted(codes) == [0, 0, 3]
        measured(folder, "lags", "--shard", f"2/{N_SHARDS}", "--n-lags", "3")
        measured(folder, "model", "--shard", f"2/{N_SHARDS}", checkpoint="other.pth")
        measured(folder, "four", "--shard", "2/4")
    return folder


def measured(folder, out, *arguments, checkpoint="own.pth"):
    """By another engine than the default one, which what is joined must be measured with, too."""
    given = [str(folder / checkpoint), "--data", str(folder / "hearts"), "--engine", "torch"]
    return run_command(SCAN, [*given, *QUICK, *arguments, "--out", str(folder / out)])


def merged(folder, out, *shards, options=()):
    return merge.run_command([*(str(folder / shard) for shard in shards), "--out", str(out), "--format", "svg", "--quiet", *options])


def refused(capsys, code, *messages):
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert all(message in said.err for message in messages), said.err


def test_shards_together_are_the_whole(folder, tmp_path, capsys):
    assert merged(folder, tmp_path / "all", "3", "1/tally.nc", "2") == 3
    assert capsys.readouterr().err == ""
    whole = folder / "whole"
    xr.testing.assert_identical(read_summary(tmp_path / "all" / "summary.nc"), read_summary(whole / "summary.nc"))
    assert {path.name for path in (tmp_path / "all").iterdir()} == {path.name for path in whole.iterdir()}
    both = [read_measured(out / "tally.nc") for out in (tmp_path / "all", whole)]
    xr.testing.assert_identical(both[0].tally.sums, both[1].tally.sums)
    assert both[0].attrs == both[1].attrs
    assert both[0].twins.keys() == both[1].twins.keys()
    for name in both[0].twins:
        xr.testing.assert_identical(both[0].twins[name].sums, both[1].twins[name].sums)


def test_a_shard_has_a_tally_alone(folder):
    assert sorted(path.name for path in (folder / "1").iterdir()) == ["heartlens.json", "tally.nc"]


@pytest.mark.parametrize(
    ("shards", "messages"),
    [
        (["1", "2"], ["missing: shard 3/3; --partial joins the others"]),
        (["1", "2", "3", "2/tally.nc"], ["/2/tally.nc and ", "are both shard 2/3; give it once"]),
        (["1", "lags"], ["these tallies differ in options"]),
        (["1", "model"], ["these tallies differ in checkpoint (own.pth and other.pth)"]),
        (["1", "four"], ["is shard 2/4, and ", "is shard 1/3: these do not fit together"]),
        (["1", "whole"], ["whole/tally.nc is the tally of a finished run; give one of a shard"]),
        (["1", "nowhere"], ["no result file at "]),
        (["1", "own.pth"], ["own.pth is not a readable result"]),
    ],
)
def test_shards_that_do_not_fit(folder, tmp_path, capsys, shards, messages):
    refused(capsys, merged(folder, tmp_path / "o", *shards), *messages)
    assert not (tmp_path / "o").exists()


def changed(folder, target, of, **attrs):
    """A copy of a shard that says something else of itself."""
    parts = read_datasets(folder / of / "tally.nc")
    write_datasets({**parts, "/": parts["/"].assign_attrs(attrs)}, target)
    return target


def test_shards_of_other_versions_or_recordings_are_refused(folder, tmp_path, capsys):
    for name in ("versions", "recordings_sha256", "data_options", "checkpoint_fingerprint"):
        other = changed(folder, tmp_path / "tally.nc", "2", **{name: "other"})
        refused(capsys, merged(folder, tmp_path / "o", "1", other), f"these tallies differ in {name}")


def test_a_recording_of_two_shards_is_refused(folder, tmp_path, capsys):
    other = changed(folder, tmp_path / "tally.nc", "1", shard="2/3")
    names = ", ".join(record_code(f"hearts/{number}") for number in (0, 3, 6))
    refused(capsys, merged(folder, tmp_path / "o", "1", other), f"both tallies have counted {names}; a record counts once")


def test_missing_shards_are_told(folder, tmp_path, capsys):
    assert merged(folder, tmp_path / "o", "1", "2", options=["--partial"]) in (0, 3)
    summary = read_summary(tmp_path / "o" / "summary.nc")
    assert "only 2 of 3 shards of the recordings; missing: 3/3" in summary.attrs["data_notes"]
    assert "1 x missing shard" in summary.attrs["data_skipped"]
    assert "1 x missing shard" in (tmp_path / "o" / "report.html").read_text()


def test_the_checkpoint_that_moved_is_named(folder, tmp_path, capsys):
    moved = tmp_path / "moved.pth"
    shutil.copy(folder / "own.pth", moved)
    parts = [changed(folder, tmp_path / f"{shard}.nc", shard, checkpoint_given=str(tmp_path / "gone.pth")) for shard in "123"]
    refused(capsys, merged(folder, tmp_path / "o", *parts), "gone.pth")
    options = ["--checkpoint", str(folder / "other.pth")]
    refused(capsys, merged(folder, tmp_path / "o", *parts, options=options), "other.pth has other weights than own.pth", "--checkpoint")
    assert merged(folder, tmp_path / "o", *parts, options=["--checkpoint", str(moved)]) == 3


def test_a_result_is_not_overwritten_by_accident(folder, tmp_path, capsys):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "summary.nc").write_text("mine")
    refused(capsys, merged(folder, tmp_path / "o", "1", "2", "3"), "holds a result; give another --out, or --overwrite")


def test_a_shard_is_no_finished_tally(folder, tmp_path, capsys):
    code = measured(folder, str(tmp_path / "o"), "--add", str(folder / "1" / "tally.nc"))
    refused(capsys, code, "is the tally of shard 1/3; only a finished tally.nc can be added to")


@pytest.mark.parametrize("arguments", [[], ["--out", "o"], ["a", "--out", "o", "--partly"]])
def test_bad_arguments(capsys, arguments):
    refused(capsys, merge.run_command(arguments), "heartlens: ")
    assert not Path("o").exists()
