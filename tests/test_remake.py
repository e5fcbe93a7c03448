"""The command that is stored with a result remakes it; tallies of other data options, edits or counted recordings do not add up."""

import shlex

import numpy as np
import pytest
import torch
import xarray as xr
from planted import model_of, random_state

import heartlens as hl
from heartlens import store
from heartlens.analysis import measure
from heartlens.cli import parser_of, run_command
from heartlens.refusal import Refusal
from heartlens.remake import added_commands, command_of
from heartlens.signals.simulate import ecg, simulated
from heartlens.store import read_measured, read_summary

MODULE = "heartlens.analyses.head_scan"
QUICK = ["--n-twins", "2", "--twin-windows", "1", "--n-rotations", "2", "--n-permutations", "99", "--format", "svg", "--quiet"]
SCAN = hl.HeadScan(n_rotations=2, n_permutations=99, n_lags=2, n_phases=3, n_twins=2, twin_windows=1)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint beside recordings of two leads."""
    folder = tmp_path_factory.mktemp("data")
    torch.save(random_state(layers=1), folder / "own.pth")
    for number in range(3):
        (folder / "hearts").mkdir(exist_ok=True)
        signal = ecg.simulate(np.random.default_rng(number), 12.0)[0]
        rows = "\n".join(f"{index / 100:.2f},{value:.5f},{0.6 * value + 0.05 * value**2:.5f}" for index, value in enumerate(signal))
        (folder / "hearts" / f"{number}.csv").write_text(f"time,I,V5\n{rows}\n")
    return folder


def run(folder, *arguments, files=("0", "1")):
    data = [str(folder / "hearts" / f"{number}.csv") for number in files]
    return run_command(MODULE, [str(folder / "own.pth"), "--data", *data, *QUICK, *arguments])


def test_the_stored_command_gives_the_same_numbers(folder, monkeypatch):
    options = [
        "--lead",
        "V5",
        "--bandpass",
        "--max-windows",
        "1",
        "--landmarks",
        "detected",
        "--seed",
        "5",
        "--as-is",
        "--missing",
        "-32768",
    ]
    assert run(folder, *options, "--out", "first") == 0
    assert run(folder, *options, "--out", "both", "--add", "first/tally.nc", files="2") == 0
    first, both = (read_summary(f"{out}/summary.nc") for out in ("first", "both"))
    assert str(folder) not in str([first.attrs, both.attrs])
    monkeypatch.chdir(folder / "hearts")  # what holds all recordings; the checkpoint is seen from there
    for summary, out in ((first, "remade"), (both, "remade-2")):
        for command in summary.attrs["command"].split(" && "):
            program, name, *arguments = shlex.split(command)
            assert (program, name) == ("heartlens", "head_scan")
            assert run_command(MODULE, [*arguments, "--quiet", "--format", "svg"]) == 0
        xr.testing.assert_identical(read_summary(f"{out}/summary.nc").drop_attrs(), summary.drop_attrs())


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--lead", "V5"], "lead: I and V5"),
        (["--lead", "I", "--bandpass"], "bandpass: False and True"),
        (["--lead", "I", "--max-windows", "1"], "max_windows: None and 1"),
        (["--lead", "I", "--landmarks", "detected"], "landmarks: auto and detected"),
        (["--lead", "I", "--rate", "100"], "rate_hz: None and 100.0"),
        (["--lead", "I", "--as-is"], "polarity: check and as-is"),
    ],
)
def test_other_data_options_do_not_add_up(folder, options, difference, tally, capsys):
    assert run(folder, *options, "--add", str(tally), "--out", "o", files="2") == 2
    assert capsys.readouterr().err == f"heartlens: these tallies differ in data_options ({difference}) and cannot be added\n"


@pytest.fixture(scope="module")
def tally(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("tally") / "o"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_OFFLINE", "1")
        assert run(folder, "--lead", "I", "--out", str(out)) == 0
    return out / "tally.nc"


def test_what_touched_data_or_model_is_in_the_attributes(tally):
    attrs = read_measured(tally).attrs
    for name in ("lead", "rate_hz", "time_unit", "missing", "polarity", "landmarks", "bandpass", "draw", "stride", "max_windows"):
        assert f'"{name}"' in attrs["data_options"], name
    assert (attrs["engine"], attrs["device"], attrs["edits"], attrs["names"]) == ("fused", "cpu", "", "coded")
    for part in ("--lead I", "--seed 0", "--engine fused", "--device cpu", "--n-twins 2"):
        assert part in attrs["command"]


def test_edits_in_force_are_recorded_and_do_not_add_up():
    model, windows = model_of(random_state(layers=1)), simulated("ecg", 4, 1)
    intact = measure(SCAN, model, windows[:2])
    with hl.ablated(model, heads=[(0, 1)]):
        edited = measure(SCAN, model, windows[2:])
    assert edited.attrs["edits"] == "ablated L1H2, zero"
    with pytest.raises(Refusal, match="differ in edits"):
        store.add(intact, edited)
    assert measure(SCAN, model, windows[:1]).attrs["edits"] == ""
    handle = model.blocks[0].hook_resid_post.add_hook(lambda passing, hook: passing, is_permanent=True)
    assert handle is None
    assert "hooks of unknown effect at blocks.0.hook_resid_post" in measure(SCAN, model, windows[:1]).attrs["edits"]


def test_a_value_that_is_put_in_place_is_recorded():
    model, windows = model_of(random_state(layers=1)), simulated("ecg", 1, 1)
    with hl.patched(model, {"blocks.0.hook_mlp_out": torch.zeros_like}):
        told = measure(SCAN, model, windows).attrs["edits"]
    assert told == "patched blocks.0.hook_mlp_out with what zeros_like makes"


def test_additions_of_additions():
    assert added_commands(added_commands("a --out remade", "b --out remade"), "c --out remade") == (
        "a --out remade-1 && b --out remade-2 --add remade-1/tally.nc && c --out remade-3 --add remade-2/tally.nc"
    )
    assert added_commands("", "b") == ""


def test_paths_tell_no_folder_above_the_recordings(tmp_path):
    for name in ("Roe/a/1.csv", "Roe/b/1.csv", "Roe/persons.csv", "Doe/deep/own.pth"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    parser = parser_of(MODULE)
    given = [str(tmp_path / name) for name in ("Doe/deep/own.pth", "Roe/a/1.csv", "Roe/b/1.csv", "Roe/persons.csv")]
    options = parser.strict([given[0], "--data", given[1], given[2], "--persons", given[3]])
    command = command_of(parser, options, {"engine": "fused", "device": "cpu"})
    assert command.startswith("heartlens head_scan own.pth a/1.csv b/1.csv --persons persons.csv")
    assert "Roe" not in command
    assert str(tmp_path / "Roe") in command_of(parser, options, {}, keep_names=True)
