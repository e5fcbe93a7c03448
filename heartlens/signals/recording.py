"""One recording as a reader hands it over: samples, rate and lead, and the expert's marks where the file has them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from heartlens.signals.landmarks import Landmarks

ECG_LEADS = [
    "i",
    "ii",
    "iii",
    "avr",
    "avl",
    "avf",
    "v",
    "v1",
    "v2",
    "v3",
    "v4",
    "v5",
    "v6",
    "mli",
    "mlii",
    "mliii",
    "d3",
    "d4",
    "ecg",
    "ecg1",
    "ecg2",
    "ekg",
]
PPG_LEADS = ("pleth", "ppg", "pulse")


@dataclass(frozen=True)
class Recording:
    """`signal` in `unit` at `rate_hz`, NaN where samples are missing. `kind` is None where the lead's name does not tell it.

    `landmarks` are an expert's, None where the file has none. `source` is the file as the user named it, with its SHA-256 in
    `sha256`; `notes` are lines for the user (which lead was taken and why).
    """

    name: str
    kind: str | None
    lead: str
    rate_hz: float
    signal: Float64[np.ndarray, " sample"]
    unit: str
    landmarks: Landmarks | None
    source: str
    sha256: str
    notes: tuple[str, ...] = ()


def kind_of_lead(lead: str) -> str | None:
    """'ecg' or 'ppg' where the lead's name tells, else None.

    >>> kind_of_lead("MLII"), kind_of_lead("PLETH"), kind_of_lead("column 1")
    ('ecg', 'ppg', None)
    """
    name = lead.strip().lower()
    return "ecg" if name in ECG_LEADS else "ppg" if name in PPG_LEADS else None
