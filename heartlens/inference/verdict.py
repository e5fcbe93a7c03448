"""What is concluded. The only place that decides: everything else estimates, draws or phrases.

A claim is of one effect: that it lies beyond a null value. It is answered

- *not tested* where fewer than LEAST_UNITS units (persons; recordings where persons are not known) have a say, or one of the demands below
  was not measured (a control, or enough twins, where the claim is judged against them);
- *yes* where the effect's interval lies beyond the null value, and every further demand that the claim makes is met: an estimate of at
  least the smallest effect of interest, q < ALPHA in its family, a p-value of at most `twin_alpha` among twins, an interval beyond the null
  value of the effect less each of its controls, and a yes to the claim that it presupposes;
- *no* where the interval lies within the smallest effect of interest;
- *not shown* else.

*partly* is the answer to a claim that consists of named parts, some of which are yes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from heartlens.findings import LEAST_UNITS as LEAST_UNITS
from heartlens.inference.nulls import ALPHA, count_range, twin_limit, twin_p_value

RULE = 1  # raised whenever the same effects, intervals and twins may get another answer: the published trial is then of another rule
YES, NO, PARTLY, NOT_SHOWN, NOT_TESTED = "yes", "no", "partly", "not shown", "not tested"
SMALLEST_CHANGE = {"logit": 0.25, "probability": 0.05, "nats": 0.05}  # of a readout, by its unit: the smallest that is of interest
VERDICT = "_verdict"  # how the names of a summary's answers end
ANSWERS = (YES, PARTLY, NO, NOT_SHOWN, NOT_TESTED)


@dataclass(frozen=True)
class Claim:
    """What is asked of an effect, and by which rule it is answered.

    `text` is the claim in words, `unit` that of the effect, `null` its value where there is nothing, `smallest` the smallest effect of
    interest (how far from `null`), `family` all that was searched, `either` whether both signs count, `twin_alpha` the largest p-value
    among twins that a yes may have, `is_large` whether the estimate of a yes must be at least the smallest effect of interest.
    """

    name: str
    text: str
    unit: str
    smallest: float
    family: str
    null: float = 0.0
    either: bool = False
    twin_alpha: float = ALPHA
    is_large: bool = False


@dataclass(frozen=True)
class Among:
    """A model's values and those of twins, the same statistic on the same windows: of each twin the largest over all that was searched."""

    values: xr.DataArray
    largest: xr.DataArray
    n_units: Any = None


