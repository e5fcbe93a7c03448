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
from heartlens.signals.readers.expert import expert_landmarks
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, digest, kind_of_lead, record_name

WFDB_DATE = re.compile(
    r"(\d{1,2}:\d{1,2}:\d{1,2}(\.\d{1,6})?( \d{1,2}/\d{1,2}/\d{4})?)?"
)  # what wfdb can parse of the header's time and date
BLOCK = 2**22
UNDIVIDED = {"8"}  # formats that store differences: a block's samples would need all before
MISSING = -(2**15)  # what the WFDB library counts for a missing sample, however it is stored


def read(path: Path, lead: str | int | None, rate_hz: float | None, kind: str | None) -> Recording:
    """The recording of a WFDB header, in its physical unit, missing samples NaN.

    Refuses damaged and multi-segment records, an unknown lead, and a rate that the header contradicts.
    """
    with _base(path) as base:
        blocks = _blocks(base, path)
        record = next(blocks)
        leads = [(name or f"signal {index}").strip(" ,") for index, name in enumerate(record.sig_name)]
        index, notes = choose_lead(leads, lead, kind, path)
        physical, n_frames, unverified = _verified(itertools.chain([record], blocks), index, path)
    name, unit = leads[index], record.units[index]
    landmarks, mark_notes = expert_landmarks(path, name, float(record.fs), n_frames)
    rate_hz = agreed_rate(float(record.fs) * record.samps_per_frame[index], rate_hz, path)
    sha256 = digest(path.parent / record.file_name[index])
    notes += unverified + mark_notes
    return Recording(record_name(path), kind_of_lead(name), name, rate_hz, physical, unit, landmarks, str(path), sha256, notes)


@contextmanager
def _base(path: Path) -> Iterator[Path]:
    """The record's path without suffix, as wfdb takes it; of a copy where wfdb cannot parse the header's time and date."""
    header = [line for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip() and not line.startswith("#")]
    fields = header[0].split() if header else []
    if len(fields) < 2 or len(header) < 2:
        raise Refusal(f"{path}: not a WFDB header of signals")
    if "/" in fields[0]:
        raise Refusal(f"{path}: a record of several segments; give the segments one by one")
    if WFDB_DATE.fullmatch(" ".join(fields[4:])):
        yield path.with_suffix("")
        return
    with tempfile.TemporaryDirectory() as folder:
        undated = Path(folder) / path.name
        undated.write_text("\n".join([" ".join(fields[:4]), *header[1:]]) + "\n")
        for name in sorted({line.split()[0] for line in header[1:]}):
            (undated.parent / Path(name).name).symlink_to((path.parent / name).resolve(strict=True))
        yield undated.with_suffix("")


def _blocks(base: Path, path: Path) -> Iterator[Any]:
    """The record, its samples as they are stored; a long one BLOCK samples at a time, so that its other leads never fill the memory."""
    import wfdb

    as_stored = {"physical": False, "smooth_frames": False, "ignore_skew": True}
    try:
        header = wfdb.rdheader(str(base))
        n_frames, step = header.sig_len or 0, max(BLOCK // sum(header.samps_per_frame or [1]), 1)
        if n_frames <= step or set(header.fmt) & UNDIVIDED:
            yield wfdb.rdrecord(str(base), **as_stored)
            return
        for first in range(0, n_frames, step):
            record = wfdb.rdrecord(str(base), sampfrom=first, sampto=min(first + step, n_frames), **as_stored)
            record.checksum = header.checksum  # wfdb puts the block's in its place
            yield record
    except OSError:
        raise
    except Exception as error:  # wfdb raises whatever the damage happens to trip
        raise Refusal(f"{path}: not a WFDB record that can be read ({str(error)[:80]})") from error


def _verified(blocks: Iterable[Any], index: int, path: Path) -> tuple[Float64[np.ndarray, " sample"], int, tuple[str, ...]]:
    """One signal, how many frames there are, and a note where a checksum is missing; all signals' checksums are verified."""
    physical, n_frames, sums = [], 0, Counter[tuple[int, str]]()
    for record in blocks:
        n_frames += int(record.sig_len)
        for number, (samples, missing) in enumerate(zip(record.e_d_signal, _missing(record), strict=True)):
            stored = int(samples.sum(dtype=np.int64))
            sums[number, "stored"] += stored
            sums[number, "counted"] += stored + int(missing.sum()) * (MISSING - int(samples[missing].min(initial=0)))
        volts = (record.e_d_signal[index] - record.baseline[index]) / record.adc_gain[index]
        physical.append(np.where(_missing(record)[index], np.nan, volts))
    for number, (file, name, announced) in enumerate(zip(record.file_name, record.sig_name, record.checksum, strict=True)):
        if announced and all((sums[number, how] - announced) % 2**16 for how in ("stored", "counted")):
            raise Refusal(f"{path.parent / file}: damaged; the samples of {name} do not add up to the checksum in {path.name}")
    unverified = ("no checksum in the header: the samples could not be verified",) if not all(record.checksum) else ()
    return np.concatenate(physical), n_frames, unverified


def _missing(record: Any) -> list[Any]:
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    return [samples == INVALID_SAMPLE_VALUE[fmt] for samples, fmt in zip(record.e_d_signal, record.fmt, strict=True)]
