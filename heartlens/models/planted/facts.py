"""What a planted model knows of each token, and where in its residual stream that lies.

A fact is one or more numbers about a token whose squares add up to the same for all tokens. Each number v lies as +v and -v in a pair of
dimensions, so that the stream's mean is 0, its variance the same at every token, and LayerNorm one known factor (`Stream.factor`).
Places on a line are angles: two tokens' facts multiply to cos(difference of their angles), which a rotation moves to any wanted
difference. A token's value is its number's bits, each as +1 or -1.
"""

import math
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Shaped

from heartlens.axes import CONTEXT, KINDS
from heartlens.converters.hooked import EPSILON
from heartlens.refusal import Refusal
from heartlens.windows import Windows

Fact = Float[np.ndarray, "row value"]


@dataclass(frozen=True)
class Rhythm:
    """What all the windows have in common: their kind, the tokens of a cycle, and each token's cycle and wave."""

    kind: str
    length: int
    cycle: Int[np.ndarray, " time"]
    wave: Int[np.ndarray, " time"]

    @property
    def n_cycles(self) -> int:
        return int(self.cycle.max()) + 1

    @property
    def vocabulary(self) -> int:
        return KINDS[self.kind].vocabulary

    def fact(self, name: str) -> Fact:
        """A fact by its name: `token` has a row for each token of the vocabulary, all others one for each place in the window."""
        time = np.arange(CONTEXT)
        if name in KINDS[self.kind].waves:
            return signs(self.wave == KINDS[self.kind].waves.index(name))
        if name == "token":
            return bits(self.vocabulary)
        places = {"constant": time >= 0, "first": time == 0}
        if name in places:
            return signs(places[name])
        angles = {"phase": 2 * time / self.length, "time": time / CONTEXT, "cycle": self.cycle / self.n_cycles}
        angle = math.pi * angles[name]
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rhythm_of(windows: Windows) -> Rhythm:
    """The rhythm of regular windows. Refuses windows that differ in their landmarks, and cycles that differ in length."""
    step = np.median(np.diff(windows.position, axis=1)) if len(windows) else 0.0
    length = round(1 / step) if step > 0 else 1
    is_regular = np.allclose(np.diff(windows.position, axis=1) * length, 1, atol=1e-6) and length > 1
    if not (is_regular and (windows.wave == windows.wave[0]).all() and (windows.cycle == windows.cycle[0]).all()):
        given = f"{len(windows)} {windows.kind} windows that differ in their landmarks or whose cycles differ in length"
        raise Refusal(f"planted heads need regular windows, not {given}; make some with heartlens.signals.simulate.regular")
    return Rhythm(windows.kind, length, windows.cycle[0].astype(int), windows.wave[0].astype(int))


def signs(holds: Shaped[np.ndarray, " row"]) -> Fact:
    """+1 where it holds, -1 where not."""
    return np.where(holds, 1.0, -1.0)[:, None]


def bits(vocabulary: int) -> Fact:
    """Each token's bits as +1 and -1, the lowest first.

    >>> bits(4).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    token = np.arange(vocabulary)[:, None]
    return np.where(token >> np.arange((vocabulary - 1).bit_length()) & 1, 1.0, -1.0)


def turn(angle: float) -> Float[np.ndarray, "2 2"]:
    """The rotation that takes the fact of one angle to that of the angle `angle` further."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


@dataclass(frozen=True)
class Stream:
    """The residual stream before any head has written: its facts by name, one after the other. Refuses more than d_model holds."""

    facts: dict[str, Fact]
    d_model: int

    def __post_init__(self) -> None:
        needed = {name: 2 * fact.shape[1] for name, fact in self.facts.items()}
        total, listed = sum(needed.values()), ", ".join(f"{name} {n}" for name, n in needed.items())
        if total > self.d_model:
            raise Refusal(f"the plants need d_model {total} ({listed}), given is {self.d_model}; plant fewer, or give a larger one")

    @cached_property
    def places(self) -> dict[str, tuple[slice, slice]]:
        """Where each fact's numbers lie as they are, and where negated."""
        places, first = {}, 0
        for name, fact in self.facts.items():
            middle, last = first + fact.shape[1], first + 2 * fact.shape[1]
            places[name], first = (slice(first, middle), slice(middle, last)), last
        return places

    @property
    def factor(self) -> float:
        """What every LayerNorm multiplies the stream by."""
        squares = sum(float(np.square(fact[0]).sum()) for fact in self.facts.values())
        return 1 / math.sqrt(2 * squares / self.d_model + EPSILON)

    def embedding(self, names: Set[str], n_rows: int) -> Float[np.ndarray, "row d_model"]:
        """The embedding that puts the named facts into the stream."""
        table = np.zeros((n_rows, self.d_model))
        for name in names & self.facts.keys():
            positive, negative = self.places[name]
            table[:, positive], table[:, negative] = self.facts[name], -self.facts[name]
        return table
