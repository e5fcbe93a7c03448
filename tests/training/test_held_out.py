"""Generation and what is measured on people held out; the recipe of the embedded models, in small."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hearts import heart

from heartlens.axes import CONTEXT
from heartlens.checkpoints import fetch
from heartlens.checkpoints.card import read_card
from heartlens.models.load import load
from heartlens.signals.simulate import simulated
from heartlens.training import embedded, held_out
from heartlens.training.command import run_pretrain
from heartlens.training.corpus import Corpus
from heartlens.training.finetune import Finetune
from heartlens.training.network import network_of
from heartlens.training.pretrain import next_token_loss
from heartlens.training.run_folder import RunFolder
from heartlens.training.simulation import LENGTH_S, simulated_people


def contexts(n_windows):
    return np.random.default_rng(0).integers(101, size=(n_windows, CONTEXT)).astype(np.uint8)


@torch.no_grad()
def test_loss_of_windows_is_the_loss_that_is_trained(base):
    tokens = contexts(3)
    of_all = float(next_token_loss(network_of(base), torch.from_numpy(tokens.astype(np.int64))))
    assert held_out.window_losses(base, tokens).mean() == pytest.approx(of_all, rel=1e-6)


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_heart_rate_of_tokens(kind):
    windows = simulated(kind, n_records=4, windows_per_record=1)
    for tokens, position in zip(windows.tokens, windows.position, strict=True):
        true_bpm = 60 * np.ptp(position) / (CONTEXT - 1) * windows.rate_hz
        assert held_out._rate_bpm(tokens, kind) == pytest.approx(true_bpm, rel=0.08)


def test_noise_has_no_kept_rate(base):
    kept = held_out.kept_rate(base, "ecg", contexts(2), seed=0)
    assert kept["n_contexts"] == 2
    assert 0 <= kept["within_10_percent"] <= 1


def test_windows_of_each_person():
    corpus = Corpus("ecg", tuple(heart(i) for i in range(3)), ("a", "b", "c"), "x")
    tokens, record = held_out.crops_of_each(corpus, 2, 3, seed=0)
    assert tokens.shape == (6, CONTEXT)
    assert record.tolist() == ["a"] * 3 + ["b"] * 3


def test_a_person_does_not_depend_on_how_many_there_are():
    few, many = (simulated_people("ppg", n, seed=4) for n in (2, 5))
    assert all((one.signal == other.signal).all() and one.name == other.name for one, other in zip(few, many, strict=False))
    assert len(few[0].signal) == LENGTH_S * 50


def test_people_of_another_seed_are_others():
    one, other = (simulated_people("ecg", 2, seed)[0].signal for seed in (0, 1))
    assert (one != other).any()


@pytest.fixture
def small_recipe(monkeypatch, tmp_path):
    """The recipe with a model and people that take seconds."""
    monkeypatch.setattr(fetch, "EMBEDDED_FOLDER", tmp_path / "embedded")
    monkeypatch.setattr(embedded, "PEOPLE", 8)
    monkeypatch.setattr(embedded, "TASK_PEOPLE", 16)
    monkeypatch.setattr(embedded, "TEST_PEOPLE", 8)
    monkeypatch.setattr(embedded, "N_CONTEXTS", 1)
    monkeypatch.setattr(held_out, "kept_rate", lambda *given: {})
    monkeypatch.setattr(embedded, "SMALL", replace(embedded.SMALL, layers=1, heads=1, d_model=8, steps=2, batch=2, validation_windows=2))
    quick = Finetune(steps=2, batch=2, validate_every=1, dropout=0.0, folds="none", stride=2000)
    monkeypatch.setattr(embedded, "TUNED_ON", {"af": quick, "beat": quick})
    return tmp_path


def test_recipe_of_the_embedded_models(small_recipe, capsys):
    out = str(small_recipe / "runs")
    assert embedded.run_embedded(["ppg", "--out", out, "--quiet"]) == 0
    files = sorted(path.name for path in fetch.EMBEDDED_FOLDER.iterdir())
    assert files == ["ppg-sim-af.safetensors", "ppg-sim-beat.safetensors", "ppg-sim.safetensors"]
    for name, task in (("ppg-sim", None), ("ppg-sim-af", "atrial fibrillation (last token)"), ("ppg-sim-beat", "beat (every token)")):
        model = load(name)
        assert model.origin.checkpoint == name
        assert model.origin.task == task
        assert "never for people" in model.card["is_not"]
    nats = read_card(fetch.embedded_path("ppg-sim"))["held_out"]["cross_entropy"]["nats_per_token"]
    assert set(nats) == {"model", "last value", "autoregression", "n-gram"}
    bits = [path.read_bytes() for path in sorted(fetch.EMBEDDED_FOLDER.iterdir())]
    assert embedded.run_embedded(["ppg", "--out", out, "--quiet"]) == 0  # gone on with: nothing left to do, and the same files
    assert bits == [path.read_bytes() for path in sorted(fetch.EMBEDDED_FOLDER.iterdir())]
    assert "SHA-256" in capsys.readouterr().out


def test_two_processes_share_the_windows_of_one(tmp_path):
    """What `accelerate launch` does on two devices, here two processes on the CPU: the same losses as one that takes all windows."""
    given = ["ecg", "--people", "4", "--quiet", "--device", "cpu", "--dropout", "0", "--batch", "4"]
    given += ["--layers", "1", "--heads", "1", "--d-model", "4", "--steps", "4", "--validate-every", "2", "--validation-windows", "2"]
    assert run_pretrain([*given, "--out", str(tmp_path / "one")]) == 0
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "heartlens.training.pretrain"]
    subprocess.run([*launched, *given, "--out", str(tmp_path / "two")], check=True, capture_output=True)
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(one.saved()[0].losses, two.saved()[0].losses, rtol=1e-5)
    for name, tensor in one.kept().items():
        torch.testing.assert_close(two.kept()[name], tensor, rtol=0, atol=1e-5)
