"""Every verdict rule on trial: how often does it say yes for models that learnt nothing, and for an effect that is there?

An analysis is tried as the user runs it: its `summarize` on measured tallies of a model that learnt nothing, beside twins that were drawn
apart from it. One yes anywhere in a question (any head, any wave) is one false yes. Every variable of the summary that ends in `_verdict`
is a rule. So every analysis has a trial by default; a method `trial` gives one of its own, with effects that its rules must find.
`make calibrate` writes the rates of all rules to `docs/calibration.md`; the tests run a small trial of every analysis.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from heartlens.inference.verdict import NOT_TESTED, PARTLY, YES
from heartlens.tally import Tally

LEVEL = 0.95
VERDICT = "_verdict"


@dataclass(frozen=True)
class Effect:
    """A known effect: `add` puts it into a tally of a model that learnt nothing, and the answer of `rule` at `where` must be yes.

    `power` is how often at least; `text` says the effect in words, with its unit.
    """

    rule: str
    text: str
    where: Mapping[str, Any]
    power: float
    add: Callable[[Tally, np.random.Generator], Tally]


@dataclass(frozen=True)
class Trial:
    """How an analysis is tried: `small` are the options that the tests' trial changes, `effects` what its rules must find."""

    small: Mapping[str, Any] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()


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
