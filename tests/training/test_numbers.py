"""How well numbers are estimated: expectations from arithmetic, from planted truth, and from noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hearts import heart
from originals import tiny_state

from heartlens.axes import CONTEXT
from heartlens.training.corpus import Corpus
from heartlens.training.examples import number_examples
from heartlens.training.finetune import Finetune
from heartlens.training.frozen import frozen_part
from heartlens.training.judged import Trainer, cross_validated
from heartlens.training.network import network_of
from heartlens.training.numbers import Observed, agreement, covered, half_width, intervals, number_figures, observed
from heartlens.training.run_folder import RunFolder
from heartlens.training.targets import Targets
from heartlens.training.tasks import Scale, number_loss


def silent(progressed, loss):
    pass


def of(unit, estimate, true, usual=None):
    unit = np.array(unit)
    return Observed(
        unit, unit, np.array(estimate, float), np.array(true, float), np.array(usual if usual is not None else true, float) * 1.0
    )


def test_agreement_of_single_measurements_is_mean_and_spread():
    error = np.random.default_rng(0).normal(2, 3, 30)
    low, high = agreement(error, np.arange(30))
    assert (low, high) == pytest.approx((error.mean() - 1.96 * error.std(ddof=1), error.mean() + 1.96 * error.std(ddof=1)))


def test_agreement_of_repeated_measurements_is_that_of_analysis_of_variance():
    """Three persons with 2 values each: between 2 * var of means, within the mean of variances (Bland & Altman 2007)."""
    error, unit = np.array([1.0, 3.0, 5.0, 7.0, 0.0, 2.0]), np.array(["a", "a", "b", "b", "c", "c"])
    within = 2.0  # of each pair two apart
    between = 2 * np.var([2, 6, 1], ddof=1)
    spread = np.sqrt(within + (between - within) / 2)
    assert agreement(error, unit) == pytest.approx((3 - 1.96 * spread, 3 + 1.96 * spread))


def test_agreement_covers_new_persons():
    """Person effects of SD 3 and errors of SD 4: 95 % within 1.96 * 5, however often each person is measured."""
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(400), rng.integers(1, 30, 400))
    error = rng.normal(0, 3, 400)[unit] + rng.normal(0, 4, len(unit))
    low, high = agreement(error, unit)
    assert (high - low) / 2 == pytest.approx(1.96 * 5, rel=0.05)


def test_figures_are_those_of_arithmetic():
    figures = number_figures(of(list("aabb"), [61, 63, 80, 84], [60, 64, 78, 82], [70] * 4), 0.9, 0)
    assert figures["MAE"].estimate == pytest.approx(1.5)
    assert figures["RMSE"].estimate == pytest.approx(np.sqrt(2.5))
    assert figures["bias"].estimate == pytest.approx(1.0)
    assert figures["skill"].estimate == pytest.approx(1 - 10 / (100 + 36 + 64 + 144))
    assert figures["r"].estimate == pytest.approx(np.corrcoef([61, 63, 80, 84], [60, 64, 78, 82])[0, 1])
    assert figures["r within recordings"].estimate == pytest.approx(np.corrcoef([-1, 1, -2, 2], [-2, 2, -2, 2])[0, 1])
    assert figures["record MAE"].estimate == pytest.approx(1.0)  # means 62, 82 against 62, 80
    assert np.isnan(figures["half-width of the 90% interval"].estimate)  # two persons promise 2/3 at most


def test_a_model_that_learnt_nothing_has_no_correlation():
    """Each left out in turn and said to be the others' mean: the plain correlation is -1, ours is none."""
    true = np.random.default_rng(2).normal(70, 10, 20)
    others = (true.sum() - true) / 19
    assert np.corrcoef(others, true)[0, 1] == pytest.approx(-1)
    noise = others + np.random.default_rng(3).normal(0, 1, 20)
    figures = number_figures(of(np.arange(20), noise, true, others), 0.9, 0)
    assert figures["r"].low < 0 < figures["r"].high
    assert abs(figures["r"].estimate) < 0.4


@pytest.mark.parametrize(("n_persons", "is_enough"), [(8, False), (9, True)])
def test_so_many_persons_promise_so_much(n_persons, is_enough):
    assert np.isfinite(half_width(np.ones(n_persons), np.arange(n_persons), 0.9)) == is_enough
    assert np.isfinite(intervals(of(np.arange(n_persons), [1] * n_persons, [0] * n_persons), 0.9).window) == is_enough


