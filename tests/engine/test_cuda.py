"""On a CUDA device the torch engine gives what the model's own blocks give on the CPU; skipped where there is no device."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import heartlens as hl
from heartlens.analysis import measure
from heartlens.engine import Asked
from heartlens.models.subject import Subject, subject_of
from heartlens.refusal import Refusal

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")

WITHIN = 1e-4  # of a variable's scale
SUMS = ("columns", "on_runs", "entropy", "first_share", "binned", "reached", "rows")
RNG = np.random.default_rng(0)
N_WINDOWS, N_TIME, N_GROUPS, N_BINS = 3, 120, 5, 7
ASKED = Asked(
    RNG.integers(-1, N_GROUPS, (N_WINDOWS, N_TIME)).astype(np.int32),
    np.array([0, 0, 1, 2, 1], np.int32),
    runs=np.tile(np.array([[0, 10], [10, 11], [60, N_TIME], [0, 0]], np.int32), (N_WINDOWS, 1, 1)),
    n_left_out=1,
    bins=RNG.integers(-1, N_BINS, (N_WINDOWS, N_TIME, N_TIME)).astype(np.int16),
    n_bins=N_BINS,
    coordinates=RNG.random((N_WINDOWS, 2, N_TIME), np.float32),
    rows=(N_TIME - 1, 7),
)


@pytest.fixture(autouse=True)
def whole_float32() -> Iterator[None]:
    """TF32 off, also where a user turned it on for the process."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(params=["ecg-sim", "ppg-sim-beat"])
def pair(request: pytest.FixtureRequest) -> tuple[Subject, Subject]:
    """The same checkpoint on the device by the torch engine, and on the CPU by its own blocks."""
    return subject_of(hl.load(request.param, device="cuda"), "torch"), subject_of(hl.load(request.param), "hooked")


def assert_near(own: np.ndarray, reference: np.ndarray) -> None:
    np.testing.assert_allclose(own, reference, rtol=0, atol=WITHIN * max(float(np.abs(reference).max(initial=0)), 1e-30))


@pytest.mark.parametrize("last_block_unmasked", [False, True])
def test_sums_are_those_of_the_models_own_blocks(pair: tuple[Subject, Subject], last_block_unmasked: bool) -> None:
    tokens = RNG.integers(0, 100, (N_WINDOWS, N_TIME))
    both = (subject.engine.sums(subject.tokens(tokens), ASKED, last_block_unmasked=last_block_unmasked) for subject in pair)
    for own, reference in zip(*both, strict=True):
        for name in SUMS:
            assert_near(getattr(own, name), getattr(reference, name))


def test_outputs_are_those_of_the_models_own_blocks(pair: tuple[Subject, Subject]) -> None:
    tokens = RNG.integers(0, 100, (N_WINDOWS, N_TIME))
    with torch.inference_mode():
        own, reference = (each.engine.outputs(each.engine.run_blocks(each.engine.embed(each.tokens(tokens)), 0)) for each in pair)
    assert_near(own.cpu().numpy(), reference.numpy())


@pytest.mark.parametrize("analysis", [hl.HeadScan(n_twins=0), hl.AttentionCycles(n_twins=0), hl.Homonyms(n_twins=0)])
def test_tallies_are_those_of_the_cpu(analysis: hl.HeadScan | hl.AttentionCycles | hl.Homonyms) -> None:
    windows = hl.simulated("ecg", n_records=2, windows_per_record=1)
    own, reference = (measure(analysis, hl.load("ecg-sim", device=device), windows).tally.sums for device in ("cuda", "cpu"))
    for name, values in reference.items():
        assert_near(own[name].values.astype(float), values.values.astype(float))


def test_the_engine_of_a_model_on_the_device_is_torch() -> None:
    model = hl.load("ecg-sim", device="cuda")
    assert subject_of(model).engine.name == "torch"
    with pytest.raises(Refusal, match="this model is float32 on cuda; give --engine torch"):
        subject_of(model, "fused")


def test_a_small_memory_takes_fewer_windows_and_is_refused_where_it_holds_none(
    few_mebibytes: Callable[[int], None],
) -> None:
    subject = subject_of(hl.load("ecg-sim", device="cuda"), "torch")
    tokens, asked = subject.tokens(RNG.integers(0, 100, (16, 500))), Asked(np.zeros((16, 500), np.int32), np.zeros(1, np.int32))
    whole = list(subject.engine.sums(tokens, asked))
    few_mebibytes(100)
    for own, reference in zip(subject.engine.sums(tokens, asked), whole, strict=True):
        assert_near(own.columns, reference.columns)
    few_mebibytes(0)
    with pytest.raises(Refusal, match=r"cuda:0 has \d+ MiB free, and the attention of one window needs 19; give --device cpu"):
        next(subject.engine.sums(tokens, asked))


@pytest.fixture
def few_mebibytes() -> Iterator[Callable[[int], None]]:
    """Lets torch take so many MiB more than it uses now."""

    def leave(mebibytes: int) -> None:
        torch.cuda.empty_cache()
        of_all = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mebibytes * 2**20) / of_all)

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0)
