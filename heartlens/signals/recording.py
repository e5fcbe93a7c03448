"""One recording as a reader hands it over: samples, rate and lead, and the expert's marks where the file has them."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Real

from heartlens.refusal import Refusal
from heartlens.signals.channels import choose_lead as choose_lead
from heartlens.signals.channels import kind_of_lead as kind_of_lead
from heartlens.signals.landmarks import Landmarks
from heartlens.signals.sameness import Sketch, sketch_of

BLOCK = 2**20  # samples hashed together
MOST_SAMPLES = 2**28  # of one signal: six days at 500 Hz
MANY_SAMPLES = 2**25  # more are kept in single precision: 18 hours at 500 Hz


@dataclass(frozen=True)
class Recording:
    """`signal` in `unit` at `rate_hz`, NaN where samples are missing. `kind` is None where the lead's name does not tell it.

    A long one may be mapped from its file, in the file's own type of number: `samples` gives a stretch of it to compute with.
    `landmarks` are an expert's, None where the file has none. `source` is the file as the user named it, with its SHA-256 in
    `sha256`; `notes` are lines for the user (which lead was taken and why). `person` is who was recorded, where the file plainly says so.
    `bridged` are the gaps that were bridged: of each its first sample, and that after its last.
    """

    name: str
    kind: str | None
    lead: str
    rate_hz: float
    signal: Real[np.ndarray, " sample"]
    unit: str
    landmarks: Landmarks | None
    source: str
    sha256: str
    notes: tuple[str, ...] = ()
    person: str = ""
    bridged: tuple[tuple[int, int], ...] = ()

    @cached_property
    def content(self) -> str:
        """A hash of the samples and their rate, by which the recording is known under any name; see `content_of`."""
        return content_of(self.signal, self.rate_hz)

    @cached_property
    def sketch(self) -> Sketch:
        """What its heartbeats are known by at another rate or gain, or in parts."""
        return sketch_of(self.signal, self.rate_hz)

    def samples(self, stretch: slice) -> Float64[np.ndarray, " sample"]:
        """The samples of a stretch, in double precision."""
        return np.asarray(self.signal[stretch], np.float64)


def samples_for(n_samples: int) -> Float[np.ndarray, " sample"]:
    """Room for a signal's samples, not yet filled in. Refuses more than MOST_SAMPLES."""
    if n_samples > MOST_SAMPLES:
        raise Refusal(f"a signal of {n_samples} samples; at most {MOST_SAMPLES} are read")
    return np.empty(n_samples, np.float32 if n_samples > MANY_SAMPLES else np.float64)


def content_of(signal: Real[np.ndarray, " sample"], rate_hz: float) -> str:
    """A hash of a signal's samples, as numbers of 32 bits, and of its rate: the same for equal samples, whatever file they are kept in."""
    hashed = hashlib.sha256(f"{rate_hz:.6g} Hz|".encode())
    for first in range(0, len(signal), BLOCK):
        samples = np.asarray(signal[first : first + BLOCK], np.float32) + np.float32(0)  # -0 is 0
        samples[np.isnan(samples)] = np.nan  # NaN has many bit patterns
        hashed.update(samples.astype("<f4").tobytes())
    return hashed.hexdigest()[:16]


def agreed_rate(found_hz: float | None, given_hz: float | None, path: Path) -> tuple[float, tuple[str, ...]]:
    """The rate in Hz: the file's own; where another one is given, that, with a note. Refuses an impossible one, and none at all.

    A given one that differs by at most 1 % is taken for the file's own, rounded.
    """
    for rate_hz in (found_hz, given_hz):
        if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0):
            raise Refusal(f"{path}: the rate is {rate_hz:g} Hz; it must be a positive number")
    if found_hz is not None and given_hz is not None and abs(found_hz / given_hz - 1) > 0.01:
        return float(given_hz), (f"{given_hz:.6g} Hz was given and taken, not the {found_hz:.6g} Hz that the file says",)
    rate_hz = given_hz if found_hz is None else found_hz
    if rate_hz is None:
        raise Refusal(f"{path}: missing rate; the file has no time column that tells it, give the rate in Hz (--rate)")
    return float(rate_hz), ()


def record_name(path: Path) -> str:
    """The stem under its folder's name, so that `subject_03/PPG.csv` and `subject_04/PPG.csv` stay apart."""
    return "/".join(path.resolve().with_suffix("").parts[-2:])
