"""Every task that HeartGPT's programs have gives their numbers on their example inputs: golden outputs of the original model."""

import csv

import numpy as np
import pytest
from scipy.io import loadmat

import heartlens as hl
from heartlens.converters.published import Published, published_tokens
from heartlens.models.subject import subject_of
from heartlens.tasks import attention, beats, generate, similarity, tokenize
from heartlens.tasks.beats.detect import Beats, likelihood

ROUNDING = 1e-5  # of weights in float32, summed in another order
MODELS = {"ecg": ("ECGPT_560k_iters", 100), "ppg": ("PPGPT_500k_iters", 50), "ecg-af": ("ECGPT_AF_1k_iters", 100)}
EXAMPLES = [
    ("ecg", "example_context_ECG"),
    ("ecg", "example_context_ECG_AFib1"),
    ("ppg", "example_context_PPG"),
    ("ppg", "example_context_PPG_AFib3"),
    ("ecg-af", "example_context_ECG_AFib1"),
]


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def source(shared, name):
    return str(shared / f"heartgpt/Example_inputs/{name}.csv")


def golden_of(shared, checkpoint, example):
    file, rate = MODELS[checkpoint]
    golden = np.load(shared / f"heartgpt/golden/{file}.npz")
    return golden, golden["names"].tolist().index(example), ["--rate", str(rate), "--published-only", "--quiet", "--format", "svg"]


@pytest.mark.parametrize(("checkpoint", "example"), EXAMPLES)
def test_attention_of_every_head_is_the_originals(shared, tmp_path, checkpoint, example):
    golden, index, options = golden_of(shared, checkpoint, example)
    given = [checkpoint, source(shared, example), *options, "--head", "L4H5", "--token", "251", "--out", str(tmp_path / "out")]
    assert attention.run_command(given) == 0
    summary = hl.read_summary(tmp_path / "out/summary.nc")
    np.testing.assert_allclose(summary["rows"], golden["attention_row_250"][:, :, index], atol=ROUNDING)
    np.testing.assert_allclose(summary["map"][499], golden["attention_last_row"][3, 4, index], atol=ROUNDING)
    np.testing.assert_allclose(summary["map"].mean("asking"), golden["attention_column_mean"][3, 4, index], atol=ROUNDING)
    rows = rows_of(tmp_path / "out/attention.csv")
    np.testing.assert_allclose([float(row["attention"]) for row in rows], golden["attention_row_250"][3, 4, index], atol=ROUNDING)
    np.testing.assert_allclose([float(row["L8H1"]) for row in rows], golden["attention_row_250"][7, 0, index], atol=ROUNDING)


def test_a_layer_is_the_sum_over_its_heads_and_all_heads_are_saved_as_the_original_saves_them(shared, tmp_path):
    golden, index, options = golden_of(shared, "ppg", "example_context_PPG")
    given = ["ppg", source(shared, "example_context_PPG"), *options, "--layer", "6", "--mat", "--npz", "--out", str(tmp_path / "out")]
    assert attention.run_command(given) == 0
    summary = hl.read_summary(tmp_path / "out/summary.nc")
    np.testing.assert_allclose(summary["row"], golden["attention_last_row"][5, :, index].sum(axis=0), atol=ROUNDING)
    weights = loadmat(tmp_path / "out/attention_weights.mat")["attention_weights"]
    assert weights.shape == (64, 500, 500)
    assert np.array_equal(np.load(tmp_path / "out/attention_weights.npz")["attention_weights"], weights)
    by_head = weights.reshape(8, 8, 500, 500)
    np.testing.assert_allclose(by_head[:, :, 499], golden["attention_last_row"][:, :, index], atol=ROUNDING)
    np.testing.assert_allclose(by_head[:, :, 250], golden["attention_row_250"][:, :, index], atol=ROUNDING)
    np.testing.assert_allclose(by_head.mean(axis=2), golden["attention_column_mean"][:, :, index], atol=ROUNDING)


def test_the_change_of_attention_is_the_fine_tuned_models_less_its_bases(shared, tmp_path):
    """As the published AF program draws it: block 8, all heads, token 500."""
    tuned, index, options = golden_of(shared, "ecg-af", "example_context_ECG_AFib1")
    base, place, _ = golden_of(shared, "ecg", "example_context_ECG_AFib1")
    given = ["ecg-af", source(shared, "example_context_ECG_AFib1"), *options, "--change", "--out", str(tmp_path / "out")]
    assert attention.run_command(given) == 0
    expected = (tuned["attention_last_row"][7, :, index] - base["attention_last_row"][7, :, place]).sum(axis=0)
    np.testing.assert_allclose(hl.read_summary(tmp_path / "out/summary.nc")["row"], expected, atol=2e-5)


@pytest.mark.parametrize(("checkpoint", "example"), EXAMPLES[:3])
def test_vectors_and_their_similarity_are_the_originals(shared, tmp_path, checkpoint, example):
    golden, index, options = golden_of(shared, checkpoint, example)
    given = [checkpoint, source(shared, example), *options, "--reference", "2", "--mat", "--out", str(tmp_path / "out")]
    assert similarity.run_command(given) == 0
    places, vectors = golden["residual_positions"], golden["residual"][:, index].astype(float)
    stored = loadmat(tmp_path / "out/vector_embedding.mat")["vector_propagation"]
    assert stored.shape == (9, 500, 64)
    np.testing.assert_allclose(stored[:, places], vectors, atol=2e-4)
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    reference = places.tolist().index(1)
    cosine = np.load(tmp_path / "out/similarity.npz")["cosine"][:, places]
    np.testing.assert_allclose(cosine, (unit * unit[:, [reference]]).sum(axis=-1), atol=1e-5)


