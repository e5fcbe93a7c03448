"""ECGs as XML: the annotated ECG of HL7 (aECG, ANSI/HL7 V3 ECG R1) and the resting ECG of GE MUSE.

Entities are not expanded and nothing outside the file is opened (defusedxml). Of a MUSE file the rhythm is read, of an aECG the first
series of rhythm; representative beats are not recordings.
"""

import base64
import binascii
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.refusal import Refusal, reason_of
from heartlens.signals.hints import Hints
from heartlens.signals.readers.channels import Channel, library, positive, recording_of
from heartlens.signals.recording import Recording

MOST_BYTES = 2**28
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
UNITS = {"microvolts": "uV", "millivolts": "mV"}
LEAD = re.compile(r"(?:MDC_ECG_)?(?:LEAD_)?(.+)")

Element = Any


def read(path: Path, hints: Hints) -> Recording:
    """The recording of an XML file in its unit. Refuses other XML, and numbers that are not whole."""
    tree = library("defusedxml.ElementTree", path)
    defused = library("defusedxml", path)
    if path.stat().st_size > MOST_BYTES:
        raise Refusal(f"{path}: larger than {MOST_BYTES >> 20} MiB; export it in a binary format")
    try:
        root = tree.parse(path).getroot()
    except (tree.ParseError, defused.DefusedXmlException, ValueError, LookupError) as error:
        raise Refusal(f"{path}: not XML that can be read safely ({str(error).splitlines()[0][:80]})") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    if root.tag == "AnnotatedECG":
        return recording_of(path, hints, _annotated(root, path), _attribute(root, ".//trialSubject/id", "extension"))
    if root.tag == "RestingECG":
        person = (root.findtext("PatientDemographics/PatientID") or "").strip()
        return recording_of(path, hints, _resting(root, path), person)
    raise Refusal(f"{path}: XML of a kind that is not known ({root.tag[:40]}); legal: AnnotatedECG (HL7), RestingECG (MUSE)")


def _attribute(root: Element, where: str, name: str) -> str:
    element = root.find(where)
    return "" if element is None else str(element.get(name) or "").strip()


def _annotated(root: Element, path: Path) -> list[Channel]:
    series = root.findall("component/series")
    rhythm = [each for each in series if _attribute(each, "code", "code") == "RHYTHM"] or series
    sequences = rhythm[0].findall("component/sequenceSet")[:1] if rhythm else []
    channels, rate_hz = [], None
    for sequence in (sequence for each in sequences for sequence in each.findall("component/sequence")):
        code = _attribute(sequence, "code", "code")
        if code.startswith("TIME_"):
            unit = _attribute(sequence, "value/increment", "unit")
            if unit not in SECONDS:
                raise Refusal(f"{path}: its samples are a step in {unit[:20]!r} apart; legal: {', '.join(SECONDS)}")
            rate_hz = 1 / (positive(_attribute(sequence, "value/increment", "value"), "step between samples", path) * SECONDS[unit])
        elif sequence.find("value/digits") is not None:
            match = LEAD.fullmatch(code)
            name = match[1] if match else "lead"
            channels.append((name, _attribute(sequence, "value/scale", "unit"), partial(_digits, sequence, path)))
    return [Channel(name, unit, rate_hz, samples) for name, unit, samples in channels]


def _digits(sequence: Element, path: Path) -> Float[np.ndarray, " sample"]:
    digits = (sequence.findtext("value/digits") or "").split()
    values = np.array(digits, np.float64)
    scale, origin = (_number(_attribute(sequence, f"value/{what}", "value"), path) for what in ("scale", "origin"))
    units = {_attribute(sequence, f"value/{what}", "unit") for what in ("scale", "origin")} - {""}
    if len(units) > 1 and origin:
        raise Refusal(f"{path}: origin and scale of a lead have two units ({', '.join(sorted(units))})")
    return values * scale + origin


def _number(text: str, path: Path) -> float:
    try:
        number = float(text or "nan")
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise Refusal(f"{path}: a lead's scale or origin is {text[:40]!r}, not a number")
    return number


def _resting(root: Element, path: Path) -> list[Channel]:
    rhythm = [each for each in root.findall("Waveform") if (each.findtext("WaveformType") or "").strip().lower() == "rhythm"]
    if not rhythm:
        raise Refusal(f"{path}: the file holds no rhythm")
    base, exponent = (rhythm[0].findtext(name) for name in ("SampleBase", "SampleExponent"))
    rate_hz = positive(base, "rate", path) * 10 ** _number(exponent or "0", path)
    return [
        Channel(
            (lead.findtext("LeadID") or f"lead {place}").strip(),
            UNITS.get((lead.findtext("LeadAmplitudeUnits") or "").strip().lower(), ""),
            rate_hz,
            partial(_packed, lead, path),
        )
        for place, lead in enumerate(rhythm[0].findall("LeadData"))
    ]


def _packed(lead: Element, path: Path) -> Float[np.ndarray, " sample"]:
    scale = positive(lead.findtext("LeadAmplitudeUnitsPerBit"), "amplitude a bit", path)
    n_bytes = (lead.findtext("LeadSampleSize") or "2").strip()
    if n_bytes not in ("2", "4"):
        raise Refusal(f"{path}: samples of {n_bytes[:20]!r} bytes; legal: 2, 4")
    try:
        content = base64.b64decode("".join((lead.findtext("WaveFormData") or "").split()), validate=True)
    except binascii.Error as error:
        raise Refusal(f"{path}: a lead's samples are damaged ({reason_of(error)})") from error
    announced = (lead.findtext("LeadSampleCountTotal") or "").strip()
    if len(content) % int(n_bytes) or (announced and announced != str(len(content) // int(n_bytes))):
        raise Refusal(f"{path}: announces {announced[:20]!r} samples of a lead, but holds {len(content) / int(n_bytes):g}")
    return np.frombuffer(content, f"<i{n_bytes}") * scale