def test_intervals_cover_as_often_as_they_promise():
    """Persons whose errors differ by person and from window to window: over many studies the share inside is no less than promised."""
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(60):
        unit = np.repeat(np.arange(20), rng.integers(2, 12, 20))
        error = rng.normal(0, 2, 20)[unit] + rng.exponential(1, 20)[unit] * rng.normal(0, 2, len(unit))
        shares.append(covered(of(unit, error, np.zeros(len(unit)))))
    mean = np.nanmean(shares, axis=0)
    np.testing.assert_array_less(np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95]) - 0.02, mean)
    np.testing.assert_array_less(mean, np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95]) + 0.06)


def test_losses_are_those_of_arithmetic():
    outputs, target = torch.tensor([[[0.5, 9.0]], [[3.0, 9.0]]]), torch.tensor([[[0.0, np.nan]], [[0.0, np.nan]]])
    assert float(number_loss(outputs, target, "squared")) == pytest.approx((0.25 + 9) / 2)
    assert float(number_loss(outputs, target, "absolute")) == pytest.approx(3.5 / 2)
    assert float(number_loss(outputs, target, "huber")) == pytest.approx((0.125 + 2.5) / 2)
    assert float(number_loss(outputs, target * np.nan, "squared")) == 0


def test_a_head_in_units_gives_numbers_in_units(base):
    state = {**{name: each for name, each in base.items() if not name.startswith("lm_head")}}
    state |= {"lm_head.linear1.0.weight": torch.randn(2, 8), "lm_head.linear1.0.bias": torch.randn(2)}
    scale = Scale(np.array([70.0, 0.8]), np.array([10.0, 0.1]))
    tokens = torch.randint(101, (3, 100))
    plain, in_units = (network_of(each)(tokens).detach().double() for each in (state, scale.in_units(state)))
    # The numbers are sums of float32 terms as large as the middle of the scale (70 and 0.8): near 0 only their absolute error is small.
    error = (in_units - (plain * torch.tensor([10, 0.1]) + torch.tensor([70, 0.8]))).abs() / torch.tensor([70, 0.8])
    assert error.max() < 1e-5


@pytest.fixture
def trained(tmp_path, device):
    """A cross-validation of a head on windows of 60 tokens of 12 hearts, and what it says of the number that `number_of` makes of tokens.

    The base's blocks add nothing, and a token's embedding is a line in its level.
    """
    state = tiny_state(layers=2, heads=2, d_model=8, d_head=4, vocabulary=101, context=CONTEXT)
    state |= {name: torch.zeros_like(each) for name, each in state.items() if ".proj." in name or ".net.2." in name or "position" in name}
    level = torch.linspace(0, 1, 101)[:, None]
    state["token_embedding_table.weight"] = level * torch.tensor([1.0, -1, 0, 0, 0, 0, 0, 0]) + torch.tensor([0.0, 1, 1, -1, 2, -2, 1, -1])

    def made(number_of, reads="last", steps=200):
        names = tuple(f"r{i:02d}" for i in range(12))
        corpus = Corpus("ecg", tuple(heart(i, 12.0) for i in range(12)), names, "hearts", start_s=(0.0,) * 12)
        time = {name: np.arange(1.0, 11.0, 0.25) for name in names}
        zero = Targets(("x",), ("",), "time_s", time, {name: np.zeros((len(time[name]), 1)) for name in names})
        examples = number_examples(corpus, zero, reads, 30, 60)
        examples = replace(examples, target=np.where(np.isfinite(examples.target), number_of(examples), np.nan))
        options = Finetune(
            train="head", steps=steps, batch=64, validate_every=50, learning_rate=6e-2, dropout=0.0, folds="2", patience=0, coverage=0.8
        )
        entering = frozen_part(network_of(state), examples.tokens, 2, examples.last_only, tmp_path / "frozen.npy")
        judged = cross_validated(Trainer(options, state, examples, entering, RunFolder(tmp_path), device), silent)
        return number_figures(observed(examples, judged.estimate, judged.usual, 0), 0.8, 0)

    return made


@pytest.mark.parametrize("reads", ["last", "every"])
def test_a_number_that_the_tokens_tell_is_learnt(reads, trained):
    """The last token's own level; of every token its own."""
    asked = -1 if reads == "last" else slice(None)
    figures = trained(lambda examples: 3.0 + examples.tokens[:, asked].reshape(len(examples), -1, 1) / 50.0, reads)
    assert figures["r"].estimate > 0.98
    assert figures["skill"].estimate > 0.95
    assert abs(figures["bias"].estimate) < 0.05


def test_noise_is_not_learnt(trained):
    rng = np.random.default_rng(6)
    figures = trained(lambda examples: rng.normal(70, 10, (len(examples), 1, 1)), steps=50)
    assert figures["r"].low < 0.1
    assert abs(figures["r"].estimate) < 0.2
    assert figures["skill"].estimate < 0.05
    assert 0.72 < figures["within the 80% interval"].estimate < 0.92
