"""Tiny models and signals to train on, and a run without a device or a screen."""

import numpy as np
import pytest
from originals import tiny_state

from heartlens.axes import CONTEXT
from heartlens.training.command import accelerator
from heartlens.training.corpus import Corpus
from heartlens.training.pretrain import Pretrain

TINY = {"layers": 2, "heads": 2, "d_model": 8, "batch": 4, "warmup": 2, "validation_windows": 4, "learning_rate": 1e-2}


def heart(seed, seconds=15.0, rate_hz=100.0):
    """A train of bumps: enough of a heart for a loss to fall."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.cos(2 * np.pi * rng.uniform(0.9, 1.4) * time_s) ** 9 + rng.normal(0, 0.02, len(time_s))).astype(np.float32)


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
