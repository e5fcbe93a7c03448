"""Results on disk: a summary and the tallies it came from, each one self-describing netCDF file, written whole or not at all."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens.analysis import Measured
from heartlens.refusal import Refusal
from heartlens.tally import Tally

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
    tallies = {"model": measured.tally, **{f"twins/{name}": twin for name, twin in measured.twins.items()}}
    parts = {f"{name}/{part}": getattr(tally, part) for name, tally in tallies.items() for part in ("sums", "sample")}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=measured.attrs), **parts})
    write_whole(path, lambda partial: tree.to_netcdf(partial, engine="h5netcdf"))


def read_measured(path: str | Path) -> Measured:
    """Stored tallies, in memory. Refuses a file that holds none."""
    path = Path(path)
    with _reading(path), xr.open_datatree(path, engine="h5netcdf") as tree:
        if "model" not in tree.children:
            raise Refusal(f"{path} holds no tallies; give a tally.nc")
        twins = tree.children["twins"].children if "twins" in tree.children else {}
        attrs = {str(name): value for name, value in tree.attrs.items()}
        return Measured(_tally(tree.children["model"]), {str(name): _tally(node) for name, node in twins.items()}, attrs)


def add(earlier: Measured, later: Measured) -> Measured:
    """Both together. Refuses tallies of another checkpoint or other options, and a record that both have counted."""
    for name in MEANING:
        one, other = (measured.attrs.get(name) for measured in (earlier, later))
        if one is None or one != other:
            raise Refusal(f"these tallies differ in {name} ({one} and {other}) and cannot be added")
    twice = sorted(set(earlier.tally.records) & set(later.tally.records))
    if twice:
        raise Refusal(f"both tallies have counted {', '.join(twice[:4])}; a record counts once: leave it out of --data")
    if earlier.twins.keys() != later.twins.keys():
        raise Refusal("these tallies have other twins and cannot be added")
    twins = {name: earlier.twins[name] + later.twins[name] for name in later.twins}
    return Measured(earlier.tally + later.tally, twins, _attrs_of_both(earlier.attrs, later.attrs))


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a file beside `path`, then put it in its place; what fails leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _attrs_of_both(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    lines = ("data_sources", "data_skipped", "data_notes")
    joined = {name: "\n".join(dict.fromkeys(f"{earlier[name]}\n{later[name]}".strip().splitlines())) for name in lines}
    digest = hashlib.sha256("".join(sorted([earlier["data_sha256"], later["data_sha256"]])).encode()).hexdigest()
    simulated = max(earlier["data_is_simulated"], later["data_is_simulated"])
    return {**later, **joined, "data_sha256": digest, "data_is_simulated": simulated}


def _tally(node: xr.DataTree) -> Tally:
    return Tally(*(node.children[part].to_dataset(inherit=False).load() for part in ("sums", "sample")))


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
