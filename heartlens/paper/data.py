"""The recordings of the paper report: which sets there are, how they are read, and whether the models may have seen them in training.

Sets lie in folders of their own under --data, laid out as their publishers do. Without --data, simulated people take their place.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from heartlens.refusal import Refusal
from heartlens.signals.noise import noisy
from heartlens.signals.read import read
from heartlens.signals.simulate import simulated
from heartlens.windows import Windows, concatenate

PER_RECORD = 12  # windows of one record at most, evenly spread
N_SIMULATED = 24


@dataclass(frozen=True)
class Source:
    """A set of recordings. `reads` are patterns under the folder, each with the options it is read with."""

    kind: str
    title: str
    seen: str
    reads: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
    rhythms: tuple[str, ...] = ("sinus",)  # of the simulated people that stand in for it
    of_examples: bool = False


UNSEEN_ECG = "ECG-PT was trained on lead I of CPSC 2018, Georgia and PTB-XL records (CinC 2020); this set is not among them"
EXAMPLES_SEEN = "the inputs that come with the published code; where they are from, and whether the models saw them, is not published"
SOURCES = {
    "ludb": Source(
        "ecg", "LUDB, lead I, cardiologists' P, QRS and T", UNSEEN_ECG, (("ludb/*.hea", (("lead", "i"), ("landmarks", "expert"))),)
    ),
    "qtdb": Source("ecg", "QTDB, q1c", UNSEEN_ECG, (("qtdb/*.hea", (("landmarks", "expert"),)),)),
    "cinc2017": Source(
        "ecg",
        "CinC 2017, single lead, N, A, O and noisy",
        UNSEEN_ECG + "; nor is it MIMIC PERform, which the AF model was fine-tuned on",
        (("cinc2017/*.hea", ()),),
        rhythms=("sinus", "af"),
    ),
    "pulses": Source(
        "ppg",
        "BIDMC and CinC 2015, finger PPG in intensive care",
        "PPG-PT was TRAINED on BIDMC; CinC 2015 is not named among its sets",
        (("bidmc/*_Signals.csv", (("lead", "PLETH"),)), ("cinc2015/?????.csv", (("lead", "PLETH"), ("rate_hz", 250.0)))),
        rhythms=("sinus", "af"),
    ),
    "examples-ecg": Source("ecg", "Published ECG examples", EXAMPLES_SEEN, (("*_ECG*.csv", (("rate_hz", 100.0),)),), of_examples=True),
    "example-ecg": Source(
        "ecg", "The published ECG example", EXAMPLES_SEEN, (("example_context_ECG.csv", (("rate_hz", 100.0),)),), of_examples=True
    ),
    "example-ppg": Source(
        "ppg", "The published PPG example", EXAMPLES_SEEN, (("example_context_PPG.csv", (("rate_hz", 50.0),)),), of_examples=True
    ),
    "examples-ppg": Source("ppg", "Published PPG examples", EXAMPLES_SEEN, (("*_PPG*.csv", (("rate_hz", 50.0),)),), of_examples=True),
}


@dataclass(frozen=True)
class Variant:
    """A change of the data or the seed that a claim must bear."""

    bandpass: bool = False
    draw: int = 0
    snr_db: float | None = None
    seed: int = 0


AS_IT_IS = "as it is"
VARIANTS = {
    AS_IT_IS: Variant(),
    "another seed": Variant(seed=1),
    "a third seed": Variant(seed=2),
    "windows start elsewhere": Variant(draw=1),
    "band-passed": Variant(bandpass=True),
    "noise at 10 dB": Variant(snr_db=10),
}


@dataclass(frozen=True)
class Recordings:
    """Where the sets are. `folder` None: simulated people instead."""

    folder: Path | None
    examples: Path | None
    lost: dict[str, str] = field(default_factory=dict, compare=False)  # set -> why it could not be read

    def has(self, name: str) -> bool:
        """Whether a set is there; if not, `lost` says why."""
        where = self._where(name)
        if where is None:
            self.lost[name] = "no folder of published examples was found; give --examples"
        elif isinstance(where, Path) and not all(any(where.glob(pattern)) for pattern, _ in SOURCES[name].reads):
            self.lost[name] = f"no {' and '.join(pattern for pattern, _ in SOURCES[name].reads)} in {where}"
        return name not in self.lost

    def windows(self, name: str, variant: str, n_windows: int) -> Windows:
        """At most `n_windows` windows of a set, spread evenly over its records, changed as the variant says."""
        change = VARIANTS[variant]
        windows = _read(name, self._where(name), change.bandpass, change.draw).spread(n_windows)
        return noisy(windows, change.snr_db) if change.snr_db is not None else windows

    def _where(self, name: str) -> Path | str | None:
        return self.examples if SOURCES[name].of_examples else self.folder or "simulated"


@cache
def _read(name: str, where: Path | str, bandpass: bool, draw: int) -> Windows:
    source = SOURCES[name]
    if isinstance(where, str):
        return concatenate([_simulated(source.kind, rhythm, draw) for rhythm in source.rhythms])
    wanted = {"kind": source.kind, "bandpass": bandpass, "draw": draw, "max_windows": PER_RECORD}
    try:
        return concatenate([read(str(where / pattern), **{**wanted, **dict(options)}) for pattern, options in source.reads])
    except Refusal as refusal:
        raise Refusal(f"{source.title}: {refusal}") from refusal


def _simulated(kind: str, rhythm: str, seed: int) -> Windows:
    windows = simulated(kind, N_SIMULATED, 1, rhythm, seed)
    return replace(windows, record=np.array([f"{name} ({rhythm})" for name in windows.record]))
