"""WFDB records: a text header (.hea) beside its signal files, as PhysioNet publishes them, with an expert's marks where there are some.

The header's checksums are verified (wfdb does not): the sum of a signal's raw samples, modulo 2**16. A checksum of 0 counts as not
recorded, as CinC 2017 writes it. A record of several segments is one recording, with the gaps between them, and where a segment lacks
the lead, as missing samples.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.persons import in_comments
from heartlens.signals.readers.beside import beside
from heartlens.signals.readers.expert import expert_landmarks
from heartlens.signals.readers.wfdb_header import GAP, Header, header_of
from heartlens.signals.readers.wfdb_samples import groups_of, n_frames_of, physical
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, kind_of_lead, record_name, samples_for
from heartlens.whole import sha256_of

Values = Float[np.ndarray, " sample"]
Place = tuple[Header, int | None, slice]  # a segment, the number of the lead in it (None: not in it), its frames in the record


def read(path: Path, hints: Hints) -> Recording:
    """The recording of a WFDB header, in its physical unit, missing samples NaN.

    Refuses damaged records, an unknown lead, and files that are not in the header's folder.
    """
    header = header_of(path)
    if header.segments:
        return _of_segments(header, hints)
    index, notes = choose_lead(header.names, hints.lead, hints.kind, path, header.units)
    signal, sample_notes = physical(header, index)
    lead = header.signals[index]
    return _recording(header, hints, lead.name, lead.per_frame, lead.unit, signal, [path.parent / lead.file], notes + sample_notes)


def _recording(
    header: Header, hints: Hints, lead: str, per_frame: int, unit: str, signal: Values, files: list[Path], notes: tuple[str, ...]
) -> Recording:
    path = header.path
    rate_hz, rate_notes = agreed_rate(header.rate_hz * per_frame, hints.rate_hz, path)
    landmarks, mark_notes = expert_landmarks(path, lead, rate_hz / per_frame, len(signal) / rate_hz)
    digests = [sha256_of(file) for file in files]
    sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    person = in_comments(list(header.comments))
    kind, notes = kind_of_lead(lead, unit), notes + rate_notes + mark_notes
    return Recording(record_name(path), kind, lead, rate_hz, signal, unit, landmarks, str(path), sha256, notes, person)


def _of_segments(master: Header, hints: Hints) -> Recording:
    segments = list(_segments(master))
    n_frames = sum(n for _, n in master.segments)
    units = {name: unit for header, _ in reversed(segments) for name, unit in zip(header.names, header.units, strict=True)}
    names = list(dict.fromkeys(name for header, _ in segments for name in header.names))
    if not names:
        raise Refusal(f"{master.path}: all its segments are gaps")
    chosen, notes = choose_lead(names, hints.lead, hints.kind, master.path, [units[name] for name in names])
    name = names[chosen]
    places: list[Place] = [(header, header.names.index(name) if name in header.names else None, frames) for header, frames in segments]
    leads = [header.signals[index] for header, index, frames in places if index is not None and frames.stop > frames.start]
    if len({(lead.per_frame, lead.unit) for lead in leads}) != 1:
        kinds_of_samples = sorted({f"{lead.per_frame} samples a frame in {lead.unit}" for lead in leads})
        raise Refusal(f"{master.path}: {name} is not the same in all segments ({'; '.join(kinds_of_samples) or 'none has samples of it'})")
    per_frame, unit = leads[0].per_frame, leads[0].unit
    signal = samples_for(n_frames * per_frame)
    signal[:] = np.nan
    files, sample_notes = [], dict[str, None]()
    for header, index, frames in places:
        if index is not None and frames.stop > frames.start:
            values, own_notes = physical(header, index)
            signal[frames.start * per_frame : frames.stop * per_frame] = values
            files.append(header.path.parent / header.signals[index].file)
            sample_notes |= dict.fromkeys(own_notes)
    without = sum(index is None for _, index, frames in places if frames.stop > frames.start)
    notes += (
        f"{sum(frames.stop > frames.start for _, _, frames in places)} segments read as one recording"
        + (f"; {without} of them lack {name}" if without else ""),
    )
    return _recording(master, hints, name, per_frame, unit, signal, list(dict.fromkeys(files)), (*notes, *sample_notes))


def _segments(master: Header) -> Iterator[tuple[Header, slice]]:
    """The segments that are no gaps, each with its frames in the record; one of length 0, a layout, only lists the signals.

    Refuses segments that do not agree with the record.
    """
    path, first = master.path, 0
    names = [name for name, _ in master.segments if name != GAP]
    if len(set(names)) < len(names):
        raise Refusal(f"{path}: names a segment twice")
    for name, n_frames in master.segments:
        if name != GAP:
            header = header_of(beside(path, f"{name}.hea"))
            if header.segments:
                raise Refusal(f"{path}: its segment {name} is made of segments itself")
            if header.rate_hz != master.rate_hz:
                raise Refusal(f"{path}: its segment {name} has {header.rate_hz:g} Hz, the record {master.rate_hz:g} Hz")
            held = n_frames_of(header, groups_of(header)) if n_frames else 0
            if held != n_frames:
                raise Refusal(f"{path}: its segment {name} has {held} samples, not {n_frames}")
            yield header, slice(first, first + n_frames)
        first += n_frames
    if master.n_frames is not None and master.n_frames != first:
        raise Refusal(f"{path}: its segments have {first} samples together, not {master.n_frames}")
