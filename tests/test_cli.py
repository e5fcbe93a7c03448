"""The command line as a user meets it: files and a verdict, or one line that says what is wrong and leaves nothing behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import random_state

from heartlens import session
from heartlens.checkpoints.card import write_with_card
from heartlens.cli import run_command
from heartlens.privacy import record_code
from heartlens.signals.simulate import ecg, ppg
from heartlens.store import read_measured, read_summary
from heartlens.whole import sha256_of

SCAN = "heartlens.analyses.head_scan"
QUICK = ["--n-twins", "2", "--twin-windows", "1", "--n-rotations", "4", "--n-permutations", "99", "--offline"]
FILES = {"summary.nc", "tally.nc", "head_scan.pdf", "head_scan.png", "report.html", "options.toml", "heartlens.json"}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Whatever --offline sets is undone; no cache of the user's is touched; results without --out go to the test's folder."""
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", "")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One's own checkpoint and recordings: three hearts, a pulse, and files that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(random_state(layers=1), folder / "own.pth")
    torch.save(random_state(layers=1, seed=1), folder / "other.pth")
    for number in range(3):
        table(folder / "hearts" / f"{number}.csv", "ecg", heart(number))
    table(folder / "pulse.csv", "PLETH", ppg.simulate(np.random.default_rng(0), 25.0)[0], rate_hz=50)
    gap, flat = heart(4, 30.0), heart(5, 30.0)
    gap[1200:1300], flat[1000:1700] = np.nan, flat[1000]
    table(folder / "gap.csv", "ecg", gap)
    table(folder / "flat.csv", "ecg", flat)
    table(folder / "short.csv", "ecg", heart(6)[:300])
    table(folder / "nothing.csv", "ecg", np.where(np.arange(2000) % 150 < 75, 0.0, 1e-9 * np.arange(2000) % 2))
    (folder / "rateless.csv").write_text("ecg\n" + "\n".join(map(str, heart(7))))
    (folder / "empty.csv").write_text("")
    (folder / "words.csv").write_text("ecg\none\ntwo\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)))
    (folder / "none.pth").write_bytes(b"no checkpoint")
    return folder


def heart(number, duration_s=12.0):
    return ecg.simulate(np.random.default_rng(number), duration_s)[0]


def table(path, lead, signal, rate_hz=100):
    path.parent.mkdir(exist_ok=True)
    rows = (f"{index / rate_hz:.2f},{'' if np.isnan(value) else value}" for index, value in enumerate(signal))
    path.write_text(f"time,{lead}\n" + "\n".join(rows) + "\n")


def run(folder, *arguments, checkpoint="own.pth"):
    """The exit code; names that are files of the folder are taken from there."""
    given = [str(folder / each) if (folder / each).exists() and each else each for each in map(str, (checkpoint, *arguments))]
    return run_command(SCAN, [*given, *QUICK])


@pytest.fixture(scope="module")
def yesterday(folder, tmp_path_factory):
    """A finished scan of the first two hearts, and what it said."""
    out = tmp_path_factory.mktemp("results") / "yesterday"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_OFFLINE", "1")
        assert run(folder, "--data", "hearts/0.csv", "hearts/1.csv", "--out", out, "--quiet") == 0
    return out


def test_all_files_are_written(yesterday):
    assert {path.name for path in yesterday.iterdir()} == FILES
    summary = read_summary(yesterday / "summary.nc")
    assert (summary.attrs["n_records"], summary.attrs["n_windows"]) == (2, 4)
    assert summary.attrs["data_is_simulated"] == 0
    assert json.loads(summary.attrs["options"])["n_twins"] == 2
    assert "own.pth" in (yesterday / "report.html").read_text()


def test_the_verdict_is_on_stdout_and_the_rest_on_stderr(folder, capsys):
    assert run(folder, "--out", "o", "--format", "svg") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Of 6 questions (2 heads x 3 waves): 6 not tested")
    assert "10 windows of 10 records" in said.err
    assert "written: o/summary.nc" in said.err


def test_several_rhythms_are_simulated_as_several_people(folder, capsys):
    assert run(folder, "--out", "o", "--format", "svg", "--simulate", "af", "sinus", "af") == 0
    assert "20 windows of 20 records" in capsys.readouterr().err
    measured = read_measured(Path("o/tally.nc"))
    assert measured.tally.records == sorted(f"simulated ecg {n:02d}{rhythm}" for n in range(10) for rhythm in (" af", ""))
    assert measured.attrs["data_is_simulated"] == 1


def test_json_is_all_of_stdout_and_quiet_is_quiet(folder, capsys, tmp_path):
    assert run(folder, "--data", "hearts/2.csv", "--json", "--quiet", "--format", "svg", "svg") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert said.err == ""
    assert (told["n_records"], told["n_windows"], told["checkpoint"]) == (1, 2, "own.pth")
    assert {"verdict", "rows", "cautions", "files"} <= set(told)
    assert {path.name for path in (tmp_path / "out" / "head_scan-own").iterdir()} == {
        "summary.nc",
        "tally.nc",
        "head_scan.svg",
        "report.html",
        "options.toml",
        "heartlens.json",
    }
    assert all((tmp_path / file).is_file() for file in told["files"])


def test_yesterdays_tally_is_added(folder, yesterday, tmp_path):
    assert run(folder, "--data", "hearts/2.csv", "--add", yesterday / "tally.nc", "--out", "o", "--quiet", "--format", "svg") == 0
    both = read_measured(tmp_path / "o" / "tally.nc")
    assert both.tally.records == [record_code(f"hearts/{number}") for number in range(3)]
    assert len(both.attrs["data_sources"].splitlines()) == 3
    assert read_summary(tmp_path / "o" / "summary.nc").attrs["n_records"] == 3


def test_overwriting(folder, yesterday, tmp_path, capsys):
    shutil.copytree(yesterday, tmp_path / "o")
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    arguments = ("--data", "hearts/2.csv", "--out", "o", "--format", "pdf", "--quiet")
    refused(capsys, run(folder, *arguments), "o holds a result; give another --out, or --overwrite")
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    assert run(folder, *arguments, "--overwrite") == 0
    after = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    assert set(after) == FILES - {"head_scan.png"}  # a result is of one run
    assert {name for name, content in after.items() if content == before[name]} == set()


def test_forced(folder, capsys):
    assert run(folder, "--data", "pulse.csv", "--force", "--out", "o", "--format", "svg") == 0
    assert "foot: " in capsys.readouterr().out


def test_part_of_the_recordings(folder, capsys):
    code = run(folder, "--data", "hearts/0.csv", "short.csv", "--out", "o", "--format", "svg")
    said = capsys.readouterr()
    assert code == 3
    assert "skipped 1: recording without a usable window" in said.err
    assert "short.csv" in said.err
    assert "1 records" in said.out


@pytest.mark.parametrize(("file", "reason"), [("gap.csv", "missing samples"), ("flat.csv", "flat window")])
def test_what_is_missing_or_flat_is_counted(folder, capsys, file, reason, tmp_path):
    assert run(folder, "--data", file, "--out", "o", "--format", "svg") == 0
    lost = int(capsys.readouterr().err.split(f": {reason}")[0].split()[-1])
    kept = read_summary(tmp_path / "o" / "summary.nc")
    assert lost >= 1
    assert lost + kept.attrs["n_windows"] == 6  # 30 s
    assert f"{lost} x {reason}" in kept.attrs["data_skipped"]


def test_interrupted(folder, capsys, monkeypatch, tmp_path):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "measure", interrupt)
    assert run(folder, "--out", "o") == 130
    assert capsys.readouterr().err == "heartlens: interrupted; nothing was written\n"
    assert not (tmp_path / "o").exists()


