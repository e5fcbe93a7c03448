"""The network that is trained computes what the original computes, in whichever way it is asked."""

import pytest
import torch
from originals import tiny_state, tiny_tokens

from heartlens.converters.reference import reference_forward
from heartlens.training.network import Network, network_of, state_of

STATES = [tiny_state(seed=3), tiny_state(seed=4, task_outputs=1), tiny_state(seed=5, layers=1, heads=1, d_head=7, task_outputs=3)]


@pytest.fixture(params=STATES, ids=["next token", "task head", "one block, three outputs"])
def state(request):
    return request.param


@torch.no_grad()
def test_output_is_the_originals(state):
    tokens = tiny_tokens(state)
    expected = reference_forward(state, tokens, torch.float64).logits
    torch.testing.assert_close(network_of(state).double().eval()(tokens), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_last_token_alone_says_the_same_as_the_last_of_all(state):
    network, tokens = network_of(state).double().eval(), tiny_tokens(state)
    torch.testing.assert_close(network(tokens, last_only=True), network(tokens)[:, -1:], rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("last_only", [False, True])
def test_going_on_from_any_block_gives_the_same(state, last_only):
    network, tokens = network_of(state).double().eval(), tiny_tokens(state)
    for start in range(1, len(network.blocks) + 1):
        residual = network.residual(tokens, 0, start)
        torch.testing.assert_close(network(residual, start, last_only), network(tokens, last_only=last_only), rtol=0, atol=1e-12)


def test_gradients_of_the_last_token_are_those_of_the_whole_forward(state):
    gradients = []
    for last_only in (False, True):
        network = network_of(state).double()
        network(tiny_tokens(state), last_only=last_only)[:, -1].square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for whole, last in zip(*gradients, strict=True):
        torch.testing.assert_close(last, whole, rtol=1e-9, atol=1e-9)


def test_published_layout_and_back_bit_for_bit(state):
    back = state_of(network_of(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_initialised_as_published():
    from heartlens.converters.sizes import sizes_of

    torch.manual_seed(0)
    drawn = state_of(Network(sizes_of(tiny_state(d_model=48, heads=3, d_head=16, d_mlp=96))))
    weights = torch.cat([tensor.flatten() for name, tensor in drawn.items() if name.endswith("weight") and "ln" not in name])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(tensor.any() for name, tensor in drawn.items() if name.endswith("bias"))
    assert all(torch.equal(tensor, torch.ones_like(tensor)) for name, tensor in drawn.items() if "ln" in name and name.endswith("weight"))


def test_dropout_only_while_training(state):
    network, tokens = network_of(state, dropout=0.5), tiny_tokens(state)
    network.train()
    assert not torch.equal(network(tokens), network(tokens))
    assert not torch.equal(network(tokens, last_only=True), network(tokens, last_only=True))
    network.eval()
    assert torch.equal(network(tokens), network(tokens))