def decide(
    claim: Claim,
    effect: xr.DataArray,
    low: xr.DataArray,
    high: xr.DataArray,
    *,
    n_units: Any,
    q_value: xr.DataArray | None = None,
    twins: Among | None = None,
    controls: Sequence[tuple[xr.DataArray, xr.DataArray]] = (),
    given: xr.DataArray | str = YES,
) -> xr.Dataset:
    """The answers to a claim, one for each effect, with what decided them: variables that begin with the claim's name.

    `_verdict` is an answer of ANSWERS, `_twin_p` the p-value among twins and `_limit` what the value on the twins' windows must exceed.
    `controls` are the intervals of the effect less each of its controls. `given` is the answer to the claim that this one presupposes (a
    part of a difference is asked for only where the difference is shown): unless it is yes, the answer is not shown, or not tested. The
    verdict's attributes are the claim, the name of its `effect` where it has one, the fingerprint of its `rule` and, where twins decide,
    their number, `twin_alpha` and `n_yes_redrawn`: the number of yes over redrawn twins (5 to 95 %).
    """
    asked: dict[str, Any] = {"effect": effect, "low": low, "high": high, "given": given, "n_units": n_units}
    if q_value is not None:
        asked["q_value"] = q_value
    for number, (control_low, control_high) in enumerate(controls):
        asked |= {f"control_{number}_low": control_low, f"control_{number}_high": control_high}
    if twins is not None:
        largest = np.asarray(twins.largest.values, float)
        twin_p = twins.values.copy(data=twin_p_value(np.asarray(twins.values.values, float), largest))
        asked |= {"standing": twins.values, "twin_p": twin_p, "n_twin_units": n_units if twins.n_units is None else twins.n_units}
    places, at = _together(asked)
    name, is_given = claim.name, at["given"] == YES
    shown = _beyond(claim, at["low"], at["high"]) & is_given
    if claim.is_large:
        shown = shown & (_sign(claim, at["effect"]) * (at["effect"] - claim.null) >= claim.smallest)
    for number in range(len(controls)):
        shown = shown & (_sign(claim, at["effect"]) == _side(at[f"control_{number}_low"], at[f"control_{number}_high"]))
    if q_value is not None:
        shown = shown & (at["q_value"] < ALPHA)
    enough = (at["given"] != NOT_TESTED) & (at["n_units"] >= LEAST_UNITS)
    for measured, values in at.items():
        enough = enough & (measured == "given" or ~np.isnan(values))
    rule = fingerprint(claim, q_value is not None, twins is not None, len(controls), isinstance(given, xr.DataArray))
    passed, decided, attrs = shown, {}, _about(claim, effect, rule)
    if twins is not None:
        limit = twin_limit(largest, claim.twin_alpha)
        enough = enough & (limit < np.inf) & (at["n_twin_units"] >= LEAST_UNITS)
        passed = shown & (at["twin_p"] <= claim.twin_alpha)
        decided = {f"{name}_twin_p": twin_p, f"{name}_limit": xr.DataArray(limit)}
        candidates = np.where(shown & enough, at["standing"], -np.inf)
        attrs["n_yes_redrawn"] = list(count_range(lambda border: int((candidates > border).sum()), largest, claim.twin_alpha))
        attrs |= {"n_twins": len(largest), "twin_alpha": claim.twin_alpha}
    else_than_yes = np.where(_within(claim, at["low"], at["high"]) & is_given, NO, NOT_SHOWN)
    verdict = np.where(enough, np.where(passed, YES, else_than_yes), NOT_TESTED)
    return xr.Dataset({f"{name}{VERDICT}": xr.DataArray(verdict, **places, attrs=attrs), **decided})


def _about(claim: Claim, effect: xr.DataArray, rule: str) -> dict[str, Any]:
    """What a verdict says of itself."""
    return {
        "claim": claim.text,
        "unit": claim.unit,
        "family": claim.family,
        "null": claim.null,
        "smallest": claim.smallest,
        "effect": str(effect.name or ""),
        "rule": rule,
    }


