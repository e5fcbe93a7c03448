"""What an analysis gets for nothing: options for twins, a lift judged among twins, a figure and findings read off its verdicts.

`docs/adding_an_analysis.md` writes one. The figure and the findings need no more of a summary than variables that end in `_verdict`, as
`heartlens.inference.verdict.decide` makes them: they name their effect, whose interval is called `EFFECT_low` and `EFFECT_high`.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import xarray as xr

from heartlens.analysis import Twinned, beside
from heartlens.axes import head_label
from heartlens.findings import Findings, doubts
from heartlens.inference.intervals import ratio_interval
from heartlens.inference.nulls import STRICT
from heartlens.inference.verdict import ANSWERS, VERDICT, Among, Claim, decide, is_yes, reach
from heartlens.measures.resample import over
from heartlens.refusal import Refusal
from heartlens.tally import Tally
from heartlens.wording import interval, number, plain

if TYPE_CHECKING:
    import matplotlib.figure

PER_HEAD = ("layer", "head")
MOST_ROWS = 40  # of the findings' table


@dataclass(frozen=True)
class Standard(Twinned):
    """An analysis that is judged among twins, and says and draws what its verdicts are."""

    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 59
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 50
    seed: Annotated[int, "seed of twins and of simulated windows"] = 0
    at_once: ClassVar[int] = 8

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """A map of heads for every effect that a verdict is about, and for each of its further levels; what is yes is framed."""
        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """The answers of every verdict, counted, with a row for each yes."""
        return say(self, summary)


def lift_among_twins(claim: Claim, tally: Tally, twins: Mapping[str, Tally], top: str = "share", bottom: str = "even_share") -> xr.Dataset:
    """The `lift` of one sum over another (`lift_low` to `lift_high` over records, which count alike), and the answers to the claim.

    Decided among twins: on the same windows, the lower bound of the lift against the largest of each twin.
    """
    other, claim = beside(twins), replace(claim, twin_alpha=STRICT)
    effect, low, high, n_units = _lift(tally, top, bottom)
    _, own_low, _, own_units = _lift(other.model or tally, top, bottom)
    largest = [float(reach(claim, _lift(twin, top, bottom)[1], np.inf).max()) for twin in other.twins.values()]
    among = Among(reach(claim, own_low, np.inf), xr.DataArray(np.array(largest, float), dims="twin"), own_units)
    answers = decide(claim, effect, low, high, n_units=n_units, twins=among)
    return answers.assign(lift=effect, lift_low=low, lift_high=high, twin_low=among.largest + claim.null)


def _lift(tally: Tally, top: str, bottom: str) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray]:
    """The lift, the ends of its interval, and how many records have a say."""
    upper, lower = xr.broadcast(tally.sums[top] / tally.sums["n_windows"], tally.sums[bottom] / tally.sums["n_windows"])
    upper, lower = upper.transpose("record", ...), lower.transpose(*upper.transpose("record", ...).dims)
    ends = ratio_interval(upper.values, lower.values)
    empty = upper.isel(record=0, drop=True)
    lift = empty.copy(data=over(upper.values.sum(axis=0), lower.values.sum(axis=0))).rename("lift")
    return lift, empty.copy(data=ends[0]), empty.copy(data=ends[1]), (lower > 0).sum("record")


def claims_of(summary: xr.Dataset) -> dict[str, str]:
    """The names of a summary's claims, each with the name of the effect it is about. Refuses a verdict whose effect is not there."""
    effects = {
        str(name).removesuffix(VERDICT): values.attrs.get("effect", "") for name, values in summary.items() if str(name).endswith(VERDICT)
    }
    for name, effect in effects.items():
        if effect not in summary:
            raise Refusal(
                f"{name}{VERDICT} is about {effect or 'an effect without a name'}, which the summary lacks; name the effect before "
                "`decide`, and assign it to the summary with its _low and _high; or write plot and findings of your own"
            )
    return effects


def draw(summary: xr.Dataset) -> "matplotlib.figure.Figure":
    """A row of head maps for each claim. Refuses a summary without a verdict by layer and head."""
    from heartlens import figures

    by_head = {name: effect for name, effect in claims_of(summary).items() if set(PER_HEAD) <= set(summary[effect].dims)}
    if not by_head:
        raise Refusal(
            f"no variable that ends in {VERDICT} has the axes layer and head; the default figure needs one: write a plot of your own"
        )
    with figures.style():
        width = figures.PAGE_MM if any(len(summary[effect].dims) > len(PER_HEAD) for effect in by_head.values()) else figures.COLUMN_MM
        page = figures.page(width, 70 * len(by_head))
        for part, (name, effect) in zip(page.subfigures(len(by_head), 1, squeeze=False)[:, 0], by_head.items(), strict=True):
            _maps(part, summary, name, effect)
        figures.caption(page, summary.attrs, "framed: verdict yes")
    return page


