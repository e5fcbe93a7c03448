"""Planted heads do what they were planted for, no more and no less. Every number follows from arithmetic on the plants' words."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from planted import random_state

import heartlens as hl
from heartlens.axes import KINDS
from heartlens.converters.bridge import converted_model
from heartlens.converters.certificate import certify
from heartlens.converters.original import original_state
from heartlens.models.planted import CopiesValue, Dead, FirstToken, Raises, SamePhase, Wave, planted, planted_state, silenced
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

LENGTH = {"ecg": 80, "ppg": 44}
FIRST_WAVE = {"ecg": "P", "ppg": "foot"}
TIME = np.arange(500)
LOOKS = {(1, 3): SamePhase(lag=1), (0, 2): FirstToken()}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_precision = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def gap(found, expected):
    """The largest difference anywhere. (`pytest.approx` takes seconds for a pattern.)"""
    return np.abs(found - expected).max()


def windows_of(kind, periodic=True):
    return regular(kind, 1, periodic=periodic)


def tokens_of(windows):
    return torch.from_numpy(windows.tokens.astype(np.int64))


@torch.no_grad()
def patterns(model, windows):
    """Every head's attention on the first window: (layer, head, query, key)."""
    _, cache = model.run_with_cache(tokens_of(windows[:1]), names_filter=lambda name: name.endswith("hook_pattern"))
    return np.concatenate([cache["pattern", layer].double().numpy() for layer in range(model.cfg.n_layers)])


@torch.no_grad()
def logits_without(model, windows, *heads):
    """The logits with the z of each of `heads` set to 0."""

    def ablated(z, hook):
        z[:, :, [head for layer, head in heads if layer == hook.layer()]] = 0.0
        return z

    hooks = [(f"blocks.{layer}.attn.hook_z", ablated) for layer in {layer for layer, _ in heads}]
    return model.run_with_hooks(tokens_of(windows), fwd_hooks=hooks).double()


def loss_without(model, windows, *heads):
    """Nats of each prediction from the second cycle on."""
    log_p = logits_without(model, windows, *heads).log_softmax(dim=-1)
    nats = -log_p[:, :-1].gather(-1, tokens_of(windows)[:, 1:, None])[..., 0]
    return nats[:, LENGTH[windows.kind] - 1 :].numpy()


def rivals(margin, copied, vocabulary):
    """The logarithm of what all tokens get together, where the copied one gets 1 and each bit that differs takes a margin off."""
    return np.log(sum(np.exp(-margin * (token ^ int(copied)).bit_count()) for token in range(vocabulary)))


def every_head(layers=2, heads=8):
    return [(layer, head) for layer in range(layers) for head in range(heads)]


def even(seen):
    """Attention spread evenly over the keys that are seen: (query, key)."""
    return seen / seen.sum(axis=1, keepdims=True)


def looked_at(windows, wave, lag):
    """Which keys a wave head attends to, in the words of `Wave`."""
    is_wave = windows.wave[0] == KINDS[windows.kind].waves.index(wave)
    cycle = windows.cycle[0].astype(int)
    seen = np.zeros((500, 500), bool)
    for query in TIME:
        keys = np.flatnonzero(is_wave[: query + 1])
        keys = keys if len(keys) else TIME[: query + 1]
        if lag is not None:
            far = np.abs(cycle[keys] - (cycle[query] - lag))
            keys = keys[far == far.min()]
        seen[query, keys] = True
    return seen


@every_kind
@every_precision
def test_the_same_phase_of_an_earlier_cycle(kind, dtype):
    windows = windows_of(kind)
    model = planted({(1, lag): SamePhase(lag) for lag in range(5)}, windows, dtype=dtype)
    found = patterns(model, windows)
    for lag in range(5):
        back = lag * LENGTH[kind]
        expected = np.where(back > TIME, TIME % LENGTH[kind], TIME - back)  # where there is no such cycle, the nearest
        assert found[1, lag, TIME, expected].min() >= 1 - 1e-6