def _together(asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The places that all have, as axes and coordinates, the axes of the first one before others'; and the values there, by name."""
    arrays: list[Any] = [each if isinstance(each, xr.DataArray) else xr.DataArray(each) for each in asked.values()]
    coords: dict[Any, Any] = {}
    for each in arrays:
        for dim in each.dims:
            if dim in each.coords and not coords.setdefault(dim, each.coords[dim].variable).equals(each.coords[dim].variable):
                return _together(dict(zip(asked, xr.align(*arrays, join="inner"), strict=True)))
    coords |= {name: coord.variable for name, coord in arrays[0].coords.items()}
    sizes = dict(chain.from_iterable(each.sizes.items() for each in arrays))
    on_all = [each.variable.set_dims(sizes).transpose(*sizes).values for each in arrays]
    return {"coords": coords, "dims": list(sizes)}, dict(zip(asked, on_all, strict=True))


def fingerprint(claim: Claim, has_q_value: bool = False, has_twins: bool = False, n_controls: int = 0, presupposes: bool = False) -> str:
    """16 hex digits of the rule that answers a claim: the claim, its demands, and what is the same for all claims."""
    demands = {name: value for name, value in asdict(claim).items() if name != "is_large" or value}
    rule = [RULE, LEAST_UNITS, ALPHA, demands, has_q_value, has_twins, n_controls, *["given"] * presupposes]
    return hashlib.sha256(json.dumps(rule, sort_keys=True).encode()).hexdigest()[:16]


def concatenated(answers: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """The answers to one claim asked of several things (readouts, waves), along the axis `dim`.

    A verdict keeps the attributes in which all agree; where rules differ (in the smallest effect of interest, say), `rule` is the
    fingerprint of them all.
    """
    together = xr.concat(answers, dim=dim, combine_attrs="drop_conflicts")
    for name, values in together.data_vars.items():
        rules = sorted({str(answer[name].attrs["rule"]) for answer in answers if "rule" in answer[name].attrs})
        if len(rules) > 1:
            values.attrs["rule"] = hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]
    return together


def whole(parts: Mapping[str, str]) -> str:
    """The answer to a claim that consists of named parts: *partly* where some are yes and some not; *no* where a part is and none is yes.

    >>> whole({"P": "yes", "T": "no"}), whole({"P": "not shown", "T": "no"}), whole({"P": "not shown", "T": "not tested"})
    ('partly', 'no', 'not shown')
    """
    answers = set(parts.values())
    if len(answers) == 1:
        return answers.pop()
    if YES in answers or PARTLY in answers:
        return PARTLY
    if NO in answers:
        return NO
    return NOT_SHOWN if answers - {NOT_TESTED} else NOT_TESTED


def only_if(is_met: bool, answer: str) -> str:
    """The answer to a claim with one demand more: a *yes* is *partly* where this is not met.

    >>> only_if(True, "yes"), only_if(False, "yes"), only_if(False, "no")
    ('yes', 'partly', 'no')
    """
    return PARTLY if answer == YES and not is_met else answer


def towards(answer: str, effect: float, sign: int = 1) -> str:
    """The answer to a claim of one direction, given that to the claim of either: an effect shown in the other direction is a *no*.

    >>> towards("yes", 0.4), towards("yes", -0.4), towards("not shown", 0.4)
    ('yes', 'no', 'not shown')
    """
    return NO if answer == YES and effect * sign < 0 else answer


def is_yes(summary: xr.Dataset, name: str) -> xr.DataArray:
    """Where the answer to the claim of this name is yes."""
    return summary[f"{name}{VERDICT}"] == YES


def yes_first(size: Float[np.ndarray, "layer head"], is_yes: Bool[np.ndarray, "layer head"], n_heads: int) -> list[tuple[int, int]]:
    """The heads (layer, head) of largest size, those whose answer is yes first; a size that is NaN counts as 0.

    >>> yes_first(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([[False, False], [True, False]]), 3)
    [(1, 0), (0, 1), (0, 0)]
    """
    order = np.lexsort([-np.nan_to_num(size).ravel(), ~is_yes.ravel()])[:n_heads]
    return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, size.shape), strict=True)]


def _beyond(claim: Claim, low: np.ndarray, high: np.ndarray) -> Any:
    """Whether the interval lies beyond the null value, on the side or sides that the claim is about."""
    return (low > claim.null) | ((high < claim.null) & claim.either)


def _within(claim: Claim, low: np.ndarray, high: np.ndarray) -> Any:
    """Whether the interval lies within the smallest effect of interest: an effect as large is ruled out."""
    if claim.either:
        return (low > claim.null - claim.smallest) & (high < claim.null + claim.smallest)
    return high < claim.null + claim.smallest


def _sign(claim: Claim, effect: np.ndarray) -> Any:
    return (effect > claim.null).astype(int) - (effect < claim.null).astype(int)


def _side(low: np.ndarray, high: np.ndarray) -> Any:
    """1 where the interval lies above 0, -1 where below, 0 where it holds 0."""
    return (low > 0).astype(int) - (high < 0).astype(int)


def reach(claim: Claim, low: Any, high: Any) -> Any:
    """How far the whole interval lies beyond the null value, on the side that the claim is about; negative where it holds the null value.

    The statistic by which a model is compared with twins: it takes the uncertainty of both into account.
    """
    return np.fmax(low - claim.null, claim.null - high) if claim.either else low - claim.null
