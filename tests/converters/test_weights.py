"""Tensors without hook points: the same numbers as the HookedTransformer's, and TransformerLens stays out of a command that needs none."""

import subprocess
import sys

import pytest
import torch
from planted import model_of, random_state

from heartlens.converters.lens import BRIDGED, is_unmasked, parameters, unmask
from heartlens.converters.weights import hooked_of, weights_of
from heartlens.engine import engine_of
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal


@pytest.fixture
def state():
    return random_state(scale=0.3)


def test_they_are_the_tensors_of_the_hooked_transformer(state):
    weights, model = weights_of(state), model_of(state)
    expected = parameters(model)
    assert list(parameters(weights)) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in parameters(weights).items())
    assert BRIDGED or [tensor.stride() for tensor in parameters(weights).values()] == [tensor.stride() for tensor in expected.values()]
    for name in ("W_E", "W_pos", "W_U", "b_U", "W_Q", "W_K", "W_V", "W_O"):
        assert torch.equal(getattr(weights, name), getattr(model, name))
    with pytest.raises(AttributeError):
        _ = weights.W_unheard_of


def outputs(engine, tokens):
    with torch.inference_mode():
        return engine.outputs(engine.run_blocks(engine.embed(tokens), 0))


@pytest.mark.parametrize("engine", ["fused", "torch", "hooked"])
def test_every_engine_computes_the_same_with_them(state, engine):
    tokens = torch.randint(101, (2, 60), generator=torch.Generator().manual_seed(1))
    ours, theirs = engine_of(weights_of(state), engine), engine_of(model_of(state), "hooked" if BRIDGED else engine)
    torch.testing.assert_close(outputs(ours, tokens), outputs(theirs, tokens), rtol=0, atol=1e-5 if BRIDGED else 0)
    ours.model.blocks[0].mlp.b_in.data += 1  # weights that were changed in place answer
    assert (outputs(ours, tokens) - outputs(theirs, tokens)).abs().max() > 0.01


def test_who_asks_for_the_model_gets_one_whose_hooks_act(state):
    """From then on the engine runs that model: an edit is never lost."""
    subject = subject_of(weights_of(state))
    tokens = torch.randint(101, (1, 60))
    assert subject.engine.name == "fused"
    subject.model.add_hook("blocks.0.hook_mlp_out", lambda value, hook: value * 0)
    with pytest.raises(Refusal, match="do not run this model"):
        subject.engine.embed(tokens)
    assert subject.model is subject.weights


def test_an_unmasked_block_stays_so_and_goes_to_the_hooked_engine(state):
    weights = weights_of(state)
    unmask(weights.blocks[-1])
    assert engine_of(weights).name == "hooked"
    assert [is_unmasked(block) for block in hooked_of(weights).blocks] == [False, True]
    with pytest.raises(Refusal, match="mask is overridden"):
        engine_of(weights, "fused")


def test_a_command_imports_no_transformer_lens(tmp_path):
    program = f"""
import sys
from heartlens.exits import exit_code
from heartlens.__main__ import main
quick = "--n-twins 1 --twin-windows 1 --n-rotations 2 --n-permutations 99 --simulate sinus --format svg --quiet"
sys.argv = ["heartlens", "head_scan", "ecg-sim", *quick.split(), "--out", {str(tmp_path / "out")!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "transformer_lens" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
