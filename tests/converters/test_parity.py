"""Converted models against the original architecture on tiny random originals, and that architecture against arithmetic."""

import math

import numpy as np
import pytest
import torch
from originals import scale_attention, tiny_state, tiny_tokens

from heartlens.converters.bridge import converted_model
from heartlens.converters.certificate import TOLERANCE, certify, differences, hooked_forward
from heartlens.converters.hooked import check
from heartlens.converters.original import original_state
from heartlens.converters.reference import reference_forward
from heartlens.refusal import Refusal

ORIGINALS = {
    "next token": {},
    "two heads of odd width": {"heads": 2, "d_model": 10, "d_head": 3, "d_mlp": 7},
    "one layer, one head": {"layers": 1, "heads": 1, "d_head": 5, "context": 9},
    "task head with 1 output": {"task_outputs": 1},
    "task head with 3 outputs": {"task_outputs": 3},
}
PROCESSINGS = [{}, {"fold_ln": True}, {"center_writing_weights": True}, {"fold_ln": True, "center_writing_weights": True}]


@pytest.fixture(params=list(ORIGINALS))
def state(request):
    return tiny_state(3, **ORIGINALS[request.param])


@pytest.mark.parametrize("processing", PROCESSINGS, ids=lambda p: "+".join(p) or "raw")
def test_logits_attention_and_residual_are_the_originals(state, processing):
    tokens = tiny_tokens(state)
    expected = reference_forward(state, tokens, torch.float64)
    got = hooked_forward(converted_model(state, dtype=torch.float64, **processing), tokens)
    centred = "center_writing_weights" in processing
    assert max(differences(got, expected, centred=centred).values()) < 1e-9
    if centred:
        assert got.residual.mean(-1).abs().max() < 1e-9


def test_a_shorter_context_is_the_beginning_of_a_longer_one(state):
    tokens = tiny_tokens(state)
    model = converted_model(state, dtype=torch.float64)
    with torch.no_grad():
        assert (model(tokens[:, :5]) - model(tokens)[:, :5]).abs().max() < 1e-9


def test_the_certificate_compares_every_place_in_both_precisions_and_holds(state):
    rows = list(certify(state, tiny_tokens(state).numpy()))
    places = [(row.weights, row.precision, row.place) for row in rows]
    assert len(set(places)) == 13
    assert ("raw", "float32", "export") in places
    assert all(row.holds for row in rows)


def test_the_certificate_does_not_hold_where_a_number_is_missing():
    state = tiny_state()
    wrong = hooked_forward(converted_model(state), tiny_tokens(state))
    expected = reference_forward(state, tiny_tokens(state))
    wrong.attention[0, 0, 0, 0, 0] = torch.nan
    assert differences(wrong, expected, centred=False)["attention"] == math.inf


def test_half_and_double_precision_files_are_exported_bit_by_bit():
    for dtype in (torch.float16, torch.float64):
        state = {name: tensor.to(dtype) for name, tensor in tiny_state().items()}
        assert [row.holds for row in certify(state, tiny_tokens(state).numpy()) if row.place == "export"] == [True]


def test_the_wrong_attention_scale_is_caught():
    state = tiny_state()
    model = converted_model(state, dtype=torch.float64)
    assert model.cfg.attn_scale == math.sqrt(12)
    scale_attention(model, math.sqrt(model.cfg.d_head))
    expected = reference_forward(state, tiny_tokens(state), torch.float64)
    gaps = differences(hooked_forward(model, tiny_tokens(state)), expected, centred=False)
    assert all(gaps[place] > 1e-3 > TOLERANCE[torch.float32][place] for place in gaps)


def test_export_gives_back_every_bit(state):
    exported = original_state(converted_model(state))
    assert exported.keys() == state.keys()
    assert all(torch.equal(exported[name], state[name]) for name in state)


def test_the_state_dict_is_not_changed_and_its_names_and_shapes_are_those_of_its_sizes(state):
    before = {name: tensor.clone() for name, tensor in state.items()}
    for processing in PROCESSINGS:
        converted_model(state, **processing)
    assert all(torch.equal(state[name], before[name]) for name in state)
    check(state)


def test_what_the_original_cannot_express_is_not_exported():
    state = tiny_state()
    with pytest.raises(Refusal, match="normalization_type LN, this model LNPre"):
        original_state(converted_model(state, fold_ln=True))
    biased = converted_model(state)
    biased.blocks[1].attn.b_K.data[0, 0] = 1.0
    with pytest.raises(Refusal, match=r"blocks\.1\.attn\.b_K is not zero"):
        original_state(biased)
    for setting, value in (("attn_scale", 2.0), ("attention_dir", "bidirectional"), ("eps", 1e-6), ("act_fn", "gelu")):
        other = converted_model(state)
        setattr(other.cfg, setting, value)
        with pytest.raises(Refusal, match=f"{value}"):
            original_state(other)


def test_the_unembedding_of_a_task_head_survives_centring():
    state = tiny_state(task_outputs=1)
    model = converted_model(state, center_writing_weights=True)
    assert torch.equal(model.W_U, state["lm_head.linear1.0.weight"].T)


def test_the_reference_is_what_arithmetic_gives():
    """One layer, one head, three tokens, in numpy: LayerNorm by its formula, one query at a time, keys up to itself only."""
    state = tiny_state(5, layers=1, heads=1, d_model=4, d_head=3, d_mlp=5, vocabulary=6, context=3)
    w = {name.removeprefix("blocks.0."): tensor.double().numpy() for name, tensor in state.items()}

    def norm(vector, name):
        centred = vector - vector.sum() / 4
        return centred / math.sqrt((centred**2).sum() / 4 + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    before = [w["token_embedding_table.weight"][token] + w["position_embedding_table.weight"][time] for time, token in enumerate((4, 0, 4))]
    asked = [norm(vector, "ln1") for vector in before]
    query, key, value = ([w[f"sa.heads.0.{name}.weight"] @ vector for vector in asked] for name in ("query", "key", "value"))
    attention, after, logits = np.zeros((3, 3)), [], []
    for time in range(3):
        powers = [math.exp(query[time] @ key[earlier] / math.sqrt(4)) for earlier in range(time + 1)]
        attention[time, : time + 1] = np.array(powers) / sum(powers)
        mixed = sum(attention[time, earlier] * value[earlier] for earlier in range(time + 1))
        x = before[time] + w["sa.proj.weight"] @ mixed + w["sa.proj.bias"]
        hidden = np.maximum(w["ffwd.net.0.weight"] @ norm(x, "ln2") + w["ffwd.net.0.bias"], 0)
        after.append(x + w["ffwd.net.2.weight"] @ hidden + w["ffwd.net.2.bias"])
        logits.append(w["lm_head.weight"] @ norm(after[-1], "ln_f") + w["lm_head.bias"])

    got = reference_forward(state, torch.tensor([[4, 0, 4]]), torch.float64)
    assert np.abs(got.attention[0, 0, 0].numpy() - attention).max() < 1e-12
    assert np.abs(got.residual[:, 0].numpy() - [before, after]).max() < 1e-12
    assert np.abs(got.logits[0].numpy() - logits).max() < 1e-12