def test_the_published_similarity_screen(shared, tmp_path):
    """Read off the published screenshot, to 0.02."""
    given = ["ppg", source(shared, "example_context_PPG"), "--rate", "50", "--published-only", "--out", str(tmp_path / "out")]
    assert similarity.run_command(given) == 0
    rows = {int(row["token"]): row for row in rows_of(tmp_path / "out/similarity.csv")}
    levels = ["embedding", *(f"block_{number}" for number in range(1, 9))]
    red, green = ([float(rows[token][level]) for level in levels] for token in (460, 71))
    np.testing.assert_allclose(red, [0.84, 0.73, 0.59, 0.55, 0.52, 0.49, 0.43, 0.43, 0.38], atol=0.02)
    np.testing.assert_allclose(green, [0.29, 0.34, 0.41, 0.44, 0.45, 0.48, 0.49, 0.50, 0.80], atol=0.02)


@pytest.mark.parametrize(("checkpoint", "example"), EXAMPLES[:4])
def test_the_last_tokens_are_the_originals(shared, tmp_path, checkpoint, example):
    golden, index, options = golden_of(shared, checkpoint, example)
    assert tokenize.run_command([checkpoint, source(shared, example), *options, "--last", "--out", str(tmp_path / "out")]) == 0
    assert np.load(tmp_path / "out/tokens.npz")["tokens"].tolist() == golden["tokens"][[index]].tolist()


def test_generated_tokens_are_the_published_loops_and_saved_as_it_saves_them(shared, tmp_path):
    golden, index, options = golden_of(shared, "ppg", "example_context_PPG")
    context = golden["tokens"][index]
    given = ["ppg", source(shared, "example_context_PPG"), *options, "--n", "4", "--seed", "3", "--out", str(tmp_path / "out")]
    assert generate.run_command(given) == 0
    from heartlens.checkpoints.kept import read_published
    from heartlens.checkpoints.registry import published

    loop = Published(read_published(published("ppgpt-500k")))
    saved = np.loadtxt(tmp_path / "out/outputs.csv", delimiter=",")
    assert saved.astype(int).tolist() == [*context.tolist(), *published_tokens(loop, context, 4, 3)]


@pytest.fixture
def long_pulse(shared):
    return source(shared, "example_context_PPG_beat_detect_long_input")


def test_beats_of_the_long_published_example_are_the_published_programs(shared, long_pulse, tmp_path):
    golden = np.load(shared / "heartgpt/golden/beat_pipeline.npz")
    given = ["ppg-beat", long_pulse, "--rate", "50", "--published-only", "--mat", "--annotations", "--out", str(tmp_path / "out")]
    assert beats.run_command(given) == 0
    rows = rows_of(tmp_path / "out/beats.csv")
    assert [round(float(row["time_s"]) * 50) for row in rows] == golden["peaks"].tolist()
    confidence = np.array([float(row["confidence"]) for row in rows])
    assert np.abs(confidence - golden["heights"]).max() < 1e-5
    assert round(confidence.mean(), 2) == 0.64
    assert [row["band"] for row in rows].count("high") == 148
    (record,) = rows_of(tmp_path / "out/records.csv")
    assert (record["n_beats"], record["n_high"], record["n_gaps"]) == ("150", "148", "0")
    from wfdb import rdann

    stored = loadmat(next((tmp_path / "out").glob("*.mat")))
    np.testing.assert_allclose(stored["model_output"][0], golden["output"], atol=1e-5)
    assert np.flatnonzero(stored["peaks_array"][0]).tolist() == golden["peaks"].tolist()
    np.testing.assert_allclose(stored["peaks_array"][0][golden["peaks"]], golden["heights"], atol=1e-5)
    assert stored["context"].shape == (1, 7001)
    assert rdann(str(next((tmp_path / "out").glob("*.beats")).with_suffix("")), "beats").sample.tolist() == golden["peaks"].tolist()


def test_the_end_of_a_signal_far_from_zero_is_tokenised_by_itself():
    """The last windows lack samples: filled up with zeros before they were tokenised, a signal at 1000 was flat there."""
    subject = subject_of(hl.load("ppg-sim-beat"))
    signal = hl.simulated("ppg", n_records=1, windows_per_record=1).tokens[0].astype(float)
    assert len(signal) == 500
    expected, _ = likelihood(subject, signal[:430] - 50)
    far, context = likelihood(subject, signal[:430] + 1000)
    np.testing.assert_allclose(far, expected, atol=1e-6)
    assert context.max() <= 100


def test_numbers_of_a_recording_in_two_stretches():
    """Two stretches of 4 and 3 beats: five intervals, two of each of whose differences, and one gap."""
    nan = np.nan
    time_s = np.array([0.0, 1.0, 2.0, 3.2, 10.0, 10.8, 11.6])
    interval_s = np.array([nan, 1.0, 1.0, 1.2, nan, 0.8, 0.8])
    nothing = (np.zeros(200), np.zeros(100))
    beat = Beats(time_s, np.array([0.1, 0.2051, 0.4598, 0.5, 0.9, 0.9, 0.9]), interval_s, (0.0, 10.0), nothing, nothing)
    assert beat.band == ["low", "medium", "medium", "high", "high", "high", "high"]
    assert beat.gaps(50.0, 12.0) == [(4.0, 10.0)]
    numbers = beat.numbers(50.0, 12.0)
    assert numbers["median_interval_s"] == 1.0
    assert numbers["mean_interval_s"] == pytest.approx(0.96)
    assert numbers["rmssd_s"] == pytest.approx(np.sqrt((0.0**2 + 0.2**2 + 0.0**2) / 3))
    assert (numbers["n_gaps"], numbers["used_s"]) == (1.0, 6.0)
