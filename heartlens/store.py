"""Results on disk: a summary and the tallies it came from, each one self-describing netCDF file, written whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from heartlens.analysis import Measured
from heartlens.gather import Gathered, Open
from heartlens.netcdf import read_datasets, unreadable, write_datasets
from heartlens.provenance import inventory_of
from heartlens.refusal import Refusal
from heartlens.remake import added_commands
from heartlens.sample import Sample
from heartlens.tally import Tally, checked, counted_twice
from heartlens.whole import write_whole
from heartlens.windows import PER_WINDOW, Windows

PARTS = ("sums", "sample", "fine")  # of a tally, beside the hashes of its members
MEMBER = ("recording", "hash")  # axes of a tally's members
PARTIAL_TALLY = "tally.partial.nc"  # beside a result while it is being made; see `partial`
TEXTS = ("record", "person", "content")  # what of windows is text
STATE = "n_recordings_done"  # an attribute of what is not finished
HOW = ("analysis", "options", "checkpoint", "checkpoint_fingerprint", "checkpoint_processing", "edits", "data_options", "names")
MEANING = (*HOW, "data_kind")


def write_summary(summary: xr.Dataset, path: Path) -> None:
    """Write a summary, atomically."""
    write_datasets({"/": summary}, path)


def read_summary(path: str | Path) -> xr.Dataset:
    """A stored summary, in memory. Refuses a file that is none, is damaged, or is of another format."""
    path = Path(path)
    summary = read_datasets(path)["/"]
    if not summary.data_vars:  # such is the root of a file of tallies
        raise Refusal(f"{path} holds no summary; give a summary.nc")
    return summary


def write_measured(measured: Measured, path: Path) -> None:
    """Write the tallies of the model and of its twins into one file, atomically; `read_measured` gives them back to be added to."""
    parts = _parts("model", measured.tally)
    if measured.twins:
        names = list(measured.twins)
        for part in PARTS:
            parts[f"twins/{part}"] = _stacked([getattr(twin, part) for twin in measured.twins.values()], names)
        members = [twin.members for twin in measured.twins.values()]
        parts["twins/members"] = xr.Dataset({"member": (MEMBER, members[0])}, coords={"twin": names})
    write_datasets({"/": xr.Dataset(attrs=measured.attrs), **parts}, path)


def read_measured(path: str | Path) -> Measured:
    """Stored tallies, in memory. Refuses a file that holds none, and the tally of a shard or of a run that is not finished."""
    path = Path(path)
    parts = _parts_in(path)
    attrs = _plain(parts["/"].attrs)
    if STATE in attrs:
        raise Refusal(f"{path} is {_unfinished(attrs)}; only a finished tally.nc can be added to")
    with _as_written(path):
        return Measured(_tally(parts, "model"), _twins(parts) if "twins/members" in parts else {}, attrs)


def write_gathered(total: Gathered, opened: Open, attrs: dict[str, Any], path: Path) -> None:
    """Write what was gathered so far, or by a shard, into one file, atomically. `attrs` say of which run."""
    state = {STATE: total.n_recordings, "open_name": opened.name, "open_parts": opened.n_parts, "sample_windows": total.sample.n_windows}
    parts = {**_parts("model", total.tally), **_parts("open", opened.tally), "sample": _windows_dataset(total.sample)}
    write_datasets({"/": xr.Dataset(attrs={**attrs, **total.read.attrs, **state}), **parts}, path)


def read_gathered(path: str | Path) -> tuple[Gathered, Open, dict[str, Any]]:
    """What `write_gathered` wrote. Refuses a file that holds a finished tally, or none."""
    path = Path(path)
    parts = _parts_in(path)
    attrs = _plain(parts["/"].attrs)
    if STATE not in attrs:
        raise Refusal(f"{path} is the tally of a finished run; give one of a shard")
    with _as_written(path):
        read = inventory_of(attrs)
        sample = _sample(parts["sample"], int(attrs["sample_windows"]), read.kind)
        total = Gathered(_tally(parts, "model"), sample, read, int(attrs[STATE]))
        return total, Open(str(attrs["open_name"]), int(attrs["open_parts"]), _tally(parts, "open")), attrs


def add(earlier: Measured, later: Measured) -> Measured:
    """Both together. Refuses tallies of another checkpoint or other options, and a record that both have counted."""
    refuse_other_meaning(earlier.attrs, later.attrs)
    refuse_twice(counted_twice(earlier.tally, later.tally))
    refuse_same_names(earlier.tally, later.tally.records)
    if earlier.twins.keys() != later.twins.keys():
        raise Refusal(
            f"these tallies were measured with different twins ({len(earlier.twins)} and {len(later.twins)}) and cannot be added; "
            "measure both with the same --n-twins and --seed"
        )
    twins = {name: earlier.twins[name] + later.twins[name] for name in later.twins}
    read = inventory_of(earlier.attrs) + inventory_of(later.attrs)
    command = added_commands(str(earlier.attrs.get("command", "")), str(later.attrs.get("command", "")))
    return Measured(earlier.tally + later.tally, twins, {**later.attrs, **read.attrs, "command": command})


def refuse_addition(earlier: Measured, attrs: dict[str, Any], names: list[str]) -> None:
    """Refuse, before anything is measured, what could not be added: see `add`."""
    refuse_other_meaning(earlier.attrs, attrs, HOW)
    if not names:
        raise Refusal("the tally has counted all of these recordings; a recording counts once: give others with --data")
    refuse_same_names(earlier.tally, names)


def refuse_same_names(earlier: Tally, names: list[str]) -> None:
    """Refuse records with the names of others that a tally has counted; of groups, no names are known."""
    called_so = sorted(set(earlier.records) & set(names)) if not earlier.is_grouped else []
    if called_so:
        raise Refusal(f"the tally has counted another recording under the name {', '.join(called_so[:4])}; rename one of the two")


def refuse_other_meaning(earlier: dict[str, Any], later: dict[str, Any], meaning: tuple[str, ...] = MEANING) -> None:
    """Refuse attributes that differ in what the numbers mean."""
    for name in meaning:
        if earlier.get(name) is None or earlier.get(name) != later.get(name):
            raise Refusal(f"these tallies differ in {name} ({_difference(earlier.get(name), later.get(name))}) and cannot be added")


def _difference(earlier: Any, later: Any) -> str:
    """How two attributes differ: of options, in which."""
    try:
        before, now = json.loads(earlier), json.loads(later)
        return "; ".join(
            f"{name}: {before.get(name)} and {now.get(name)}" for name in {**before, **now} if before.get(name) != now.get(name)
        )
    except (TypeError, ValueError, AttributeError):
        return f"{earlier} and {later}"


def refuse_twice(names: list[str]) -> None:
    """Refuse records, where there are any, that two tallies have counted."""
    if names:
        raise Refusal(f"both tallies have counted {', '.join(names[:4])}; a record counts once: leave it out of --data")


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    write_whole(text.encode("utf-8", "backslashreplace"), path)


def _parts_in(path: Path) -> dict[str, xr.Dataset]:
    """The datasets of a file of tallies by their place. Refuses another file."""
    parts = read_datasets(path)
    if not any(place == "model" or place.startswith("model/") for place in parts):
        raise Refusal(f"{path} holds no tallies; give a tally.nc")
    return parts


def _parts(place: str, tally: Tally) -> dict[str, xr.Dataset]:
    datasets = {f"{place}/{part}": getattr(tally, part) for part in PARTS}
    return {**datasets, f"{place}/members": xr.Dataset({"member": (MEMBER, tally.members)})}


def _tally(parts: dict[str, xr.Dataset], place: str) -> Tally:
    sums, sample, fine = (parts[f"{place}/{part}"] for part in PARTS)
    return _sound(Tally(sums, sample, fine, parts[f"{place}/members"]["member"].transpose(*MEMBER).values))


def _sound(tally: Tally) -> Tally:
    """The tally. Raises ValueError for one that no analysis made."""
    checked(tally, "the analysis")
    if tally.members.shape[1:] != (2,) or tally.members.dtype != np.uint64:
        raise ValueError("its members are no pairs of hashes")
    if len(set(tally.records)) != len(tally.records):
        raise ValueError("it names a record twice")
    if tally.is_grouped and (set(tally.fine) != set(tally.sums) or dict(tally.fine.sizes) != dict(tally.sums.sizes)):
        raise ValueError("the parts of its sums do not fit together")
    for name, values in [*tally.sums.items(), *tally.fine.items()]:
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{name} is no number")
    if tally.sample.sizes.get("example", 0) and tally.sample["identity"].dims != ("example",):
        raise ValueError("its examples have no identity")
    assert tally.counts  # which reads persons and contents
    return tally


def _twins(parts: dict[str, xr.Dataset]) -> dict[str, Tally]:
    names = list(map(str, parts["twins/members"]["twin"].values))
    members = parts["twins/members"]["member"].transpose(*MEMBER).values
    of_twin = (_unstacked(parts[f"twins/{part}"], len(names)) for part in PARTS)
    return {name: _sound(Tally(sums, sample, fine, members)) for name, sums, sample, fine in zip(names, *of_twin, strict=True)}


def _stacked(datasets: list[xr.Dataset], names: list[str]) -> xr.Dataset:
    """Datasets of twins in one, along an axis `twin`: each small variable of each twin would cost its own overhead in the file."""
    if not datasets[0].variables:
        return datasets[0]
    return xr.concat(datasets, dim=xr.Variable("twin", names), data_vars="all", join="exact", combine_attrs="identical")


def _unstacked(dataset: xr.Dataset, n_twins: int) -> list[xr.Dataset]:
    return [dataset.isel(twin=index, drop=True) for index in range(n_twins)] if "twin" in dataset.dims else [dataset] * n_twins


def _windows_dataset(sample: Sample) -> xr.Dataset:
    """The windows of a sample; of none, an empty dataset."""
    windows = sample.windows
    if windows is None:
        return xr.Dataset()
    by_time = {name: (("window", "time"), getattr(windows, name)) for name in ("tokens", "wave", "segment", "position")}
    single = {name: ("window", getattr(windows, name)) for name in ("start_s", "low", "high")}
    texts = {name: ("window", getattr(windows, name).astype(str)) for name in TEXTS}
    return xr.Dataset({**by_time, **single, **texts}, attrs={"waves": "\n".join(windows.waves)})


def _sample(dataset: xr.Dataset, n_windows: int, kind: str) -> Sample:
    if not dataset.data_vars:
        return Sample(n_windows)
    values: dict[str, Any] = {name: dataset[name].values for name in PER_WINDOW}
    values |= {name: values[name].astype(str) for name in TEXTS}
    return Sample(n_windows, Windows(kind, **values, waves=tuple(dataset.attrs["waves"].splitlines())))


def _unfinished(attrs: dict[str, Any]) -> str:
    return f"the tally of shard {attrs['shard']}" if attrs.get("shard") else "the tally of a run that was stopped"


def _plain(attrs: Any) -> dict[str, Any]:
    return {str(name): value for name, value in attrs.items()}


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """Whatever is wrong with what a file holds is one refusal."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:  # a forged file may break the rules in any place
        raise unreadable(path, error) from error
