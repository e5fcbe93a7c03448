"""Parts taken away, alone and several at once, against the model with hooks; norms against what passes the hook points."""

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.models import hooks
from heartlens.models.edit import ablated
from heartlens.models.interventions.ablations import (
    added_norms,
    cumulative_readings,
    intact_readings,
    reference_of,
    single_readings,
    values_of,
)
from heartlens.models.interventions.cumulative import without
from heartlens.models.interventions.replacement import Reference
from heartlens.models.readouts import readings
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

WINDOWS = simulated("ecg", 2, 1, seed=0)
TOKENS = torch.from_numpy(WINDOWS.tokens.astype(np.int64))
PARTS = ("heads", "mlp", "layer")


@pytest.fixture(scope="module")
def subject():
    return subject_of(model_of(random_state(layers=3, scale=0.4), dtype=torch.float64))


def top_of(subject, **what):
    with torch.inference_mode(), ablated(subject.model, **what):
        return readings(subject, subject.model(TOKENS)[None], WINDOWS).top[0]


@pytest.mark.parametrize("how", ["zero", "mean", "resample", "mean-by-phase"])
def test_readings_without_a_part_are_those_of_the_hooked_model(subject, how):
    reference = Reference(subject.model, WINDOWS)
    found = single_readings(subject, WINDOWS, values_of(subject, how, reference_of(subject, WINDOWS), WINDOWS), PARTS)
    given = {"how": how, "reference": reference, "windows": WINDOWS}
    assert found["heads"][..., 2, 1] == pytest.approx(top_of(subject, heads=[(2, 1)], **given), rel=1e-9)
    assert found["mlp"][..., 0] == pytest.approx(top_of(subject, mlps=[0], **given), rel=1e-9)
    assert found["layer"][..., 1] == pytest.approx(top_of(subject, layers=[1], **given), rel=1e-9)


@pytest.mark.parametrize("how", ["zero", "resample"])
def test_several_parts_at_once(subject, how):
    reference = Reference(subject.model, WINDOWS)
    values = values_of(subject, how, reference, WINDOWS)
    heads = [(0, 0), (2, 0), (2, 1)]
    found = cumulative_readings(subject, WINDOWS, values, [(heads, ()), ((), (0, 2))])
    given = {"how": how, "reference": reference, "windows": WINDOWS}
    assert found[..., 0] == pytest.approx(top_of(subject, heads=heads, **given), rel=1e-9)
    assert found[..., 1] == pytest.approx(top_of(subject, layers=[0, 2], **given), rel=1e-9)


def test_with_nothing_taken_away_it_is_the_model(subject):
    with torch.inference_mode():
        assert torch.allclose(without(subject.engine, TOKENS, {}), subject.model(TOKENS), atol=1e-9)
        expected = readings(subject, subject.model(TOKENS)[None], WINDOWS)
    top, bottom = intact_readings(subject, WINDOWS)
    assert top == pytest.approx(expected.top[0], rel=1e-9)
    assert np.array_equal(bottom, expected.bottom)


def test_of_the_last_token_alone_it_is_the_models_last_output():
    subject = subject_of(model_of(random_state(layers=3, scale=0.4, task_head=True), dtype=torch.float64))
    with torch.inference_mode():
        with ablated(subject.model, heads=[(1, 0), (2, 1)]):
            expected = subject.model(TOKENS)[:, -1:]
        found = without(subject.engine, TOKENS, values_of(subject, "zero", None, WINDOWS), [(1, 0), (2, 1)], last_only=True)
    assert torch.allclose(found, expected, atol=1e-9)


def test_norms_are_of_what_each_head_adds(subject):
    passed = hooks.activations(subject.model, TOKENS, [hooks.z(layer) for layer in range(3)])
    for layer in range(3):
        added = torch.einsum("bthd,hdm->bthm", passed[hooks.z(layer)], subject.model.blocks[layer].attn.W_O.detach())
        assert added_norms(subject, WINDOWS)[:, layer] == pytest.approx(added.norm(dim=-1).mean(dim=1).numpy(), rel=1e-6)


def test_a_sample_is_needed_but_for_zero(subject):
    values_of(subject, "zero", None, WINDOWS)
    with pytest.raises(Refusal, match="how='mean' takes a sample"):
        values_of(subject, "mean", None, WINDOWS)
