"""The models at work, from the command line on files, against the original program's outputs and against the functions they call."""

import csv
import json
import shlex
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import heartlens as hl
from heartlens.__main__ import analyses
from heartlens.__main__ import main as heartlens_command
from heartlens.engine.generation import generated
from heartlens.signals.prepare import bandpass
from heartlens.signals.simulate import ppg
from heartlens.signals.tokens import tokenise
from heartlens.tasks import attention, beats, classify, generate, similarity, tokenize, what_if


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def examples(shared):
    return shared / "heartgpt/Example_inputs"


@pytest.mark.parametrize(
    ("checkpoint", "rate", "example", "expected"),
    [("ecg-af", "100", "ECG", 0.0124), ("ecg-af", "100", "ECG_AFib1", 0.9914), ("ppg-af", "50", "PPG_AFib3", 0.9867)],
)
def test_probabilities_of_the_published_examples_are_the_published_ones(examples, tmp_path, checkpoint, rate, example, expected):
    source = str(examples / f"example_context_{example}.csv")
    assert classify.run_command([checkpoint, source, "--rate", rate, "--published-only", "--no-page", "--out", str(tmp_path)]) == 0
    (row,) = rows_of(tmp_path / "records.csv")
    assert round(float(row["probability"]), 4) == expected
    assert row["class"] == ""


def test_a_what_if_without_a_sham_says_why(recordings, tmp_path, capsys):
    """All four MLPs of the model are taken away, so no others are left."""
    edits = ",".join(f"ablate:MLP{layer}" for layer in range(1, 5))
    given = ["ecg-sim-af", str(recordings / "p0.npy"), "--rate", "100", "--at", "5", "--edits", edits, "--out", str(tmp_path / "out")]
    assert what_if.run_command(given) == 0
    reason = "4 of 4 MLPs are taken away, so as many others are not left for a sham"
    assert f"there is no sham of this ({reason})." in capsys.readouterr().out


def test_what_cannot_be_used_is_a_row_with_its_reason_and_persons_are_counted(recordings, tmp_path, capsys):
    given = ["ecg-sim-af", str(recordings), "--rate", "100", "--person", "(p)[0-9]", "--keep-names", "--out", str(tmp_path / "out")]
    assert classify.run_command(given) == 3
    rows = {row["record"].split("/")[-1]: row for row in rows_of(tmp_path / "out/records.csv")}
    assert rows["flat"]["probability"] == ""
    assert rows["flat"]["reason"]
    windows = rows_of(tmp_path / "out/windows.csv")
    own = [float(row["probability"]) for row in windows if row["record"].endswith("p1")]
    assert float(rows["p1"]["probability"]) == pytest.approx(np.mean(own), abs=1e-4)
    (person,) = rows_of(tmp_path / "out/persons.csv")
    assert (person["person"], person["n_records"], int(person["n_windows"])) == ("p", "3", len(windows))
    assert "not a medical device" in capsys.readouterr().err


@pytest.mark.parametrize("keeps", [False, True])
def test_tables_name_persons_and_folders_only_where_that_is_asked_for(recordings, tmp_path, capsys, keeps):
    (tmp_path / "persons.csv").write_text("record,person\np0,Ottoline Zork\np1,Ottoline Zork\np2,Bob Zork\nflat,Bob Zork\n")
    np.save(recordings / "zcopy.npy", np.load(recordings / "p0.npy"))
    given = ["ecg-sim-af", str(recordings), "--rate", "100", "--persons", str(tmp_path / "persons.csv"), "--out", str(tmp_path / "out")]
    assert classify.run_command([*given, *["--keep-names"] * keeps]) == 3
    written = "".join(path.read_text() for path in (tmp_path / "out").glob("*.csv"))
    assert all((name in written) == keeps for name in ("Ottoline Zork", "Bob Zork", "in/p0"))
    assert len(rows_of(tmp_path / "out/persons.csv")) == 2
    assert "the same recording as" in written


def test_labels_choose_the_threshold(recordings, tmp_path, capsys):
    labelled = ["--labels", str(tmp_path / "labels.csv"), "--classes", "N", "A"]
    given = ["ecg-sim-af", str(recordings), "--rate", "100", *labelled, "--out", str(tmp_path / "out")]
    assert classify.run_command(given) == 3
    assert "chosen on 3 labelled recordings" in capsys.readouterr().out
    assert {row["class"] for row in rows_of(tmp_path / "out/records.csv") if not row["reason"]} <= {"yes", "no"}


