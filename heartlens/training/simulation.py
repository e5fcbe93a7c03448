"""Simulated people to train on: half in sinus rhythm, a quarter each with atrial fibrillation and with premature beats."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from heartlens.refusal import Refusal
from heartlens.signals.simulate.corpus import SIMULATE
from heartlens.training.corpus import Corpus

RHYTHM_OF = ("sinus", "af", "sinus", "ectopy")  # in turn
LENGTH_S = 60.0
BEAT = {"ecg": "QRS", "ppg": "systolic_peak"}  # what a beat detector is to mark


@dataclass(frozen=True)
class Person:
    """A simulated person: LENGTH_S of signal, the rhythm, and its beats: R peaks, or systolic peaks as published."""

    name: str
    rhythm: str
    signal: Float32[np.ndarray, " sample"]
    beat_s: Float[np.ndarray, " beat"]


def simulated_people(kind: str, n_people: int, seed: int) -> list[Person]:
    """`n_people`, each depending on number, kind and seed alone, not on how many there are."""
    if n_people < 2:
        raise Refusal(f"--people is {n_people}; at least 2 are needed, one to train on and one to validate with")
    return [_person(kind, number, RHYTHM_OF[number % len(RHYTHM_OF)], seed) for number in range(n_people)]


def corpus_of(kind: str, people: list[Person], seed: int) -> Corpus:
    """Their signals as a corpus."""
    names = tuple(person.name for person in people)
    return Corpus(kind, tuple(person.signal for person in people), names, f"simulated {kind} ({len(people)} people, seed {seed})")


def _person(kind: str, number: int, rhythm: str, seed: int) -> Person:
    rng = np.random.default_rng([seed, number, *f"training {kind} {rhythm}".encode()])
    signal, landmarks = SIMULATE[kind](rng, LENGTH_S, rhythm)
    return Person(f"simulated {kind} {rhythm} {number:04d}", rhythm, signal.astype(np.float32), landmarks.peaks_s(BEAT[kind]))
