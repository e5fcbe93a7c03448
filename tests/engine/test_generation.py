"""Generation against the published loop, token by token; what no batch, engine or stale weight may change; refusals."""

import numpy as np
import pytest
import torch
from originals import tiny_state
from planted import model_of, random_state

import heartlens as hl
from heartlens.converters.hooked import hooked_model
from heartlens.converters.published import Published, published_tokens
from heartlens.engine import engine_of
from heartlens.engine.batched import TorchEngine
from heartlens.engine.fused import FusedEngine
from heartlens.engine.generation import Drawing, generated
from heartlens.engine.steps import steps_of
from heartlens.models import load
from heartlens.refusal import Refusal

N_CONTEXT = 40  # of the tiny models
ENGINES = ("fused", "torch", "hooked")
PROMPTS = (1, 7, 39, 40, 55)  # within the tiny context, one short of it, all of it, more than it holds


@pytest.fixture(scope="module")
def state():
    return tiny_state(3)


@pytest.fixture(scope="module")
def model(state):
    return hooked_model(state)


def contexts(n_time, n_contexts=2, vocabulary=17, seed=0):
    return np.random.default_rng(seed).integers(vocabulary, size=(n_contexts, n_time)).astype(np.uint8)


def looped(state, given, n_new, seed, n_samples, **options):
    """What the published loop generates, one context and one seed at a time."""
    published = Published(state)
    return [[published_tokens(published, context, n_new, seed + sample, **options) for sample in range(n_samples)] for context in given]


@pytest.mark.parametrize("n_prompt", PROMPTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_tokens_are_the_published_loops(state, model, engine, n_prompt):
    """Several contexts, samples and seeds, within the context and beyond its end."""
    given = contexts(n_prompt)
    for seed in (0, 1000):
        new = generated(model, given, 12, seed=seed, n_samples=2, engine=engine)
        assert new.tolist() == looped(state, given, 12, seed, 2)


@pytest.mark.parametrize("sizes", [{}, {"heads": 1, "d_model": 33, "d_head": 19, "d_mlp": 5, "vocabulary": 3}, {"layers": 1, "d_mlp": 64}])
@pytest.mark.parametrize("processing", [{}, {"fold_ln": True}, {"fold_ln": True, "center_writing_weights": True}])
def test_logits_of_a_step_are_those_of_a_full_pass(sizes, processing):
    """In units of the logits' own spread, of float32's kernel against the original in float64: odd sizes, folded norms."""
    state = tiny_state(5, **sizes)
    tokens = torch.from_numpy(contexts(N_CONTEXT, vocabulary=sizes.get("vocabulary", 17)).astype(np.int64))
    expected = Published({name: tensor.double() for name, tensor in state.items()}).double()(tokens).detach()
    steps = steps_of(FusedEngine(hooked_model(state, **processing)), tokens[:, :9], 1, N_CONTEXT - 8)
    for time in range(8, N_CONTEXT):
        logits = steps.logits if time == 8 else steps.advance(tokens[None, :, time, None])
        assert torch.allclose(logits[0, :, 0].double(), expected[:, time], atol=2e-5 * float(expected.std()))


@pytest.mark.parametrize("size", [40.0, -40.0])
def test_large_scores_lose_no_digit(size):
    """Heads whose scores exceed what exp2 can express, to either side: rows that are made anew with their largest score subtracted."""
    state = tiny_state(6)
    for name, tensor in state.items():
        if "query" in name:
            tensor *= size
    tokens = torch.from_numpy(contexts(30).astype(np.int64))
    expected = Published({name: tensor.double() for name, tensor in state.items()}).double()(tokens).detach()
    steps = steps_of(FusedEngine(hooked_model(state)), tokens[:, :5], 1, 26)
    for time in range(5, 30):
        assert torch.allclose(steps.advance(tokens[None, :, time, None])[0, :, 0].double(), expected[:, time], atol=2e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{"temperature": 0.7}, {"temperature": 2.0, "top_k": 4}, {"top_k": 1}, {"top_k": 17}])
def test_temperature_and_top_k_are_nanogpts(state, model, engine, options):
    given = contexts(30)
    assert generated(model, given, 15, seed=4, engine=engine, **options).tolist() == looped(state, given, 15, 4, 1, **options)


