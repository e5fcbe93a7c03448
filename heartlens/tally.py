"""A tally: partial results that combine with `+`. One chunk, one record, one worker, one saved file, tonight's and yesterday's.

`sums` holds only sums (counts, sums, sums of squares, histograms) under named axes; ratios are taken once, in `summarize`. Records that
one side lacks count as zero there; every other axis must be the same on both sides. Along the records lie two coordinates: `person` (who
was recorded) and `content` (a hash of the samples, by which a recording is known under any name), empty where not known. `sample` is what
is not additive: the few examples (windows, or tokens) of smallest identity, kept whole, a set that merges in any order; its attribute
`n_examples` says how many (default 1).

More than MOST_RECORDS records are kept in N_GROUPS groups, by a hash of their person (where that is not known, of the record), so that a
tally's size does not grow with their number. A group's sum is kept in two parts, multiples of COARSE and of FINE, whose addition does not
round: so the order does not matter.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped, UInt64

from heartlens.refusal import Refusal
from heartlens.windows import Windows

N_EXAMPLES = 1  # where a sample does not say
MOST_RECORDS, N_GROUPS = 256, 128
ABOUT_RECORD = ("person", "content")  # coordinates along the records
RECORDS_OF = "records_of_unit"  # a coordinate of what `whole` gives: the names of each entry's records, a line each
COARSE, FINE = 2.0**-12, 2.0**-52  # exact up to sums of 2e12, and 16,000 records in a group


@dataclass(frozen=True)
class Tally:
    """Sums by record, and a sample of windows. `Tally()` is zero.

    Of groups, `sums` is the coarse part and `fine` the other one, and `members` has two short hashes of each record: of its content, and of
    its person (0: not known); of records, `fine` and `members` are empty.
    """

    sums: xr.Dataset = field(default_factory=xr.Dataset)
    sample: xr.Dataset = field(default_factory=xr.Dataset)
    fine: xr.Dataset = field(default_factory=xr.Dataset)
    members: UInt64[np.ndarray, "_ 2"] = field(default_factory=lambda: np.empty((0, 2), np.uint64))

    def __add__(self, other: "Tally") -> "Tally":
        return added([self, other]) if isinstance(other, Tally) else NotImplemented

    @property
    def records(self) -> list[str]:
        """The records that were counted, sorted; or the groups that hold them."""
        return [str(name) for name in self.sums.coords["record"].values] if "record" in self.sums.coords else []

    @property
    def is_grouped(self) -> bool:
        """Whether the records are kept in groups."""
        return len(self.members) > 0

    @property
    def persons(self) -> list[str]:
        """The person of each record, empty where not known; of groups, none."""
        return _about(self.sums, "person")

    @property
    def identities(self) -> UInt64[np.ndarray, "_ 2"]:
        """Two short hashes of each record that was counted: of its content (of its name, where that is not known) and of its person."""
        if self.is_grouped or not self.records:
            return self.members
        known_by = [content or name for name, content in zip(self.records, _about(self.sums, "content"), strict=True)]
        pairs = zip(known_by, self.persons, strict=True)
        return np.array([(name_hash(name), name_hash(person) if person else 0) for name, person in pairs], np.uint64)

    @property
    def hashes(self) -> UInt64[np.ndarray, " _"]:
        """A short hash of each record that was counted, sorted."""
        return np.sort(self.identities[:, 0])

    @property
    def counts(self) -> dict[str, int | str]:
        """What a result says of its units: a person where any is known, else a record; how many of each there are, and of groups."""
        person = self.identities[:, 1]
        n_persons = len(np.unique(person[person > 0]))
        counts: dict[str, int | str] = {"unit": "person" if n_persons else "record", "n_persons": n_persons}
        counts |= {"n_units": n_persons + int((person == 0).sum()), "n_records": len(person)}
        return counts | ({"n_groups": len(self.records)} if self.is_grouped else {})

    @property
    def whole(self) -> "Tally":
        """The same as `summarize` reads it, which can no longer be added to: every entry of `record` is a unit of inference.

        The sums of a person's records are added; a record whose person is not known, and a group, is an entry of its own.
        """
        if self.is_grouped:
            return Tally((self.sums + self.fine).assign_attrs(self.sums.attrs), self.sample)
        if not self.records:
            return self
        plain = self.sums.drop_vars(ABOUT_RECORD, errors="ignore")
        if not any(self.persons):
            return Tally(plain, self.sample)
        units = [(person or record, not person) for record, person in zip(self.records, self.persons, strict=True)]
        entries = sorted(set(units))
        sums = _placed([plain], [np.array([entries.index(unit) for unit in units])], [name for name, _ in entries])
        of_entry = ["\n".join(record for record, own in zip(self.records, units, strict=True) if own == entry) for entry in entries]
        return Tally(sums.assign_coords({RECORDS_OF: ("record", of_entry)}), self.sample)

    def about(self, windows: Windows) -> "Tally":
        """The same with what is known of the records of these windows, which were measured."""
        if "record" not in self.sums.coords:
            return self
        parts = [
            xr.Dataset(coords={"record": windows.record.astype(str), name: ("record", getattr(windows, name).astype(str))})
            for name in ABOUT_RECORD
        ]
        about = {name: ("record", _agreed(name, [part], self.records)) for name, part in zip(ABOUT_RECORD, parts, strict=True)}
        return replace(self, sums=self.sums.assign_coords(about))


def added(tallies: Sequence[Tally]) -> Tally:
    """The sum of all tallies, from left to right. Refuses tallies that do not count the same things."""
    sample = _merged([tally.sample for tally in tallies])
    counted = [tally for tally in tallies if tally.sums.data_vars]
    if not counted:
        return Tally(sample=sample)
    for other in counted[1:]:
        _refuse_difference(counted[0].sums, other.sums)
    if len(counted) == 1:
        return replace(counted[0], sample=sample)
    is_grouped = any(tally.is_grouped for tally in counted)
    if not is_grouped and len(set().union(*(tally.records for tally in counted))) <= MOST_RECORDS:
        return Tally(_by_name([tally.sums for tally in counted]), sample)
    members = np.unique(np.concatenate([tally.identities for tally in counted]), axis=0)
    counted = [_in_groups(tally) for tally in counted]
    return Tally(_by_name([tally.sums for tally in counted]), sample, _by_name([tally.fine for tally in counted]), members)


def tallied(windows: Windows, axes: Sequence[str] = ("layer", "head"), **sums: Float[np.ndarray, "window ..."]) -> Tally:
    """The tally of numbers that were measured on each window: their sums by record, with `n_windows`.

    A number's further axes are the first of `axes`; places on an axis count from 0. Refuses a number with more axes than have names.
    """
    by_name: dict[str, tuple[tuple[str, ...], np.ndarray]] = {"n_windows": (("record",), by_record(np.ones(len(windows)), windows.record))}
    for name, values in sums.items():
        if values.ndim > 1 + len(axes):
            raise Refusal(
                f"{name} has {values.ndim - 1} axes beside the window, named are {len(axes)} ({', '.join(axes)}); name all with axes="
            )
        by_name[name] = ("record", *axes[: values.ndim - 1]), by_record(rounded(values), windows.record)
    dataset = xr.Dataset(by_name, attrs={"kind": windows.kind})
    return Tally(dataset.assign_coords({axis: np.arange(size) for axis, size in dataset.sizes.items()} | {"record": windows.records}))


def examples(windows: Windows, n_examples: int = N_EXAMPLES, **values: tuple[tuple[str, ...], np.ndarray]) -> xr.Dataset:
    """The windows of smallest identity, as a tally's sample keeps them: tokens, waves, where they are from, and `values`.

    Each of `values` is the names of its axes after the window's, and an array over all windows; numbers are kept in float32.
    """
    first = np.argsort(windows.identity, kind="stable")[:n_examples]
    own = {"token": (("time",), windows.tokens), "token_wave": (("time",), windows.wave), **values}
    kept = {
        name: (("example", *axes), array[first].astype(np.float32) if array.dtype == np.float64 else array[first])
        for name, (axes, array) in own.items()
    }
    kept |= {"identity": (("example",), windows.identity[first])}
    kept |= {f"example_{name}": (("example",), getattr(windows, name)[first]) for name in ("record", "start_s")}
    return xr.Dataset(kept, attrs={} if n_examples == N_EXAMPLES else {"n_examples": n_examples})


def checked(tally: object, analysis: str) -> Tally:
    """What an analysis measured. Refuses what is no tally of sums by record, or has an axis without coordinates."""
    if not isinstance(tally, Tally):
        raise Refusal(f"{analysis}.measure gave a {type(tally).__name__}; it must give a Tally (heartlens.tally.tallied makes one)")
    without = [str(axis) for axis in tally.sums.dims if axis not in tally.sums.coords]
    if without:
        raise Refusal(f"the axes {', '.join(without)} of {analysis}'s sums have no coordinates; parts add up by them: give every axis some")
    unkept = [str(name) for name, values in tally.sums.items() if "record" not in values.dims]
    if unkept:
        raise Refusal(
            f"the sums {', '.join(unkept)} of {analysis} are not kept by record; give each the axis record (heartlens.tally.by_record)"
        )
    return tally


def counted_twice(left: Tally, right: Tally) -> list[str]:
    """The records that both have counted, by name where either still knows it, else by hash."""
    pairs = (zip(tally.records, tally.identities[:, 0], strict=True) for tally in (left, right) if not tally.is_grouped)
    names = {int(content): name for of_tally in pairs for name, content in of_tally}
    return sorted(names.get(int(content), f"recording {content:016x}") for content in np.intersect1d(left.hashes, right.hashes))


def of_units(sums: xr.Dataset) -> list[list[str]]:
    """The names of the records of each entry of sums as `Tally.whole` gives them."""
    return [str(names).split("\n") for names in (sums[RECORDS_OF] if RECORDS_OF in sums.coords else sums["record"]).values]


def by_record(values: Shaped[np.ndarray, "window ..."], record: Shaped[np.ndarray, " window"]) -> Float[np.ndarray, "record ..."]:
    """The sum of `values` over each record's windows, records sorted by name, in float64."""
    names, index = np.unique(record, return_inverse=True)
    total = np.zeros((len(names), *values.shape[1:]))
    for window, owner in enumerate(index):
        total[owner] += values[window]
    return total