@every_kind
@every_precision
def test_each_wave_of_each_lag(kind, dtype):
    windows = windows_of(kind)
    wanted = dict(zip(every_head(), product(KINDS[kind].waves, (None, 0, 1, 4)), strict=False))
    model = planted({head: Wave(*wave) for head, wave in wanted.items()}, windows, dtype=dtype)
    found = patterns(model, windows)
    for head, wave in wanted.items():
        seen = looked_at(windows, *wave)
        assert (found[head] * seen).sum(axis=1).min() >= 1 - 1e-6, wave
        assert gap(found[head], even(seen)) < TOLERANCE[dtype], wave


@every_kind
@every_precision
def test_the_first_token(kind, dtype):
    windows = windows_of(kind)
    found = patterns(planted(LOOKS, windows, dtype=dtype), windows)
    assert found[0, 2, :, 0].min() >= 1 - 1e-6


@every_precision
def test_all_other_heads_are_dead(dtype):
    windows = windows_of("ecg")
    model = planted({**LOOKS, (1, 5): CopiesValue(), (1, 0): Dead()}, windows, dtype=dtype)
    found = patterns(model, windows)
    for head in set(every_head()) - LOOKS.keys() - {(1, 5)}:
        assert gap(found[head], even(np.tri(500))) < 1e-7
        assert (model.blocks[head[0]].attn.W_O[head[1]] == 0).all()


@every_kind
@every_precision
@pytest.mark.parametrize("margin", [0.5, 3.0, 20.0])
def test_ablating_the_copying_head_costs_what_was_planted(kind, dtype, margin):
    windows, copier, vocabulary = windows_of(kind), (1, 5), KINDS[kind].vocabulary
    model = planted({**LOOKS, copier: CopiesValue(margin)}, windows, dtype=dtype)
    planted_loss = np.array([[rivals(margin, token, vocabulary) for token in windows.tokens[0, LENGTH[kind] :]]])
    whole = loss_without(model, windows)
    assert whole == pytest.approx(planted_loss, abs=TOLERANCE[dtype])
    assert CopiesValue(margin).loss(windows) == pytest.approx(planted_loss, abs=1e-9)
    cost = loss_without(model, windows, copier) - whole
    assert cost == pytest.approx(np.log(vocabulary) - planted_loss, abs=TOLERANCE[dtype])


@every_precision
def test_ablating_any_other_head_costs_nothing(dtype):
    windows, copier = windows_of("ecg"), (1, 5)
    model = planted({**LOOKS, copier: CopiesValue(3.0)}, windows, dtype=dtype)
    whole = loss_without(model, windows)
    for other in set(every_head()) - {copier}:
        assert loss_without(model, windows, other) == pytest.approx(whole, abs=1e-6)


def test_a_large_margin_predicts_from_any_cycle_before():
    windows = windows_of("ecg")
    for lag in (1, 2, 5):
        model = planted({(0, 1): CopiesValue(lag=lag)}, windows, dtype=torch.float64)
        nats = loss_without(model, windows)[:, (lag - 1) * 80 :]
        assert nats.max() < 7.1 * np.exp(-20)
        assert nats == pytest.approx(CopiesValue(lag=lag).loss(windows), abs=1e-8)


def test_on_noise_the_loss_is_by_the_bits_that_differ():
    windows = windows_of("ecg", periodic=False)
    copied, actual = windows.tokens[0, :-80], windows.tokens[0, 80:]
    expected = np.array([[rivals(1.5, one, 101) + 1.5 * int(one ^ other).bit_count() for one, other in zip(copied, actual, strict=True)]])
    model = planted({(1, 5): CopiesValue(1.5)}, windows, dtype=torch.float64)
    assert loss_without(model, windows) == pytest.approx(expected, abs=1e-6)
    assert CopiesValue(1.5).loss(windows) == pytest.approx(expected)


