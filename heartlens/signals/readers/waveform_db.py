"""WFDB records: a text header (.hea) beside its signal files, as PhysioNet publishes them, with an expert's marks where there are some.

The header's checksums are verified (wfdb does not): the sum of a signal's raw samples, modulo 2**16. A checksum of 0 counts as not
recorded, as CinC 2017 writes it.
"""

import itertools
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.persons import in_comments
from heartlens.signals.readers.expert import expert_landmarks
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, digest, kind_of_lead, record_name

WFDB_DATE = re.compile(
    r"(\d{1,2}:\d{1,2}:\d{1,2}(\.\d{1,6})?( \d{1,2}/\d{1,2}/\d{4})?)?"
)  # what wfdb can parse of the header's time and date
BLOCK = 2**21  # samples of all signals read together: 16 MB, and as much again for each step of wfdb's
UNDIVIDED = {"8"}  # formats that store differences: a block's samples would need all before
MISSING = -(2**15)  # what the WFDB library counts for a missing sample, however it is stored


def read(path: Path, hints: Hints) -> Recording:
    """The recording of a WFDB header, in its physical unit, missing samples NaN.

    Refuses damaged and multi-segment records, an unknown lead, and a rate that the header contradicts.
    """
    header = _lines(path)
    with _base(header, path) as base:
        blocks = _blocks(base, _is_long(header), path)
        record, n_frames = next(blocks)
        leads = [(name or f"signal {index}").strip(" ,") for index, name in enumerate(record.sig_name)]
        index, notes = choose_lead(leads, hints.lead, hints.kind, path)
        physical = np.empty(n_frames * record.samps_per_frame[index])
        unverified = _verify(itertools.chain([(record, n_frames)], blocks), index, physical, path)
    name, unit = leads[index], record.units[index]
    landmarks, mark_notes = expert_landmarks(path, name, float(record.fs), n_frames)
    rate_hz = agreed_rate(float(record.fs) * record.samps_per_frame[index], hints.rate_hz, path)
    sha256 = digest(path.parent / record.file_name[index])
    notes += unverified + mark_notes
    person = in_comments([line for line in path.read_text("utf-8", errors="replace").splitlines() if line.startswith("#")])
    return Recording(record_name(path), kind_of_lead(name), name, rate_hz, physical, unit, landmarks, str(path), sha256, notes, person)


def _lines(path: Path) -> list[list[str]]:
    """The fields of the header's lines: the record's, then each signal's. Refuses what is no header of one segment."""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    header = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if len(header) < 2 or len(header[0]) < 2:
        raise Refusal(f"{path}: not a WFDB header of signals")
    if "/" in header[0][0]:
        raise Refusal(f"{path}: a record of several segments; give the segments one by one")
    return header


def _is_long(header: list[list[str]]) -> bool:
    """Whether there are more than BLOCK samples, so far as the header tells."""
    n_signals, n_frames = (field if field.isdigit() else "0" for field in (header[0][1], [*header[0], "", ""][3]))
    return int(n_signals) * int(n_frames) > BLOCK


@contextmanager
def _base(header: list[list[str]], path: Path) -> Iterator[Path]:
    """The record's path without suffix, as wfdb takes it; of a copy where wfdb cannot parse the header's time and date."""
    if WFDB_DATE.fullmatch(" ".join(header[0][4:])):
        yield path.with_suffix("")
        return
    with tempfile.TemporaryDirectory() as folder:
        undated = Path(folder) / path.name
        undated.write_text("\n".join(" ".join(fields) for fields in [header[0][:4], *header[1:]]) + "\n")
        for name in sorted({fields[0] for fields in header[1:]}):
            (undated.parent / Path(name).name).symlink_to((path.parent / name).resolve(strict=True))
        yield undated.with_suffix("")


def _blocks(base: Path, is_long: bool, path: Path) -> Iterator[tuple[Any, int]]:
    """The record, its samples as they are stored, and how many frames it has.

    A long one comes BLOCK samples at a time, so that its other leads never fill the memory.
    """
    import wfdb

    as_stored = {"physical": False, "smooth_frames": False, "ignore_skew": True}
    try:
        header = wfdb.rdheader(str(base)) if is_long else None
        if header is None or set(header.fmt) & UNDIVIDED:
            record = wfdb.rdrecord(str(base), **as_stored)
            yield record, int(record.sig_len)
            return
        step = max(BLOCK // sum(header.samps_per_frame), 1)
        for first in range(0, header.sig_len, step):
            record = wfdb.rdrecord(str(base), sampfrom=first, sampto=min(first + step, header.sig_len), **as_stored)
            record.checksum = header.checksum  # wfdb puts the block's in its place
            yield record, header.sig_len
    except OSError:
        raise
    except Exception as error:  # wfdb raises whatever the damage happens to trip
        raise Refusal(f"{path}: not a WFDB record that can be read ({str(error)[:80]})") from error


def _verify(blocks: Iterable[tuple[Any, int]], index: int, physical: Float64[np.ndarray, " sample"], path: Path) -> tuple[str, ...]:
    """Verify all signals' checksums and fill in one signal, in its physical unit; a note where a checksum is missing."""
    first, sums = 0, Counter[tuple[int, str]]()
    for record, _ in blocks:
        missing = _missing(record)
        for number, samples in enumerate(record.e_d_signal):
            stored = int(samples.sum(dtype=np.int64))
            sums[number, "stored"] += stored
            sums[number, "counted"] += stored + int(missing[number].sum()) * (MISSING - int(samples[missing[number]].min(initial=0)))
        volts = (record.e_d_signal[index] - record.baseline[index]) / record.adc_gain[index]
        physical[first : first + len(volts)] = np.where(missing[index], np.nan, volts)
        first += len(volts)
    for number, (file, name, announced) in enumerate(zip(record.file_name, record.sig_name, record.checksum, strict=True)):
        if announced and all((sums[number, how] - announced) % 2**16 for how in ("stored", "counted")):
            raise Refusal(f"{path.parent / file}: damaged; the samples of {name} do not add up to the checksum in {path.name}")
    return () if all(record.checksum) else ("no checksum in the header: the samples could not be verified",)


def _missing(record: Any) -> list[Any]:
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    return [samples == INVALID_SAMPLE_VALUE[fmt] for samples, fmt in zip(record.e_d_signal, record.fmt, strict=True)]
