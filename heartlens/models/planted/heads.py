"""The plants: what one head looks at and what it writes, as matrices between facts (`facts.py`).

A head's score is the sum of its looks. Attention falls evenly on the visible keys of the highest score; every other key gets less than
e^-STRENGTH of what one of those gets. Where the wanted cycle is not visible, the nearest that is takes its place.

A writing head takes from the stream as much as it adds (a copied value is exchanged for a reserve, a -1 becomes a +1), so that every
LayerNorm stays the same factor whether the head writes or is ablated, and what several heads do adds up.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.models.planted.facts import Rhythm, bits, rhythm_of, turn
from heartlens.refusal import Refusal, unknown
from heartlens.windows import Windows

STRENGTH = 24.0  # 500 other keys together get less than 2e-8 of the attention


@dataclass(frozen=True)
class Look:
    """One part of a score: the key's fact . matrix . the asking token's fact."""

    query: str
    key: str
    matrix: Float[np.ndarray, "key query"]


@dataclass(frozen=True)
class Write:
    """What a head adds to a fact of its own, which was `before`: matrices times facts of the token it looks at.

    `logits` is what the fact then adds to each output.
    """

    reads: dict[str, Float[np.ndarray, "into read"]]
    before: Float[np.ndarray, " into"]
    logits: Float[np.ndarray, "output into"]


class Plant:
    """What one head does."""

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """The parts of its score; none: it attends evenly."""
        raise NotImplementedError

    def writes(self, rhythm: Rhythm) -> list[Write]:
        """What it writes; by default nothing."""
        return []


@dataclass(frozen=True)
class Dead(Plant):
    """Query, key, value and projection are 0: attends evenly, writes nothing. So is every head that nothing is planted in."""

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """Nothing."""
        return []


@dataclass(frozen=True)
class FirstToken(Plant):
    """Attends to the window's first token."""

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """The first token's score is STRENGTH higher."""
        return [_higher("first", STRENGTH)]


@dataclass(frozen=True)
class Wave(Plant):
    """Attends to a wave of the cycle `lag` before its own (-1: after it), or without a lag to that wave of every cycle.

    A token before the window's first such wave attends to all of the nearest cycle, without a lag to everything.
    """

    wave: str
    lag: int | None = None

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """The wave's score is higher by more than cycles can differ. Refuses a wave that is not there and a lag beyond the cycles."""
        waves = KINDS[rhythm.kind].waves
        if self.wave not in waves:
            raise unknown(f"{rhythm.kind} wave", self.wave, waves)
        if waves.index(self.wave) not in rhythm.wave:
            raise Refusal(f"no token of the windows lies in a {self.wave} wave; plant on windows that have it")
        if self.lag is None:
            return [_higher(self.wave, STRENGTH)]
        angle = math.pi / rhythm.n_cycles
        weight = STRENGTH / (1 - math.cos(angle))
        wanted = weight * turn(-angle * _legal(self.lag, -1, rhythm))
        return [_higher(self.wave, 2 * weight + STRENGTH), Look("cycle", "cycle", wanted)]


@dataclass(frozen=True)
class SamePhase(Plant):
    """Attends to the token of the same phase `lag` cycles back; 0: to itself."""

    lag: int = 1

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """One token's score is the highest. Refuses a lag beyond the cycles."""
        return _back(_legal(self.lag, 0, rhythm) * rhythm.length, rhythm)


@dataclass(frozen=True)
class CopiesValue(Plant):
    """Predicts the next token to be what it was `lag` cycles before: attends there and copies the value to the logits.

    The copied token's logit is `margin` above those of tokens whose number differs in one bit, 2 `margin` where in two, and so on. What
    the first `lag` cycles copy is not planted.
    """

    margin: float = 20.0
    lag: int = 1

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise Refusal(f"a margin of {self.margin:g} copies nothing; give one above 0")

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """The score of the token after the same phase is the highest. Refuses a lag beyond the cycles."""
        return _back(_legal(self.lag, 1, rhythm) * rhythm.length - 1, rhythm)

    def writes(self, rhythm: Rhythm) -> list[Write]:
        """The value's bits, and as much off a reserve."""
        codes = bits(rhythm.vocabulary)
        n_bits = codes.shape[1]
        reserve = np.array([math.sqrt(n_bits)])
        return [
            Write({"token": np.eye(n_bits)}, np.zeros(n_bits), codes * self.margin / 2),
            Write({"constant": -reserve[:, None]}, reserve, np.zeros((rhythm.vocabulary, 1))),
        ]

    def loss(self, windows: Windows) -> Float[np.ndarray, "window prediction"]:
        """Nats of each next-token prediction from the `lag`-th cycle on; without the head it is the logarithm of the vocabulary."""
        rhythm = rhythm_of(windows)
        back = _legal(self.lag, 1, rhythm) * rhythm.length
        codes = bits(rhythm.vocabulary)
        n_differ = (codes[:, None] != codes).sum(axis=-1)
        log_total = np.log(np.exp(-self.margin * n_differ).sum(axis=1))
        copied, actual = windows.tokens[:, :-back], windows.tokens[:, back:]
        return log_total[copied] + self.margin * n_differ[copied, actual]


@dataclass(frozen=True)
class Raises(Plant):
    """Attends to a wave as `Wave` does and raises the logit of a one-output task head by `amount`, at every token that has seen one."""

    amount: float
    wave: str
    lag: int | None = None

    def looks(self, rhythm: Rhythm) -> list[Look]:
        """Those of the wave."""
        return Wave(self.wave, self.lag).looks(rhythm)

    def writes(self, rhythm: Rhythm) -> list[Write]:
        """Twice the attention on the wave: -1 becomes +1."""
        unit = np.ones((1, 1))
        return [Write({self.wave: unit, "constant": unit}, np.array([-1.0]), unit * self.amount / 2)]


def _higher(fact: str, by: float) -> Look:
    """A key of which the fact holds scores higher."""
    return Look("constant", fact, np.array([[by / 2]]))


def _back(distance: int, rhythm: Rhythm) -> list[Look]:
    """The key `distance` tokens back scores highest; of others first those of its phase, of these the nearest to it."""
    step, cycle = 2 * math.pi / rhythm.length, math.pi * rhythm.length / CONTEXT
    time = STRENGTH / (1 - math.cos(cycle))
    phase = (2 * time + STRENGTH) / (1 - math.cos(step))
    return [
        Look("phase", "phase", phase * turn(-step * distance)),
        Look("time", "time", time * turn(-math.pi * distance / CONTEXT)),
    ]


def _legal(lag: int, lowest: int, rhythm: Rhythm) -> int:
    if not lowest <= lag < rhythm.n_cycles:
        raise Refusal(
            f"a lag of {lag} cycles is not in windows of {rhythm.n_cycles} cycles; give one from {lowest} to {rhythm.n_cycles - 1}"
        )
    return lag
