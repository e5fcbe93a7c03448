"""How a next-token model does on people it never saw: cross-entropy beside what it must beat, and the heart rate of what it generates."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn import functional

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.read import State
from heartlens.converters.hooked import hooked_model
from heartlens.engine.generation import generated
from heartlens.measures.detection import record_interval
from heartlens.measures.forecast import baselines
from heartlens.refusal import Refusal
from heartlens.signals.beats import ECG_RATE_HZ, PPG_RATE_HZ, at_rate, r_peaks, systolic_peaks
from heartlens.training.corpus import Corpus
from heartlens.training.frozen import BATCH
from heartlens.training.network import network_of

BEATS = {"ecg": (r_peaks, ECG_RATE_HZ), "ppg": (systolic_peaks, PPG_RATE_HZ)}  # the detectors of `delineate` and the rates they work at
Tokens = UInt8[np.ndarray, "window time"]


@torch.no_grad()
def window_losses(state: State, tokens: Tokens) -> Float[np.ndarray, " window"]:
    """The cross-entropy in nats per token of each window, every token but the first forecast from those before it."""
    network, losses = network_of(state).eval(), []
    for first in range(0, len(tokens), BATCH):
        part = torch.from_numpy(tokens[first : first + BATCH].astype(np.int64))
        loss = functional.cross_entropy(network(part)[:, :-1].transpose(1, 2), part[:, 1:], reduction="none")
        losses.append(loss.mean(dim=1).double().numpy())
    return np.concatenate(losses)


def beside_baselines(state: State, training: Corpus, test: Corpus, n_each: int, seed: int) -> dict[str, Any]:
    """The model's cross-entropy and that of each baseline, fitted to the model's own training people, on a window of each test person."""
    train_tokens, train_record = crops_of_each(training, len(training.records), n_each, seed)
    tokens, record = crops_of_each(test, len(test.records), 1, seed)
    nats_by_forecast = {"model": window_losses(state, tokens), **baselines(train_tokens, tokens, train_record, KINDS[test.kind].vocabulary)}
    best = min((name for name in nats_by_forecast if name != "model"), key=lambda name: nats_by_forecast[name].mean())

    def below(i: np.ndarray) -> float:
        return float(1 - nats_by_forecast["model"][i].mean() / nats_by_forecast[best][i].mean())

    low, high = record_interval(below, record, seed=seed)
    means = {name: float(nats.mean()) for name, nats in nats_by_forecast.items()}
    return {
        "n_people": len(record),
        "nats_per_token": means,
        "best_baseline": best,
        "below_it": below(np.arange(len(record))),
        "interval": [low, high],
    }


def crops_of_each(corpus: Corpus, n_records: int, n_each: int, seed: int) -> tuple[Tokens, np.ndarray]:
    """`n_each` windows of each of the first `n_records` records, cut anywhere, and the name of each window's record."""
    names = corpus.records[:n_records]
    crops = [corpus.of([name]).crops((seed, 3, place), n_each) for place, name in enumerate(names)]
    return np.concatenate(crops), np.repeat(names, n_each)


def kept_rate(state: State, kind: str, contexts: Tokens, seed: int) -> dict[str, Any]:
    """How far the heart rate of as many generated tokens lies from the context's, window by window."""
    model = hooked_model(state)
    new = [generated(model, context[None], CONTEXT, seed=seed + place)[0, 0] for place, context in enumerate(contexts)]
    rates = np.array([[_rate_bpm(tokens, kind) for tokens in (context, rest)] for context, rest in zip(contexts, new, strict=True)])
    off = np.abs(rates[:, 1] / rates[:, 0] - 1)
    known = off[np.isfinite(off)]
    return {
        "n_contexts": len(contexts),
        "n_with_beats": len(known),
        "median_deviation": float(np.median(known)),
        "within_10_percent": float((known <= 0.10).sum() / len(contexts)),
        "mean_bpm_of_contexts": float(np.nanmean(rates[:, 0])),
        "mean_bpm_generated": float(np.nanmean(rates[:, 1])),
    }


def _rate_bpm(tokens: UInt8[np.ndarray, " time"], kind: str) -> float:
    """60 over the median interval between beats; NaN where fewer than three are found."""
    detect, rate_hz = BEATS[kind]
    try:
        beats = detect(at_rate(tokens.astype(float), KINDS[kind].rate_hz, rate_hz))
    except Refusal:
        return float("nan")
    return float(60 * rate_hz / np.median(np.diff(beats))) if len(beats) >= 3 else float("nan")
