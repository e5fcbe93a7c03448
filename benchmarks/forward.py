"""A window of the next-token model: attention alone, its sums, a head scan, by each engine, against what there was before.

One thread. Whatever makes attention patterns in the old way gets one window at a time, which is cheapest for it; the engines get the chunk
that a head scan takes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from setting import Setting, n_cores
from table import Row, at_most
from timing import Work, medians, one_core

import heartlens as hl
from heartlens.converters.published import Published
from heartlens.engine import Asked, Engine, LayerSums, engine_of
from heartlens.engine.protocol import sums_of_pattern
from heartlens.engine.workers import on_chunks
from heartlens.models import hooks
from heartlens.models.subject import Subject, subject_of
from heartlens.windows import Windows

ENGINES = ("hooked", "torch", "fused")
SCAN = hl.HeadScan()
CACHE, SDPA = "TransformerLens run_with_cache, patterns only", "bare SDPA forward (torch engine, attention output)"
FUSED_OUTPUT, FUSED_SCAN = "fused engine, attention output", "HeadScan().measure, fused engine"
LIMITS = {FUSED_OUTPUT: {SDPA: 0.55}, FUSED_SCAN: {CACHE: 0.2, SDPA: 0.85}}
SHORT = {CACHE: "run_with_cache", SDPA: "SDPA"}


def rows(setting: Setting) -> Iterator[Row]:
    """CPU time of a window, and its ratio to `run_with_cache` and to the SDPA forward."""
    n_windows = 2 if setting.is_quick else SCAN.at_once
    works = _works(setting, setting.windows(n_windows))
    with torch.inference_mode(), one_core():
        taken = {name: each.cpu_s for name, each in medians(works, setting.n_rounds).items()}
    for name, seconds in taken.items():
        ratios = {other: seconds / taken[other] for other in SHORT if other != name}
        against = ", ".join(f"{ratio:.2f} of {SHORT[other]}" for other, ratio in ratios.items())
        target = ", ".join(at_most(limit, ratios[other], f" of {SHORT[other]}") for other, limit in LIMITS.get(name, {}).items())
        yield Row(name, f"{1000 * seconds / n_windows:.1f} ms CPU a window", against, target)


def on_cores(setting: Setting) -> Iterator[Row]:
    """Windows a second of the head scan, on one core and on two."""
    windows = setting.windows(SCAN.at_once * (2 if setting.is_quick else 8))
    chunks = list(windows.chunks(SCAN.at_once))
    for name in ("torch", "fused"):
        measure = partial(SCAN.measure, subject_of(setting.model, name))
        works = {str(n): partial(_exhausted, measure, chunks, n) for n in (1, 2)}
        with one_core():
            taken = medians(works, setting.n_rounds)
        rates = {n: len(windows) / each.wall_s for n, each in taken.items()}
        yield Row(f"HeadScan().measure, {name} engine, 1 core", f"{rates['1']:.1f} windows/s")
        against = f"{rates['2'] / rates['1']:.2f} times 1 core" + ("" if n_cores() > 1 else "; this machine has one")
        yield Row(f"HeadScan().measure, {name} engine, 2 cores", f"{rates['2']:.1f} windows/s", against)


def sdpa_forward(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The logits by torch's own attention, without any statistics."""
    return _outputs(engine_of(model, "torch"), tokens)


def _works(setting: Setting, windows: Windows) -> dict[str, Work]:
    """Everything that is timed, by its name in the table."""
    model, tokens = setting.model, torch.from_numpy(windows.tokens.astype(np.int64))
    subjects = {name: subject_of(model, name) for name in ENGINES}
    engines = {name: subject.engine for name, subject in subjects.items()}
    original, each = Published(setting.state), list(tokens.split(1))
    asked = _asked(subjects["torch"], windows)
    works: dict[str, Work] = {
        "original code, head by head, no statistics": lambda: [original(window).shape for window in each],
        CACHE: lambda: [len(_patterns(model, window)) for window in each],
        "run_with_cache, then the sums of the scan": lambda: [
            _sums_of_cache(model, w, asked.of(slice(i, i + 1))) for i, w in enumerate(each)
        ],
        SDPA: lambda: [_outputs(engines["torch"], window).shape for window in each],
        "bare matrix products of all blocks, no attention": lambda: [_products(model, window) for window in each],
        "hooked engine, attention output": lambda: [_outputs(engines["hooked"], window).shape for window in each],
        FUSED_OUTPUT: lambda: _outputs(engines["fused"], tokens),
    }
    for name, engine in engines.items():
        works[f"{name} engine, sums of the scan"] = partial(_all_sums, engine, tokens, asked)
    for name, subject in subjects.items():
        works[f"HeadScan().measure, {name} engine"] = partial(SCAN.measure, subject, windows)
    return works


def _asked(subject: Subject, windows: Windows) -> Asked:
    """What the head scan asks of an engine."""
    with mock.patch.object(subject.engine, "sums", wraps=subject.engine.sums) as sums:
        SCAN.measure(subject, windows)
    return sums.call_args.args[1]


def _outputs(engine: Engine, tokens: torch.Tensor) -> torch.Tensor:
    return engine.outputs(engine.run_blocks(engine.embed(tokens), 0))


def _patterns(model: Any, tokens: torch.Tensor) -> list[torch.Tensor]:
    names = [hooks.pattern(layer) for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(tokens, names_filter=names)
    return [cache[name] for name in names]


def _sums_of_cache(model: Any, tokens: torch.Tensor, asked: Asked) -> list[LayerSums]:
    return [sums_of_pattern(pattern.numpy(), asked, layer) for layer, pattern in enumerate(_patterns(model, tokens))]


def _products(model: Any, window: torch.Tensor) -> torch.Tensor:
    """What a forward multiplies but for attention: queries, keys and values, output, MLP."""
    x = model.W_E[window[0]]
    for block in model.blocks:
        attention = block.attn
        read = [x @ weight.transpose(0, 1).reshape(len(x[0]), -1) for weight in (attention.W_Q, attention.W_K, attention.W_V)]
        x = read[2] @ attention.W_O.flatten(0, 1)
        x = x @ block.mlp.W_in @ block.mlp.W_out
    return x


def _all_sums(engine: Engine, tokens: torch.Tensor, asked: Asked) -> None:
    for _ in engine.sums(tokens, asked):
        pass


def _exhausted(measure: Callable[[Windows], object], chunks: list[Windows], n_workers: int) -> None:
    for _ in on_chunks(measure, chunks, n_workers):
        pass
