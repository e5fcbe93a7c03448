"""How the embedded models do on real recordings, beside the published ones on the same windows: the honest part of their cards.

The folder holds `ludb`, `cinc2017` (with REFERENCE_subset.csv), `bidmc` and `cinc2015` (with *_derived_beats.csv, found by a detector, not
by people). Recordings are prepared as the models were trained (arXiv 2407.20775): band-passed, at the model's rate.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.checkpoints.card import read_card
from heartlens.checkpoints.fetch import embedded_path
from heartlens.checkpoints.read import State
from heartlens.checkpoints.registry import ALIASES, EMBEDDED
from heartlens.models.load import read
from heartlens.refusal import Refusal
from heartlens.training.beats import event_figures
from heartlens.training.corpus import Corpus
from heartlens.training.evaluation import figure, window_figures
from heartlens.training.examples import Examples, token_examples, window_examples
from heartlens.training.finetune import predict
from heartlens.training.held_out import crops_of_each, window_losses
from heartlens.training.labels import read_record_labels
from heartlens.training.recordings import read_corpus

PUBLISHED_BEAT_THRESHOLD = 0.015  # the height the published beat detector asks of a peak
PULSES = {"bidmc": ("bidmc_27", "bidmc_34"), "cinc2015": ("b485l", "b764s", "v711l")}
BIDMC_HZ, CINC2015_HZ = 125.0, 250.0
BEAT_STRIDE = 100  # the published shift of its windows
Measured = dict[str, Any]


def measured(name: str, folder: Path) -> Measured:
    """What can be measured of an embedded model on the recordings in `folder`, and of its published counterpart."""
    published = next(alias.published for alias in ALIASES.values() if alias.embedded == name)
    states = {name: read(name)[0]}
    try:
        states[published] = read(published)[0]
    except Refusal as refusal:
        return {**MEASURES[name](folder, states), "published": f"not measured: {refusal}"}
    return MEASURES[name](folder, states)


def threshold_of(name: str) -> float:
    """The threshold a checkpoint is used at: its card's, else the published one of its task."""
    if name in EMBEDDED:
        return float(read_card(embedded_path(name))["threshold"])
    return PUBLISHED_BEAT_THRESHOLD if "beat" in name else 0.5


def _forecasts(corpus: Corpus, states: dict[str, State]) -> Measured:
    tokens, record = crops_of_each(corpus, len(corpus.records), 1, 0)
    losses = {name: window_losses(state, tokens) for name, state in states.items()}
    nats = {name: str(figure(_mean_of(each), record, None, 0)) for name, each in losses.items()}
    return {"data": f"{corpus.source}, a window of each of {len(record)} records", "nats_per_token": nats}


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda i: float(values[i].mean())


def _ecg(folder: Path, states: dict[str, State]) -> Measured:
    return _forecasts(replace(read_corpus(folder / "ludb", "ecg", lead="i", bandpass=True), source="LUDB, lead I"), states)


def _ppg(folder: Path, states: dict[str, State]) -> Measured:
    return {**_forecasts(_pulses(folder), states), "caution": "five records; PPG-PT was trained on BIDMC"}


def _ecg_af(folder: Path, states: dict[str, State]) -> Measured:
    corpus = read_corpus(folder / "cinc2017", "ecg", bandpass=True)
    labels = read_record_labels(folder / "cinc2017/REFERENCE_subset.csv", corpus.records, ("N", "A"), ("O", "~"))
    examples = window_examples(corpus, labels.of, labels.classes, 500)
    figures_by_model = {}
    for name, state in states.items():
        said = predict(state, examples.tokens, np.arange(len(examples)), 0, last_only=True)
        figures = window_figures(said[:, 0], np.full(len(examples), threshold_of(name)), examples, 0)
        figures_by_model[name] = {each: str(value) for each, value in figures.items()}
    return {"data": f"CinC 2017, {len(examples.records)} records, N against A", **figures_by_model}


def _ppg_af(folder: Path, states: dict[str, State]) -> Measured:
    return {"not measured": "no PPG recordings labelled for atrial fibrillation were at hand"}


def _beats(folder: Path, states: dict[str, State]) -> Measured:
    corpus = _pulses(folder)
    examples = token_examples(corpus, {record: _peaks_s(folder, record) for record in corpus.records}, "beat", 0.02, BEAT_STRIDE)
    figures = {name: _event_figures(name, state, examples) for name, state in states.items()}
    return {"data": f"{corpus.source}: {len(corpus.records)} records, systolic peaks found by a detector, not by people", **figures}


def _event_figures(name: str, state: State, examples: Examples) -> dict[str, str]:
    said = predict(state, examples.tokens, np.arange(len(examples)), 0, last_only=False)
    figures = event_figures(said[..., 0], examples, np.full(len(examples), threshold_of(name)), 0)
    return {each: str(value) for each, value in figures.items()}


def _pulses(folder: Path) -> Corpus:
    bidmc = read_corpus([folder / "bidmc" / f"{name}_Signals.csv" for name in PULSES["bidmc"]], "ppg", bandpass=True)
    cinc2015 = read_corpus([folder / "cinc2015" / f"{name}.csv" for name in PULSES["cinc2015"]], "ppg", rate_hz=CINC2015_HZ, bandpass=True)
    parts = {name: getattr(bidmc, name) + getattr(cinc2015, name) for name in ("signal", "record", "start_s", "notes")}
    return Corpus("ppg", source="BIDMC and CinC 2015", **parts)


def _peaks_s(folder: Path, record: str) -> np.ndarray:
    import pandas as pd

    name = record.removesuffix("_Signals")
    samples = pd.read_csv(folder / f"{name}_derived_beats.csv")["ppg_peak_sample"].to_numpy(float)
    return np.asarray(samples[samples >= 0] / (BIDMC_HZ if name.startswith("bidmc") else CINC2015_HZ))


MEASURES: dict[str, Callable[[Path, dict[str, State]], Measured]] = {
    "ecg-sim": _ecg,
    "ppg-sim": _ppg,
    "ecg-sim-af": _ecg_af,
    "ppg-sim-af": _ppg_af,
    "ppg-sim-beat": _beats,
}