def rounded(values: Float[np.ndarray, "..."], n_bits: int = 21) -> Float[np.ndarray, "..."]:
    """The values to `n_bits` binary digits: float32 sums hold no more, and few digits add up exactly and take little room on disk."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, n_bits)), exponent - n_bits)


def name_hash(name: str) -> int:
    """64 bits that depend on the name alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _about(sums: xr.Dataset, name: str) -> list[str]:
    """One of ABOUT_RECORD of each record."""
    return [str(value) for value in sums.coords[name].values] if name in sums.coords else [""] * sums.sizes.get("record", 0)


def _in_groups(tally: Tally) -> Tally:
    """The tally with each record's sums split into their two parts and added to its group."""
    if tally.is_grouped:
        return tally
    identities = tally.identities
    unit = np.where(identities[:, 1] > 0, identities[:, 1], identities[:, 0])
    groups, owner = np.unique(unit % np.uint64(N_GROUPS), return_inverse=True)
    names = [f"group {group:03d}" for group in groups]
    plain = tally.sums.drop_vars(ABOUT_RECORD, errors="ignore")
    coarse = (plain / COARSE).round() * COARSE
    fine = ((plain - coarse) / FINE).round() * FINE
    sums, rest = (_placed([part], [owner], names) for part in (coarse.assign_attrs(tally.sums.attrs), fine))
    return Tally(sums, tally.sample, rest, identities)