def _maps(part: Any, summary: xr.Dataset, name: str, effect: str) -> None:
    """The maps of one claim, one for each place on its other axes."""
    from heartlens import figures

    claim = summary[f"{name}{VERDICT}"].attrs
    others = [axis for axis in summary[effect].dims if axis not in PER_HEAD]
    stacked = (
        summary[[effect, f"{name}{VERDICT}"]].stack(panel=others) if others else summary[[effect, f"{name}{VERDICT}"]].expand_dims(panel=1)
    )
    values, marked = (each.transpose("panel", *PER_HEAD).values for each in (stacked[effect], is_yes(stacked, name)))
    panels = part.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, value, framed, place in zip(panels, values, marked, stacked["panel"].values, strict=True):
        if claim["null"] == 1:
            image = figures.head_map(axes, value, framed, max(2.0, float(np.ceil(np.nanmax(values, initial=1.0)))))
        else:
            image = figures.signed_map(axes, value - claim["null"], framed)
        axes.set(xlabel="head", title=", ".join(map(plain, place)) if others else plain(name))
    panels[0].set_ylabel("layer")
    part.colorbar(image, ax=panels, shrink=0.8, label=plain(effect) if claim["unit"] == effect else f"{plain(effect)} ({claim['unit']})")


def say(analysis: Any, summary: xr.Dataset) -> Findings:
    """The findings of any summary that holds verdicts."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(analysis).__name__).lower().capitalize()
    question = (sys.modules[type(analysis).__module__].__doc__ or name).split("\n")[0].split("? ")[0].rstrip("?.") + "?"
    claims = claims_of(summary)
    return Findings(
        title=f"{name} of {summary.attrs.get('checkpoint', 'a model')}",
        question=question,
        verdict=tuple(_counted(summary, claim) for claim in claims),
        columns=("claim", "where", "effect", "95 % interval"),
        rows=tuple(row for claim, effect in claims.items() for row in _rows(summary, claim, effect))[:MOST_ROWS],
        cautions=tuple(doubts(summary.attrs, summary.sizes.get("twin", 0))),
        methods=tuple(_method(summary[f"{claim}{VERDICT}"]) for claim in claims),
    )


def _counted(summary: xr.Dataset, claim: str) -> str:
    answers = summary[f"{claim}{VERDICT}"]
    counts = ", ".join(f"{int((answers == answer).sum())} {answer}" for answer in ANSWERS if bool((answers == answer).any()))
    redrawn = "; with other twins {} to {} yes".format(*answers.attrs["n_yes_redrawn"]) if "n_yes_redrawn" in answers.attrs else ""
    measured = f"{summary.attrs['n_windows']} windows of {summary.attrs['n_records']} records"
    return f"That {answers.attrs['claim']}: {counts} of {answers.size}{redrawn}. Measured on {measured}."


def _rows(summary: xr.Dataset, claim: str, effect: str) -> list[tuple[str, ...]]:
    """A row for each yes, the largest effect first."""
    answers = summary[f"{claim}{VERDICT}"]
    null, values = answers.attrs["null"], summary[effect].transpose(*answers.dims)
    places = sorted(np.argwhere(is_yes(summary, claim).values), key=lambda place: -abs(values.values[tuple(place)] - null))
    rows = list[tuple[str, ...]]()
    for place in places:
        at = dict(zip(answers.dims, place, strict=True))
        one_part = summary.isel(at)
        labels = [head_label(int(at["layer"]), int(at["head"]))] if set(PER_HEAD) <= set(at) else []
        labels += [f"{plain(axis)} {plain(summary[axis].values[index])}" for axis, index in at.items() if not (labels and axis in PER_HEAD)]
        rows.append(
            (plain(claim), ", ".join(labels), number(one_part[effect]), interval(one_part[f"{effect}_low"], one_part[f"{effect}_high"]))
        )
    return rows


def _method(answers: xr.DataArray) -> str:
    claim = answers.attrs
    twins = f", and p among {claim['n_twins']} twins at most {claim['twin_alpha']:g}" if "n_twins" in claim else ""
    return (
        f"Yes, that {claim['claim']}: the 95 % interval of {plain(claim['effect'])} ({claim['unit']}) lies beyond {claim['null']:g}{twins}"
        f"; searched: {claim['family']}. No: the interval lies within {claim['smallest']:g} of that value. Not shown: else."
    )
