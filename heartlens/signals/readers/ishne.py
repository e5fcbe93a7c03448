"""ISHNE Holter files (.ecg): a fixed header, then 16-bit samples of all leads in turn.

The format: Badilini, The ISHNE Holter Standard Output File Format, Annals of Noninvasive Electrocardiology 3 (1998) 263-266.
"""

import binascii
import struct
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import Channel, recording_of
from heartlens.signals.recording import Recording, samples_for

MAGIC = b"ISHNE1.0"
HEADER = struct.Struct("<8sHiiiih40s40s20s15h12h12h12hh40sh")  # up to the sampling rate
LEADS = ("unknown", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6", "ES", "AS", "AI")
MOST_LEADS = 12
BLOCK = 2**22  # samples of all leads read together


def read(path: Path, hints: Hints) -> Recording:
    """The recording of an ISHNE file in mV. Refuses one that is cut short or whose sizes contradict each other."""
    with path.open("rb") as file:
        content = file.read(HEADER.size)
    if len(content) < HEADER.size or content[:8] != MAGIC:
        raise Refusal(f"{path}: not an ISHNE Holter file (it begins with {content[:8]!r})")
    fields = HEADER.unpack(content)
    checksum, n_samples, data_start, person = fields[1], fields[3], fields[5], fields[9]
    n_leads, codes, resolution_nv, rate_hz = fields[24], fields[25:37], fields[49:61], fields[63]
    if not 0 < n_leads <= MOST_LEADS or rate_hz <= 0 or data_start < HEADER.size:
        raise Refusal(f"{path}: announces {n_leads} leads at {rate_hz} Hz; legal: 1 to {MOST_LEADS} leads and a positive rate")
    held, rest = divmod(path.stat().st_size - data_start, 2 * n_leads)
    if held <= 0 or rest or n_samples not in (held, held * n_leads):
        raise Refusal(f"{path}: announces {n_samples} samples of {n_leads} leads, but holds {held}; it is cut short or damaged")
    with path.open("rb") as file:
        header = file.read(data_start)[10:]
    notes = () if checksum == binascii.crc_hqx(header, 0xFFFF) else ("the header does not agree with its checksum",)
    names = [LEADS[code] if 0 <= code < len(LEADS) else "unknown" for code in codes[:n_leads]]
    places = enumerate(zip(names, resolution_nv[:n_leads], strict=True))
    channels = [
        Channel(
            f"{name} {place}" if names.count(name) > 1 else name,
            "mV",
            float(rate_hz),
            partial(_samples, path, data_start, held, n_leads, place, scale),
        )
        for place, (name, scale) in places
    ]
    return recording_of(path, hints, channels, person.split(b"\0")[0].decode("latin-1").strip(), notes)


def _samples(path: Path, first: int, n_samples: int, n_leads: int, place: int, resolution_nv: int) -> Float[np.ndarray, " sample"]:
    if resolution_nv <= 0:
        raise Refusal(f"{path}: the lead's resolution is {resolution_nv} nV; it must be positive")
    stored = np.memmap(path, "<i2", "r", first, (n_samples, n_leads))
    values, step = samples_for(n_samples), BLOCK // n_leads
    for begin in range(0, n_samples, step):
        values[begin : begin + step] = stored[begin : begin + step, place].astype(np.float64) * resolution_nv / 1e6
    return values
