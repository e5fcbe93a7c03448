"""Every analysis counts the same through every engine: one row an analysis, its tally beside that through the model's own blocks.

Sums of attention may be off by 1e-5 of their variable's largest number in float32, differences and effects by 1e-4, all by 1e-8 in float64.
Counts and what is chosen (ranks, tokens) are equal.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import torch
from planted import model_of, random_state
from safetensors.torch import save_file

import heartlens as hl
import heartlens.analyses
from heartlens.analysis import Prepares
from heartlens.cli import _analysis_of
from heartlens.models.planted import FirstToken, Wave
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

SUM, DIFFERENCE = 1e-5, 1e-4
IN_FLOAT64 = 1e-8


@dataclass(frozen=True)
class Row:
    """An analysis with its options, what it is measured on, and how far float32 may be off."""

    name: str
    options: dict = field(default_factory=dict)
    on: str = "random"
    within: float = DIFFERENCE
    is_prepared: bool = True
    beside: str = "hooked"  # the engine that the others are compared with


ROWS = {
    "previous beat": Row("PreviousBeat", {}, within=SUM),
    "head scan": Row("HeadScan", {"n_rotations": 3}, within=SUM),
    "head scan, published": Row("HeadScan", {"n_rotations": 2, "variant": "published"}, "ecg-sim", SUM),
    "head scan, without the sink": Row("HeadScan", {"n_rotations": 2, "exclude_sink": True, "sink_tokens": 3}, "ecg-sim", SUM),
    "head scan, fine": Row("HeadScan", {"n_rotations": 2, "fine": True}, "planted", SUM),
    "head scan, pulses": Row("HeadScan", {"n_rotations": 2}, "ppg-sim", SUM),
    "cycles": Row("AttentionCycles", {}, "ecg-sim", SUM),
    "cycles, with the sink": Row("AttentionCycles", {"exclude_sink": False, "asking_token": 250}, "planted", SUM),
    "cycles by value": Row("AttentionCycles", {"weights": "value"}, "ecg-sim", SUM),
    "cycles, rolled out": Row("AttentionCycles", {"weights": "rollout"}, within=SUM),
    "homonyms": Row("Homonyms", {"n_shuffles": 3, "n_sampled": 50}, "ecg-sim"),
    "similarity": Row("SimilarityScreen", {}, "ecg-sim"),
    "shift": Row("AttentionShift", {"base": "random base", "n_rotations": 3, "n_shuffles": 3}),
    "shift of the last token": Row("AttentionShift", {"base": "random base", "row": "last", "n_rotations": 3, "n_shuffles": 3}),
    "ablation": Row("Ablation", {"how": "mean,resample", "n_reference": 2}),
    "ablation of a beat detector": Row("Ablation", {"how": "zero", "cumulative": False}, "beat"),
    "patching": Row("Patching", {"counterfactual": "without_p", "receiver": "L2H1", "base": "none"}, "task"),
    "patching of next tokens": Row("Patching", {"counterfactual": "early_beat", "base": "none"}),
    "attribution": Row("Attribution", {"n_steps": 2}),
    "attribution of a task head": Row("Attribution", {"n_steps": 1}, "task"),
    "circuit": Row("Circuit", {"n_random": 2}, is_prepared=False),
    "circuit, searched": Row("Circuit", {"n_random": 2, "n_bootstraps": 1, "search_windows": 1}, "task"),
    "reliance": Row("Reliance", {"swap_windows": 1}, "task"),
    "continuation": Row("Continuation", {"how": "mean", "n_reference": 2, "n_prompt": 400, "n_draws": 1}, beside="torch"),
}
TIES = {"auc": 2e-4}  # in float32 rounding may part what ties: a pair of a window's 500 keys that changes order is 5e-5 of an AUC at most
COUNTED = ("n_", "rank", "in_circuit", "returns")  # beginnings of what is counted or chosen: equal
every_row = pytest.mark.parametrize("row", list(ROWS))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint that the random model could have been fine-tuned from."""
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(random_state(seed=1), path)
    return str(path)


