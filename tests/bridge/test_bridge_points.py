"""Every hook point of a bridge: what passes it and what an edit of it does, against arithmetic; the rest is refused by name."""

import pytest
import torch
from hook_values import points_of
from originals import tiny_model, tiny_state, tiny_tokens

from heartlens.converters.lens import BRIDGED, UNEDITABLE
from heartlens.models import hooks
from heartlens.models.edit import ablated, patched
from heartlens.refusal import Refusal

pytestmark = pytest.mark.skipif(not BRIDGED, reason="needs transformer-lens>=4.3; `make test-bridge` installs it beside the default one")

STATE = tiny_state(7)
TOKENS = tiny_tokens(STATE)
NAMES = sorted(hooks.names(2))
EDITABLE = [name for name in NAMES if name.rsplit(".", 1)[-1] not in UNEDITABLE]
REFUSED = [name for name in NAMES if name not in EDITABLE]


def halved(passing):
    return passing * 0.5 + 0.1


@pytest.fixture(scope="module")
def bridge():
    return tiny_model(7)


def output(model):
    with torch.inference_mode():
        return model(TOKENS)


def test_the_hook_points_are_hooked_transformers(bridge):
    assert len(NAMES) == 52
    assert set(NAMES) <= set(bridge.hook_dict)
    assert len(REFUSED) == 14


def test_what_passes_is_what_the_name_says(bridge):
    expected = points_of(STATE, TOKENS)
    names = [name for name in EDITABLE if not name.endswith("hook_mlp_in")]
    found = hooks.activations(bridge, TOKENS, names)
    for name in names:
        assert found[name].shape == expected[name].shape, name
        assert (found[name] - expected[name]).abs().max() < 1e-11, name
    middle = hooks.activations(bridge, TOKENS, [hooks.resid_mid(1)])[hooks.resid_mid(1)]
    assert (middle - expected["blocks.1.hook_mlp_in"]).abs().max() < 1e-11


@pytest.mark.parametrize("name", EDITABLE)
def test_an_edit_does_what_arithmetic_does(bridge, name):
    with patched(bridge, {name: halved}):
        edited = output(bridge)
    assert (edited - points_of(STATE, TOKENS, name, halved)["logits"]).abs().max() < 1e-11
    assert (output(bridge) - points_of(STATE, TOKENS)["logits"]).abs().max() < 1e-11


@pytest.mark.parametrize("point", ["q", "k", "v", "z", "pattern"])
def test_an_edit_of_one_head_leaves_the_others(bridge, point):
    name, axis = f"blocks.1.attn.hook_{point}", 1 if point == "pattern" else 2

    def of_head(passing):
        return torch.stack([halved(x) if head == 1 else x for head, x in enumerate(passing.unbind(axis))], dim=axis)

    with patched(bridge, {name: halved}, heads=[(1, 1)]):
        edited = output(bridge)
    assert (edited - points_of(STATE, TOKENS, name, of_head)["logits"]).abs().max() < 1e-11


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_edit_cannot_do_is_refused_by_name(bridge, name):
    message = rf"^{name} cannot be edited .*edit hook_.*, or install transformer-lens<4$"
    with pytest.raises(Refusal, match=message), patched(bridge, {name: halved}):
        pass
    assert not any(getattr(bridge.cfg, flag) for flag in set(hooks.FLAGS.values()))


def test_the_attention_scores_cannot_be_read(bridge):
    with pytest.raises(Refusal, match=r"^blocks.0.attn.hook_attn_scores cannot be read .* holds the attention pattern"):
        hooks.activations(bridge, TOKENS, ["blocks.0.attn.hook_attn_scores"])


@pytest.mark.parametrize("name", ["blocks.0.attn.q.hook_out", "blocks.0.attn.o.hook_in", "blocks.0.hook_out", "hook_unembed"])
def test_names_that_hooked_transformer_has_not_are_refused(bridge, name):
    """They exist in a bridge, but `heads` would mean nothing there."""
    assert name in bridge.hook_dict
    with pytest.raises(Refusal, match=f"no hook point is named '{name}'"), patched(bridge, {name: halved}, heads=[(0, 1)]):
        pass


def test_an_edit_outlives_a_reset_of_hooks_and_ends_with_the_block(bridge):
    clean = output(bridge)
    with ablated(bridge, heads=[(0, 1)]):
        without = output(bridge)
        bridge.reset_hooks()
        assert torch.equal(output(bridge), without)
    assert torch.equal(output(bridge), clean)
    assert not any(point.fwd_hooks for point in bridge.hook_dict.values())
