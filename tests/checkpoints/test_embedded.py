"""The models that come with the package: there, small, honest in their cards, and as good as these say."""

import json
import re

import numpy as np
import pytest

import heartlens as hl
from heartlens.checkpoints.card import read_card
from heartlens.checkpoints.fetch import embedded_path
from heartlens.checkpoints.read import read_state
from heartlens.checkpoints.registry import EMBEDDED
from heartlens.measures.detection import auc
from heartlens.signals.simulate import simulated
from heartlens.training.finetune import predict
from heartlens.training.held_out import window_losses

MB = 1e6
BASES = ("ecg-sim", "ppg-sim")


def test_each_file_is_small_and_so_are_all():
    sizes = [embedded_path(name).stat().st_size for name in EMBEDDED]
    assert len(sizes) == 5
    assert max(sizes) <= 2 * MB
    assert sum(sizes) <= 10 * MB


@pytest.mark.parametrize("name", EMBEDDED)
def test_it_loads_by_its_name_with_its_card(name):
    model = hl.load(name)
    assert model.origin.checkpoint == name
    assert model.origin.kind == name[:3]
    assert (model.cfg.n_layers, model.cfg.n_heads, model.cfg.n_ctx) == (4, 4, 500)
    assert "never for people" in model.card["is_not"]
    assert "simulated" in model.card["held_out"]["data"]
    assert "simulated" in json.dumps(model.card["data"])


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_card_names_no_place_on_a_machine(name):
    told = json.dumps(read_card(embedded_path(name)))
    assert not re.search(r'[" ]/[a-z]+/', told)


@pytest.mark.parametrize("name", BASES)
def test_the_cards_say_that_the_targets_were_reached(name):
    told = read_card(embedded_path(name))["held_out"]
    assert told["cross_entropy"]["below_it"] >= 0.25
    assert set(told["cross_entropy"]["nats_per_token"]) == {"model", "last value", "autoregression", "n-gram"}
    assert told["generated_heart_rate"]["median_deviation"] < 0.1
    assert told["generated_heart_rate"]["within_10_percent"] > 0.9


@pytest.mark.parametrize("name", BASES)
def test_other_people_are_forecast_as_well_as_the_card_says(name):
    """Sinus rhythm alone, which is easier than the card's mixture."""
    tokens = simulated(name[:3], n_records=12, windows_per_record=1, seed=77).tokens
    card = read_card(embedded_path(name))["held_out"]["cross_entropy"]["nats_per_token"]
    assert window_losses(read_state(embedded_path(name)), tokens).mean() < 1.1 * card["model"] < 0.85 * card["n-gram"]


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_the_last_position_can_forecast(kind):
    positions = read_state(embedded_path(f"{kind}-sim"))["position_embedding_table.weight"]
    assert (positions[-1] == positions[-2]).all()
    assert float(positions[-1].norm()) > 0.3  # as drawn it would be near 0.16


@pytest.mark.parametrize("name", ["ecg-sim-af", "ppg-sim-af"])
def test_fibrillation_of_other_people_is_told_from_sinus_rhythm(name):
    rhythms = [simulated(name[:3], 12, 1, rhythm, seed=78).tokens for rhythm in ("sinus", "af")]
    tokens = np.concatenate(rhythms)
    said = predict(read_state(embedded_path(name)), tokens, np.arange(24), 0, last_only=True)[..., 0].reshape(-1)
    assert auc(said.astype(float), np.arange(24) >= 12) > 0.95
