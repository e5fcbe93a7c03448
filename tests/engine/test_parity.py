"""Every engine against the definition in numpy (`definition.py`): every method and every sum, on models and windows of many sizes.

A difference is told in parts of the largest number of its quantity. Float32 may be off by 1e-5 of it in sums and 1e-4 elsewhere, float64 by
1e-8; where scores are large, by as much as rounding of the scores itself makes.
"""

import inspect
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from originals import tiny_state

import heartlens as hl
from engine import definition
from engine.definition import Definition
from heartlens.checkpoints.fetch import Unavailable
from heartlens.converters.hooked import hooked_model
from heartlens.converters.reference import reference_forward
from heartlens.engine import Asked, Engine, LayerSums, engine_of
from heartlens.engine.compiled import kernels
from heartlens.models.planted import FirstToken, SamePhase, Wave
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
TOLERANCE_OF_SUMS = {torch.float32: 1e-5, torch.float64: 1e-8}
RUNS_IN = {  # engine and precision
    "fused": ("fused", torch.float32),
    "torch": ("torch", torch.float32),
    "torch in float64": ("torch", torch.float64),
    "hooked": ("hooked", torch.float32),
    "hooked in float64": ("hooked", torch.float64),
}
every_engine = pytest.mark.parametrize("ran", list(RUNS_IN))

SIZES = {  # random models; heads of every kind of width, with room to spare in the context or not
    "width 1": {"layers": 1, "heads": 5, "d_model": 5, "d_head": 1, "context": 33},
    "width 3": {"layers": 3, "heads": 2, "d_model": 7, "d_head": 3, "context": 40},
    "width 8": {"layers": 2, "heads": 3, "d_model": 24, "d_head": 8, "context": 64},
    "width 12": {"layers": 2, "heads": 1, "d_model": 12, "d_head": 12, "context": 31},
    "width 16": {"layers": 1, "heads": 2, "d_model": 20, "d_head": 16, "context": 70},
    "width 24": {"layers": 2, "heads": 2, "d_model": 30, "d_head": 24, "context": 97},
    "one output": {"layers": 2, "heads": 2, "d_model": 16, "d_head": 8, "context": 50, "task_outputs": 1},
}
N_TIMES = (1, 2, 31, 32, 33, None)  # None: the whole context
PLANTED = {(0, 1): FirstToken(), (1, 2): SamePhase(), (1, 3): Wave("P", lag=1)}
PUBLISHED = ("ecgpt-560k", "ecgpt-af-1k", "ppgpt-500k", "ppgpt-af-1k", "ppgpt-beat-5k")
EMBEDDED = ("ecg-sim", "ecg-sim-af", "ppg-sim", "ppg-sim-af", "ppg-sim-beat")


def random_model(name, dtype, fold_ln=False):
    """A tiny random model, its weights moderate: rounding must not be what is measured."""
    state = {key: tensor if ".ln" in key else tensor * 0.5 for key, tensor in tiny_state(3, **SIZES[name]).items()}
    return hooked_model(state, dtype=dtype, fold_ln=fold_ln)


@cache
def real_model(name, dtype):
    """A published, embedded or planted model; skips where a published one is not at hand."""
    if name == "planted":
        return hl.planted(PLANTED, regular("ecg", 1), heads=4, d_model=64, dtype=dtype)
    try:
        return hl.load(name, dtype=dtype)
    except Unavailable:
        pytest.skip(f"{name} is not at hand; set HEARTLENS_CHECKPOINTS")


def tokens_for(model, n_windows=2, n_time=None, seed=0):
    """Drawn ones, or for a model of a kind of signal simulated ones: on noise float32 itself is 1e-5 off after eight blocks."""
    kind = getattr(getattr(model, "origin", None), "kind", None)
    if kind:
        return torch.from_numpy(simulated(kind, n_windows, 1, seed=seed).tokens[:, -(n_time or model.cfg.n_ctx) :].astype(np.int64))
    drawn = np.random.default_rng(seed).integers(model.cfg.d_vocab, size=(n_windows, n_time or model.cfg.n_ctx))
    return torch.from_numpy(drawn)


