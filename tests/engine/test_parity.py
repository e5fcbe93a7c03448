"""Every engine against the definition in numpy (`definition.py`): every method, on models and windows of many sizes.

A difference is told in parts of the largest number of its quantity. Float32 may be off by 1e-4 of it, float64 by 1e-8.
Sums of attention: `test_sums.py`.
"""

import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from originals import tiny_state

from engine.compared import (
    EMBEDDED,
    PUBLISHED,
    RUNS_IN,
    SIZES,
    TOLERANCE,
    TOLERANCE_OF_SUMS,
    every_engine,
    off,
    random_model,
    real_model,
    tokens_for,
)
from engine.definition import Definition
from heartlens.converters.hooked import hooked_model
from heartlens.converters.reference import reference_forward
from heartlens.engine import Engine, engine_of


@dataclass
class Given:
    """Streams and tokens to call methods with, in an engine's precision or the definition's."""

    tokens: object
    x: object
    other: object
    z: object
    layer: int
    n_layers: int
    head: int


def given_of(model, n_time):
    """The same for the engine and for the definition: streams as the model's embedding makes them."""
    own, n_layers = Definition(model), model.cfg.n_layers
    layer, tokens = n_layers - 1, tokens_for(model, n_time=n_time)
    x, other = (own.run_blocks(own.embed(tokens_for(model, n_time=n_time, seed=seed).numpy()), 0, layer) for seed in (0, 1))
    numbers = Given(tokens.numpy(), x, other, own.mixed(other, layer), layer, n_layers, model.cfg.n_heads - 1)
    streams = {name: torch.from_numpy(getattr(numbers, name)).to(model.W_E.dtype) for name in ("x", "other", "z")}
    return replace(numbers, tokens=tokens, **streams), numbers


CALLS = {
    "embed": lambda e, g: e.embed(g.tokens),
    "parts, z": lambda e, g: e.parts(g.x, g.layer).z,
    "parts, mid": lambda e, g: e.parts(g.x, g.layer).mid,
    "parts, post": lambda e, g: e.parts(g.x, g.layer).post,
    "mixed": lambda e, g: e.mixed(g.x, g.layer),
    "attended, Q": lambda e, g: e.attended(g.x, g.layer, g.other, "Q", g.head),
    "attended, K": lambda e, g: e.attended(g.x, g.layer, g.other, "K", g.head),
    "attended, V": lambda e, g: e.attended(g.x, g.layer, g.other, "V", g.head),
    "attention_out": lambda e, g: e.attention_out(g.z, g.layer),
    "mlp_out": lambda e, g: e.mlp_out(g.x, g.layer),
    "added": lambda e, g: e.added(g.z, g.layer),
    "after": lambda e, g: e.after(g.x, g.layer),
    "after, other z": lambda e, g: e.after(g.x, g.layer, z=g.z),
    "after, other attention": lambda e, g: e.after(g.x, g.layer, attention=g.other),
    "after, other mlp": lambda e, g: e.after(g.x, g.layer, mlp=g.other),
    "after, other z and mlp": lambda e, g: e.after(g.x, g.layer, z=g.z, mlp=g.other),
    "after, other attention and mlp": lambda e, g: e.after(g.x, g.layer, attention=g.other, mlp=g.x),
    "last_token": lambda e, g: e.last_token(g.x),
    "run_blocks": lambda e, g: e.run_blocks(g.x, 0),
    "run_blocks, up to the last": lambda e, g: e.run_blocks(g.x, 0, g.layer),
    "run_blocks, none": lambda e, g: e.run_blocks(g.x, g.n_layers),
    "outputs": lambda e, g: e.outputs(g.x),
    "normed": lambda e, g: e.normed(g.x),
    "unembedded": lambda e, g: e.unembedded(g.x),
}


def test_every_method_is_called():
    methods = {name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"sums", "attention"} == {name.split(",")[0] for name in CALLS}


def assert_methods(model, ran, n_time):
    engine, own = engine_of(model, RUNS_IN[ran][0]), Definition(model)
    streams, numbers = given_of(model, n_time)
    with torch.no_grad():
        gaps = {name: off(call(engine, streams).numpy(), call(own, numbers)) for name, call in CALLS.items()}
    assert {name: gap for name, gap in gaps.items() if gap > TOLERANCE[RUNS_IN[ran][1]]} == {}


@every_engine
@pytest.mark.parametrize("fold_ln", [False, True], ids=["", "folded"])
@pytest.mark.parametrize("size", list(SIZES))
def test_methods_on_random_models(size, fold_ln, ran):
    model = random_model(size, RUNS_IN[ran][1], fold_ln)
    for n_time in (29,) if fold_ln else (1, 32, None):
        if (n_time or 0) <= model.cfg.n_ctx:
            assert_methods(model, ran, n_time)


@every_engine
@pytest.mark.parametrize("name", [*PUBLISHED, *EMBEDDED, "planted"])
def test_methods_on_real_models(name, ran):
    assert_methods(real_model(name, RUNS_IN[ran][1]), ran, 100)


@every_engine
def test_logits_are_those_of_the_original_architecture(ran):
    """A second oracle, of torch: the whole context of a model from end to end."""
    name, dtype = RUNS_IN[ran]
    state = {key: tensor if ".ln" in key else tensor * 0.5 for key, tensor in tiny_state(4, context=50).items()}
    model = hooked_model(state, dtype=dtype)
    engine, tokens = engine_of(model, name), tokens_for(model)
    expected = reference_forward(state, tokens, torch.float64)
    with torch.no_grad():
        x = engine.embed(tokens)
        assert off(engine.outputs(engine.run_blocks(x, 0)).numpy(), expected.logits.numpy()) < TOLERANCE[dtype]
        assert (
            off(engine.outputs(engine.last_token(engine.run_blocks(x, 0, 1))).numpy(), expected.logits[:, -1:].numpy()) < TOLERANCE[dtype]
        )
    attention = np.stack([layer.pattern for layer in engine.attention(tokens)])
    assert off(attention, expected.attention.numpy()) < TOLERANCE_OF_SUMS[dtype]
