"""A corpus of simulated people: half in sinus rhythm, a quarter each with atrial fibrillation and with premature beats."""

import numpy as np

from heartlens.refusal import Refusal
from heartlens.signals.simulate.corpus import SIMULATE
from heartlens.training.corpus import Corpus

RHYTHM_OF = ("sinus", "af", "sinus", "ectopy")  # in turn
LENGTH_S = 60.0


def simulated_corpus(kind: str, n_records: int, seed: int, rhythms: tuple[str, ...] = RHYTHM_OF) -> Corpus:
    """`n_records` people of LENGTH_S each. A person depends on number, kind, rhythm and seed, not on how many there are."""
    if n_records < 2:
        raise Refusal(f"people is {n_records}; at least 2 are needed, one to train on and one to validate with")
    signals, names = [], []
    for number in range(n_records):
        rhythm = rhythms[number % len(rhythms)]
        rng = np.random.default_rng([seed, number, *f"training {kind} {rhythm}".encode()])
        signals.append(SIMULATE[kind](rng, LENGTH_S, rhythm)[0].astype(np.float32))
        names.append(f"simulated {kind} {rhythm} {number:04d}")
    return Corpus(kind, tuple(signals), tuple(names), f"simulated {kind} ({n_records} people, seed {seed})")