def test_the_margins_of_two_copying_heads_add_up():
    windows = windows_of("ecg")
    model = planted({(0, 4): CopiesValue(2.0), (1, 5): CopiesValue(1.0, lag=2)}, windows, dtype=torch.float64)

    def without(*heads):
        return loss_without(model, windows, *heads)[:, 80:]

    assert without() == pytest.approx(CopiesValue(3.0).loss(windows)[:, 80:], abs=1e-6)
    assert without((1, 5)) == pytest.approx(CopiesValue(2.0).loss(windows)[:, 80:], abs=1e-6)
    assert without((0, 4)) == pytest.approx(CopiesValue(1.0).loss(windows)[:, 80:], abs=1e-6)
    assert without((0, 4), (1, 5)) == pytest.approx(np.log(101), abs=1e-6)


@pytest.mark.parametrize("writer", [CopiesValue(3.0), Raises(2.0, "T")], ids=str)
@torch.no_grad()
def test_no_layernorm_tells_whether_a_head_writes_or_is_ablated(writer):
    windows = windows_of("ecg")
    model = planted({(0, 4): writer, (1, 3): Wave("T", lag=1)}, windows, dtype=torch.float64)

    def scales():
        _, cache = model.run_with_cache(tokens_of(windows), names_filter=lambda name: name.endswith("hook_scale"))
        return np.stack([scale.numpy() for scale in cache.values()])

    before, attended = scales(), patterns(model, windows)
    assert gap(before, before.mean()) < 1e-6
    model.add_perma_hook("blocks.0.attn.hook_z", lambda z, hook: z * 0)
    assert gap(scales(), before) < 1e-6
    assert gap(patterns(model, windows)[1], attended[1]) < 1e-6


@every_kind
@every_precision
def test_a_task_head_whose_logit_a_wave_raises(kind, dtype):
    windows, wave = windows_of(kind), FIRST_WAVE[kind]
    model = planted({(0, 1): Raises(2.5, wave), (1, 6): Raises(-0.75, wave, lag=1), **LOOKS}, windows, dtype=dtype)
    assert model.cfg.d_vocab_out == 1
    assert model.origin.task == "task head"
    first_seen = np.flatnonzero(windows.wave[0] == 0)[0]
    has_seen = np.where(first_seen > TIME, 0.0, 1.0)
    for ablated, amount in {(): 1.75, ((0, 1),): -0.75, ((1, 6),): 2.5, ((0, 1), (1, 6)): 0.0, ((1, 3),): 1.75, ((1, 1),): 1.75}.items():
        logits = logits_without(model, windows, *ablated)[..., 0].numpy()
        assert logits == pytest.approx(amount * has_seen[None], abs=TOLERANCE[dtype])


def test_windows_without_the_wave_are_no_matter_to_a_planted_place():
    """A plant is a place in the window: the model finds it also where the labels are gone."""
    model = planted({(1, 3): Wave("P")}, regular("ecg", 1))
    bare = regular("ecg", 1, ("QRS", "T"))
    assert gap(patterns(model, bare)[1, 3], even(looked_at(regular("ecg", 1), "P", None))) < 1e-4


