"""Patching and path patching against the model itself, hooked one edit at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.axes import CONTEXT
from heartlens.engine import engine_of
from heartlens.models import hooks
from heartlens.models.edit import patched
from heartlens.models.interventions.patching import Readout, direct_effects, head_effects, path_effects, stream_effects, traced, values_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

N_LAYERS, N_HEADS = 3, 2
WINDOWS = simulated("ecg", 2, 1)
CLEAN, CORRUPT = WINDOWS.tokens, WINDOWS.tokens[:, ::-1].copy()
EARLY = np.broadcast_to(np.arange(CONTEXT) < 200, CLEAN.shape).copy()


@pytest.fixture(scope="module")
def model():
    return model_of(random_state(layers=N_LAYERS, heads=N_HEADS, d_head=6, scale=0.4), dtype=torch.float64)


@pytest.fixture(scope="module")
def engine(model):
    return engine_of(model)


@pytest.fixture(scope="module")
def traces(engine):
    return traced(engine, CORRUPT), traced(engine, CLEAN)


def of_all():
    """The mean nats of next tokens."""
    weight = np.where(np.arange(CONTEXT) < CONTEXT - 1, 1 / (CONTEXT - 1), 0.0)
    return Readout("cross_entropy", "nats", np.tile(weight, (2, 1)), np.roll(CLEAN, -1, axis=1))


def of_last():
    """The first output at the last token."""
    return Readout("logit", "logit", np.tile((np.arange(CONTEXT) == CONTEXT - 1).astype(float), (2, 1)), CLEAN)


both = pytest.mark.parametrize("readout", [of_all(), of_last()], ids=["all", "last"])


def read(logits, readout):
    """What the readouts of these tests are, from the model's own logits."""
    if readout.reads == "logit":
        return logits[:, -1, 0].numpy()
    nats = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens(CLEAN)[:, 1:], reduction="none")
    return nats.mean(dim=1).numpy()


def tokens(which):
    return torch.from_numpy(which.astype(np.int64))


def run_with(model, readout, values, **where):
    """What is read when the corrupt tokens run with these values, by TransformerLens' own hooks."""
    with torch.inference_mode(), patched(model, values, **where):
        return read(model(tokens(CORRUPT)), readout)


def plain(model, which, readout):
    """What is read of the clean or the corrupt tokens as they are."""
    with torch.inference_mode():
        return read(model(tokens(which)), readout)


@both
def test_the_readout_is_the_models(model, engine, traces, readout):
    for which, trace in zip((CORRUPT, CLEAN), traces, strict=True):
        np.testing.assert_allclose(values_of(engine, trace, readout), plain(model, which, readout), atol=1e-9)


def test_a_probability_is_the_logits_sigmoid(engine, traces):
    logit = of_last()
    probability = Readout("p", "probability", logit.weight, CLEAN)
    expected = 1 / (1 + np.exp(-values_of(engine, traces[0], logit)))
    np.testing.assert_allclose(values_of(engine, traces[0], probability), expected, atol=1e-9)


@pytest.fixture(scope="module")
def before(model):
    """What is read of the corrupt tokens as they are."""
    return {readout.name: plain(model, CORRUPT, readout) for readout in (of_all(), of_last())}


@both
def test_head_effects_are_hooked_runs(model, engine, traces, before, readout):
    at = EARLY if readout.is_last else None
    found = head_effects(engine, *traces, readout, at)
    known = hooks.activations(model, tokens(CLEAN), [hooks.z(layer) for layer in range(N_LAYERS)])
    for layer, head in np.ndindex(N_LAYERS, N_HEADS):
        expected = run_with(model, readout, {hooks.z(layer): known[hooks.z(layer)]}, heads=[(layer, head)], at=at)
        np.testing.assert_allclose(found[:, layer, head], expected - before[readout.name], atol=1e-9)


@both
def test_stream_effects_are_hooked_runs(model, engine, traces, before, readout):
    found = stream_effects(engine, *traces, readout, EARLY[None])
    names = [hooks.resid_pre(0), *(hooks.resid_post(layer) for layer in range(N_LAYERS))]
    known = hooks.activations(model, tokens(CLEAN), names)
    for level, name in enumerate(names):
        expected = run_with(model, readout, {name: known[name]}, at=EARLY, may_equal=True)
        np.testing.assert_allclose(found[:, level, 0], expected - before[readout.name], atol=1e-9)


@both
def test_all_of_the_source_gives_the_source_and_nothing_of_it_nothing(model, engine, traces, readout):
    whole = plain(model, CLEAN, readout) - plain(model, CORRUPT, readout)
    places = np.stack([np.ones_like(EARLY), np.zeros_like(EARLY)])
    found = stream_effects(engine, *traces, readout, places)
    np.testing.assert_allclose(found[:, :, 0], np.tile(whole[:, None], N_LAYERS + 1), atol=1e-9)
    assert np.abs(found[:, :, 1]).max() < 1e-12
    run = traces[0]
    for effects in (head_effects(engine, run, run, readout), direct_effects(engine, run, run, readout)):
        assert np.abs(effects).max() < 1e-12


def test_a_source_whose_streams_do_not_make_its_output_is_told(engine, traces):
    run, source = traces
    other_end = replace(source, levels=[*source.levels[:-1], source.levels[-1].flip(-1)])
    with pytest.raises(RuntimeError, match="off the source's own by"):
        stream_effects(engine, run, other_end, of_last(), np.ones((1, *EARLY.shape), bool))


@pytest.fixture(scope="module")
def added(model):
    """By how much what each head adds to the stream differs, by TransformerLens' own per-head results."""
    names = [f"blocks.{layer}.attn.hook_result" for layer in range(N_LAYERS)]
    model.set_use_attn_result(True)
    clean, corrupt = (hooks.activations(model, tokens(which), names) for which in (CLEAN, CORRUPT))
    model.set_use_attn_result(False)
    return [clean[name] - corrupt[name] for name in names]


@both
def test_direct_effects_add_to_the_final_stream_alone(model, engine, traces, added, before, readout):
    found = direct_effects(engine, *traces, readout)
    for layer, head in np.ndindex(N_LAYERS, N_HEADS):
        change = added[layer][:, :, head]
        expected = run_with(model, readout, {hooks.resid_post(N_LAYERS - 1): lambda passing, change=change: passing + change})
        np.testing.assert_allclose(found[:, layer, head], expected - before[readout.name], atol=1e-9)


@both
def test_paths_enter_one_input_of_one_head(model, engine, traces, added, before, readout):
    """Against `use_split_qkv_input`: the sender's change is added to one input of one head, nothing else is told."""
    receiver = (2, 1) if readout.is_last else (1, 0)
    found = path_effects(engine, *traces, readout, receiver)
    assert found.shape == (2, 3, receiver[0], N_HEADS)
    for part, letter in enumerate("qkv"):
        for layer, head in np.ndindex(receiver[0], N_HEADS):
            change = added[layer][:, :, head]
            value = {f"blocks.{receiver[0]}.hook_{letter}_input": lambda passing, change=change: passing + change[:, :, None]}
            expected = run_with(model, readout, value, heads=[receiver])
            np.testing.assert_allclose(found[:, part, layer, head], expected - before[readout.name], atol=1e-9)


@pytest.mark.parametrize("receiver", [(0, 0), (3, 0), (1, 2)])
def test_a_receiver_without_senders_is_refused(engine, traces, receiver):
    with pytest.raises(Refusal, match="layers 1 to 2"):
        path_effects(engine, *traces, of_last(), receiver)
