"""Every verdict rule on trial: how often does it say yes for models that learnt nothing, and for an effect that is there?

An analysis is tried as the user runs it: its `summarize` on measured tallies of a model that learnt nothing, beside twins that were drawn
apart from it. One yes anywhere in a question (any head, any wave) is one false yes. Every variable of the summary that ends in `_verdict`
is a rule. So every analysis has a trial by default; a method `trial` gives one of its own, with effects that its rules must find.
Some rules are about the persons and not about learning (a head changes the loss when it is taken away: also of a model that learnt
nothing that may be true). They are tried on simulated studies in which there is nothing to find, as are rules that ask further only where
another answer is yes. `make calibrate` writes the rates of all rules to `docs/calibration.md`; the tests run a small trial of every
analysis.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from heartlens.inference.verdict import NOT_TESTED, PARTLY, VERDICT, YES
from heartlens.tally import Tally

if TYPE_CHECKING:
    from heartlens.analysis import Measured

LEVEL = 0.95
ANY = "drawn at random"  # the place of an effect along an axis, where each model gets another one


@dataclass(frozen=True)
class Null:
    """Simulated studies in which there is nothing to find: `draw` makes the tallies of one, and none of `rules` may say yes of it.

    `text` says in words what they are.
    """

    rules: tuple[str, ...]
    text: str
    draw: Callable[[np.random.Generator], "Measured"]


@dataclass(frozen=True)
class Effect:
    """A known effect: `add` puts it into a tally in which there is none, and the answer of `rule` at `where` must be yes.

    `power` is how often at least; `text` says the effect in words, with its unit. The tallies are of models that learnt nothing or, where
    `study` is given, of the simulated studies that it draws. A place of `where` that is ANY is drawn for each model from those along that
    axis, and told to `add` under the axis' name.
    """

    rule: str
    text: str
    where: Mapping[str, Any]
    power: float
    add: Callable[..., Tally]
    study: "Callable[[np.random.Generator], Measured] | None" = None

    def drawn(self, tally: Tally, rng: np.random.Generator) -> dict[str, Any]:
        """The places that are drawn for one model, by axis."""
        return {axis: rng.choice(tally.sums[axis].values).item() for axis, place in self.where.items() if place is ANY}


@dataclass(frozen=True)
class Trial:
    """How an analysis is tried: `small` are the options that the tests' trial changes, `effects` what its rules must find.

    `options` are those that models which learnt nothing are judged with, in the tests' trial too: without them they could not be judged
    (they have no base, say), or would be measured for rules that are not about learning.
    `of_any_model` are rules whose yes may be true of a model that learnt nothing; `nulls` are the studies on which such rules are tried.
    `needs` says which model is judged; of a fine-tuned one those that learnt nothing are its own twins, its base changed at random.
    `rhythm` is that of the simulated persons.
    """

    small: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    effects: tuple[Effect, ...] = ()
    nulls: tuple[Null, ...] = ()
    of_any_model: frozenset[str] = frozenset()
    needs: Literal["base", "task head", "fine-tuned"] = "base"
    rhythm: str = "sinus"


@dataclass(frozen=True)
class Rate:
    """How many of `n` models a rule said yes of, and its exact 95 % interval (Clopper & Pearson 1934)."""

    n_yes: int
    n: int

    @property
    def value(self) -> float:
        return self.n_yes / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high); 0 to 1 of no models."""
        from scipy.stats import beta

        tail = (1 - LEVEL) / 2
        low = beta.ppf(tail, self.n_yes, self.n - self.n_yes + 1) if self.n_yes else 0.0
        high = beta.ppf(1 - tail, self.n_yes + 1, self.n - self.n_yes) if self.n_yes < self.n else 1.0
        return float(low), float(high)


@dataclass(frozen=True)
class Answered:
    """What one summary answers to one rule: whether anything is yes (or partly), whether anything was tested, the rule's fingerprint."""

    is_yes: bool
    is_tested: bool
    rule: str


def trial_of(analysis: Any) -> Trial:
    """The trial of an analysis: its own or, where it has none, the default one, which only judges models that learnt nothing."""
    return analysis.trial() if hasattr(analysis, "trial") else Trial()


def answered(summary: xr.Dataset) -> dict[str, Answered]:
    """What a summary answers, by the name of the rule."""
    answers = {str(name).removesuffix(VERDICT): values for name, values in summary.data_vars.items() if str(name).endswith(VERDICT)}
    return {
        name: Answered(
            bool(np.isin(values.values, (YES, PARTLY)).any()),
            bool((values.values != NOT_TESTED).any()),
            str(values.attrs.get("rule", "")),
        )
        for name, values in answers.items()
    }