def _by_name(parts: list[xr.Dataset]) -> xr.Dataset:
    names = sorted({str(name) for part in parts for name in part["record"].values})
    row = {name: index for index, name in enumerate(names)}
    total = _placed(parts, [np.array([row[str(name)] for name in part["record"].values], np.int64) for part in parts], names)
    about = {name: ("record", _agreed(name, parts, names)) for name in ABOUT_RECORD if any(name in part.coords for part in parts)}
    return total.assign_coords(about)


def _agreed(about: str, parts: list[xr.Dataset], names: list[str]) -> list[str]:
    """What is known of each record: what any part knows; of several contents under one name the first. Refuses a record of two persons."""
    value_of: dict[str, str] = {}
    for part in parts:
        for name, value in zip(map(str, part["record"].values), _about(part, about), strict=True):
            before = value_of.get(name) or value
            if value and value != before and about == "person":
                raise Refusal(f"{name} is of two persons, {min(before, value)} and {max(before, value)}; a record has one person")
            value_of[name] = min(before, value or before)
    return [value_of.get(name, "") for name in names]


def _placed(parts: list[xr.Dataset], rows: Sequence[Int[np.ndarray, " _"]], names: list[str]) -> xr.Dataset:
    """The sum of all parts, from left to right, each record's values added in its row of `names`."""
    first = parts[0]
    total = {}
    for name, variable in first.data_vars.items():
        axis = variable.dims.index("record")
        shape = (len(names), *(size for dim, size in variable.sizes.items() if dim != "record"))
        value = np.zeros(shape, np.result_type(*(part[name].dtype for part in parts)))
        for part, row in zip(parts, rows, strict=True):
            np.add.at(value, row, np.moveaxis(part[name].transpose(*variable.dims).values, axis, 0))
        total[name] = (variable.dims, np.moveaxis(value, 0, axis), variable.attrs)
    places = {axis: places for axis, places in first.coords.items() if "record" not in places.dims}
    return xr.Dataset(total, coords={**places, "record": names}, attrs=first.attrs)


def _refuse_difference(left: xr.Dataset, right: xr.Dataset) -> None:
    of_left, of_right = (each.attrs.get("base_fingerprint", "none") for each in (left, right))
    if of_left != of_right:
        raise Refusal(f"these tallies compare with different bases (fingerprints {of_left}, {of_right}); give both the same --base")
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


def _merged(samples: list[xr.Dataset]) -> xr.Dataset:
    parts = [part for part in samples if part.sizes.get("example", 0)]
    if len(parts) < 2:
        return parts[0] if parts else samples[0]
    together = xr.concat(parts, dim="example", join="exact")
    if "example_record" in together:  # equal windows of two records: in any order the same one is kept
        together = together.isel(example=np.argsort(together["example_record"].values.astype(str), kind="stable"))
    _, first = np.unique(together["identity"].values, return_index=True)  # sorted by identity, doubles gone
    return together.isel(example=first[: together.attrs.get("n_examples", N_EXAMPLES)])
