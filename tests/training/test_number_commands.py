"""Numbers, several labels and other windows as a user meets them: fine-tuned, loaded, applied, resumed, or refused in one line."""

import csv

import numpy as np
import pytest
import torch
from hearts import heart
from originals import tiny_state

from heartlens.axes import CONTEXT
from heartlens.checkpoints.card import read_card
from heartlens.models.load import load
from heartlens.models.pairs import base_of
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.store import read_summary
from heartlens.tasks.classify import run_command as classify
from heartlens.tasks.estimate import run_command as estimate
from heartlens.training.finetune_command import run_finetune

N = 12
SHORT = ["--steps", "4", "--batch", "4", "--validate-every", "2", "--dropout", "0", "--folds", "2", "--stride", "500", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny checkpoint, recordings of 12 s, and tables of targets and labels."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(tiny_state(layers=2, heads=2, d_model=8, d_head=4, vocabulary=101, context=CONTEXT), folder / "base.pth")
    (folder / "hearts").mkdir()
    for number in range(N):
        table = "\n".join(f"{i / 100:.2f},{value:.6f}" for i, value in enumerate(heart(number, 12.0, sharpness=101)))
        (folder / "hearts" / f"h{number}.csv").write_text("time_s,ecg\n" + table)
    rate = [60 * np.random.default_rng(number).uniform(0.9, 1.4) for number in range(N)]
    write = {
        "whole.csv": ["record,hr_bpm,age_years", *(f"h{i},{bpm:.3f},{30 + i}" for i, bpm in enumerate(rate))],
        "timed.csv": ["record,time_s,hr_bpm", *(f"h{i},{t},{bpm + t:.3f}" for i, bpm in enumerate(rate) for t in (5, 8, 11))],
        "two.csv": ["record,start_s,hr_bpm", *(f"h{i},{t},{bpm + t:.3f}" for i, bpm in enumerate(rate) for t in range(0, 10, 2))],
        "raw.csv": ["record,time_s,abp_raw", *(f"h{i},{t},{1000 * i + t}" for i in range(N) for t in (5, 8, 11))],
        "labels.csv": ["record,af,ectopy", *(f"h{i},{'yes' if i % 2 else 'no'},{int(i % 3 == 0)}" for i in range(N))],
        "events.csv": ["record,time_s", *(f"h{i},{t}" for i in range(N) for t in (1.5, 4.0, 9.0))],
    }
    for name, lines in write.items():
        (folder / name).write_text("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", "")
    monkeypatch.chdir(tmp_path)


def tune(folder, out, table, *more, task="regression"):
    option = "--targets" if task == "regression" else "--labels"
    given = [str(folder / "base.pth"), str(folder / "hearts"), "--task", task, option, str(folder / table)]
    return run_finetune([*given, "--out", str(out), "--device", "cpu", *SHORT, *more])


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def applied(folder, run, *more):
    assert estimate([str(run / "model.safetensors"), str(folder / "hearts"), "--out", str(run / "applied"), *more]) == 0
    return run / "applied"


def test_numbers_of_whole_recordings(folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "run", "whole.csv", "--coverage", "0.8") == 0
    told = capsys.readouterr().out
    assert "cross-validated: hr (bpm): MAE" in told
    assert "saying the training mean: age (years): MAE" in told
    model = load(tmp_path / "run/model.safetensors")
    assert model.card["head"]["names"] == ["hr", "age"]
    assert model.card["head"]["units"] == ["bpm", "years"]
    assert model.origin.task == "hr_bpm, age_years (last token)"
    assert "hr_bpm MAE" in model.card["metrics"]["cross-validated"]
    assert model.card["intervals"]["half_width"][0]["record"] > 0
    summary = read_summary(tmp_path / "run/summary.nc")
    assert summary["estimate"].sel(source="cross-validated", number="hr", figure="MAE") > 0
    assert "K persons" not in (tmp_path / "run/report.html").read_text()
    with pytest.raises(Refusal, match=r"answers 2 numbers \(hr_bpm, age_years\) .*`heartlens estimate` applies it"):
        _ = subject_of(model).answers


def test_a_model_is_applied_as_it_was_judged(folder, tmp_path, capsys):
    """Without folds, the table of predictions is the final model's: `estimate` gives the same, window for window, with its interval."""
    assert tune(folder, tmp_path / "run", "whole.csv", "--folds", "none", "--columns", "hr_bpm", "--validation-share", "0.8") == 0
    out = applied(folder, tmp_path / "run", "--stride", "500")
    windows, judged = rows_of(out / "windows.csv"), rows_of(tmp_path / "run/predictions.csv")
    assert [(row["record"], row["start_s"]) for row in windows] == [(row["record"], row["start_s"]) for row in judged]
    for one, other in zip(windows, judged, strict=True):
        assert float(one["hr_bpm"]) == pytest.approx(float(other["hr_bpm"]), rel=1e-4)
        assert float(one["hr_bpm_high"]) - float(one["hr_bpm_low"]) == pytest.approx(
            float(other["hr_bpm_high"]) - float(other["hr_bpm_low"]), rel=1e-3
        )
    record = rows_of(out / "records.csv")[0]
    own = [float(row["hr_bpm"]) for row in windows if row["record"] == record["record"]]
    assert float(record["hr_bpm"]) == pytest.approx(np.mean(own), rel=1e-4)
    assert f"{record['record']}: hr_bpm" in capsys.readouterr().out


def test_a_number_every_two_seconds(folder, tmp_path):
    """Windows of 2 s are 200 tokens of an ECG; applied one after the other they begin where the table said."""
    assert tune(folder, tmp_path / "run", "two.csv", "--window", "2", "--folds", "none") == 0
    assert read_card(tmp_path / "run/model.safetensors")["head"]["n_tokens"] == 200
    windows = rows_of(applied(folder, tmp_path / "run") / "windows.csv")
    judged = {(row["record"], row["start_s"]): row["hr_bpm"] for row in rows_of(tmp_path / "run/predictions.csv")}
    assert len(judged) == 5 * N
    assert len(windows) == 6 * N
    same = [(float(row["hr_bpm"]), float(judged[key])) for row in windows if (key := (row["record"], row["start_s"])) in judged]
    assert len(same) == 5 * N
    assert [one for one, _ in same] == pytest.approx([other for _, other in same], rel=1e-4)


@pytest.mark.parametrize("unmasked", [False, True])
def test_a_number_of_every_token_with_the_last_block_unmasked_or_not(unmasked, folder, tmp_path):
    more = ["--unmask-last-block"] if unmasked else []
    assert tune(folder, tmp_path / "run", "timed.csv", "--reads", "every", "--folds", "none", *more) == 0
    model = load(tmp_path / "run/model.safetensors")
    assert model.card["head"]["unmasked"] == unmasked
    judged = rows_of(tmp_path / "run/predictions.csv")
    times = rows_of(applied(folder, tmp_path / "run", "--every", "1") / "times.csv")
    estimates = {(row["record"], row["time_s"]): float(row["hr_bpm"]) for row in times}
    compared = [(float(row["hr_bpm"]), estimates[row["record"], row["time_s"]]) for row in judged if float(row["time_s"]) < 10]
    assert len(compared) == 2 * N
    assert [one for one, _ in compared] == pytest.approx([other for _, other in compared], rel=1e-4)
    tokens = torch.randint(101, (1, 100))
    with torch.no_grad():
        first = model(tokens)[0, 0, 0], model(tokens.flip(1)[:, :1].repeat(1, 1) * 0 + tokens[:, :1])[0, 0, 0]
    assert torch.isclose(*first, rtol=1e-5) != unmasked  # the first token sees what follows, or does not


def test_an_unmasked_last_block_has_no_causal_sums(folder, tmp_path):
    from heartlens.cli import run_command

    assert tune(folder, tmp_path / "run", "events.csv", "--unmask-last-block", "--folds", "none", task="beat") == 0
    scan = [str(tmp_path / "run/model.safetensors"), "--data", str(folder / "hearts"), "--n-twins", "0", "--n-permutations", "99"]
    assert run_command("heartlens.analyses.head_scan", [*scan, "--out", "scan"]) == 2


def test_several_labels(folder, tmp_path, capsys):
    assert (
        tune(
            folder,
            tmp_path / "run",
            "labels.csv",
            "--columns",
            "af",
            "ectopy",
            "--class-weights",
            "balanced",
            "--validation-share",
            "0.4",
            task="labels",
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "af: window AUC" in told
    assert "ectopy: record AUC" in told
    card = load(tmp_path / "run/model.safetensors").card
    assert set(card["thresholds"]) == {"af", "ectopy"}
    assert card["threshold"] is None
    row = rows_of(tmp_path / "run/predictions.csv")[0]
    assert set(row) == {"record", "person", "start_s", "label af", "label ectopy", "probability af", "probability ectopy"}
    record = rows_of(applied(folder, tmp_path / "run") / "records.csv")[0]
    assert record["af"] == ("yes" if float(record["probability_af"]) >= card["thresholds"]["af"] else "no")
    assert classify([str(tmp_path / "run/model.safetensors"), str(folder / "hearts"), "--out", "no"]) == 2
    assert "`heartlens estimate` applies it" in capsys.readouterr().err


def test_uncalibrated_numbers_are_learnt_within_recordings_alone(folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "run", "raw.csv") == 2
    assert "abp has arbitrary units (raw), which mean something else in every recording; --within-record" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert tune(folder, tmp_path / "run", "raw.csv", "--within-record") == 0
    assert read_summary(tmp_path / "run/summary.nc")["figure"].values.tolist() == ["r within recordings"]
    out = applied(folder, tmp_path / "run")
    assert [path.name for path in out.glob("*.csv")] == ["windows.csv"]
    assert "only changes within a recording mean anything" in capsys.readouterr().err


def test_numbers_go_on_to_the_same_end(folder, tmp_path, monkeypatch):
    from heartlens.training import judged

    assert tune(folder, tmp_path / "alone", "timed.csv") == 0
    calls, fit = [], judged.fit

    def stopped(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*given)

    with monkeypatch.context() as patched:
        patched.setattr(judged, "fit", stopped)
        assert tune(folder, tmp_path / "stopped", "timed.csv") == 130
    assert tune(folder, tmp_path / "stopped", "timed.csv", "--resume") == 0
    for name in ("predictions.csv", "losses.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    one, other = (load(tmp_path / run / "model.safetensors").state_dict() for run in ("alone", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_base_is_known_by_the_card(folder, tmp_path, monkeypatch):
    assert tune(folder, tmp_path / "run", "whole.csv", "--folds", "none") == 0
    subject = subject_of(load(tmp_path / "run/model.safetensors"))
    with pytest.raises(Refusal, match=r"was fine-tuned from base\.pth \(fingerprint .*give it with --base FILE"):
        base_of(subject)
    monkeypatch.chdir(folder)
    assert base_of(subject).origin.fingerprint == subject.model.card["base"]["fingerprint"]


@pytest.mark.parametrize(
    ("table", "more", "task", "message"),
    [
        ("whole.csv", ["--window", "6"], "regression", "window is 6 s; legal for ECG: 0.5 to 5, or 0"),
        ("whole.csv", ["--window", "0.1"], "regression", "window is 0.1 s; legal for ECG: 0.5 to 5"),
        ("whole.csv", ["--unmask-last-block"], "regression", "--unmask-last-block changes nothing where the last token is read"),
        ("whole.csv", ["--columns", "sbp_mmhg"], "regression", "has no column 'sbp_mmhg' of numbers; legal: hr_bpm, age_years"),
        ("whole.csv", ["--units", "bpm"], "regression", "--units has 1 units, and the numbers are 2"),
        ("whole.csv", ["--coverage", "1"], "regression", "coverage is 1.0; legal: 0.5 to 0.99"),
        ("whole.csv", ["--labels", "x.csv"], "regression", "task 'regression' learns from --targets, not from x.csv"),
        ("none.csv", [], "regression", "none.csv is not a readable table"),
        ("labels.csv", [], "labels", "--task labels needs --columns"),
        ("labels.csv", ["--columns", "vt"], "labels", "has the columns record, af, ectopy; vt is missing"),
        ("whole.csv", ["--columns", "hr_bpm"], "labels", "hr_bpm is '"),
        ("labels.csv", ["--classes", "N", "A", "--within-record"], "af", "--within-record is of numbers"),
    ],
)
def test_refusals(table, more, task, message, folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "run", table, *more, task=task) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["base.pth", "hearts"], "base.pth has no model card that tells what its head answers"),
        (["base.pth", "hearts", "--stride", "0"], "--stride is 0; it must be at least 1"),
        (["base.pth", "hearts", "--every", "0"], "--every is 0 s; legal: 0.02 to 3600"),
        (["nothing.safetensors", "hearts"], "no checkpoint file at nothing.safetensors"),
    ],
)
def test_what_cannot_be_estimated(given, message, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert estimate([*given, "--out", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()
