"""The converted published checkpoints against outputs of the original model (shared/heartgpt/golden), at every place that was kept."""

import numpy as np
import pytest
import torch

from heartlens.checkpoints.registry import CHECKPOINTS
from heartlens.converters.bridge import converted_model
from heartlens.converters.certificate import hooked_forward
from heartlens.converters.lens import BRIDGED
from heartlens.engine import engine_of
from heartlens.models.load import read
from heartlens.signals.tokens import tokenise

PROBABILITIES = [  # printed by the published code
    ("ecgpt-af-1k", "example_context_ECG", 0.0124),
    ("ecgpt-af-1k", "example_context_ECG_AFib1", 0.9914),
    ("ppgpt-af-1k", "example_context_PPG", 0.0110),
    ("ppgpt-af-1k", "example_context_PPG_AFib", 0.9693),
    ("ppgpt-af-1k", "example_context_PPG_AFib3", 0.9867),
]


FIRST = 5500  # of the long example's 7,001 samples: what comes before costs a minute and shows no more


@pytest.fixture(scope="module")
def published(shared, tmp_path_factory):
    """`published(name)`: the state dict and origin of a published checkpoint, read from the shared zips into a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")

    def state_of(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt/Model_files"))
            patch.setenv("HEARTLENS_CACHE", str(cache))
            return read(name)

    return state_of


def as_tokens(array):
    return torch.from_numpy(array.astype(np.int64))


def kept(pattern):
    """What the golden files keep of patterns (layer, head, query, key)."""
    return {"last_row": pattern[..., -1, :], "row_250": pattern[..., 250, :], "column_mean": pattern.mean(-2)}


@pytest.fixture(scope="module", params=list(CHECKPOINTS))
def case(request, shared, published):
    """A checkpoint's hooked model and its golden outputs."""
    golden = np.load(shared / "heartgpt/golden" / CHECKPOINTS[request.param].file.replace(".zip", ".npz"))
    return converted_model(published(request.param)[0]), golden


def test_outputs_attention_and_residual_stream(case):
    model, golden = case
    for index, tokens in enumerate(golden["tokens"]):
        got = hooked_forward(model, as_tokens(tokens[None]))
        assert np.abs(got.logits[0].numpy() - golden["output"][index]).max() < 1e-4
        for name, found in kept(got.attention[:, 0].numpy()).items():
            assert np.abs(found - golden[f"attention_{name}"][:, :, index]).max() < 1e-5, name
        expected = golden["residual"][:, index]
        gap = np.linalg.norm(got.residual[:, 0, golden["residual_positions"]].numpy() - expected, axis=-1)
        assert (gap / np.linalg.norm(expected, axis=-1)).max() < 1e-4


@pytest.mark.parametrize("engine", ["hooked"] if BRIDGED else ["fused", "torch", "hooked"])
def test_attention_and_outputs_of_the_engines(case, engine):
    model, golden = case
    engine = engine_of(model, engine)
    for index in (0, -1):  # an example, and random tokens: there single precision itself is 2e-5 from double
        tokens = as_tokens(golden["tokens"][index][None])
        with torch.inference_mode():
            outputs = engine.outputs(engine.run_blocks(engine.embed(tokens), 0))
        assert np.abs(outputs.numpy() - golden["output"][index]).max() < 1e-4
        for found in engine.attention(tokens):
            for name, rows in kept(found.pattern[0]).items():
                assert np.abs(rows - golden[f"attention_{name}"][found.layer, :, index]).max() < (1e-5, 2e-5)[index], name


def test_outputs_of_a_shorter_context(case):
    model, golden = case
    with torch.no_grad():
        got = model(as_tokens(golden["tokens"][:, :137]))
    assert np.abs(got.numpy() - golden["output_first_137"]).max() < 1e-4


@pytest.mark.parametrize(("name", "example", "expected"), PROBABILITIES)
def test_af_probability_of_the_published_examples_is_the_published_one_to_4_decimals(shared, published, name, example, expected):
    samples = np.loadtxt(shared / f"heartgpt/Example_inputs/{example}.csv", delimiter=",")
    with torch.no_grad():
        logits = converted_model(published(name)[0])(as_tokens(tokenise(samples)[None]))
    assert round(logits[0, -1, 0].sigmoid().item(), 4) == expected


def test_beats_at_the_end_of_the_long_published_example(shared, published):
    """The published procedure: windows of 500 every 100, the tail padded with zeros, overlapping outputs averaged, then peaks."""
    from scipy.signal import find_peaks

    golden = np.load(shared / "heartgpt/golden/beat_pipeline.npz")
    samples = np.loadtxt(shared / "heartgpt/Example_inputs/example_context_PPG_beat_detect_long_input.csv")
    likelihood = beat_likelihood(converted_model(published("ppgpt-beat-5k")[0]), samples, first=FIRST)
    assert np.abs(likelihood - golden["output"][FIRST:]).max() < 1e-4
    peaks, found = find_peaks(likelihood, height=0.015, width=(None, 20), distance=14)
    is_late = golden["peaks"] > FIRST
    assert (peaks + FIRST).tolist() == golden["peaks"][is_late].tolist()
    assert np.abs(found["peak_heights"] - golden["heights"][is_late]).max() < 1e-4


def beat_likelihood(model, samples, first):
    """From sample `first` on, the mean over all windows that hold it; windows start every 100 samples up to the last one."""
    padded = np.concatenate([samples, np.zeros(500)])
    total, n_windows = np.zeros(len(padded)), np.zeros(len(padded))
    for start in range(first - 400, len(samples), 100):
        with torch.no_grad():
            output = model(as_tokens(tokenise(padded[start : start + 500])[None]))
        total[start : start + 500] += output[0, :, 0].sigmoid().numpy()
        n_windows[start : start + 500] += 1
    return (total / np.maximum(n_windows, 1))[first : len(samples)]
