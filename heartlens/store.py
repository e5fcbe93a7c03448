"""Results on disk: a summary and the tallies it came from, each one self-describing netCDF file, written whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens.analysis import Measured
from heartlens.gather import Gathered, Open
from heartlens.provenance import inventory_of
from heartlens.refusal import Refusal
from heartlens.sample import Sample
from heartlens.tally import Tally, counted_twice
from heartlens.windows import PER_WINDOW, Windows

PARTS = ("sums", "sample", "fine")  # of a tally, beside the hashes of its members
MEMBER = ("recording", "hash")  # axes of a tally's members
PARTIAL_TALLY = "tally.partial.nc"  # beside a result while it is being made; see `partial`
TEXTS = ("record", "person", "content")  # what of windows is text
STATE = "n_recordings_done"  # an attribute of what is not finished
SMALL, LARGEST_CHUNK = 256, 2**22  # numbers, bytes
MEANING = ("analysis", "options", "checkpoint", "checkpoint_fingerprint", "checkpoint_processing", "data_kind")


def write_summary(summary: xr.Dataset, path: Path) -> None:
    """Write a summary, atomically."""
    write_whole(path, lambda partial: summary.to_netcdf(partial, engine="h5netcdf"))


def read_summary(path: str | Path) -> xr.Dataset:
    """A stored summary, in memory. Refuses a file that is none."""
    path = Path(path)
    with _reading(path):
        summary = xr.load_dataset(path, engine="h5netcdf")
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
    parts = read_datasets(path)
    attrs = _plain(parts["/"].attrs)
    if STATE in attrs:
        raise Refusal(f"{path} is {_unfinished(attrs)}; only a finished tally.nc can be added to")
    with _reading(path):
        return Measured(_tally(parts, "model"), _twins(parts) if "twins/members" in parts else {}, attrs)


def write_gathered(total: Gathered, opened: Open, attrs: dict[str, Any], path: Path) -> None:
    """Write what was gathered so far, or by a shard, into one file, atomically. `attrs` say of which run."""
    state = {STATE: total.n_recordings, "open_name": opened.name, "open_parts": opened.n_parts, "sample_windows": total.sample.n_windows}
    parts = {**_parts("model", total.tally), **_parts("open", opened.tally), "sample": _windows_dataset(total.sample)}
    write_datasets({"/": xr.Dataset(attrs={**attrs, **total.read.attrs, **state}), **parts}, path)


def read_gathered(path: str | Path) -> tuple[Gathered, Open, dict[str, Any]]:
    """What `write_gathered` wrote. Refuses a file that holds a finished tally, or none."""
    path = Path(path)
    parts = read_datasets(path)
    attrs = _plain(parts["/"].attrs)
    if STATE not in attrs:
        raise Refusal(f"{path} is the tally of a finished run; give one of a shard")
    with _reading(path):
        read = inventory_of(attrs)
        sample = _sample(parts["sample"], int(attrs["sample_windows"]), read.kind)
        total = Gathered(_tally(parts, "model"), sample, read, int(attrs[STATE]))
        return total, Open(str(attrs["open_name"]), int(attrs["open_parts"]), _tally(parts, "open")), attrs


def write_datasets(datasets: dict[str, xr.Dataset], path: Path) -> None:
    """Write datasets by their place in the file, compressed, atomically."""
    tree = xr.DataTree.from_dict(datasets)
    encoding = {f"/{place}".replace("//", "/"): _compressed(dataset) for place, dataset in datasets.items()}
    write_whole(path, lambda partial: tree.to_netcdf(partial, engine="h5netcdf", encoding=encoding))


def read_datasets(path: Path) -> dict[str, xr.Dataset]:
    """The datasets of a file by their place in it, in memory. Refuses a file that holds no tally."""
    with _reading(path), xr.open_datatree(path, engine="h5netcdf") as tree:
        if "model" not in tree.children:
            raise Refusal(f"{path} holds no tallies; give a tally.nc")
        return {node.path.lstrip("/") or "/": node.to_dataset(inherit=False).load() for node in tree.subtree}


def add(earlier: Measured, later: Measured) -> Measured:
    """Both together. Refuses tallies of another checkpoint or other options, and a record that both have counted."""
    refuse_other_meaning(earlier.attrs, later.attrs)
    refuse_twice(counted_twice(earlier.tally, later.tally))
    refuse_same_names(earlier.tally, later.tally.records)
    if earlier.twins.keys() != later.twins.keys():
        raise Refusal("these tallies have other twins and cannot be added")
    twins = {name: earlier.twins[name] + later.twins[name] for name in later.twins}
    read = inventory_of(earlier.attrs) + inventory_of(later.attrs)
    return Measured(earlier.tally + later.tally, twins, {**later.attrs, **read.attrs})


def refuse_addition(earlier: Measured, attrs: dict[str, Any], names: list[str]) -> None:
    """Refuse, before anything is measured, what could not be added: see `add`."""
    refuse_other_meaning(earlier.attrs, attrs, MEANING[:-1])
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
            raise Refusal(f"these tallies differ in {name} ({earlier.get(name)} and {later.get(name)}) and cannot be added")


def remove_partial(folder: Path) -> None:
    """Remove what a run saved on its way, and what a killed one left of a save."""
    for path in (folder / PARTIAL_TALLY, _beside(folder / PARTIAL_TALLY)):
        path.unlink(missing_ok=True)


def refuse_twice(names: list[str]) -> None:
    """Refuse records, where there are any, that two tallies have counted."""
    if names:
        raise Refusal(f"both tallies have counted {', '.join(names[:4])}; a record counts once: leave it out of --data")


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a file beside `path`, then put it in its place; what fails leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _parts(place: str, tally: Tally) -> dict[str, xr.Dataset]:
    datasets = {f"{place}/{part}": getattr(tally, part) for part in PARTS}
    return {**datasets, f"{place}/members": xr.Dataset({"member": (MEMBER, tally.members)})}


def _tally(parts: dict[str, xr.Dataset], place: str) -> Tally:
    sums, sample, fine = (parts[f"{place}/{part}"] for part in PARTS)
    return Tally(sums, sample, fine, parts[f"{place}/members"]["member"].transpose(*MEMBER).values)


def _twins(parts: dict[str, xr.Dataset]) -> dict[str, Tally]:
    names = list(map(str, parts["twins/members"]["twin"].values))
    members = parts["twins/members"]["member"].transpose(*MEMBER).values
    of_twin = (_unstacked(parts[f"twins/{part}"], len(names)) for part in PARTS)
    return {name: Tally(sums, sample, fine, members) for name, sums, sample, fine in zip(names, *of_twin, strict=True)}


def _stacked(datasets: list[xr.Dataset], names: list[str]) -> xr.Dataset:
    """Datasets of twins in one, along an axis `twin`: each small variable of each twin would cost its own overhead in the file."""
    if not datasets[0].variables:
        return datasets[0]
    return xr.concat(datasets, dim=xr.Variable("twin", names), data_vars="all", join="exact", combine_attrs="identical")


def _unstacked(dataset: xr.Dataset, n_twins: int) -> list[xr.Dataset]:
    return [dataset.isel(twin=index, drop=True) for index in range(n_twins)] if "twin" in dataset.dims else [dataset] * n_twins


def _compressed(dataset: xr.Dataset) -> dict[str, Any]:
    """Numbers byte by byte, then zlib: nothing is rounded, and sums of float32 numbers take half the space."""
    numbers = {
        str(name): variable for name, variable in dataset.data_vars.items() if variable.dtype.kind in "fiub" and variable.size > SMALL
    }
    whole = {name: tuple(variable.shape) for name, variable in numbers.items() if variable.nbytes < LARGEST_CHUNK}
    return {
        name: {"zlib": True, "shuffle": True, "complevel": 4} | ({"chunksizes": whole[name]} if name in whole else {}) for name in numbers
    }


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
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise Refusal(f"no result file at {path}")
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path} is not a readable result ({str(error).splitlines()[0][:120]}); make it anew") from error