def refused(capsys, code, message):
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.startswith("heartlens: ")
    assert said.err.count("\n") == 1, said.err
    assert message in said.err


BAD_OPTIONS = {
    "two sources": (["--data", "hearts/0.csv", "--simulate", "af"], "--data and --simulate exclude each other; give one of them"),
    "no rhythm": (["--simulate", "waltz"], "argument --simulate: unknown value 'waltz'; legal: sinus, af, ectopy"),
    "unknown option": (["--n-twin", "3"], "unknown option '--n-twin'; did you mean '--n-twins'?"),
    "stray argument": (["stray"], "'stray': no path that can be opened (stray: no such file or folder)"),
    "below its range": (["--n-lags", "0"], "n-lags is 0; legal: 1 to 50"),
    "above its range": (["--seed", "-1"], "seed is -1; legal: 0 to 2147483648"),
    "not a number": (["--n-lags", "few"], "argument --n-lags: invalid int value: 'few'"),
    "no choice": (["--variant", "publishd"], "unknown --variant 'publishd'; did you mean 'published'?"),
    "no value": (["--lead"], "argument --lead: expected one argument"),
    "no format": (["--format", "bmp"], "argument --format: unknown value 'bmp'; legal: pdf, svg, png"),
    "no landmarks": (["--data", "hearts/0.csv", "--landmarks", "detcted"], "did you mean 'detected'?"),
    "no device": (["--device", "tpu"], "unknown --device 'tpu'; did you mean 'cpu'?"),
    "no windows": (["--data", "hearts/0.csv", "--max-windows", "0"], "max_windows is 0; it must be at least 1"),
    "negative rate": (["--data", "rateless.csv", "--rate", "-5"], "it must be a positive number"),
}
BAD_DATA = {
    "pulses for hearts": (["pulse.csv"], "own.pth reads ECG, the windows are PPG"),
    "empty": (["empty.csv"], "empty.csv: the file is empty"),
    "words": (["words.csv"], "words.csv: ecg holds 'one', which is not a number"),
    "binary": (["binary.csv"], "binary.csv: "),
    "missing": (["nowhere.csv"], "nowhere.csv: no such file or folder"),
    "empty pattern": (["nowhere/*.csv"], "nowhere/*.csv: the pattern matches no file that a reader knows"),
    "unknown lead": (["hearts/0.csv", "--lead", "V9"], "unknown lead 'V9'; legal: ecg"),
    "missing rate": (["rateless.csv"], "rateless.csv: missing rate; "),
    "too short": (["short.csv"], "the recording lasts 3.00 s; a window needs 5 s"),
    "no signal": (["nothing.csv"], "nothing.csv: ecg rises from first to last sample"),
    "no reader": (["own.pth"], "no reader for .pth"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options(folder, capsys, tmp_path, arguments, message):
    refused(capsys, run(folder, *arguments, "--out", "o", "--quiet"), message)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("arguments", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_recordings(folder, capsys, tmp_path, arguments, message):
    refused(capsys, run(folder, "--data", *arguments, "--out", "o", "--quiet"), message)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("ecgg", "unknown checkpoint 'ecgg'; did you mean 'ecg'?"),
        ("nowhere.pth", "no checkpoint file at nowhere.pth"),
        ("none.pth", "none.pth does not hold a state dict"),
        ("ecgpt-560k", "ecgpt-560k is not on this machine and downloads are off"),
        ("ecg --published-only", "ecgpt-560k is not on this machine and downloads are off"),
        ("ecg-sim --published-only", "ecg-sim is no published checkpoint, and only those were asked for"),
    ],
)
def test_bad_checkpoints(folder, capsys, tmp_path, checkpoint, message):
    name, *options = checkpoint.split()
    refused(capsys, run(folder, *options, "--out", "o", "--quiet", checkpoint=name), message)
    assert not (tmp_path / "o").exists()


def test_an_alias_that_means_the_embedded_checkpoint_says_so_once_though_quiet(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("heartlens.checkpoints.fetch.EMBEDDED_FOLDER", tmp_path)
    monkeypatch.setattr("heartlens.models.load.SAID", set())
    card = {"name": "ecg-sim", "kind": "ecg", "task": None, "threshold": None, "licence": "MIT", "citation": ""}
    write_with_card(random_state(layers=1), tmp_path / "ecg-sim.safetensors", card)
    assert run(folder, "--data", "hearts/2.csv", "--out", "o", "--quiet", "--json", "--format", "svg", checkpoint="ecg") == 0
    said, sha256 = capsys.readouterr(), sha256_of(tmp_path / "ecg-sim.safetensors")
    assert said.err.startswith("heartlens: 'ecg' is now the embedded ecg-sim, trained on simulated signals only, because ecgpt-560k is not")
    assert said.err.count("\n") == 1
    told = json.loads(said.out)
    assert (told["checkpoint"], told["checkpoint_sha256"]) == ("ecg-sim", sha256)
    assert read_summary(tmp_path / "o" / "summary.nc").attrs["checkpoint_sha256"] == sha256
    assert f"ecg-sim ({told['checkpoint_fingerprint'][:8]})" in (tmp_path / "o" / "head_scan.svg").read_text()
    page = (tmp_path / "o" / "report.html").read_text()
    assert "ecg-sim" in page
    assert sha256 in page


def test_no_checkpoint_at_all(capsys):
    refused(capsys, run_command(SCAN, []), "the following arguments are required: checkpoint; see --help")


def test_results_cannot_go_into_a_file(folder, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(capsys, run(folder, "--out", "file", "--quiet"), "file is a file; --out names a folder")
    refused(capsys, run(folder, "--out", "file/below", "--quiet"), "file/below cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unwritable_folder_is_told_before_anything_is_measured(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "measure", lambda *given: pytest.fail("measured"))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    refused(capsys, run(folder, "--out", "deep/o"), "deep/o cannot be written; name another folder with --out")
    assert not (tmp_path / "deep").exists()


def test_a_disk_that_fills_up(folder, capsys, monkeypatch, tmp_path):
    def full(*given, **options):
        raise OSError(28, "No space left on device")

    for module in ("store", "netcdf"):
        monkeypatch.setattr(f"heartlens.{module}.write_whole", full)
    refused(capsys, run(folder, "--data", "hearts/2.csv", "--out", "o", "--quiet"), "o cannot be written (No space left on device)")
    assert not (tmp_path / "o").exists()


def test_tallies_that_cannot_be_added(folder, yesterday, capsys, tmp_path):
    tally, new = yesterday / "tally.nc", ("--data", "hearts/2.csv", "--out", "o", "--quiet", "--add")
    refused(capsys, run(folder, *new, "nowhere.nc"), "no result file at nowhere.nc")
    refused(capsys, run(folder, *new, yesterday / "summary.nc"), "holds no tallies; give a tally.nc")
    refused(capsys, run(folder, *new, tally, checkpoint="other.pth"), "these tallies differ in checkpoint (own.pth and other.pth)")
    refused(capsys, run(folder, *new, tally, "--n-lags", "3"), "these tallies differ in options")
    again = ("--data", "hearts/0.csv", "--out", "o", "--quiet", "--add", tally)
    refused(capsys, run(folder, *again), "the tally has counted all of these recordings; a recording counts once")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_help_and_version(asked, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(SCAN, [asked])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert ("--n-twins" in told and "(default: 20)" in told) if asked == "--help" else told.startswith("heartlens ")
