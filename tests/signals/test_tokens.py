"""The tokeniser against the original's golden tokens, and at its edges."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.tokens import amplitude, tokenise

ECG = ("example_context_ECG", "example_context_ECG_AFib1")
PPG = ("example_context_PPG", "example_context_PPG_AFib", "example_context_PPG_AFib3")
CASES = [(model, name) for model in ("ECGPT_560k_iters", "ECGPT_AF_1k_iters") for name in ECG]
CASES += [(model, name) for model in ("PPGPT_500k_iters", "PPGPT_AF_1k_iters", "PPGPT_beat_5k_iters") for name in PPG]


@pytest.mark.parametrize(("model", "name"), CASES)
def test_the_published_examples_give_the_golden_tokens(shared, model, name):
    golden = np.load(shared / f"heartgpt/golden/{model}.npz")
    samples = np.loadtxt(shared / f"heartgpt/Example_inputs/{name}.csv", delimiter=",")
    assert (tokenise(samples) == golden["tokens"][list(golden["names"]).index(name)]).all()


def test_a_window_from_the_middle_of_the_long_example_gives_the_golden_tokens(shared):
    golden = np.load(shared / "heartgpt/golden/PPGPT_500k_iters.npz")
    samples = np.loadtxt(shared / "heartgpt/Example_inputs/example_context_PPG_beat_detect_long_input.csv")
    assert (tokenise(samples[1000:1500]) == golden["tokens"][list(golden["names"]).index("long_1000")]).all()


def ramp(*first):
    """500 samples that begin with `first` and span 0 to 200, so that odd numbers lie halfway between two tokens."""
    return np.concatenate([first, np.zeros(499 - len(first)), [200]])


def test_ties_go_to_the_even_token():
    assert tokenise(ramp(1.0, 3.0, 5.0, 7.0))[:4].tolist() == [0, 2, 2, 4]


def test_integers_and_floats_give_the_same_tokens():
    integers = ramp(1, 3, 5, 199).astype(np.int16)
    assert (tokenise(integers) == tokenise(integers.astype(float))).all()


def test_float32_is_computed_in_float32_as_the_original_does():
    samples = np.random.default_rng(0).normal(size=500).astype(np.float32)
    low, high = samples.min(), samples.max()
    assert (tokenise(samples) == np.round((samples - low) / (high - low) * np.float32(100))).all()


def test_only_the_last_window_counts_and_a_column_or_a_row_is_as_good_as_a_vector():
    samples = np.random.default_rng(1).normal(size=700)
    for shape in ((700,), (700, 1), (1, 700)):
        assert (tokenise(samples.reshape(shape)) == tokenise(samples[200:])).all()


def test_amplitude_inverts_the_tokeniser_to_half_a_token():
    samples = np.random.default_rng(2).normal(size=500)
    back = amplitude(tokenise(samples), samples.min(), samples.max())
    assert np.abs(back - samples).max() <= 0.5001 * np.ptp(samples) / 100


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 500)), r"expected one signal, got an array of shape \(2, 500\)"),
        (np.arange(499.0), "499 samples at the model's rate; a window needs 500"),
        (np.zeros(0), "0 samples"),
        (np.full(500, 3.0), r"flat \(every sample is 3\)"),
        (np.concatenate([np.arange(499.0), [np.nan]]), "1 of the window's 500 samples are missing or infinite"),
        (np.concatenate([[np.inf], np.arange(499.0)]), "1 of the window's 500 samples are missing or infinite"),
    ],
)
def test_refusals(samples, message):
    with pytest.raises(Refusal, match=message):
        tokenise(samples)
