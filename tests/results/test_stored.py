"""The commands on stored results: each on a real result, and with input that is wrong."""

import csv
import io
import tomllib

import numpy as np
import pytest
import torch
from planted import random_state

import heartlens as hl
from heartlens.__main__ import run
from heartlens.exits import exit_code
from heartlens.signals.simulate import ecg
from heartlens.store import read_measured, read_summary, write_measured

QUICK = ["--n-twins", "2", "--twin-windows", "1", "--n-rotations", "2", "--n-permutations", "99", "--format", "svg", "--quiet"]


def heartlens(*arguments):
    return exit_code(lambda: run([str(each) for each in arguments]))


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path, cache):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setenv("HEARTLENS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, one of several in a file, and recordings in another folder."""
    folder = tmp_path_factory.mktemp("given")
    torch.save(random_state(layers=1), folder / "own.pth")
    torch.save({"model": random_state(layers=1, seed=1), "ema": random_state(layers=1)}, folder / "several.pth")
    (folder / "hearts").mkdir()
    for number in range(4):
        signal = ecg.simulate(np.random.default_rng(number), 12.0)[0]
        np.save(folder / "hearts" / f"h{number}.npy", signal)
    return folder


@pytest.fixture(scope="module")
def result(folder, cache):
    """A head scan of all recordings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEARTLENS_CACHE", str(cache))
        given = (f"{folder / 'several.pth'}#ema", folder / "hearts", "--rate", "100", "--out", folder / "out", *QUICK)
        assert heartlens("head_scan", *given) == 0
    return folder / "out"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_table_has_every_head_and_the_summarys_numbers(result, capsys):
    assert heartlens("table", result) == 0
    rows = rows_of(capsys.readouterr().out)
    summary = read_summary(result / "summary.nc")
    assert len(rows) == summary["lift"].size
    for row in rows:
        at = {"query": row["query"], "wave": row["wave"], "layer": int(row["layer"]), "head": int(row["head"])}
        assert row["part"] == f"L{at['layer'] + 1}H{at['head'] + 1}"
        assert float(row["lift"]) == summary["lift"].sel(at).item()
        assert row["attends_verdict"] == "not tested"


def test_a_table_of_records_has_the_effect_of_each_alone(result, folder, capsys):
    assert heartlens("table", result, "--of", "records") == 0
    rows = rows_of(capsys.readouterr().out)
    sums = read_measured(result / "tally.nc").tally.sums
    assert {row["record"] for row in rows} == set(map(str, sums["record"].values))
    (row,) = [row for row in rows if (row["query"], row["wave"], row["part"], row["record"][-2:]) == ("all", "QRS", "L1H2", "h3")]
    own = sums.sel(record=row["record"], query="all", wave="QRS", layer=0, head=1)
    assert float(row["lift"]) == pytest.approx(float(own["share"]) / float(own["even_share"]), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--of", "lif"], "unknown table 'lif'; did you mean 'lift'?"),
        (["--off", "lift"], "unknown option '--off'; did you mean '--of'?"),
    ],
)
def test_tables_that_are_not_there(result, given, expected, capsys):
    assert heartlens("table", result, *given) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("command", ["table", "redraw", "remake"])
def test_what_is_no_result(command, folder, tmp_path, capsys):
    for given, expected in (
        (tmp_path / "nowhere", "no such folder"),
        (folder / "own.pth", "no folder of a result"),
        (folder, "it is no result"),
    ):
        assert heartlens(command, given) == 2
        said = capsys.readouterr().err
        assert expected in said
        assert said.count("\n") == 1


def test_tables_are_listed(result, capsys):
    assert heartlens("table", result, "--list") == 0
    assert "query,wave,layer,head: " in capsys.readouterr().out


def test_redrawn_at_another_width_in_another_style(result, tmp_path, capsys):
    assert heartlens("redraw", result, "--out", "same", "--format", "svg") == 0
    assert (tmp_path / "same/head_scan.svg").read_text().endswith((result / "head_scan.svg").read_text())
    (tmp_path / "my.mplstyle").write_text("axes.prop_cycle: cycler('color', ['123456'])\naxes.linewidth: 2\n")
    assert (
        heartlens("redraw", result, "--width", "89", "--style", "my.mplstyle", "--cmap", "cividis", "--out", "o", "--format", "svg,png")
        == 0
    )
    drawn = (tmp_path / "o/head_scan.svg").read_text()
    assert f'width="{89 / 25.4 * 72:.2f}'[:10] in drawn
    assert "#123456" in drawn
    assert "#123456" not in (result / "head_scan.svg").read_text()
    assert (tmp_path / "o/head_scan.png").stat().st_size > 1000
    assert heartlens("redraw", result, "--out", "o") == 2
    assert "o holds a result; give another --out, or --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--width", "3"], "--width is 3 mm; legal: 30 to 1000"),
        (["--cmap", "virids"], "did you mean 'viridis'?"),
        (["--style", "nowhere"], "--style nowhere: no such file"),
        (["--style", "bad.mplstyle"], "--style bad.mplstyle is no matplotlib style (Bad key foo.bar"),
        (["--format", "pdf,bmp"], "unknown value 'bmp'"),
    ],
)
def test_what_cannot_be_drawn(result, given, expected, tmp_path, capsys):
    (tmp_path / "bad.mplstyle").write_text("foo.bar: 3\n")
    assert heartlens("redraw", result, "--out", "o", *given) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_remade_to_the_same_bits_from_any_folder(result, capsys):
    """The result tells no folder; where its recordings are is known from the user's cache."""
    assert heartlens("remake", result) == 0
    assert "equal bits: " in capsys.readouterr().out


def test_a_number_that_was_changed_is_told(result, tmp_path, capsys, folder):
    measured = read_measured(result / "tally.nc")
    copy = tmp_path / "changed"
    copy.mkdir()
    for name in ("summary.nc", "heartlens.json"):
        (copy / name).write_bytes((result / name).read_bytes())
    measured.tally.sums["sink_share"][:] += 0.5
    write_measured(measured, copy / "tally.nc")
    assert heartlens("remake", copy) == 1
    told = capsys.readouterr().out
    assert "largest difference 0.5, in model/sums/sink_share of tally.nc" in told


def test_other_recordings_are_told(result, folder, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "h0.npy", ecg.simulate(np.random.default_rng(9), 12.0)[0])
    (other / "several.pth").write_bytes((folder / "several.pth").read_bytes())
    assert heartlens("remake", result, "--in", other) == 2
    assert "other recordings were read" in capsys.readouterr().err
    assert heartlens("remake", result, "--in", tmp_path / "nowhere") == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_options_file_of_a_report_remakes_it(result, folder, tmp_path):
    written = tomllib.loads((result / "options.toml").read_text())
    assert (written["command"], written["rate"], written["n-twins"]) == ("head_scan", 100.0, 2)
    (folder / "hearts/several.pth").write_bytes((folder / "several.pth").read_bytes())
    try:
        assert heartlens("run", result / "options.toml", "--in", folder / "hearts", "--out", "again", "--quiet", "--format", "svg") == 0
    finally:
        (folder / "hearts/several.pth").unlink()
    first, again = (read_summary(path / "summary.nc") for path in (result, tmp_path / "again"))
    assert first.drop_attrs().identical(again.drop_attrs())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('heartlens = "9.9"\ncommand = "head_scan"\n', "of heartlens 9.9, this is "),
        ('command = "head_scan"\n', "without the line heartlens"),
        ("VERSION\nn-twin = 3\ncheckpoint = 'ecg'\ncommand = 'head_scan'\n", "unknown option '--n-twin'; did you mean '--n-twins'?"),
        ("VERSION\ncommand = 'head_scn'\n", "unknown command 'head_scn'; did you mean 'head_scan'?"),
        ("VERSION\ncheckpoint = 'ecg'\n", "names no command"),
        ("VERSION\ncommand = 'run'\n", "an options file cannot name the command run"),
        ("VERSION\ncommand = 'head_scan'\n[lead]\nx = 1\n", "lead is a table"),
        ("VERSION\nrun = 3\n", "legal are either options, or tables [[run]]"),
        ("no toml", "is no options file"),
        ("\x00\xff", "is no options file"),
    ],
)
def test_options_files_that_cannot_be_run(text, expected, tmp_path, capsys):
    (tmp_path / "options.toml").write_text(text.replace("VERSION", f'heartlens = "{hl.__version__}"'))
    assert heartlens("run", "options.toml", "--out", "o") == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert heartlens("run", "nowhere.toml") == 2
    assert "nowhere.toml: No such file or directory" in capsys.readouterr().err


