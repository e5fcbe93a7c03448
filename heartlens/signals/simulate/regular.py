"""Windows as regular as a clock: every cycle of every window has the same whole number of tokens and its waves in the same places.

Not a physiological signal but noise under known labels: what models with planted heads are built on (`heartlens.models.planted`), and where
an expectation follows from arithmetic. Token t lies in cycle t // LENGTH; the last cycle is cut off. `periodic` repeats one cycle of
noise, so that every token from the second cycle on is the one a cycle before it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import Landmarks
from heartlens.windows import Windows, concatenate

LENGTH = {"ecg": 80, "ppg": 44}  # tokens of a cycle
MARK = {"ecg": 26, "ppg": 4}  # the token of the cycle that the beat falls on: R peak or foot
SPANS = {  # the first and the last token of each wave in its cycle
    "ecg": {"P": (8, 16), "QRS": (22, 30), "T": (48, 62)},
    "ppg": {"foot": (1, 7), "systolic_peak": (9, 15), "dicrotic_notch": (20, 26), "diastolic_peak": (29, 35)},
}


def regular(kind: str, n_records: int = 8, waves: tuple[str, ...] | None = None, *, periodic: bool = False, seed: int = 0) -> Windows:
    """One window for each of `n_records` records, all with the same landmarks: those of `waves`, by default all the kind has.

    Refuses unknown kinds and waves, and fewer than one record.

    >>> regular("ecg", n_records=1).cycle[0, [0, 79, 80, 499]]
    array([0, 0, 1, 6], dtype=int16)
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if n_records < 1:
        raise Refusal(f"cannot make windows of {n_records} records; give at least 1")
    rng, marks = np.random.default_rng(seed), _marks(kind, KINDS[kind].waves if waves is None else waves)
    windows = concatenate([cut(_noise(rng, kind, periodic), marks, f"regular {kind} {number:02d}") for number in range(n_records)])
    return replace(windows, sources=(f"simulated regular {kind} ({'periodic, ' if periodic else ''}seed {seed})",))


def _noise(rng: np.random.Generator, kind: str, periodic: bool) -> Float[np.ndarray, " time"]:
    return np.resize(rng.normal(size=LENGTH[kind] if periodic else CONTEXT), CONTEXT)


def _marks(kind: str, waves: tuple[str, ...]) -> Landmarks:
    """The landmarks of a window, which begins with a cycle."""
    for wave in waves:
        if wave not in SPANS[kind]:
            raise unknown(f"{kind} wave", wave, SPANS[kind])
    rate_hz, first = KINDS[kind].rate_hz, np.arange(0, CONTEXT, LENGTH[kind])
    spans = sorted((token + SPANS[kind][wave][0], token + SPANS[kind][wave][1], wave) for token in first for wave in waves)
    onset_s, offset_s = (np.array([span[edge] for span in spans], float) / rate_hz for edge in (0, 1))
    names = np.array([wave for *_, wave in spans], str)
    span_s = (0.0, (CONTEXT - 1) / rate_hz)
    return Landmarks(kind, (first + MARK[kind]) / rate_hz, names, onset_s, (onset_s + offset_s) / 2, offset_s, span_s, "by construction")
