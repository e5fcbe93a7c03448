"""Interventions: each does exactly what its name says, or raises; nothing stays behind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import model_of, random_state

from heartlens.converters.lens import BRIDGED
from heartlens.models import hooks
from heartlens.models.edit import ablated, patched
from heartlens.models.interventions.replacement import N_PHASES, Reference, partners
from heartlens.models.planted import silenced
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated

STATE = random_state(layers=3, heads=4, d_head=8, scale=0.4)
SIX_SILENT = ("attn.hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in", "hook_mlp_in")


@pytest.fixture(scope="module")
def model():
    return model_of(STATE, dtype=torch.float64)


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", 3, 1, seed=0)


@pytest.fixture(scope="module")
def tokens(windows):
    return torch.from_numpy(windows.tokens.astype(np.int64))


def output(model, tokens):
    with torch.inference_mode():
        return model(tokens)


def untouched(model):
    flags = any(getattr(model.cfg, flag) for flag in hooks.FLAGS.values())
    return not flags and not any(module._forward_hooks for module in model.modules())


def test_ablating_a_head_is_zeroing_its_output_weights(model, tokens):
    expected = output(model_of(silenced(STATE, 1, 2), dtype=torch.float64), tokens)
    with ablated(model, heads=[(1, 2)]):
        assert torch.allclose(output(model, tokens), expected, atol=1e-5, rtol=0)
    assert untouched(model)


@pytest.mark.skipif(BRIDGED, reason="calls the blocks of a HookedTransformer; of bridges tests/bridge tests every point")
def test_ablating_mlps_and_layers_is_leaving_out_what_they_add(model, tokens):
    def run(without_mlp, without_layer):
        x = model.W_E[tokens] + model.W_pos
        for layer, block in enumerate(model.blocks):
            after = block(x)
            if layer == without_mlp:
                after = x + block.attn(*[block.ln1(x)] * 3)
            x = x if layer == without_layer else after
        return model.unembed(model.ln_final(x))

    for given, expected in (({"mlps": [1]}, run(1, None)), ({"layers": [0]}, run(None, 0)), ({"mlps": [0], "layers": [2]}, run(0, 2))):
        with ablated(model, **given):
            assert torch.allclose(output(model, tokens), expected, atol=1e-9)


def test_an_ablation_at_some_tokens_leaves_earlier_ones_as_they_are(model, tokens):
    at = np.zeros(tokens.shape, bool)
    at[:, 300:] = True
    clean = output(model, tokens)
    with ablated(model, heads=[(0, 0), (2, 3)], at=at):
        edited = output(model, tokens)
    assert torch.allclose(edited[:, :300], clean[:, :300], atol=1e-9)
    assert (edited[:, 300:] - clean[:, 300:]).abs().amin(dim=1).amax() > 1e-6


def test_what_replaces_an_activation_is_what_is_said(model, windows, tokens):
    known = hooks.activations(model, tokens, [hooks.z(1)])[hooks.z(1)]
    reference = Reference(model, windows)
    donor = partners(windows, windows)
    assert (windows.record[donor] != windows.record).all()
    assert torch.equal(reference.value(hooks.z(1), "resample", windows), known[donor])
    assert torch.allclose(reference.value(hooks.z(1), "mean", None)(known)[0], (known[0] + known[1] + known[2]) / 3)
    inside = (windows.phase >= 0.5) & (windows.phase < 0.5 + 1 / N_PHASES)
    expected = known[torch.from_numpy(inside)].mean(dim=0)
    assert torch.allclose(reference.value(hooks.z(1), "mean-by-phase", windows)[torch.from_numpy(inside)], expected)


def test_the_mean_of_a_phase_is_that_of_its_bin_and_where_none_is_known_that_of_all(model, windows):
    """Each of N_PHASES bins, and the tokens of unknown phase, by themselves; phases that the sample has not get the mean of all."""
    known = Reference(model, windows).activation(hooks.z(1))
    partly = replace(windows, position=np.where(np.arange(500) < 100, np.nan, windows.position))
    value = Reference(model, partly).value(hooks.z(1), "mean-by-phase", partly)
    bins = np.where(np.isnan(partly.phase), -1, np.floor(np.nan_to_num(partly.phase) * N_PHASES))
    for one in (-1, *range(N_PHASES)):
        inside = torch.from_numpy(bins == one)
        assert torch.allclose(value[inside], known[inside].mean(dim=0).expand_as(value[inside]))
    nowhere = replace(windows, position=np.full_like(windows.position, np.nan))
    value = Reference(model, nowhere).value(hooks.z(1), "mean-by-phase", windows)
    assert torch.allclose(value, known.mean(dim=(0, 1)).expand_as(value))


def test_partners_are_several_and_go_with_the_window(windows):
    """Not one window for all: of 12 windows of two records each has one of 6, and the same one whatever stands beside it."""
    many = simulated("ecg", 2, 6, seed=0)
    found = partners(many, many)
    assert len(set(found)) > 4
    assert np.array_equal(partners(many[::-1], many), found[::-1])


def test_a_reference_of_another_model_is_refused(model, windows):
    other = Reference(model_of(STATE, dtype=torch.float64), windows)
    with pytest.raises(Refusal, match="of this very model"), ablated(model, heads=[(0, 0)], how="mean", reference=other):
        pass


@pytest.mark.parametrize("how", ["mean", "resample", "mean-by-phase"])
def test_every_way_of_ablating_replaces_that_head_alone(model, windows, tokens, how):
    reference = Reference(model, windows)
    with ablated(model, heads=[(1, 2)], how=how, reference=reference, windows=windows):
        _, cache = model.run_with_cache(tokens, names_filter=[hooks.z(1)])
    clean, edited = reference.activation(hooks.z(1)), cache[hooks.z(1)]
    value = reference.value(hooks.z(1), how, windows)
    assert torch.equal(edited[:, :, 2], (value(clean) if callable(value) else value)[:, :, 2])
    assert torch.equal(edited[:, :, [0, 1, 3]], clean[:, :, [0, 1, 3]])


def test_patching_with_the_clean_activation_changes_nothing_and_says_so(model, tokens):
    clean = hooks.activations(model, tokens, [hooks.z(1)])
    with pytest.raises(Refusal, match="changes nothing"), patched(model, clean):
        output(model, tokens)
    with patched(model, clean, may_equal=True):
        assert torch.equal(output(model, tokens), output(model, tokens))
    assert untouched(model)


def test_patching_the_stream_of_another_run_gives_the_other_run(model, tokens):
    other = tokens.flip(0)
    corrupt, expected = hooks.activations(model, other, [hooks.resid_post(1)]), output(model, other)
    with patched(model, corrupt):
        assert torch.allclose(output(model, tokens), expected, atol=1e-9)


@pytest.mark.parametrize("point", ["hook_mlp_in"] if BRIDGED else SIX_SILENT)
def test_hook_points_that_never_fire_by_default_do(model, tokens, point):
    heads = [(1, 2)] if point in ("attn.hook_result", "hook_q_input", "hook_k_input", "hook_v_input") else None
    clean = output(model, tokens)
    with patched(model, {f"blocks.1.{point}": torch.zeros_like}, heads=heads):
        assert not torch.allclose(output(model, tokens), clean)
    assert untouched(model)
    assert torch.equal(output(model, tokens), clean)


def test_one_heads_attention_at_one_wave(model, windows, tokens):
    """Even attention of one head for asking tokens in a QRS: rows of all others stay as they are."""
    even = torch.ones(500, 500, dtype=torch.float64).tril() / torch.arange(1, 501)[:, None]
    at = windows.inside("QRS")
    clean = hooks.activations(model, tokens, [hooks.pattern(1)])[hooks.pattern(1)]
    with patched(model, {hooks.pattern(1): lambda passing: even.expand_as(passing)}, heads=[(1, 3)], at=at):
        _, cache = model.run_with_cache(tokens, names_filter=[hooks.pattern(1)])
    edited, mask = cache[hooks.pattern(1)], torch.from_numpy(at)
    assert torch.equal(edited[:, 3][mask], even.expand(3, 500, 500)[mask])
    assert torch.equal(edited[:, 3][~mask], clean[:, 3][~mask])
    assert torch.equal(edited[:, :3], clean[:, :3])


def test_nothing_leaks_when_the_body_raises(model, tokens):
    clean = output(model, tokens)
    with pytest.raises(KeyError), patched(model, {"blocks.0.hook_mlp_in": torch.zeros_like}):
        raise KeyError
    assert untouched(model)
    assert torch.equal(output(model, tokens), clean)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"heads": [(3, 0)]}, r"legal: layers 0 to 2, heads 0 to 3"),
        ({"heads": [(0, 4)]}, r"\(0, 4\) is not there"),
        ({"mlps": [3]}, "layer 3 is not there"),
        ({"layers": [-1]}, "layer -1 is not there"),
        ({"heads": [(0, 0)], "how": "means"}, "unknown how 'means'; did you mean 'mean'"),
        ({"heads": [(0, 0)], "how": "mean"}, "needs a reference"),
        ({}, "nothing to ablate"),
        ({"heads": [(0, 0)], "at": np.zeros((3, 500), bool)}, "selects no token"),
    ],
)
def test_what_cannot_be_ablated_is_refused_before_the_model_runs(model, given, match):
    with pytest.raises(Refusal, match=match), ablated(model, **given):
        pass


def test_edits_that_cannot_act_are_refused(model, tokens, windows):
    with pytest.raises(Refusal, match="no hook point is named"), patched(model, {"blocks.0.attn.hook_zz": torch.zeros_like}):
        pass
    with pytest.raises(Refusal, match="nothing is broadcast"), patched(model, {hooks.z(0): torch.zeros(8, dtype=torch.float64)}):
        output(model, tokens)
    with pytest.raises(Refusal, match="did not fire"), ablated(model, heads=[(0, 0)]):
        pass
    with pytest.raises(Refusal, match=r"`at` is \(1, 500\)"), ablated(model, heads=[(0, 0)], at=np.ones((1, 500), bool)):
        output(model, tokens)
    with pytest.raises(Refusal, match="none of the heads"), patched(model, {hooks.z(0): torch.zeros_like}, heads=[(1, 0)]):
        pass
    with pytest.raises(Refusal, match="needs the windows"):
        Reference(model, windows).value(hooks.z(0), "resample", None)
    one = windows[:1]
    with pytest.raises(Refusal, match="the only record"):
        partners(one, one)
    assert untouched(model)
