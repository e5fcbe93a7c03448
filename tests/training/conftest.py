"""Tiny models and signals to train on, and a run without a device or a screen."""

import pytest
from hearts import heart
from originals import tiny_state

from heartlens.axes import CONTEXT
from heartlens.training.command import accelerator
from heartlens.training.corpus import Corpus
from heartlens.training.pretrain import Pretrain

TINY = {"layers": 2, "heads": 2, "d_model": 8, "batch": 4, "warmup": 2, "validation_windows": 4, "learning_rate": 1e-2}


@pytest.fixture(scope="session")
def corpus():
    """Six records, one of them in two stretches."""
    names = ("a", "b", "c", "d", "e", "f", "f")
    return Corpus("ecg", tuple(heart(seed) for seed in range(7)), names, "bumps", start_s=(0.0,) * 6 + (20.0,))


@pytest.fixture(scope="session")
def tiny():
    """Options of a pre-training that takes a second."""
    return Pretrain(**TINY, steps=6, validate_every=2, dropout=0.1)


@pytest.fixture(scope="session")
def device():
    """The CPU, as `accelerate` sees it."""
    return accelerator("cpu", "float32")


@pytest.fixture(scope="session")
def base():
    """A tiny random original of the published context and ECG vocabulary."""
    return tiny_state(layers=2, heads=2, d_model=8, d_head=4, vocabulary=101, context=CONTEXT)
