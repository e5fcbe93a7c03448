"""Why a head looks where it looks: the parts sum to the score that the hooked model computes."""

import numpy as np
import pytest
import torch

from heartlens.models.attended import lift_on
from heartlens.models.interventions.score import POSITION, TOKEN, score_split
from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.signals.simulate import simulated


@pytest.fixture(scope="module")
def subject():
    return subject_of(load("ecg-sim-af"), "torch")


@pytest.fixture(scope="module")
def windows():
    return simulated("ecg", 2, 1)


@pytest.mark.parametrize(("layer", "head", "asking", "key"), [(0, 1, 400, 350), (2, 3, 499, 0), (3, 0, 77, 77)])
def test_the_parts_sum_to_the_score_of_the_hooked_model(subject, windows, layer, head, asking, key):
    split = score_split(subject.engine, windows.tokens[0], layer, head, asking, key)
    name = f"blocks.{layer}.attn.hook_attn_scores"
    _, cache = subject.model.run_with_cache(torch.from_numpy(windows.tokens[:1].astype(np.int64)), names_filter=name)
    scores = cache[name][0, head, asking, : asking + 1].double().numpy()
    for total in (split.score, split.by_key.sum(), split.by_query.sum(), split.pairs.sum()):
        assert total == pytest.approx(scores[key], abs=1e-4)
    for total in (split.score_above, split.above.sum()):
        assert total == pytest.approx(scores[key] - scores.mean(), abs=1e-4)
    assert split.weight == pytest.approx(np.exp(scores[key]) / np.exp(scores).sum(), abs=1e-5)


def test_the_first_block_reads_token_and_position_alone(subject, windows):
    split = score_split(subject.engine, windows.tokens[0], 0, 0, 300, 200)
    assert split.parts[:2] == (TOKEN, POSITION)
    assert len(split.parts) == 4
    assert split.by_key[2] == 0  # no block before it has biases


def test_each_part_is_what_the_score_loses_without_it(subject, windows):
    """Of the key's stream, the scale kept: the score is linear in it."""
    model, tokens = subject.model, torch.from_numpy(windows.tokens[:1].astype(np.int64))
    split = score_split(subject.engine, windows.tokens[0], 1, 2, 250, 100)
    _, cache = model.run_with_cache(tokens)
    added = torch.einsum("hd,hdm->hm", cache["blocks.0.attn.hook_z"][0, 100], model.W_O[0])[0].double()  # L1H1 at the key
    added = (added - added.mean()) / cache["blocks.1.ln1.hook_scale"][0, 100].double() * model.blocks[1].ln1.w.double()
    query = cache["blocks.1.attn.hook_q"][0, 250, 2].double()
    expected = float((query @ (added @ model.W_K[1, 2].double())).detach()) / model.cfg.attn_scale
    assert split.by_key[split.parts.index("L1H1")] == pytest.approx(expected, abs=1e-5)


def test_a_later_key_is_refused(subject, windows):
    with pytest.raises(ValueError, match="token 11 cannot attend to token 21"):
        score_split(subject.engine, windows.tokens[0], 0, 0, 10, 20)


@pytest.mark.parametrize("n_left_out", [0, 1])
def test_the_lift_is_attention_over_its_even_share(subject, windows, n_left_out):
    lift = lift_on(subject, windows, "QRS", n_left_out)
    pattern = next(iter(subject.engine.attention(subject.tokens(windows.tokens)))).pattern.astype(float)[1, 1]
    pattern[:, :n_left_out] = 0
    total = pattern.sum(axis=1, keepdims=True)
    pattern = np.divide(pattern, total, out=np.zeros_like(pattern), where=total > 0)
    on_wave = even = 0.0
    for asking in range(n_left_out, 500):
        if np.isnan(windows.position[1, asking]):
            continue
        keys = windows.inside("QRS")[1, n_left_out : asking + 1]
        on_wave += pattern[asking, n_left_out : asking + 1][keys].sum()
        even += keys.mean() if len(keys) else 0
    assert lift[1, 0, 1] == pytest.approx(on_wave / even, rel=1e-4)
