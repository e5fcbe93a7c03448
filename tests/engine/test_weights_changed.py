"""Weights that were changed in place are the ones that answer: no engine, and no Subject, keeps numbers packed from earlier ones."""

import copy
import itertools

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from engine.definition import Definition
from heartlens.analyses.head_scan import HeadScan
from heartlens.engine import Asked, engine_of
from heartlens.models.nulls.twins import twins
from heartlens.models.subject import subject_of
from heartlens.signals.simulate import simulated

ENGINES = ("fused", "torch", "hooked")
TOKENS = torch.from_numpy(np.random.default_rng(0).integers(101, size=(2, 40)))
ASKED = Asked(np.zeros((2, 40), np.int32), np.zeros(1, np.int32), rows=(39,))


def small_model(seed=0):
    """With LayerNorms whose weights matter, so that folding them changes the others."""
    state, generator = random_state(seed=seed), torch.Generator().manual_seed(seed)
    state |= {name: tensor + 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items() if "ln" in name}
    return model_of(state)


def every_parameter(change):
    def changed(model):
        for parameter in model.parameters():
            change(parameter)

    return changed


def copied(parameter):
    with torch.no_grad():
        parameter.copy_(parameter.flip(0) * 1.5 + 0.1)


def by_numpy(parameter):
    parameter.detach().numpy()[...] *= 1.3


def by_other_data(parameter):
    parameter.data = parameter.data.clone() * 1.3 + 0.05


def new_parameters(model):
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(parameter.detach() * 0.7 - 0.02))


def optimised(model):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(model.parameters(), lr=0.05).step()


def loaded(model):
    other = small_model(5)
    torch.nn.Module.load_state_dict(model, torch.nn.Module.state_dict(other))


def one_head(model):
    with torch.no_grad():
        model.blocks[1].attn.W_V[1] *= 3


CHANGES = {
    "copy_": every_parameter(copied),
    "data.mul_": every_parameter(lambda parameter: parameter.data.mul_(1.2)),
    "a numpy view": every_parameter(by_numpy),
    "other data": every_parameter(by_other_data),
    "new parameters": new_parameters,
    "an optimiser's step": optimised,
    "another state": loaded,
    "one head": one_head,
    "process_weights_": lambda model: model.process_weights_(center_writing_weights=False, center_unembed=False),
}


def answers(engine):
    """Everything that an engine makes of the weights: logits along every way, sums and attention."""
    with torch.no_grad():
        x = engine.embed(TOKENS)
        parts, last = engine.parts(x, 0), engine.sizes.n_layers - 1
        made = [engine.outputs(engine.run_blocks(x, 0)), engine.outputs(engine.after(parts.post, last)), engine.last_token(parts.post)]
        made += [parts.z, engine.mixed(x, 1), engine.attended(x, 1, parts.post, "K", 1), engine.added(parts.z, 1), engine.mlp_out(x, 1)]
    sums = [each for layer in engine.sums(TOKENS, ASKED) for each in (layer.columns, layer.entropy, layer.rows)]
    return [each.numpy() for each in made] + sums + [layer.pattern for layer in engine.attention(TOKENS)]


def furthest(some, others):
    return max(np.abs(one - other).max() / max(np.abs(other).max(), 1e-9) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_answers_with_the_weights_as_they_are(name, change):
    model = small_model()
    engine = engine_of(model, name)
    before = answers(engine)
    CHANGES[change](model)
    after, own = answers(engine), Definition(model)
    assert furthest(after, answers(engine_of(copy.deepcopy(model), name))) < 1e-6
    assert furthest(after[:1], [own.outputs(own.run_blocks(own.embed(TOKENS.numpy()), 0))]) < 1e-4
    if change == "process_weights_":
        assert model.cfg.normalization_type == "LNPre"  # the weights are others, the outputs the same
        assert furthest(after[:1], before[:1]) < 1e-4
        assert furthest(after[6:7], before[6:7]) > 1e-3
    else:
        assert furthest(after, before) > 1e-2


@pytest.mark.parametrize("name", ENGINES)
def test_a_subject_measures_the_weights_as_they_are(name):
    windows, scan = simulated("ecg", 2, 1), HeadScan(n_rotations=1)
    model = small_model()
    subject = subject_of(model, name)
    before = scan.measure(subject, windows).sums["share"].values
    every_parameter(copied)(model)
    after = scan.measure(subject, windows).sums["share"].values
    fresh = scan.measure(subject_of(copy.deepcopy(model), name), windows).sums["share"].values
    np.testing.assert_allclose(after, fresh, rtol=1e-6)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("name", ENGINES)
def test_weights_of_twins_that_are_written_into_one_model_answer_each_for_itself(name):
    model, seen = small_model(), []
    engine = engine_of(model, name)
    for _, twin in twins(small_model(), 4, 0):
        model.load_state_dict(twin.state_dict())
        seen.append(answers(engine))
        assert furthest(seen[-1], answers(engine_of(copy.deepcopy(twin), name))) < 1e-6
    assert min(furthest(one, other) for one, other in itertools.pairwise(seen)) > 1e-2


@pytest.mark.parametrize("name", ["torch", "hooked"])
def test_a_model_moved_to_float64_is_computed_in_float64(name):
    model = small_model()
    engine = engine_of(model, name)
    answers(engine)
    model.double()
    model.cfg.dtype = torch.float64
    own, after = Definition(model), answers(engine)
    assert engine.dtype == torch.float64
    assert {each.dtype for each in after} == {np.dtype(np.float64)}
    assert furthest(after[:1], [own.outputs(own.run_blocks(own.embed(TOKENS.numpy()), 0))]) < 1e-10
    assert furthest(after[-2:], [pattern for pattern, _ in own.patterns(TOKENS.numpy())]) < 1e-10
