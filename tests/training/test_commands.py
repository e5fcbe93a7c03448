"""Pre-training and fine-tuning as a user meets them: from recordings to a checkpoint every command takes, or one line that says why not."""

import csv
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from hearts import heart
from originals import tiny_state

from heartlens.axes import CONTEXT
from heartlens.checkpoints.card import read_card
from heartlens.models.load import load, read_with_card
from heartlens.privacy import record_code
from heartlens.signals.simulate import ppg
from heartlens.store import read_summary
from heartlens.training.command import run_pretrain
from heartlens.training.finetune_command import run_finetune

PRETRAIN = ["--layers", "1", "--heads", "2", "--d-model", "8", "--steps", "2", "--batch", "2", "--validation-windows", "2", "--warmup", "0"]
FINETUNE = ["--steps", "4", "--batch", "4", "--validate-every", "2", "--dropout", "0", "--folds", "2", "--stride", "500"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny checkpoint, eight labelled recordings of 12 s, and tables of labels."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(tiny_state(layers=2, heads=2, d_model=8, d_head=4, vocabulary=101, context=CONTEXT), folder / "base.pth")
    for number in range(8):
        signal = heart(number, 12.0, sharpness=101)
        table = "\n".join(f"{i / 100:.2f},{value:.6f}" for i, value in enumerate(signal))
        (folder / "hearts").mkdir(exist_ok=True)
        (folder / "hearts" / f"h{number}.csv").write_text("time_s,ecg\n" + table)
    (folder / "labels.csv").write_text("record,label\n" + "\n".join(f"h{i},{'NA'[i % 2]}" for i in range(8)))
    (folder / "events.csv").write_text("record,time_s\n" + "\n".join(f"h{i},{time}" for i in range(8) for time in (1.5, 4.0, 9.0)))
    return folder


def stay_within(folder, monkeypatch):
    """Nothing outside a folder is read, fetched or written."""
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setenv("HEARTLENS_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", "")
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    stay_within(tmp_path, monkeypatch)


def tune(folder, out, *more, task="af", labels="labels.csv", classes=("N", "A")):
    given = [str(folder / "base.pth"), "--task", task, "--data", str(folder / "hearts"), "--labels", str(folder / labels)]
    given += ["--classes", *classes] if classes else []
    return run_finetune([*given, "--out", str(out), "--device", "cpu", *FINETUNE, *more])


def tuned_once(folder, tmp_path_factory, *more):
    """The folder of a finished run, not to be changed, and what the run printed."""
    place, printed = tmp_path_factory.mktemp("finished"), io.StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(printed):
        stay_within(place, patched)
        assert tune(folder, place / "run", *more) == 0
    return place / "run", printed.getvalue()


@pytest.fixture(scope="module")
def with_folds(folder, tmp_path_factory):
    return tuned_once(folder, tmp_path_factory)


@pytest.fixture(scope="module")
def without_folds(folder, tmp_path_factory):
    return tuned_once(folder, tmp_path_factory, "--folds", "none")


@pytest.fixture
def run_without_folds(without_folds, tmp_path):
    """A copy of that run, to go on with or to replace."""
    return shutil.copytree(without_folds[0], tmp_path / "run")


def test_pretraining_on_recordings_gives_a_checkpoint(folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_pretrain(["ecg", "--data", str(folder / "hearts"), "--out", str(out), "--device", "cpu", *PRETRAIN]) == 0
    assert "best validation loss" in capsys.readouterr().out
    model = load(out / "model.safetensors")
    assert (model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_model, model.cfg.d_vocab) == (1, 2, 8, 101)
    assert model.origin.kind == "ecg"
    assert len(list(csv.DictReader((out / "losses.csv").read_text().splitlines()))) == 1
    assert {path.name for path in out.iterdir()} == {
        "options.json",
        "options.toml",
        "state.pt",
        "losses.csv",
        "losses.pdf",
        "losses.png",
        "model.safetensors",
        "command.txt",
        "heartlens.json",
    }


def test_results_are_printed_as_json(folder, tmp_path, capsys):
    assert (
        run_pretrain(["ecg", "--data", str(folder / "hearts"), "--out", str(tmp_path / "p"), "--device", "cpu", *PRETRAIN, "--json"]) == 0
    )
    printed = json.loads(capsys.readouterr().out)
    (last,) = csv.DictReader((tmp_path / "p/losses.csv").read_text().splitlines())
    assert printed["validation_loss"] == pytest.approx(float(last["validation_loss"]), rel=1e-4)
    assert printed["n_steps"] == 2
    assert tune(folder, tmp_path / "t", "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    tuned = json.loads(out)
    assert any("cross-validated" in line for line in tuned["verdict"])
    assert err == ""
    for result in (printed, tuned):
        assert result["files"][0].endswith("model.safetensors")
        assert all(Path(path).is_file() for path in result["files"])


def test_pretraining_on_an_array_of_records(tmp_path):
    np.save(tmp_path / "many.npy", np.stack([ppg.simulate(np.random.default_rng(i), 10.0)[0][:500] for i in range(6)]))
    given = ["ppg", "--data", "many.npy", "--rate", "50", "--out", "run", "--device", "cpu", "--quiet", *PRETRAIN]
    assert run_pretrain(given) == 0
    split = read_card(tmp_path / "run/model.safetensors")["split"]
    assert split["training"]["n_records"] + split["validation"]["n_records"] == 6
    assert load(tmp_path / "run/model.safetensors").cfg.d_vocab == 102


def test_pretraining_in_bfloat16(folder, tmp_path):
    given = ["ecg", "--data", str(folder / "hearts"), "--out", "run", "--device", "cpu", "--quiet", "--precision", "bfloat16", *PRETRAIN]
    assert run_pretrain(given) == 0
    assert load(tmp_path / "run/model.safetensors").W_E.dtype == torch.float32


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--d-model", "7"], "d-model is 7; it must be a multiple of the 2 heads"),
        (["--steps", "0"], "steps is 0; legal: 1 to"),
        (["--people", "1"], "people is 1; at least 2 are needed"),
        (["--learning-rate", "5"], "learning-rate is 5"),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--stepz", "3"], "unknown option '--stepz'; did you mean '--steps'"),
    ],
)
def test_pretraining_refuses(more, message, capsys, tmp_path):
    assert run_pretrain(["ecg", "--out", "run", "--device", "cpu", *PRETRAIN, *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_recordings_at_an_unknown_rate(tmp_path, capsys):
    (tmp_path / "rateless.csv").write_text("ecg\n" + "\n".join(map(str, heart(0))))
    assert run_pretrain(["ecg", "--data", "rateless.csv", "--out", "run", *PRETRAIN]) == 2
    assert "rateless.csv: missing rate" in capsys.readouterr().err


def test_a_loss_that_is_not_finite(folder, tmp_path, capsys, monkeypatch):
    from heartlens.training import pretrain

    monkeypatch.setattr(pretrain, "next_token_loss", lambda network, tokens: network(tokens).mean() * float("inf"))
    assert run_pretrain(["ecg", "--data", str(folder / "hearts"), "--out", "run", "--device", "cpu", *PRETRAIN]) == 2
    assert "step 1: the loss is" in capsys.readouterr().err


def test_fine_tuning_on_ones_own_labels(with_folds):
    run, printed = with_folds
    assert "cross-validated: window AUC" in printed
    model = load(run / "model.safetensors")
    assert model.cfg.d_vocab_out == 1
    assert model.origin.task == "atrial fibrillation (last token)"
    assert 0 < model.card["threshold"] < 1
    assert model.card["base"]["checkpoint"] == "base.pth"
    assert set(model.card["split"]["validation"]) < {record_code(f"hearts/h{i}") for i in range(8)}
    assert "record AUC" in model.card["metrics"]["cross-validated"]
    rows = list(csv.DictReader((run / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 16
    assert {row["label"] for row in rows} == {"N", "A"}
    summary = read_summary(run / "summary.nc")
    assert float(summary["calibration"].sel(part="count").sum()) == 0  # of scores by several models none is given
    page = (run / "report.html").read_text()
    assert "8 records only" in page
    assert "<svg" in page
    assert not (run / "frozen.npy").exists()


def test_fine_tuning_every_token(folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "run", task="beat", labels="events.csv", classes=None) == 0
    assert "event f1" in capsys.readouterr().out
    assert load(tmp_path / "run/model.safetensors").origin.task == "beat (every token)"


def test_fine_tuning_beside_another_checkpoint_and_without_folds(folder, without_folds, tmp_path):
    other, printed = without_folds
    assert "validation records (they chose stop and threshold)" in printed
    assert tune(folder, tmp_path / "two", "--compare", str(other / "model.safetensors"), "ecg-sim-af") == 0
    sources = read_summary(tmp_path / "two/summary.nc")["source"].values.tolist()
    assert sources[0] == "cross-validated"
    threshold = read_card(other / "model.safetensors")["threshold"]
    assert sources[1] == f"model.safetensors (threshold {threshold:g})"
    assert sources[2] == f"ecg-sim-af (threshold {read_with_card('ecg-sim-af').card['threshold']:g})"


def test_fine_tuning_goes_on_to_the_same_end(folder, with_folds, tmp_path, monkeypatch):
    from heartlens.training import judged

    undisturbed, _ = with_folds
    calls = []
    fit = judged.fit

    def stopped(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(judged, "fit", stopped)
    assert tune(folder, tmp_path / "stopped") == 130
    monkeypatch.setattr(judged, "fit", fit)
    assert tune(folder, tmp_path / "stopped", "--resume") == 0
    for name in ("predictions.csv", "losses.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (undisturbed / name).read_bytes()
    one, other = (load(run / "model.safetensors").state_dict() for run in (undisturbed, tmp_path / "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("more", "changed", "message"),
    [
        ([], {"classes": None}, "--classes is missing; give two or more different labels"),
        ([], {"classes": ("N", "N")}, "--classes is N, N"),
        ([], {"classes": ("N", "O")}, "h1: unknown label 'A'"),
        ([], {"task": "sleep"}, "task 'sleep' is new: say with --reads"),
        (["--reads", "every"], {}, "task 'af' reads last, not every"),
        (["--folds", "9"], {}, "9 folds cannot be made of 8 records; legal: 2 to 8"),
        (["--folds", "few"], {}, "folds is 'few'"),
        (["--train", "block:9.."], {}, "train is 'block:9..'; legal: head, last-block, block:N.. with N from 1 to 2, all"),
        (["--compare", "base.pth"], {}, "needed: ecg, 1"),
    ],
)
def test_fine_tuning_refuses(more, changed, message, folder, tmp_path, capsys):
    more = [str(folder / each) if each == "base.pth" else each for each in more]
    assert tune(folder, tmp_path / "run", *more, **changed) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_labels_need_recordings(folder, capsys):
    given = [str(folder / "base.pth"), "--task", "af", "--out", "run", "--labels", str(folder / "labels.csv")]
    assert run_finetune(given) == 2
    assert "--labels needs recordings" in capsys.readouterr().err


def test_a_folder_of_another_fine_tuning(folder, run_without_folds, capsys):
    assert tune(folder, run_without_folds) == 2
    assert "--resume goes on with a run, --overwrite replaces it" in capsys.readouterr().err
    assert tune(folder, run_without_folds, "--resume", "--seed", "3") == 2
    told = capsys.readouterr().err
    assert "folds was none, is 2" in told
    assert "seed was 0, is 3" in told
    assert json.loads((run_without_folds / "options.json").read_text())["folds"] == "none"


def test_an_overwritten_run_stays_until_the_new_one_is_finished(folder, run_without_folds, tmp_path, capsys, monkeypatch):
    from heartlens.training import finetune_command

    run = run_without_folds
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    def stopped(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(finetune_command, "summary_of", stopped)
        assert tune(folder, run, "--folds", "none", "--seed", "3", "--overwrite") == 130
    assert "the last save is kept in" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert tune(folder, run, "--folds", "none", "--classes", "N", "X", "--overwrite") == 2  # a new input that is refused
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert tune(folder, run, "--folds", "none", "--seed", "3", "--resume") == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert after["model.safetensors"] != before["model.safetensors"]
    assert json.loads(after["options.json"])["seed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "run"]


def test_a_run_folder_without_its_options_gives_no_old_weights(folder, run_without_folds, capsys):
    """State and checkpoint of another run, whose options are gone."""
    run = run_without_folds
    old = (run / "model.safetensors").read_bytes()
    (run / "options.json").unlink()
    assert tune(folder, run, "--folds", "none", "--seed", "3", "--resume") == 2
    assert "and no run to go on with" in capsys.readouterr().err
    assert tune(folder, run, "--folds", "none", "--seed", "3", "--overwrite") == 0
    assert (run / "model.safetensors").read_bytes() != old


def test_a_folder_of_ones_own_is_never_removed(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "options.json").write_text("{}")
    (run / "thesis.tex").write_text("mine")
    assert tune(folder, run, "--overwrite") == 2
    assert "holds options.json, thesis.tex, which this program did not write" in capsys.readouterr().err
    assert (run / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("batch", ["1000000", "100000"])
def test_a_batch_beyond_the_memory_is_refused(batch, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("heartlens.training.command.memory_bytes", lambda: 2.0**30)
    given = ["ecg", "--people", "2", "--out", str(tmp_path / "run"), "--device", "cpu", "--batch", batch]
    assert run_pretrain(given) == 2
    told = capsys.readouterr().err
    assert "batch is 1000000; legal: 1 to 100000" in told or "needs about" in told
    assert not (tmp_path / "run").exists()
