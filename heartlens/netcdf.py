"""netCDF files as bytes: made in memory and written whole; and read only where they are what this program wrote.

A file ends with a line that names its format and the SHA-256 of all before it (readers of netCDF do not see it): so damage is found before
any library meets it. Who forges that line meets the second guard: links, types and sizes are checked before anything is read.
"""

import hashlib
import io
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens.refusal import Refusal, one_line
from heartlens.whole import write_whole

FORMAT = 2  # of the datasets in a file; 1 had no last line
LAST_LINE = re.compile(rb"\nheartlens format (\d{1,6}) sha256 ([0-9a-f]{64})\n\Z")
LENGTH = 200  # of its end that is searched for the last line
LARGEST_FILE, LARGEST_CONTENT, MOST_OBJECTS = 2**27, 2**28, 4000  # bytes, bytes unpacked, datasets and groups
LARGEST_CHUNK, LARGEST_ATTRIBUTE, MOST_ATTRIBUTES = 2**26, 2**22, 20_000
DEEPEST, MOST_UNPACKED = 4, 1100  # groups within groups; bytes of one stored byte, zlib's most
FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32
SMALL, STORED_CHUNK = 256, 2**22  # numbers that are not compressed, bytes of a chunk


def write_datasets(datasets: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write datasets by their place in the file, numbers compressed without rounding, atomically."""
    tree = xr.DataTree.from_dict(dict(datasets))
    encoding = {f"/{place}".replace("//", "/"): _compressed(dataset) for place, dataset in datasets.items()}
    with _without_cluster():
        content = bytes(tree.to_netcdf(None, engine="h5netcdf", encoding=encoding))
    write_whole(content + f"\nheartlens format {FORMAT} sha256 {hashlib.sha256(content).hexdigest()}\n".encode(), path)


def read_datasets(path: Path) -> dict[str, xr.Dataset]:
    """The datasets of a file by their place in it, in memory. Refuses what `write_datasets` of this format did not write."""
    content = _checked_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a forged file may hold what xarray warns of
            _refuse_danger(content)
            with xr.open_datatree(io.BytesIO(content), engine="h5netcdf") as tree:
                return {node.path.lstrip("/") or "/": node.to_dataset(inherit=False).load() for node in tree.subtree}
    except Exception as error:  # h5py, h5netcdf and xarray raise of anything what they like
        raise unreadable(path, error) from error


@contextmanager
def _without_cluster() -> Iterator[None]:
    """xarray asks no Dask cluster for a lock, which is lost with the worker that is killed: the file is made in this process's memory.

    Nor does it import dask.distributed to look for a cluster, which would take as long as the file.
    """
    dask, is_imported = sys.modules.get("dask"), "distributed" in sys.modules
    if not is_imported:
        sys.modules["distributed"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        with dask.config.set(scheduler=dask.get) if dask is not None else nullcontext():
            yield
    finally:
        if not is_imported and sys.modules.get("distributed") is None:
            sys.modules.pop("distributed", None)  # unless another thread that writes has done so


def unreadable(path: Path, error: Exception) -> Refusal:
    """The refusal of a file that is not what it should be."""
    reason = one_line(str(error))[:120] or type(error).__name__
    return Refusal(f"{path} is not a readable result ({reason}); make it anew")


def _checked_content(path: Path) -> bytes:
    """The netCDF part of a file, its last line checked."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise Refusal(f"no result file at {path}; it is no regular file")
            if about.st_size > LARGEST_FILE:
                raise Refusal(f"{path} has {about.st_size >> 20} MiB; a result has at most {LARGEST_FILE >> 20} MiB")
            content = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise Refusal(f"no result file at {path}") from error
    except (OSError, ValueError) as error:
        raise Refusal(f"{str(path)[:200]} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    last_line = LAST_LINE.search(content, max(len(content) - LENGTH, 0))
    if last_line is None:
        if content.startswith(b"\x89HDF"):
            raise Refusal(f"{path} is not a readable result: it is cut short, or of an earlier version of heartlens; make it anew")
        raise Refusal(f"{path} is not a readable result: it is no netCDF file of heartlens")
    if int(last_line[1]) != FORMAT:
        raise Refusal(f"{path} has format {int(last_line[1])}, this version reads format {FORMAT}; make it anew")
    if hashlib.sha256(content[: last_line.start()]).hexdigest() != last_line[2].decode():
        raise Refusal(f"{path} is not a readable result: it was damaged or changed after it was written; make it anew")
    return content[: last_line.start()]


def _refuse_danger(content: bytes) -> None:
    """Raise ValueError where a file holds links, types, filters or sizes that no result has."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        _Survey().group(file, 0)


class _Survey:
    """What was seen of a file so far."""

    def __init__(self) -> None:
        self.n_bytes, self.n_objects, self.n_attributes = 0, 0, 0

    def group(self, group: Any, depth: int) -> None:
        import h5py

        if depth > DEEPEST:
            raise ValueError("groups lie too deep")
        self._attributes(group)
        if len(group) > MOST_OBJECTS:
            raise ValueError("it holds too many variables")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} is a link out of its place")
            self.n_objects += 1
            if self.n_objects > MOST_OBJECTS:
                raise ValueError("it holds too many variables")
            member = group[name]
            if isinstance(member, h5py.Group):
                self.group(member, depth + 1)
            elif isinstance(member, h5py.Dataset):
                self._dataset(name, member)
            else:
                raise ValueError(f"{name} is neither group nor dataset")

    def _dataset(self, name: str, dataset: Any) -> None:
        import h5py

        self._attributes(dataset)
        layout = dataset.id.get_create_plist()
        if dataset.is_virtual or layout.get_external_count():
            raise ValueError(f"{name} is stored in another file")
        text = h5py.check_string_dtype(dataset.dtype)
        if text is None and dataset.dtype.kind not in "biufSU":
            raise ValueError(f"{name} holds objects of type {dataset.dtype}")
        if dataset.ndim > 16 or dataset.dtype.itemsize > LARGEST_CHUNK:
            raise ValueError(f"{name} has {dataset.ndim} axes")
        if any(layout.get_filter(index)[0] not in FILTERS for index in range(layout.get_nfilters())):
            raise ValueError(f"{name} is packed by a filter that no result uses")
        n_bytes = max(dataset.size, 1) * max(dataset.dtype.itemsize, 16 if text is not None else 1)
        self.n_bytes += n_bytes
        if self.n_bytes > LARGEST_CONTENT:
            raise ValueError(f"it claims more than {LARGEST_CONTENT >> 20} MiB of numbers")
        is_scale = dataset.attrs.get("CLASS") == b"DIMENSION_SCALE"  # a dimension without numbers stores none
        if n_bytes > 2**16 and not (is_scale and n_bytes <= 2**20) and n_bytes > MOST_UNPACKED * dataset.id.get_storage_size():
            raise ValueError(f"{name} claims {n_bytes} bytes and stores {dataset.id.get_storage_size()}")
        if dataset.chunks is not None:
            chunk = dataset.dtype.itemsize
            for length in dataset.chunks:
                chunk *= length
            if chunk > LARGEST_CHUNK:
                raise ValueError(f"{name} has chunks of {chunk} bytes")

    def _attributes(self, owner: Any) -> None:
        self.n_attributes += len(owner.attrs)
        if self.n_attributes > MOST_ATTRIBUTES:
            raise ValueError("it holds too many attributes")
        for name in owner.attrs:
            attribute = owner.attrs.get_id(name)
            n_bytes = attribute.dtype.itemsize
            for length in attribute.shape:
                n_bytes *= length
            if n_bytes > LARGEST_ATTRIBUTE:
                raise ValueError(f"the attribute {name} claims {n_bytes} bytes")
            self.n_bytes += n_bytes


def _compressed(dataset: xr.Dataset) -> dict[str, Any]:
    """Numbers byte by byte, then zlib: nothing is rounded, and sums of float32 numbers take half the space."""
    numbers = {
        str(name): variable for name, variable in dataset.data_vars.items() if variable.dtype.kind in "fiub" and variable.size > SMALL
    }
    whole = {name: tuple(variable.shape) for name, variable in numbers.items() if variable.nbytes < STORED_CHUNK}
    return {
        name: {"zlib": True, "shuffle": True, "complevel": 4} | ({"chunksizes": whole[name]} if name in whole else {}) for name in numbers
    }