def test_a_result_compared_with_itself_differs_nowhere(result, capsys):
    assert heartlens("compare", result, result) == 0
    said = capsys.readouterr()
    rows = rows_of(said.out)
    assert {row["difference"] for row in rows if row["difference"]} == {"0.0"}
    assert "4 and 4 persons or records, 4 of them in both (paired)" in said.err


def test_two_checkpoints_compared(folder, capsys):
    torch.save(random_state(layers=1, seed=1), folder / "other.pth")
    assert heartlens("compare", folder / "own.pth", folder / "other.pth", folder / "hearts", "--rate", "100") == 0
    rows = rows_of(capsys.readouterr().out)
    (row,) = [row for row in rows if row["readout"] == "cross_entropy"]
    windows = hl.read(folder / "hearts", rate_hz=100.0, kind="ecg")
    losses = [loss_of(folder / name, windows) for name in ("own.pth", "other.pth")]
    assert [float(row[name]) for name in "ab"] == pytest.approx(losses, rel=1e-4)
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert {row["weight"] for row in rows if row["effect"] == "weights"} == {"Q", "K", "V", "O"}


def loss_of(path, windows):
    """The mean cross-entropy in nats, by TransformerLens itself."""
    with torch.inference_mode():
        return float(hl.load(path, kind="ecg")(torch.from_numpy(windows.tokens.astype("int64")), return_type="loss"))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("ecg-sim", "ppg-sim", "ecg-sim reads ECG and ppg-sim reads PPG"),
        ("ecg-sim", "RESULT", "is a folder and ecg-sim is none"),
        ("ecg-sim", "ecg-smi", "unknown checkpoint 'ecg-smi'; did you mean 'ecg-sim'?"),
        ("RESULT", "FOLDER", "holds no summary.nc"),
    ],
)
def test_what_cannot_be_compared(a, b, expected, result, folder, capsys):
    given = [{"RESULT": result, "FOLDER": folder}.get(each, each) for each in (a, b)]
    assert heartlens("compare", *given, "--quiet") == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_results_of_different_analyses_are_not_compared(result, folder, tmp_path, capsys):
    given = (folder / "own.pth", folder / "hearts", "--rate", "100", "--n-twins", "0", "--quiet", "--out", "o", "--format", "svg")
    assert heartlens("previous_beat", *given) == 0
    capsys.readouterr()
    assert heartlens("compare", result, "o") == 2
    assert "is of head_scan and o of previous_beat" in capsys.readouterr().err


def test_an_options_file_whose_recordings_lie_elsewhere_names_the_option(result, capsys):
    assert heartlens("run", result / "options.toml", "--out", "o") == 2
    assert "--in names the folder" in capsys.readouterr().err
