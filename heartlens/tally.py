"""A tally: partial results that combine with `+`. One chunk, one record, one worker, one saved file, tonight's and yesterday's.

`sums` holds only sums (counts, sums, sums of squares, histograms) under named axes; ratios are taken once, in `summarize`. Records that
one side lacks count as zero there; every other axis must be the same on both sides. `sample` is what is not additive: the few examples
(windows, or tokens) of smallest identity, kept whole, a set that merges in any order; its attribute `n_examples` says how many (default 1).
"""

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

from heartlens.refusal import Refusal

N_EXAMPLES = 1  # where a sample does not say


@dataclass(frozen=True)
class Tally:
    """Sums by record, and a sample of windows. `Tally()` is zero."""

    sums: xr.Dataset = field(default_factory=xr.Dataset)
    sample: xr.Dataset = field(default_factory=xr.Dataset)

    def __add__(self, other: "Tally") -> "Tally":
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(_added(self.sums, other.sums), _merged(self.sample, other.sample))

    @property
    def records(self) -> list[str]:
        """The records that were counted, sorted."""
        return [str(name) for name in self.sums.coords["record"].values] if "record" in self.sums.coords else []


def by_record(values: Shaped[np.ndarray, "window ..."], record: Shaped[np.ndarray, " window"]) -> Float[np.ndarray, "record ..."]:
    """The sum of `values` over each record's windows, records sorted by name, in float64."""
    names, index = np.unique(record, return_inverse=True)
    total = np.zeros((len(names), *values.shape[1:]))
    for window, owner in enumerate(index):
        total[owner] += values[window]
    return total


def _added(left: xr.Dataset, right: xr.Dataset) -> xr.Dataset:
    if not left.data_vars or not right.data_vars:
        return left if left.data_vars else right
    _refuse_difference(left, right)
    fixed = [str(axis) for axis in left.dims if axis != "record"]
    aligned: Any = xr.align(left, right, join="outer", exclude=fixed, fill_value=0, copy=False)
    return aligned[0] + aligned[1]


def _refuse_difference(left: xr.Dataset, right: xr.Dataset) -> None:
    if set(left.data_vars) != set(right.data_vars):
        only = sorted(map(str, set(left.data_vars) ^ set(right.data_vars)))
        raise Refusal(f"these tallies do not count the same things; only one of them has {', '.join(only)}")
    axes = sorted(map(str, {*left.dims, *right.dims} - {"record"}))
    different = [axis for axis in axes if not (axis in left.dims and axis in right.dims and left[axis].equals(right[axis]))]
    if different:
        raise Refusal(
            f"these tallies do not share the axis {', '.join(different)}; measure both with the same options and the same sizes of model, "
            "or, where that is found on the recordings themselves (a ranking, a circuit), all recordings at once"
        )


def _merged(left: xr.Dataset, right: xr.Dataset) -> xr.Dataset:
    parts = [part for part in (left, right) if part.sizes.get("example", 0)]
    if not parts:
        return left
    together: xr.Dataset = reduce(lambda a, b: xr.concat([a, b], dim="example", join="exact"), parts)
    _, first = np.unique(together["identity"].values, return_index=True)  # sorted by identity, doubles gone
    return together.isel(example=first[: together.attrs.get("n_examples", N_EXAMPLES)])
