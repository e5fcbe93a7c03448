"""Simulated studies: tallies made up of numbers by record, as an analysis would have summed them, so that their truth is known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from heartlens.tally import Tally

N_PERSONS = 25


def made_up(
    axes_of: Mapping[str, tuple[str, ...]], places: Mapping[str, Any], attrs: Mapping[str, Any], **by_record: np.ndarray | float
) -> Tally:
    """The tally of these sums by record, along the axes that each has beside the records; sums that are not given are 0.

    `places` are the coordinates of the axes; the records are numbered. A sum that is one number is the same throughout.
    """
    n_records = next((len(values) for values in by_record.values() if isinstance(values, np.ndarray)), N_PERSONS)
    sums = {}
    for name, axes in axes_of.items():
        shape = (n_records, *(len(places[axis]) for axis in axes))
        sums[name] = ("record", *axes), np.array(np.broadcast_to(by_record.get(name, 0.0), shape), float)
    used = {axis for axes in axes_of.values() for axis in axes}
    coords = {axis: list(place) for axis, place in places.items() if axis in used}
    return Tally(xr.Dataset(sums, coords={"record": [f"person {number:03d}" for number in range(n_records)], **coords}, attrs=dict(attrs)))


def between_persons(rng: np.random.Generator, *shape: int, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    """Values of N_PERSONS persons, (person, *shape), of this mean and SD; persons differ in how far they spread, so tails are long."""
    scale = rng.gamma(4.0, 0.25, (N_PERSONS, *(1 for _ in shape)))  # of mean 1; its mean square is 1.25
    return mean + sd * rng.normal(0, 1, (N_PERSONS, *shape)) * scale / np.sqrt(1.25)