@every_kind
def test_the_conversion_is_proven_and_the_export_gives_back_every_bit(kind):
    windows = windows_of(kind)
    plants = {**LOOKS, (1, 5): CopiesValue(3.0), (0, 6): Wave(FIRST_WAVE[kind], 2)}
    state = planted_state(plants, windows)
    again = original_state(converted_model(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    assert [row for row in certify(state, windows.tokens) if not row.holds] == []


def test_other_sizes_hold_more_plants():
    windows = windows_of("ecg")
    plants = {(layer, head): CopiesValue(1.0) for layer in range(3) for head in range(2)}
    model = planted(plants, windows, layers=3, heads=2, d_model=128, d_head=9, dtype=torch.float64)
    assert loss_without(model, windows) == pytest.approx(CopiesValue(6.0).loss(windows), abs=1e-6)


def test_a_silenced_head_attends_evenly_and_writes_nothing():
    state, windows = random_state(scale=1.0), windows_of("ecg")
    quiet = silenced(state, 1, 0)
    before, after = converted_model(state, dtype=torch.float64), converted_model(quiet, dtype=torch.float64)
    found = patterns(after, windows)
    assert gap(found[1, 0], even(np.tri(500))) < 1e-12
    assert gap(found[1, 1], patterns(before, windows)[1, 1]) < 1e-12
    assert (after.blocks[1].attn.W_O[0] == 0).all()
    assert torch.allclose(logits_without(after, windows), logits_without(before, windows, (1, 0)), atol=1e-9)
    assert not torch.allclose(logits_without(after, windows), logits_without(before, windows), atol=1e-2)


def test_it_has_an_origin_as_a_loaded_model():
    model = hl.planted({(1, 3): Wave("foot", 1)}, regular("ppg"))
    assert (model.origin.kind, model.origin.task) == ("ppg", None)
    assert model.origin.checkpoint == "planted: L2H4 Wave(wave='foot', lag=1)"
    assert len(model.origin.fingerprint) == 64
    assert model.origin.fingerprint != hl.planted({}, regular("ppg")).origin.fingerprint


@pytest.mark.parametrize(
    ("plants", "message"),
    [
        ({(2, 0): FirstToken()}, "no layer 2, head 0 here; legal: layers 0 to 1, heads 0 to 7"),
        ({(0, 8): FirstToken()}, "no layer 0, head 8"),
        ({(-1, 0): FirstToken()}, "no layer -1, head 0"),
        ({(0, 0): Wave("foot")}, "unknown ecg wave 'foot'; legal: P, QRS, T"),
        ({(0, 0): Wave("P", 7)}, "a lag of 7 cycles is not in windows of 7 cycles; give one from -1 to 6"),
        ({(0, 0): Wave("P", -2)}, "a lag of -2 cycles"),
        ({(0, 0): SamePhase(7)}, "give one from 0 to 6"),
        ({(0, 0): SamePhase(-1)}, "give one from 0 to 6"),
        ({(0, 0): CopiesValue(lag=0)}, "give one from 1 to 6"),
        ({(0, 0): Raises(1.0, "R")}, "unknown ecg wave 'R'"),
        ({(0, head): CopiesValue() for head in range(3)}, r"the plants need d_model 72 \(phase 4, .*\), given is 64; plant fewer"),
        ({(0, 0): CopiesValue(), (0, 1): Raises(1.0, "P")}, "a model has one of the two: plant them in two models"),
    ],
)
def test_refusals(plants, message):
    with pytest.raises(Refusal, match=message):
        planted(plants, regular("ecg", 1))


def test_refused_sizes_and_margins():
    windows = regular("ecg", 1)
    with pytest.raises(Refusal, match="the plant of layer 0, head 1 needs d_head 8, given is 7; give a larger one"):
        planted({(0, 1): CopiesValue()}, windows, d_head=7)
    with pytest.raises(Refusal, match="needs d_head 4, given is 3"):
        planted({(0, 1): SamePhase()}, windows, d_head=3)
    with pytest.raises(Refusal, match="a margin of 0 copies nothing"):
        CopiesValue(margin=0.0)
    with pytest.raises(Refusal, match="no layer 0, head 2 here"):
        silenced(random_state(), 0, 2)


def test_refused_windows():
    steady = regular("ecg", 2)
    with pytest.raises(Refusal, match="no token of the windows lies in a P wave"):
        planted({(0, 0): Wave("P")}, regular("ecg", 2, ("QRS", "T")))
    shifted = replace(steady, wave=np.stack([steady.wave[0], np.roll(steady.wave[1], 1)]))
    unknown = replace(steady, position=np.full_like(steady.position, np.nan))
    for windows in (simulated("ecg", 1, 1), shifted, unknown, steady[:0]):
        with pytest.raises(Refusal, match="planted heads need regular windows, not"):
            planted({(0, 0): Wave("P")}, windows)