def test_a_result_is_kept_and_what_is_foreign_refused(recordings, tmp_path, capsys):
    given = ["ecg-sim-af", str(recordings / "p0.npy"), "--rate", "100", "--no-page", "--out", str(tmp_path / "out")]
    assert classify.run_command(given) == 0
    assert classify.run_command(given) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert classify.run_command([*given, "--overwrite", "--format", "svg"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("classify.*")) == ["classify.svg"]
    (tmp_path / "out/mine.txt").write_text("mine")
    assert classify.run_command([*given, "--overwrite"]) == 2
    assert "mine.txt" in capsys.readouterr().err


def test_a_run_that_fails_leaves_the_earlier_result(recordings, tmp_path, monkeypatch, capsys):
    given = ["ecg-sim-af", str(recordings / "p0.npy"), "--rate", "100", "--no-page", "--format", "svg", "--out", str(tmp_path / "out")]
    assert classify.run_command(given) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("heartlens.tasks.command.write_text", full)
    assert classify.run_command([*given, "--overwrite"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


COMMANDS = [
    ("classify", ["ecg-sim-af"], ["--stride", "250", "--no-page"]),
    ("generate", ["ecg-sim"], ["--n", "10", "--samples", "2", "--ablate", "L4H3", "--context", "400"]),
    ("attention", ["ecg-sim-af"], ["--head", "L4H2", "--token", "300", "--at", "2.5", "--change"]),
    ("similarity", ["ecg-sim"], ["--reference", "200", "--window", "2"]),
    ("tokenize", ["ecg"], ["--last"]),
]


@pytest.mark.parametrize(("name", "checkpoint", "options"), COMMANDS, ids=[name for name, *_ in COMMANDS])
def test_a_result_is_remade_by_its_command_in_the_folder_of_the_recordings(recordings, tmp_path, monkeypatch, name, checkpoint, options):
    module = import_module(f"heartlens.tasks.{name}")
    given = [*checkpoint, str(recordings / "p1.npy"), "--rate", "100", *options, "--format", "svg", "--quiet"]
    assert module.run_command([*given, "--out", str(tmp_path / "out")]) == 0
    summary = hl.read_summary(tmp_path / "out/summary.nc")
    program, task, *arguments = shlex.split(summary.attrs["command"])
    assert (program, task, summary.attrs["analysis"]) == ("heartlens", name, name)
    assert str(tmp_path) not in str(summary.attrs)
    if checkpoint != ["ecg"]:
        assert len(summary.attrs["checkpoint_fingerprint"]) == 64
    monkeypatch.chdir(recordings)
    assert module.run_command([*arguments, "--format", "svg"]) == 0
    for path in (tmp_path / "out").iterdir():
        if path.suffix in (".csv", ".svg"):
            assert (recordings / "remade" / path.name).read_bytes() == path.read_bytes()
    assert "not a medical device" in (tmp_path / "out/report.html").read_text().lower()
    remade = hl.read_summary(recordings / "remade/summary.nc")
    assert remade.drop_attrs().equals(summary.drop_attrs())


def test_findings_are_printed_as_json(recordings, tmp_path, capsys):
    given = ["ecg-sim-af", str(recordings), "--rate", "100", "--json", "--out", str(tmp_path / "out")]
    assert classify.run_command(given) == 3
    printed = json.loads(capsys.readouterr().out)
    assert [row["record"].split("/")[-1] for row in printed["rows"]] == ["flat", "p0", "p1", "p2"]
    assert all(Path(path).is_file() for path in printed["files"])


def test_the_page_of_one_recording_says_what_moves_its_logit(recordings, tmp_path, capsys):
    """The parts add up to the mean logit of the windows, and each edit is counted on the windows it was possible in."""
    given = ["ecg-sim-af", str(recordings / "p1.npy"), "--rate", "100", "--out", str(tmp_path / "out"), "--threshold", "0.5"]
    assert classify.run_command(given) == 0
    summary = hl.read_summary(tmp_path / "out/summary.nc")
    parts = sum(float(summary[name].sum()) for name in summary if name.startswith("direct"))
    assert parts == pytest.approx(float(summary["logit"].mean()), abs=1e-4)
    assert {"P waves removed", "rhythm made regular"} <= set(summary["edit"].values)
    assert np.isfinite(summary["logit_change"].sel(edit="rhythm made irregular")).sum() > 0
    page = (tmp_path / "out/report.html").read_text()
    assert "point estimates" in page
    assert "Mean change of the logit" in page


def test_a_table_of_labels_in_the_folder_is_no_recording(recordings, tmp_path):
    (recordings / "labels.csv").write_text("p0,N\np1,A\np2,A\n")
    labelled = ["--labels", str(recordings / "labels.csv"), "--classes", "N", "A"]
    assert classify.run_command(["ecg-sim-af", str(recordings), "--rate", "100", *labelled, "--out", str(tmp_path / "out")]) == 3
    assert [row["record"].split("/")[-1] for row in rows_of(tmp_path / "out/records.csv")] == ["flat", "p0", "p1", "p2"]


def test_windows_as_read_are_those_of_read(recordings, tmp_path):
    given = ["ecg", str(recordings / "p0.npy"), "--rate", "100", "--max-windows", "3", "--out", str(tmp_path / "out")]
    assert tokenize.run_command(given) == 0
    windows = hl.read(recordings / "p0.npy", rate_hz=100.0, kind="ecg", max_windows=3)
    stored = np.load(tmp_path / "out/tokens.npz")
    assert np.array_equal(stored["tokens"], windows.tokens)
    assert np.array_equal(stored["start_s"], windows.start_s)
    row = rows_of(tmp_path / "out/tokens.csv")[1]
    assert [int(row[f"token_{place + 1}"]) for place in range(500)] == windows.tokens[1].tolist()
    assert "as heartlens.read cuts them" in hl.read_summary(tmp_path / "out/summary.nc").attrs["which"]


@pytest.mark.parametrize(
    ("module", "given", "expected"),
    [
        (classify, ["ecg-sim"], "has no task head that gives one answer for a window"),
        (beats, ["ecg-sim-af"], "does not find beats"),
        (classify, ["ecg-sim-af", "--stride", "0"], "--stride is 0"),
        (classify, ["ecg-sim-af", "--labels", "x.csv"], "--classes"),
        (generate, ["ecg-sim", "--ablate", "H5"], "names no part"),
        (generate, ["ecg-sim", "--ablate", "L4H5"], "heads 1 to 4"),
        (generate, ["ecg-sim", "--context", "501"], "legal: 2 to 500"),
        (generate, ["ecg-sim", "--n", "0"], "legal: 1 to"),
        (generate, ["ecg-sim-af", "--n", "2"], "give its base"),
        (classify, ["ecg-sim-af", "--threshold", "1.5"], "from 0 to 1"),
        (attention, ["ecg-sim", "--head", "L9H1"], "layers 1 to 4"),
        (attention, ["ecg-sim", "--head", "5"], "give a head as L4H5"),
        (attention, ["ecg-sim", "--sum", "--layer", "2"], "without --layer"),
        (attention, ["ecg-sim", "--token", "501"], "tokens count from 1 to 500"),
        (attention, ["ecg-sim", "--at", "26"], "can begin at 0 to 25 s"),
        (attention, ["ecg-sim", "--at", "nan"], "can begin at 0 to 25 s"),
        (attention, ["ecg-sim", "--window", "7"], "the windows 1 to 6"),
        (attention, ["ecg-sim", "--change"], "fine-tuned"),
        (similarity, ["ecg-sim", "--reference", "0"], "tokens count from 1 to 500"),
        (similarity, ["ecg-sim", "--others", "1,x"], "--others"),
        (tokenize, ["ecg", "--last", "--stride", "100"], "--last"),
    ],
)
def test_what_is_refused(recordings, tmp_path, capsys, module, given, expected):
    checkpoint, *options = given
    assert module.run_command([checkpoint, str(recordings / "p0.npy"), "--rate", "100", "--out", str(tmp_path / "o"), *options]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_no_recordings_is_said(capsys):
    assert beats.run_command(["ppg-sim-beat"]) == 2
    assert "no recordings are given" in capsys.readouterr().err


@pytest.mark.parametrize("ablate", [None, "L4H3,MLP2"])
def test_a_signal_goes_on_as_the_published_loop_draws(recordings, tmp_path, ablate):
    source = recordings / "p0.npy"
    given = ["ecg-sim", str(source), "--rate", "100", "--n", "20", "--samples", "2", "--seed", "1", "--out", str(tmp_path / "out")]
    assert generate.run_command([*given, *(["--ablate", ablate] if ablate else [])]) == 0
    rows = rows_of(tmp_path / "out/generated.csv")
    tokens = np.array([int(row["token"]) for row in rows]).reshape(2, 20)
    samples, model = np.load(source), hl.load("ecg-sim")
    context = tokenise(samples.astype(np.float32))[None]
    if ablate:
        with hl.ablated(model, heads=[(3, 2)], mlps=[1]) as edited:
            expected = generated(edited, context, 20, seed=1, n_samples=2)
    else:
        expected = generated(model, context, 20, seed=1, n_samples=2)
    assert tokens.tolist() == expected[0].tolist()
    low, high = samples[-500:].min(), samples[-500:].max()
    assert float(rows[0]["height"]) == pytest.approx(low + tokens[0, 0] / 100 * (high - low), rel=1e-4)
    assert float(rows[0]["time_s"]) == pytest.approx(30.0)
    assert (tmp_path / "out/generate.png").stat().st_size > 1000


def test_beats_of_a_simulated_pulse_after_a_gap(tmp_path, capsys):
    """Times count from the recording's start, and no interval reaches over the gap."""
    signal = ppg.simulate(np.random.default_rng(0), 60.0)[0].copy()
    signal[1000:1500] = np.nan
    np.save(tmp_path / "pulse.npy", signal)
    assert beats.run_command(["ppg-sim-beat", str(tmp_path / "pulse.npy"), "--rate", "50", "--out", str(tmp_path / "o")]) == 0
    rows = rows_of(tmp_path / "o/beats.csv")
    times = np.array([float(row["time_s"]) for row in rows])
    assert not ((times > 20.0) & (times < 30.0)).any()
    after = rows[int(np.searchsorted(times, 30.0))]
    assert after["interval_s"] == ""
    assert "beats in 50 of 60 s" in capsys.readouterr().out


def test_no_interval_reaches_over_a_short_gap_either(tmp_path):
    """One second, more than is bridged and as long as many an interval: the beats beside it are no neighbours."""
    signal = ppg.simulate(np.random.default_rng(0), 60.0)[0].copy()
    signal[1500:1550] = np.nan
    np.save(tmp_path / "pulse.npy", signal)
    assert beats.run_command(["ppg-sim-beat", str(tmp_path / "pulse.npy"), "--rate", "50", "--out", str(tmp_path / "o")]) == 0
    rows = rows_of(tmp_path / "o/beats.csv")
    first_after = next(row for row in rows if float(row["time_s"]) >= 31.0)
    assert [row["time_s"] for row in rows if row["interval_s"] == ""] == [rows[0]["time_s"], first_after["time_s"]]


def test_one_command_lists_and_runs_everything(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["heartlens"])
    with pytest.raises(SystemExit) as ended:
        heartlens_command()
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert all(
        f"\n  {name} " in listed
        for name in (*analyses(), "classify", "beats", "generate", "attention", "similarity", "tokenize", "finetune", "paper")
    )
    monkeypatch.setattr(sys, "argv", ["heartlens", "clasify"])
    with pytest.raises(SystemExit) as ended:
        heartlens_command()
    assert ended.value.code == 2
    assert "classify" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["classify", "tokenize", "head_scan", "previous_beat", "finetune", "merge"])
def test_each_command_of_the_family_has_its_help(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["heartlens", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        heartlens_command()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_band_is_filtered_before_anything_is_tokenised(recordings, tmp_path):
    samples = np.load(recordings / "p0.npy") + 5 * np.sin(np.arange(3000) / 300)
    np.save(tmp_path / "drift.npy", samples)
    given = ["ecg", str(tmp_path / "drift.npy"), "--rate", "100", "--last", "--as-is", "--bandpass", "--out", str(tmp_path / "out")]
    assert tokenize.run_command(given) == 0
    filtered = bandpass(samples, 100.0, "ecg").astype(np.float32)
    assert np.load(tmp_path / "out/tokens.npz")["tokens"][0].tolist() == tokenise(filtered).tolist()
    assert json.loads(hl.read_summary(tmp_path / "out/summary.nc").attrs["data_options"])["bandpass"] is True


def test_a_detector_that_is_unsure_names_the_filter(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "pulse.npy", ppg.simulate(np.random.default_rng(0), 20.0)[0])
    monkeypatch.setattr("heartlens.tasks.beats.detect.probabilities", lambda subject, tokens: np.float32(0.2) * (tokens > 95))
    given = ["ppg-sim-beat", str(tmp_path / "pulse.npy"), "--rate", "50", "--format", "svg", "--out", str(tmp_path / "o")]
    assert beats.run_command(given) == 0
    assert "unsure in 1 of 1 recordings; it learnt from filtered pulses: try --bandpass" in capsys.readouterr().out
    assert beats.run_command([*given, "--bandpass", "--overwrite"]) == 0
    assert "try --bandpass" not in capsys.readouterr().out


def test_a_recording_without_a_beat_has_no_numbers(tmp_path, monkeypatch):
    np.save(tmp_path / "pulse.npy", ppg.simulate(np.random.default_rng(0), 20.0)[0])
    monkeypatch.setattr("heartlens.tasks.beats.detect.probabilities", lambda subject, tokens: np.zeros(tokens.shape, np.float32))
    given = ["ppg-sim-beat", str(tmp_path / "pulse.npy"), "--rate", "50", "--mat", "--annotations", "--out", str(tmp_path / "o")]
    assert beats.run_command(given) == 0
    (row,) = rows_of(tmp_path / "o/records.csv")
    assert (row["n_beats"], row["mean_confidence"], row["reason"]) == ("0", "", "")
    assert rows_of(tmp_path / "o/beats.csv") == []