def off(got, expected):
    """The largest difference, in parts of the largest number expected (of 1 where nothing is larger than 2^-90, which is as good as 0)."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape
    assert (np.isnan(got) == np.isnan(expected)).all()
    got, expected = np.nan_to_num(got, nan=0.0, posinf=np.inf, neginf=-np.inf), np.nan_to_num(expected, nan=0.0)
    assert np.isfinite(got).all()
    largest = np.abs(expected).max(initial=0)
    return float(np.abs(got - expected).max(initial=0) / (largest if largest > 2.0**-90 else 1))


# what an engine computes of streams


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


# sums of attention


def asked_of(n_windows, n_time, what, seed=0):
    """What is asked for, drawn: `what` names rows of ASKED with + between."""
    rng, asked = np.random.default_rng(seed), {"group": np.full((n_windows, n_time), -1, np.int32), "column_of": np.zeros(0, np.int32)}
    for name in what.split(" + "):
        asked |= ASKED[name](rng, n_windows, n_time)
    return Asked(**asked)


def _groups(rng, n_windows, n_time):
    """Groups that hold for one asking token or for several, as the cycles of a recording do: the kernel adds four of one group at once."""
    each = [np.repeat(rng.integers(-1, 4, size=n_time), rng.choice([1, 1, 6], size=n_time))[:n_time] for _ in range(n_windows)]
    return np.stack(each).astype(np.int32)


def _runs(rng, n_windows, n_time):
    """Runs of keys in any order, that overlap, one of them empty, one whole."""
    runs = np.sort(rng.integers(0, n_time + 1, size=(n_windows, 6, 2)), axis=2)
    runs[:, 2, 1] = runs[:, 2, 0]
    runs[:, 3] = 0, n_time
    return runs.astype(np.int32)


ASKED = {
    "nothing": lambda rng, w, t: {},
    "columns": lambda rng, w, t: {
        "group": _groups(rng, w, t),
        "column_of": np.array([1, 0, 1, 3], np.int32),  # two groups share a column, and one has none
    },
    "runs": lambda rng, w, t: {"runs": _runs(rng, w, t)},
    "without the first key": lambda rng, w, t: {"n_left_out": 1},
    "without five keys": lambda rng, w, t: {"n_left_out": 5, "n_first": 5},
    "without any key": lambda rng, w, t: {"n_left_out": t + 3},
    "bins": lambda rng, w, t: {"bins": rng.integers(-1, 4, size=(w, t, t)).astype(np.int16), "n_bins": 5},
    "coordinates": lambda rng, w, t: {"coordinates": rng.normal(size=(w, 2, t)).astype(np.float32)},
    "rows": lambda rng, w, t: {"rows": (t - 1, 0)},
    "no entropy": lambda rng, w, t: {"entropy": False},
    "by value": lambda rng, w, t: {"by_value": True},
}
ALL = "columns + runs + bins + coordinates + rows"
ALONE = ("nothing", "columns", "columns + runs", "bins", "coordinates", "rows")
TOGETHER = (ALL, f"{ALL} + without the first key", f"{ALL} + without five keys", f"{ALL} + without any key", f"{ALL} + by value")
TOGETHER += (f"{ALL} + by value + without the first key", f"{ALL} + no entropy", f"{ALL} + by value + no entropy")
SUMS = [each.name for each in fields(LayerSums) if each.name != "layer"]


def test_every_field_is_asked_for():
    asked = asked_of(1, 9, " + ".join(ASKED))
    assert {each.name for each in fields(Asked) if repr(getattr(asked, each.name)) == repr(each.default)} == set()
    assert set(definition.sums(np.eye(9)[None, None], np.ones((1, 1, 9)), asked)) == set(SUMS)


def gaps_of_sums(model, ran, n_time, what, unmasked, n_windows=2):
    """The largest differences of each sum over all layers."""
    tokens = tokens_for(model, n_windows, n_time)
    asked = asked_of(n_windows, tokens.shape[1], what)
    layers = list(engine_of(model, RUNS_IN[ran][0]).sums(tokens, asked, last_block_unmasked=unmasked))
    expected = [definition.sums(*each, asked) for each in Definition(model).patterns(tokens.numpy(), unmasked)]
    assert [layer.layer for layer in layers] == list(range(model.cfg.n_layers))
    pairs = list(zip(layers, expected, strict=True))
    return {name: max(off(getattr(layer, name), own[name]) for layer, own in pairs) for name in SUMS}


def assert_sums(model, ran, n_time, what, unmasked, **options):
    gaps = gaps_of_sums(model, ran, n_time, what, unmasked, **options)
    assert {name: gap for name, gap in gaps.items() if gap > TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]} == {}


@every_engine
@pytest.mark.parametrize("what", [*ALONE, *TOGETHER])
def test_what_is_asked_for_alone_and_together(what, ran):
    for size in ("width 3", "width 8"):
        assert_sums(random_model(size, RUNS_IN[ran][1]), ran, 40, what, False)


@every_engine
def test_a_row_may_be_asked_for_twice_and_from_the_end(ran):
    tokens, model = torch.zeros(1, 9, dtype=torch.long), random_model("width 8", RUNS_IN[ran][1])
    asked = Asked(np.zeros((1, 9), np.int32), np.zeros(1, np.int32), rows=(8, 3, -1, 3))
    for layer, (pattern, _) in zip(engine_of(model, RUNS_IN[ran][0]).sums(tokens, asked), Definition(model).patterns(tokens), strict=True):
        assert off(layer.rows, pattern[:, :, [8, 3, 8, 3]]) < TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"group": np.full((1, 9), 1, np.int32)},
        {"bins": np.full((1, 9, 9), 2, np.int16), "n_bins": 2},
        {"runs": np.array([[[0, 10]]], np.int32)},
        {"runs": np.array([[[-1, 3]]], np.int32)},
        {"runs": np.array([[[4, 3]]], np.int32)},
        {"rows": (9,)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_lies_beyond_the_arrays_is_refused(wrong):
    """A compiled kernel would write there."""
    with pytest.raises(Refusal):
        Asked(**{"group": np.zeros((1, 9), np.int32), "column_of": np.zeros(1, np.int32), **wrong})


@every_engine
@pytest.mark.parametrize("unmasked", [False, True], ids=["masked", "unmasked"])
@pytest.mark.parametrize("size", list(SIZES))
def test_sums_on_random_models(size, unmasked, ran):
    model = random_model(size, RUNS_IN[ran][1])
    for n_time in N_TIMES:
        if (n_time or 0) <= model.cfg.n_ctx:
            assert_sums(model, ran, n_time, TOGETHER[1], unmasked)
    assert_sums(random_model(size, RUNS_IN[ran][1], fold_ln=True), ran, 29, TOGETHER[-1], unmasked)


@every_engine
@pytest.mark.parametrize("name", [*PUBLISHED, *EMBEDDED, "planted"])
def test_sums_on_real_models(name, ran):
    """Within 2e-5 in float32: eight layers of float32 differ that much from the definition (1.01e-5 was seen), by any engine."""
    gaps = gaps_of_sums(real_model(name, RUNS_IN[ran][1]), ran, 90, ALL, True, n_windows=1)
    assert {sums: gap for sums, gap in gaps.items() if gap > 2 * TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]} == {}


@every_engine
@pytest.mark.parametrize("name", ["ecgpt-560k", "ecg-sim"])
def test_sums_of_a_whole_window(name, ran):
    assert_sums(real_model(name, RUNS_IN[ran][1]), ran, None, "columns + runs + rows", False, n_windows=1)


@every_engine
@pytest.mark.parametrize("unmasked", [False, True], ids=["masked", "unmasked"])
@pytest.mark.parametrize("size", list(SIZES))
def test_attention_whole_and_its_last_rows(size, unmasked, ran):
    model = random_model(size, RUNS_IN[ran][1])
    for n_time, n_rows in ((None, None), (None, 1), (30, 7), (1, 1)):
        tokens = tokens_for(model, n_time=n_time)
        layers = engine_of(model, RUNS_IN[ran][0]).attention(tokens, n_rows=n_rows, last_block_unmasked=unmasked)
        for layer, (pattern, _) in zip(layers, Definition(model).patterns(tokens.numpy(), unmasked), strict=True):
            rows = pattern[:, :, -(n_rows or tokens.shape[1]) :]
            assert off(layer.pattern, rows) < TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]
            assert off(layer.entropy, definition.entropy(pattern)) < TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]


@every_engine
@pytest.mark.parametrize("name", ["sums", "attention"])
def test_windows_do_not_depend_on_those_beside_them(name, ran):
    """Nor on how many of them the memory holds at a time."""
    model = random_model("width 3", RUNS_IN[ran][1])
    engine, tokens = engine_of(model, RUNS_IN[ran][0]), tokens_for(model, 5)
    asked = asked_of(5, 40, ALL)
    if hasattr(engine, "_windows_at_once"):
        engine._windows_at_once = lambda n_time: 2
    together = list(engine.sums(tokens, asked) if name == "sums" else engine.attention(tokens))
    alone = list(engine.sums(tokens[3:4], asked.of(slice(3, 4))) if name == "sums" else engine.attention(tokens[3:4]))
    for all_windows, window in zip(together, alone, strict=True):
        for each in fields(window):
            if each.name != "layer":
                assert off(getattr(all_windows, each.name)[3:4], getattr(window, each.name)) < TOLERANCE_OF_SUMS[RUNS_IN[ran][1]]


# large scores


@every_engine
@pytest.mark.parametrize("unmasked", [False, True], ids=["masked", "unmasked"])
@pytest.mark.parametrize("shift", [0.0, -50.0, 300.0])
@pytest.mark.parametrize("stretch", [1, 30, 1000])
def test_rows_of_large_scores(stretch, shift, unmasked, ran):
    """Queries and keys `stretch` times as large, and keys moved by a constant, which moves all scores of a row alike.

    A score s in float32 is off by some roundings of s, and a weight by as much of itself: no engine can do better.
    """
    name, dtype = RUNS_IN[ran]
    model = random_model("width 16", dtype)
    attention = model.blocks[0].attn
    with torch.no_grad():
        attention.W_Q.mul_(stretch)
        attention.W_K.mul_(stretch)
        attention.b_K.add_(shift)
    own, tokens = Definition(model), tokens_for(model)
    x = own.embed(tokens.numpy())
    largest = np.abs(own.read(x, 0, "Q") @ np.swapaxes(own.read(x, 0, "K"), -1, -2)).max() / own.scale
    rounding = 8 * torch.finfo(dtype).eps * largest
    asked = asked_of(2, tokens.shape[1], ALL)
    (layer,) = engine_of(model, name).sums(tokens, asked, last_block_unmasked=unmasked)
    (expected,) = own.patterns(tokens.numpy(), unmasked)
    gaps = {each: off(getattr(layer, each), value) for each, value in definition.sums(*expected, asked).items()}
    assert {each: gap for each, gap in gaps.items() if gap > TOLERANCE_OF_SUMS[dtype] + rounding} == {}
    assert off(layer.rows.sum(axis=-1), np.ones(layer.rows.shape[:-1])) < 1e-5
    if not unmasked:
        assert (
            off(engine_of(model, name).mixed(torch.from_numpy(x).to(dtype), 0).detach().numpy(), own.mixed(x, 0))
            < TOLERANCE[dtype] + rounding
        )


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(
    "offset", [0, -19, -21, -63, -65, -130, 23, 25, 100, 126, 128, 1000, -1000, 2.0**23, -(2.0**23), 2.0**40, -(2.0**40)]
)
def test_the_kernel_on_scores_without_rounding(offset, is_causal):
    """Scores are whole numbers or large powers of 2, so that float32 holds them: what is expected follows from them exactly."""
    n_time, room = 40, 64
    rng = np.random.default_rng(0)
    query, key, value = (np.zeros((1, 1, 8, room), np.float32) for _ in range(3))
    steps = rng.integers(-6, 6, n_time) * (1.0 if abs(offset) < 2.0**30 else 2.0**20)
    query[0, 0, 0], key[0, 0, 0, :n_time], value[0, 0, :, :n_time] = 1, steps + offset, rng.normal(size=(8, n_time))
    key[0, 0, 0, n_time:] = 3.0e4  # what stands in the room to spare counts for nothing
    shapes = (1, n_time, 1, 8), (1, 1, n_time, n_time), (1, 1, n_time)
    mixed, pattern, entropy = (np.zeros(shape, np.float32) for shape in shapes)
    kernels().attention_patterns(query, key, value, n_time, 0, is_causal, mixed, pattern, entropy)
    scores = np.where(np.tri(n_time, dtype=bool) | (not is_causal), steps, -np.inf)
    expected = 2.0 ** (scores - scores.max(axis=-1, keepdims=True))
    expected /= expected.sum(axis=-1, keepdims=True)
    assert off(pattern[0, 0], expected) < 1e-6
    assert off(entropy[0, 0], definition.entropy(expected)) < 2e-6
    assert off(mixed[0, :, 0], expected @ value[0, 0, :, :n_time].T) < 1e-6
    tiny = np.abs(pattern[pattern != 0])
    assert tiny.min() >= np.finfo(np.float32).tiny  # denormal numbers are slow
