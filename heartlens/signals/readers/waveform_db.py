"""WFDB records: a text header (.hea) beside its signal files, as PhysioNet publishes them, with an expert's marks where there are some.

The header's checksums are verified (wfdb does not): the sum of a signal's raw samples, modulo 2**16. A checksum of 0 counts as not
recorded, as CinC 2017 writes it.
"""

import re
import shutil
import tempfile
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
MISSING = -(2**15)  # what the WFDB library counts for a missing sample, however it is stored


def read(path: Path, lead: str | int | None, rate_hz: float | None, kind: str | None) -> Recording:
    """The recording of a WFDB header, in its physical unit, missing samples NaN.

    Refuses damaged and multi-segment records, an unknown lead, and a rate that the header contradicts.
    """
    record = _record(path)
    unverified = _verify(record, path)
    leads = [(name or f"signal {index}").strip(" ,") for index, name in enumerate(record.sig_name)]
    index, notes = choose_lead(leads, lead, kind, path)
    name, unit = leads[index], record.units[index]
    landmarks, mark_notes = expert_landmarks(path, name, float(record.fs), int(record.sig_len))
    rate_hz = agreed_rate(float(record.fs) * record.samps_per_frame[index], rate_hz, path)
    sha256 = digest(path.parent / record.file_name[index])
    notes += unverified + mark_notes
    return Recording(
        record_name(path), kind_of_lead(name), name, rate_hz, _physical(record, index), unit, landmarks, str(path), sha256, notes
    )


def _record(path: Path) -> Any:
    header = [line for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip() and not line.startswith("#")]
    fields = header[0].split() if header else []
    if len(fields) < 2 or len(header) < 2:
        raise Refusal(f"{path}: not a WFDB header of signals")
    if "/" in fields[0]:
        raise Refusal(f"{path}: a record of several segments; give the segments one by one")
    with tempfile.TemporaryDirectory() as folder:
        readable = WFDB_DATE.fullmatch(" ".join(fields[4:]))
        base = path.with_suffix("") if readable else _undated(path, header, Path(folder))
        return _digital(base, path)


def _undated(path: Path, header: list[str], folder: Path) -> Path:
    """A copy of the record whose header has no time and date: wfdb knows one way of writing them, PhysioNet several."""
    lines = [" ".join(header[0].split()[:4]), *header[1:]]
    (folder / path.name).write_text("\n".join(lines) + "\n")
    for name in sorted({line.split()[0] for line in header[1:]}):
        shutil.copy(path.parent / name, folder / Path(name).name)
    return folder / path.stem


def _digital(base: Path, path: Path) -> Any:
    import wfdb

    try:
        return wfdb.rdrecord(str(base), physical=False, smooth_frames=False, ignore_skew=True)
    except OSError:
        raise
    except Exception as error:  # wfdb raises whatever the damage happens to trip
        raise Refusal(f"{path}: not a WFDB record that can be read ({str(error)[:80]})") from error


def _verify(record: Any, path: Path) -> tuple[str, ...]:
    unverified = False
    for file, name, samples, missing, announced in zip(
        record.file_name, record.sig_name, record.e_d_signal, _missing(record), record.checksum, strict=True
    ):
        if not announced:
            unverified = True
            continue
        stored = int(samples.sum())
        counted = stored + int(missing.sum()) * (MISSING - int(samples[missing].min(initial=0)))
        if (stored - announced) % 2**16 and (counted - announced) % 2**16:
            raise Refusal(f"{path.parent / file}: damaged; the samples of {name} do not add up to the checksum in {path.name}")
    return ("no checksum in the header: the samples could not be verified",) if unverified else ()


def _missing(record: Any) -> list[Any]:
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    return [samples == INVALID_SAMPLE_VALUE[fmt] for samples, fmt in zip(record.e_d_signal, record.fmt, strict=True)]


def _physical(record: Any, index: int) -> Float64[np.ndarray, " sample"]:
    physical = (record.e_d_signal[index] - record.baseline[index]) / record.adc_gain[index]
    return np.where(_missing(record)[index], np.nan, physical)
