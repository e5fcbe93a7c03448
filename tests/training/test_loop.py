"""The loop: a run killed at any step and gone on with ends with the same bits; a loss that is not finite stops it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from originals import tiny_state

from heartlens.checkpoints.card import read_card
from heartlens.refusal import Refusal
from heartlens.training import loop
from heartlens.training.command import run_pretrain
from heartlens.training.loop import Schedule, train
from heartlens.training.network import Network
from heartlens.training.pretrain import next_token_loss, pretrain
from heartlens.training.run_folder import RunFolder, opened


class Killed(Exception):
    pass


def silent(progressed, loss):
    pass


def killed_at(step):
    def report(progressed, loss):
        if progressed.step == step:
            raise Killed

    return report


def bits(folder):
    return {name: tensor.numpy().tobytes() for name, tensor in folder.kept().items()}


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory, tiny, corpus, device):
    folder = RunFolder(tmp_path_factory.mktemp("alone"))
    pretrain(tiny, corpus, folder, device, silent)
    return folder


@pytest.mark.parametrize("step", range(1, 6))
def test_killed_at_any_step_and_gone_on_with(step, tmp_path, tiny, corpus, device, left_alone):
    folder = RunFolder(tmp_path)
    with pytest.raises(Killed):
        pretrain(tiny, corpus, folder, device, killed_at(step))
    progressed = pretrain(tiny, corpus, folder, device, silent)
    assert progressed.step == 6
    assert bits(folder) == bits(left_alone)
    assert (folder.path / "losses.csv").read_text() == (left_alone.path / "losses.csv").read_text()
    whole, mine = left_alone.saved(), folder.saved()
    assert all(torch.equal(whole[1][name], mine[1][name]) for name in whole[1])
    moments = [{key: value for group in saved[2]["state"].values() for key, value in group.items()} for saved in (whole, mine)]
    assert all(torch.equal(moments[0][key], moments[1][key]) for key in moments[0])


def test_another_seed_is_another_model(tmp_path, tiny, corpus, device, left_alone):
    folder = RunFolder(tmp_path)
    pretrain(replace(tiny, seed=1), corpus, folder, device, silent)
    assert bits(folder) != bits(left_alone)


def test_losses_are_written_and_fall(left_alone):
    rows = list(csv.DictReader((left_alone.path / "losses.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert float(rows[-1]["validation_loss"]) < float(rows[0]["validation_loss"]) < 4.7  # of ln 101 = 4.6


def test_card_tells_split_options_and_loss(left_alone, tiny, corpus):
    card = read_card(left_alone.checkpoint)
    assert card["kind"] == "ecg"
    assert card["task"] is None
    assert card["options"] == asdict(tiny)
    sides = [set(card["split"][side]["names"]) for side in ("training", "validation")]
    assert sides[0] | sides[1] == set(corpus.records)
    assert not sides[0] & sides[1]
    assert card["metrics"]["validation_loss"] == min(row[3] for row in left_alone.saved()[0].losses)


def test_the_last_position_forecasts_as_the_one_before_it(left_alone):
    """No window trains it: 500 tokens have 499 successors."""
    name = "position_embedding_table.weight"
    kept, trained = left_alone.kept()[name], left_alone.saved()[1][name]
    assert torch.equal(kept[-1], kept[-2])
    assert torch.equal(kept[:-1], trained[:-1])
    assert not torch.equal(trained[-1], trained[-2])


def test_next_token_loss_is_the_mean_over_tokens_after_the_first():
    state = tiny_state()
    from heartlens.training.network import network_of

    network, tokens = network_of(state), torch.randint(17, (2, 10))
    with torch.no_grad():
        logs = network(tokens).log_softmax(-1)
        expected = -sum(logs[w, t, tokens[w, t + 1]] for w in range(2) for t in range(9)) / 18
        assert float(next_token_loss(network, tokens)) == pytest.approx(float(expected), rel=1e-5)


def scheduled(**changed):
    given = {"steps": 8, "learning_rate": 1e-2, "warmup": 0, "weight_decay": 0.0, "clip": 1.0, "validate_every": 1, "seed": 0}
    return Schedule(**{**given, **changed})


def small_network():
    torch.manual_seed(0)
    from heartlens.converters.sizes import sizes_of

    return Network(sizes_of(tiny_state()))


def run(folder, device, schedule, losses, validations=None):
    """Train on a loss that is `losses[step]` times the mean output, validated as told."""
    validated = iter(validations or range(100, 0, -1))
    tokens = torch.zeros(1, 5, dtype=torch.long)
    kept = []
    progressed = train(
        small_network(),
        lambda network, step: network(tokens).mean() * 0 + network(tokens).square().mean() * losses[step],
        lambda network: float(next(validated)),
        lambda network, progressed: kept.append(progressed.step),
        schedule,
        folder,
        device,
        silent,
    )
    return progressed, kept


def test_every_step_draws_chances_of_its_own(tmp_path, device):
    drawn, tokens = [], torch.zeros(1, 5, dtype=torch.long)

    def loss_of(network, step):
        drawn.append(float(torch.rand(())))
        return network(tokens).square().mean()

    train(small_network(), loss_of, lambda network: 1.0, lambda *given: None, scheduled(steps=5), RunFolder(tmp_path), device, silent)
    assert len(set(drawn)) == 5


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path, device):
    folder = RunFolder(tmp_path)
    with pytest.raises(Refusal, match=r"step 4: the loss is nan; stopped, the last good state is kept in .*lower --learning-rate"):
        run(folder, device, scheduled(), [1, 1, 1, float("nan"), 1, 1, 1, 1])
    progressed, weights, _ = folder.saved()
    assert progressed.step == 3
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_best_is_kept_and_patience_ends_the_run(tmp_path, device):
    progressed, kept = run(RunFolder(tmp_path), device, scheduled(patience=2), [1.0] * 8, validations=[5, 3, 4, 4, 1, 1, 1, 1])
    assert kept == [1, 2]
    assert progressed.step == 4
    assert progressed.best == 3


def test_steps_are_clipped(tmp_path, device, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def noted(self, *given):
        norms.append(
            torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]).norm().item()
        )
        return step(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    run(RunFolder(tmp_path), device, scheduled(steps=2, clip=0.5), [1e6, 1e-9])
    assert norms[0] == pytest.approx(0.5, rel=1e-3)
    assert norms[1] < 0.5


def test_a_process_that_is_killed_goes_on(tmp_path):
    """The command itself, ended by SIGKILL somewhere in the middle, then resumed: as one that was left alone."""
    given = ["ecg", "--people", "4", "--quiet", "--device", "cpu", "--layers", "1", "--heads", "1", "--d-model", "4", "--batch", "2"]
    given += ["--steps", "40", "--validate-every", "4", "--validation-windows", "2", "--warmup", "2"]
    command = [sys.executable, "-m", "heartlens.training.pretrain", *given]
    alone, ended = tmp_path / "alone", tmp_path / "ended"
    assert run_pretrain([*given, "--out", str(alone)]) == 0
    process = subprocess.Popen([*command, "--out", str(ended)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not (ended / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    steps = len((ended / "losses.csv").read_text().splitlines()) - 1 if (ended / "losses.csv").exists() else 0
    assert steps < 10, "it was killed too late to test anything"
    subprocess.run([*command, "--out", str(ended), "--resume"], check=True, capture_output=True)
    assert bits(RunFolder(ended)) == bits(RunFolder(alone))
    assert (ended / "losses.csv").read_bytes() == (alone / "losses.csv").read_bytes()


def begin(path, options):
    """A run that was begun in a folder and left."""
    with opened(path, options, False, False) as folder:
        return folder


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, True)])
def test_a_folder_of_another_run(tmp_path, resume, overwrite):
    begin(tmp_path / "run", {"steps": 1})
    with pytest.raises(Refusal, match=r"--resume.*--overwrite"), opened(tmp_path / "run", {"steps": 1}, resume, overwrite):
        pass


def test_going_on_with_other_options_lists_them(tmp_path):
    begin(tmp_path / "run", {"steps": 1, "batch": 4, "seed": 0})
    changed = {"steps": 2, "batch": 8, "seed": 0}
    with (
        pytest.raises(Refusal, match="steps was 1, is 2; batch was 4, is 8") as refused,
        opened(tmp_path / "run", changed, True, False),
    ):
        pass
    assert "seed" not in str(refused.value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, overwrite):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(Refusal, match=r"thesis\.txt"), opened(folder, {}, False, overwrite):
        pass
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_overwrite_starts_anew_beside_the_old_run(tmp_path):
    old = begin(tmp_path / "run", {"steps": 1})
    old.state.write_bytes(b"old")
    with opened(tmp_path / "run", {"steps": 2}, False, True) as new:
        assert new.saved() is None
        assert json.loads((new.path / "options.json").read_text()) == {"steps": 2}
        assert old.state.read_bytes() == b"old"


def test_a_damaged_state_is_refused(tmp_path):
    folder = begin(tmp_path / "run", {})
    folder.state.write_bytes(b"not a state")
    with pytest.raises(Refusal, match=r"state\.pt cannot be read.*--overwrite"):
        folder.saved()


def test_a_file_where_the_folder_should_be(tmp_path):
    Path(tmp_path / "run").write_text("")
    with pytest.raises(Refusal, match="is a file"), opened(tmp_path / "run", {}, False, False):
        pass


def test_warm_up_and_decay():
    schedule = Schedule(steps=110, learning_rate=2.0, warmup=10, weight_decay=0, clip=1, validate_every=1, seed=0)
    assert schedule.rate(0) == pytest.approx(0.2)
    assert schedule.rate(9) == schedule.rate(10) == 2.0
    assert schedule.rate(60) == pytest.approx(2.0 * (loop.SMALLEST + 1) / 2)
    assert schedule.rate(109) == pytest.approx(2.0 * loop.SMALLEST, rel=0.01)
