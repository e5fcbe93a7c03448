"""DICOM waveforms (12-lead ECG, general ECG, ambulatory ECG, haemodynamic), read with pydicom.

Of several groups of channels the one called RHYTHM is taken, else the longest. The format: DICOM PS3.3, C.10.9.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import Channel, library, positive, recording_of
from heartlens.signals.recording import Recording

KINDS = {("SB", 8): "i1", ("UB", 8): "u1", ("SS", 16): "i2", ("US", 16): "u2", ("SL", 32): "i4", ("UL", 32): "u4"}
LEAD = re.compile(r"(?:lead )?(.*?)(?: \((?:einthoven|goldberger|wilson)[^)]*\))?", re.IGNORECASE)


def read(path: Path, hints: Hints) -> Recording:
    """The recording of a DICOM file's waveform in its unit. Refuses a file without one, and samples packed in ways that are not numbers."""
    pydicom = library("pydicom", path)
    try:
        dataset = pydicom.dcmread(path)
    except pydicom.errors.InvalidDicomError as error:
        raise Refusal(f"{path}: not a DICOM file") from error
    groups = list(getattr(dataset, "WaveformSequence", None) or [])
    if not groups:
        raise Refusal(f"{path}: the file holds no waveform")
    rhythm = [group for group in groups if "RHYTHM" in str(getattr(group, "MultiplexGroupLabel", "")).upper()]
    group = (rhythm or sorted(groups, key=_length_s, reverse=True))[0]
    order = "<" if dataset.original_encoding[1] in (True, None) else ">"
    definitions = list(group.ChannelDefinitionSequence)
    if len(definitions) != int(group.NumberOfWaveformChannels):
        raise Refusal(f"{path}: announces {group.NumberOfWaveformChannels} channels and describes {len(definitions)}")
    rate_hz = positive(group.SamplingFrequency, "rate", path)
    channels = [
        Channel(_name(definition, place), _unit(definition), rate_hz, partial(_samples, path, group, definition, place, order))
        for place, definition in enumerate(definitions)
    ]
    notes = (f"{len(groups)} groups of channels: {getattr(group, 'MultiplexGroupLabel', 'the longest')} taken",) if len(groups) > 1 else ()
    return recording_of(path, hints, channels, str(getattr(dataset, "PatientID", "") or ""), notes)


def _length_s(group: Any) -> float:
    return float(group.NumberOfWaveformSamples) / float(group.SamplingFrequency)


def _name(definition: Any, place: int) -> str:
    source = getattr(definition, "ChannelSourceSequence", None)
    name = str(source[0].CodeMeaning) if source else str(getattr(definition, "ChannelLabel", "") or f"channel {place}")
    match = LEAD.fullmatch(name.strip())
    return match[1] if match else name


def _unit(definition: Any) -> str:
    units = getattr(definition, "ChannelSensitivityUnitsSequence", None)
    return str(units[0].CodeValue) if units else ""


def _samples(path: Path, group: Any, definition: Any, place: int, order: str) -> Float[np.ndarray, " sample"]:
    packed = (str(group.WaveformSampleInterpretation), int(group.WaveformBitsAllocated))
    if packed not in KINDS:
        raise Refusal(f"{path}: samples of {packed[1]} bits in the manner {packed[0]}; legal: {', '.join(name for name, _ in KINDS)}")
    n_channels, n_samples = int(group.NumberOfWaveformChannels), int(group.NumberOfWaveformSamples)
    stored = np.frombuffer(group.WaveformData, order + KINDS[packed])
    if len(stored) - n_channels * n_samples not in (0, 1):  # a byte may be added to make the length even
        raise Refusal(f"{path}: announces {n_samples} samples of {n_channels} channels, but holds {len(stored)}")
    own = stored[: n_channels * n_samples].reshape(n_samples, n_channels)[:, place]
    scale = float(getattr(definition, "ChannelSensitivity", None) or 1) * float(
        getattr(definition, "ChannelSensitivityCorrectionFactor", None) or 1
    )
    values = own * scale + float(getattr(definition, "ChannelBaseline", None) or 0)
    padding = getattr(group, "WaveformPaddingValue", None)
    if padding is not None:
        padding = np.frombuffer(padding, order + KINDS[packed])[0] if isinstance(padding, bytes) else padding
        values[own == padding] = np.nan
    return values