def test_temperature_0_takes_the_likeliest_token(state, model):
    given, published = contexts(30, 1), Published(state)
    for token in generated(model, given, 15, seed=0, temperature=0)[0, 0]:
        likeliest = int(published(torch.from_numpy(given[:, -N_CONTEXT:].astype(np.int64)))[0, -1].argmax())
        assert token == likeliest
        given = np.append(given, [[token]], axis=1)


def test_a_draw_is_torchs_own():
    """Row by row what `torch.manual_seed` and `torch.multinomial` give a loop of one row, for flat, peaked and partly impossible tokens."""
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 5.0, 30.0):
        for n_tokens in (1, 2, 101, 102):
            logits = torch.randn(20, n_tokens, generator=generator) * scale
            drawing = Drawing(n_tokens, seed=7, n_samples=20)
            own = drawing.generators(range(20))
            drawn = [drawing.drawn(logits, own) for _ in range(3)]
            for sample in range(20):
                torch.manual_seed(7 + sample)
                for tokens in drawn:
                    probability = logits[[sample]].softmax(dim=-1)
                    assert int(torch.multinomial(probability, num_samples=1)) == int(tokens[sample])


@pytest.mark.parametrize("engine", ENGINES)
def test_no_batch_decides_what_comes(model, engine, monkeypatch):
    """Contexts and samples together, one at a time, and in such parts as little memory allows."""
    given = contexts(33, 3)
    together = generated(model, given, 12, seed=5, n_samples=3, engine=engine)
    for context, sample in np.ndindex(3, 3):
        assert (generated(model, given[[context]], 12, seed=5 + sample, engine=engine)[0, 0] == together[context, sample]).all()
    for memory in (0, 2**18):
        monkeypatch.setattr("heartlens.engine.generation.MEMORY", memory)
        assert (generated(model, given, 12, seed=5, n_samples=3, engine=engine) == together).all()


@pytest.mark.parametrize("kind", [FusedEngine, TorchEngine])
def test_changed_weights_are_noticed(state, kind):
    """Between two generations of one engine: every tensor, changed in place (but the keys' bias, which softmax takes out)."""
    model = hooked_model(state)
    engine, tokens = kind(model), torch.from_numpy(contexts(8, 1).astype(np.int64))

    def logits():
        """Of the next token, after a prompt and two steps."""
        steps = steps_of(engine, tokens[:, :6], 1, 3)
        return [steps.advance(tokens[None, :, time, None])[0, :, 0].clone() for time in (6, 7)][-1]

    before = logits()
    for name, tensor in model.named_parameters():
        with torch.no_grad():
            kept = tensor.clone()
            tensor.mul_(-1.5).add_(0.3)
            changed = logits()
            torch.testing.assert_close(changed, model(tokens)[:, -1], rtol=1e-3, atol=1e-4)
            assert name.endswith("b_K") or (changed - before).abs().max() > 0.01, name
            tensor.copy_(kept)
    assert torch.equal(logits(), before)


def test_hooks_act_or_are_refused(state):
    """With hooks, the model is run by its own blocks; the engines that would not see the hooks refuse, also when the hooks come later."""
    model = hooked_model(state)
    fused, given = engine_of(model), contexts(36)
    intact = generated(model, given, 12, seed=0)
    without = {name: torch.zeros_like(tensor) if name == "blocks.1.sa.proj.weight" else tensor for name, tensor in state.items()}
    with hl.ablated(model, heads=[(1, head) for head in range(3)]):
        assert generated(model, given, 12, seed=0).tolist() == looped(without, given, 12, 0, 1)
        for engine in ("fused", "torch"):
            with pytest.raises(Refusal, match="has hooks"):
                generated(model, given, 12, seed=0, engine=engine)
        with pytest.raises(Refusal, match="has hooks"):
            generated(fused, given, 12, seed=0)
    assert (generated(model, given, 12, seed=0) == intact).all()


def test_float64_draws_the_same_tokens(state, model):
    given = contexts(20)
    assert (generated(hooked_model(state, dtype=torch.float64), given, 25, seed=2) == generated(model, given, 25, seed=2)).all()


