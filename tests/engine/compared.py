"""What the engines are compared on and with: models, tokens, precisions, and how far a result is off."""

from functools import cache

import numpy as np
import pytest
import torch
from originals import tiny_state

import heartlens as hl
from heartlens.checkpoints.fetch import Unavailable
from heartlens.converters.hooked import hooked_model
from heartlens.models.planted import FirstToken, SamePhase, Wave
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


def off(computed, expected):
    """The largest difference, in parts of the largest number expected (of 1 where nothing is larger than 2^-90, which is as good as 0)."""
    computed, expected = np.asarray(computed, float), np.asarray(expected, float)
    assert computed.shape == expected.shape
    assert (np.isnan(computed) == np.isnan(expected)).all()
    computed, expected = np.nan_to_num(computed, nan=0.0, posinf=np.inf, neginf=-np.inf), np.nan_to_num(expected, nan=0.0)
    assert np.isfinite(computed).all()
    largest = np.abs(expected).max(initial=0)
    return float(np.abs(computed - expected).max(initial=0) / (largest if largest > 2.0**-90 else 1))
