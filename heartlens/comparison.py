"""Two results of one analysis, or two checkpoints on the same windows: the difference of every effect, with its 95 % interval.

The interval is that of the delete-one jackknife over units (persons; recordings where persons are not known): the effect is computed
again without each unit, by the analysis' own `summarize`. A unit that both results have is left out of both at once, so that what is
common to both cancels (pairing). More than MOST_GROUPS units are left out in so many groups, by a hash of their names. Student's t has
n - 1 degrees of freedom where all units are paired, Satterthwaite's where none is, and those of the smaller result in between. Efron &
Stein 1981; Wolter 2007, chapter 4. The intervals are of one effect each: nothing here is a verdict.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from heartlens.analysis import Measured, Progress, silent
from heartlens.inference.verdict import VERDICT
from heartlens.privacy import person_code
from heartlens.refusal import Refusal
from heartlens.tally import ABOUT_RECORD, Tally, tallied
from heartlens.windows import Windows

MOST_GROUPS = 32
OF_OTHERS = {"twin", "initial", "example"}  # axes of what is no effect of the model on the recordings
BESIDE = ("_low", "_high", "p_value", "q_value", "_twin_p", "_limit", VERDICT)
COLUMNS = ("a", "b", "difference", "low", "high")


@dataclass(frozen=True)
class _Side:
    """One result: its analysis, its units by name with their rows in the sums, and all of its effects."""

    analysis: Any
    whole: Tally
    rows: dict[str, int]

    def effects(self, without: Iterable[str] = ()) -> xr.Dataset:
        """The effects, without some units."""
        left_out = {self.rows[name] for name in without if name in self.rows}
        kept = [row for row in range(len(self.rows)) if row not in left_out]
        tally = Tally(self.whole.sums.isel(record=kept), self.whole.sample) if left_out else self.whole
        return effects_of(self.analysis.summarize(tally, {}))


def compared(analysis: Any, a: Measured, b: Measured, progress: Progress | None = None, other: Any = None) -> xr.Dataset:
    """The difference b - a of every effect of an analysis (`other`: that of `b`, where its options differ).

    For each effect the variables `EFFECT_a`, `_b`, `_difference`, `_low` and `_high` on the axes that the analysis has; the interval is NaN
    where fewer than two units are left. Attributes: `n_units_a`, `n_units_b`, `n_paired`. Refuses results of different analyses, and
    results without a place in common.
    """
    kinds = [str(measured.attrs.get("analysis", "")) for measured in (a, b)]
    if kinds[0] != kinds[1]:
        raise Refusal(f"these results are of different analyses ({kinds[0]} and {kinds[1]}); two of the same can be compared")
    sides = (_side(analysis, a), _side(other or analysis, b))
    grouped = [measured.tally.is_grouped for measured in (a, b)]
    if grouped[0] != grouped[1]:  # a group and a record are different units
        sides = (sides[0], replace(sides[1], rows={f"b {name}": row for name, row in sides[1].rows.items()}))
    whole = [side.effects() for side in sides]
    first, second = xr.align(*whole, join="inner")
    unlike = ", ".join(
        f"{axis} {size} and {whole[1].sizes.get(axis, 0)}" for axis, size in whole[0].sizes.items() if whole[1].sizes.get(axis, 0) != size
    )
    names = [str(name) for name in first if name in second and first[name].dims == second[name].dims and first[name].size]
    if not names:
        raise Refusal("these results have no effect at the same place (wave, layer, head, readout); compare two of one kind of signal")
    groups = _groups([list(side.rows) for side in sides])
    without = [
        tuple(side.effects(group) if set(group) & set(side.rows) else None for side in sides)
        for group in (progress or silent)("leaving out", groups, len(groups))
    ]
    variables: dict[str, xr.DataArray] = {}
    for name in names:
        left_out = [
            np.stack([effects[name].reindex_like(first[name]).values for pair in without if (effects := pair[side]) is not None])
            for side in (0, 1)
        ]
        has = np.array([[pair[side] is not None for pair in without] for side in (0, 1)])
        low, high = _interval(first[name].values, second[name].values, left_out, has)
        difference = second[name] - first[name]
        for column, values in zip(COLUMNS, (first[name], second[name], difference, low, high), strict=True):
            variables[f"{name}_{column}"] = difference.copy(data=np.asarray(values))
    n_paired = len(set(sides[0].rows) & set(sides[1].rows))
    attrs = {"analysis": kinds[0], "n_units_a": len(sides[0].rows), "n_units_b": len(sides[1].rows), "n_paired": n_paired, "unlike": unlike}
    attrs |= {f"checkpoint_{which}": str(each.attrs.get("checkpoint", "")) for which, each in (("a", a), ("b", b))}
    return xr.Dataset(variables, attrs=attrs)


def effects_of(summary: xr.Dataset) -> xr.Dataset:
    """The variables of a summary that its verdicts are about; without verdicts, all numbers on the model's axes."""
    named = list(dict.fromkeys(str(values.attrs.get("effect", "")) for name, values in summary.items() if str(name).endswith(VERDICT)))
    effects = [name for name in named if name in summary]
    if not effects:
        effects = [
            str(name)
            for name, values in summary.items()
            if values.dtype.kind == "f" and not OF_OTHERS & set(values.dims) and not str(name).endswith(BESIDE)
        ]
    return summary[effects].drop_attrs()