def model_for(on, dtype):
    if on == "planted":
        return hl.planted({(0, 1): FirstToken(), (1, 2): Wave("P", lag=1)}, windows_for(on), heads=4, dtype=dtype)
    if on in ("random", "task", "beat"):
        model = model_of(random_state(task_head=on != "random"), kind="ppg" if on == "beat" else "ecg", dtype=dtype)
        return model if on == "random" else _with_task(model, "atrial fibrillation" if on == "task" else "beat")
    return hl.load(on, dtype=dtype)


def _with_task(model, task):
    model.origin = type(model.origin)(**{**vars(model.origin), "task": task})
    return model


@cache
def windows_for(on):
    return regular("ecg", 2) if on == "planted" else simulated("ppg" if on in ("ppg-sim", "beat") else "ecg", 2, 1)


@cache
def tally_of(row, base, engine, dtype):
    """What an analysis counts through an engine."""
    subject, windows = subject_of(model_for(ROWS[row].on, dtype), engine), windows_for(ROWS[row].on)
    assert subject.engine.name == engine
    return ready(row, base, subject).measure(subject, windows)


def ready(row, base, subject):
    """The analysis as the frame measures with it."""
    analysis = analysis_of(row, base)
    is_prepared = ROWS[row].is_prepared and isinstance(analysis, Prepares)
    return analysis.prepared(subject, windows_for(ROWS[row].on)) if is_prepared else analysis


def analysis_of(row, base):
    options = {name: base if value == "random base" else value for name, value in ROWS[row].options.items()}
    return getattr(hl, ROWS[row].name)(**options)


def gaps(got, expected):
    """By variable the largest difference over the largest number expected; infinite where something else is there or NaN."""
    together = {}
    for left, right in ((got.sums, expected.sums), (got.sample, expected.sample)):
        assert set(left.variables) == set(right.variables)
        for name, variable in right.variables.items():
            together[str(name)] = _gap(left[name].values, variable.values)
    return together


def _gap(got, expected):
    if got.shape != expected.shape:
        return np.inf
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(got, expected) else np.inf
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return np.inf
    difference, size = np.nan_to_num(np.abs(got - expected)), np.nan_to_num(np.abs(expected))
    return float(difference.max(initial=0) / (size.max(initial=0) or 1))


def assert_same(got, expected, within):
    apart = gaps(got, expected)
    allowed = dict.fromkeys(apart, within) | ({} if within == IN_FLOAT64 else TIES)
    allowed |= {name: 0.0 for name in apart if name.startswith(COUNTED)}
    assert {name: gap for name, gap in apart.items() if gap > allowed[name]} == {}


def test_every_analysis_has_a_row():
    modules = [f"heartlens.analyses.{module.name}" for module in pkgutil.iter_modules(heartlens.analyses.__path__)]
    names = {module: "".join(part.capitalize() for part in module.rsplit(".", 1)[-1].split("_")) for module in modules}
    there = {_analysis_of(module).__name__ for module, name in names.items() if hasattr(importlib.import_module(module), name)}
    assert there == {row.name for row in ROWS.values()}


@every_row
@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_a_tally_in_float32(row, engine, base):
    assert_same(tally_of(row, base, engine, torch.float32), tally_of(row, base, ROWS[row].beside, torch.float32), ROWS[row].within)


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row].beside == "hooked"])
def test_a_tally_in_float64(row, base):
    assert_same(tally_of(row, base, "torch", torch.float64), tally_of(row, base, "hooked", torch.float64), IN_FLOAT64)


@every_row
@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_a_hook_that_is_set_afterwards_is_noticed(row, engine, base):
    """Whatever of the model an analysis runs, a hook on it is not passed over."""
    model = model_for(ROWS[row].on, torch.float32)
    subject = subject_of(model, engine)
    analysis = ready(row, base, subject)
    model.add_perma_hook("blocks.0.attn.hook_z", lambda z, hook: z * 0)
    with pytest.raises(Refusal, match=r"blocks\.0\.attn\.hook_z"):
        analysis.measure(subject, windows_for(ROWS[row].on))


def test_the_hooked_engine_generates_nothing(base):
    """It keeps no keys and values; what the others generate is compared with the published loop in test_generation.py."""
    assert [row for row in ROWS if ROWS[row].beside != "hooked"] == ["continuation"]
    with pytest.raises(Refusal, match="keeps no keys and values; give --engine fused or torch"):
        tally_of("continuation", base, "hooked", torch.float32)