@pytest.mark.parametrize("n_prompt", [1, 100, 499, 500, 700])
@pytest.mark.parametrize("name", ["ecg-sim", "ppg-sim"])
def test_embedded_models_go_on_as_published(name, n_prompt):
    state, origin = load.read(name)
    given = np.tile(hl.simulated(origin.kind, 2, 1, seed=1).tokens, 2)[:, :n_prompt]
    assert generated(hl.load(name), given, 6, seed=11, n_samples=2).tolist() == looped(state, given, 6, 11, 2)


@pytest.mark.parametrize("n_prompt", [1, 100, 499, 500, 700])
@pytest.mark.parametrize("name", ["ecgpt-560k", "ppgpt-500k"])
def test_published_models_go_on_as_published(name, n_prompt):
    try:
        state, origin = load.read(name)
    except Refusal as absent:
        pytest.skip(str(absent))
    given = np.tile(hl.simulated(origin.kind, 1, 1, seed=1).tokens, 2)[:, :n_prompt]
    assert generated(hl.load(name), given, 4, seed=11, n_samples=2).tolist() == looped(state, given, 4, 11, 2)


def test_many_tokens_of_a_published_model():
    """Across the end of the context."""
    try:
        state, _ = load.read("ecgpt-560k")
    except Refusal as absent:
        pytest.skip(str(absent))
    given = hl.simulated("ecg", 1, 1, seed=2).tokens[:, :455]
    assert generated(hl.load("ecgpt-560k"), given, 50, seed=3).tolist() == looped(state, given, 50, 3, 1)


def test_tokens_follow_the_models_distribution():
    state = random_state(layers=1)
    state["lm_head.weight"].zero_()
    state["lm_head.bias"].fill_(-1e9)[[7, 9]] = torch.tensor([1.0, 3.0]).log()
    new = generated(model_of(state), contexts(8, 1), 1, seed=0, n_samples=400)
    assert set(new.flatten().tolist()) == {7, 9}
    assert (new == 9).mean() == pytest.approx(0.75, abs=0.07)


REFUSED = {
    "no context": ({"contexts": contexts(5)[:0]}, r"contexts of shape \(0, 5\); legal"),
    "an empty context": ({"contexts": contexts(5)[:, :0]}, r"contexts of shape \(2, 0\); legal"),
    "a token beyond the vocabulary": ({"contexts": contexts(5) + np.uint8(13)}, "hold tokens from .* the model's are 0 to 16"),
    "a negative token": ({"contexts": contexts(5).astype(np.int64) - 20}, "hold tokens from -"),
    "nothing new": ({"n_new": 0}, "n_new 0; legal: 1 or more"),
    "no sample": ({"n_samples": 0}, "n_samples 0; legal: 1 or more"),
    "a negative seed": ({"seed": -1}, "seed -1; legal: 0 to"),
    "a seed too large": ({"seed": 2**63}, "legal: 0 to"),
    "a negative temperature": ({"temperature": -1.0}, "temperature -1; legal: 0 .*, or 0.001 to 1000"),
    "no temperature": ({"temperature": float("nan")}, "temperature nan; legal"),
    "an endless temperature": ({"temperature": float("inf")}, "temperature inf; legal"),
    "a temperature that divides to nothing": ({"temperature": 1e-30}, "temperature 1e-30; legal"),
    "no best token": ({"top_k": 0}, "top_k 0; legal: 1 to 17"),
    "more best tokens than there are": ({"top_k": 18}, "top_k 18; legal: 1 to 17"),
    "an unknown engine": ({"engine": "fussed"}, "unknown engine 'fussed'; did you mean 'fused'"),
}


@pytest.mark.parametrize("given", REFUSED)
def test_refusals(model, given):
    options, message = REFUSED[given]
    with pytest.raises(Refusal, match=message):
        generated(model, **({"contexts": contexts(5), "n_new": 3, "seed": 0} | options))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_generates_nothing_is_refused(state, engine):
    with pytest.raises(Refusal, match="a task head generates nothing; give its base"):
        generated(hooked_model(tiny_state(task_outputs=1)), contexts(5), 3, seed=0, engine=engine)
    model = hooked_model(state)
    model.unembed.b_U.data[3] = float("nan")
    with pytest.raises(Refusal, match="outputs are not finite"):
        generated(model, contexts(5), 3, seed=0, engine=engine)