def compared_records(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    """The same of tables: numbers by `record`, with a coordinate `person` (empty: not known). The effects are means over units.

    Refuses tables without a column in common.
    """
    names = [str(name) for name in a if name in b]
    if not names:
        raise Refusal("these results have no column of numbers in common; give two results of the same task")
    each = [side[names].assign(n_records=("record", np.ones(side.sizes["record"]))) for side in (a, b)]
    sides = [Measured(Tally(side), {}, {"analysis": "records"}) for side in each]
    return compared(_Means(), sides[0], sides[1])


def compared_ratios(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    """The same of sums: `top` over `bottom`, both by (record, readout), with a coordinate `person`. Effects are ratios of both sums."""
    sides = [Measured(Tally(side), {}, {"analysis": "readouts"}) for side in (a, b)]
    return compared(_Ratios(), sides[0], sides[1])


def compared_checkpoints(a: Any, b: Any, windows: Windows) -> xr.Dataset:
    """What two models make of the same windows, and how far their weights differ.

    `value_a`, `_b`, `_difference`, `_low`, `_high` by `readout` (see `heartlens.models.readouts`), paired by unit; where both have equal
    shapes `weights_difference` by (layer, head, weight): |b - a| / |a| of each head's Q, K, V and O. Refuses models of different kinds of
    signal; models that answer different questions have no readouts in common.
    """
    from heartlens.models.subject import subject_of

    first, second = subject_of(a), subject_of(b)
    if first.kind != second.kind:
        names = [f"{each.origin.checkpoint} reads {str(each.kind or 'an unknown kind').upper()}" for each in (first, second)]
        raise Refusal(f"{' and '.join(names)}; compare two of one kind of signal")
    comparison = _weights(first, second)
    if first.answers == second.answers:
        sides = [Measured(_readouts(subject, windows), {}, {"analysis": "readouts"}) for subject in (first, second)]
        comparison = compared(_Ratios(), sides[0], sides[1]).merge(comparison)
    elif not comparison:
        names = [f"{each.origin.checkpoint} answers {each.answers!r}" for each in (first, second)]
        raise Refusal(f"{' and '.join(names)}, and their sizes differ: there is nothing to compare")
    return comparison.assign_attrs(checkpoint_a=first.origin.checkpoint, checkpoint_b=second.origin.checkpoint)


@dataclass(frozen=True)
class _Ratios:
    """Ratios of sums as an analysis."""

    def summarize(self, tally: Tally, twins: Any) -> xr.Dataset:
        """Each readout: the sum of what is on top over that of what it is divided by."""
        total = tally.sums.sum("record")
        return xr.Dataset({"value": total["top"] / total["bottom"].where(total["bottom"] != 0)})


@dataclass(frozen=True)
class _Means:
    """Means over units as an analysis: of every number the sum over a unit's records, and `n_records`."""

    def summarize(self, tally: Tally, twins: Any) -> xr.Dataset:
        """The mean of every number over the units; of a unit of several records it is their mean."""
        sums = tally.sums
        return (sums.drop_vars("n_records") / sums["n_records"]).mean("record")


def without_draws(analysis: Any) -> Any:
    """The analysis with as few draws of nulls as is legal: no effect needs any."""
    return replace(analysis, n_permutations=99) if hasattr(analysis, "n_permutations") else analysis


def _readouts(subject: Any, windows: Windows) -> Tally:
    from heartlens.models.readouts import readings_of

    read = readings_of(subject, windows)
    tally = tallied(windows, ("readout",), top=read.top[0], bottom=read.bottom)
    return Tally(tally.sums.assign_coords(readout=list(read.names))).about(windows)


def _weights(first: Any, second: Any) -> xr.Dataset:
    from heartlens.models.changes import PARTS, head_changes

    if first.weights.W_Q.shape != second.weights.W_Q.shape:
        return xr.Dataset()
    change = head_changes(second.weights, first.weights)
    places = {"layer": np.arange(change.shape[0]), "head": np.arange(change.shape[1]), "weight": list(PARTS)}
    return xr.Dataset({"weights_difference": (("layer", "head", "weight"), change)}, coords=places)


def _side(analysis: Any, measured: Measured) -> _Side:
    """A result by units."""
    tally, whole = measured.tally, measured.tally.whole
    persons, content = set(tally.persons), dict(zip(tally.records, _contents(tally), strict=True))
    names = [str(name) for name in whole.sums["record"].values]
    called = [person_code(name) if name in persons else content.get(name) or name for name in names]
    return _Side(without_draws(analysis), whole, {name: row for row, name in enumerate(called)})


def _contents(tally: Tally) -> list[str]:
    """The hash of each record's samples, empty where it is not known."""
    name = ABOUT_RECORD[1]
    return [str(value) for value in tally.sums[name].values] if name in tally.sums.coords else [""] * len(tally.records)


def _groups(units: Sequence[list[str]]) -> list[list[str]]:
    """What is left out together: each unit, or MOST_GROUPS groups of them by a hash of their names."""
    names = sorted(set(units[0]) | set(units[1]))
    if max(map(len, units)) <= MOST_GROUPS:
        return [[name] for name in names]
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % MOST_GROUPS, []).append(name)
    return [groups[number] for number in sorted(groups)]


def _interval(
    first: np.ndarray, second: np.ndarray, left_out: list[np.ndarray], has: np.ndarray
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """The interval of second - first; `left_out` are both without each group that they have, `has` which groups those are.

    Only units without which an effect changes count as its degrees of freedom: those that have the wave, say.
    """
    from scipy.stats import t as student

    n_groups = has.sum(axis=1)
    if n_groups.min() < 2:
        return np.full(first.shape, np.nan), np.full(first.shape, np.nan)
    moved = np.zeros((2, has.shape[1], *first.shape))
    n_carriers = np.zeros((2, *first.shape))
    for side, whole in enumerate((first, second)):
        moved[side][has[side]] = np.sqrt((n_groups[side] - 1) / n_groups[side]) * (left_out[side].mean(axis=0) - left_out[side])
        n_carriers[side] = (~np.isclose(left_out[side], whole, rtol=1e-9, atol=0)).sum(axis=0)
    freedom = np.maximum(n_carriers - 1, 1)
    if (has[0] & has[1]).any():
        freedom_of_both = freedom.max(axis=0) if has.all() else freedom.min(axis=0)
    else:
        own = (moved**2).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom_of_both = np.nan_to_num(own.sum(axis=0) ** 2 / (own**2 / freedom).sum(axis=0), nan=1.0)
    reach = student.ppf(0.975, freedom_of_both) * np.sqrt(((moved[1] - moved[0]) ** 2).sum(axis=0))
    difference = second - first
    return np.asarray(difference - reach), np.asarray(difference + reach)
