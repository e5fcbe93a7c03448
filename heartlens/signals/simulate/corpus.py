"""Windows of simulated people: what an analysis is measured on where no recording is given, and the truth that tests compare with."""

from dataclasses import replace

import numpy as np

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.cut import cut
from heartlens.signals.simulate import ecg, ppg
from heartlens.signals.simulate.rhythms import RHYTHMS
from heartlens.windows import Windows, concatenate

MARGIN_S = 3.0  # simulated before the first window and after the last: longer than any interval, so that every token's cycle is known
SIMULATE = {"ecg": ecg.simulate, "ppg": ppg.simulate}


def simulated(kind: str, n_records: int = 20, windows_per_record: int = 2, rhythm: str = "sinus", seed: int = 0) -> Windows:
    """Windows of `n_records` simulated people, each of `windows_per_record` consecutive windows, every token's place known.

    A record depends on its number, `kind`, `rhythm`, `seed` and `windows_per_record`, not on how many there are. Refuses unknown
    kinds and rhythms, and counts below 1.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if rhythm not in RHYTHMS:
        raise unknown("rhythm", rhythm, RHYTHMS)
    if n_records < 1 or windows_per_record < 1 or seed < 0:
        given = f"{n_records} records of {windows_per_record} windows, seed {seed}"
        raise Refusal(f"cannot simulate {given}; give at least 1 record, 1 window a record and a seed of 0 or more")
    return concatenate([person(kind, number, windows_per_record, rhythm, seed) for number in range(n_records)])


def person(kind: str, number: int, windows_per_record: int = 2, rhythm: str = "sinus", seed: int = 0) -> Windows:
    """The windows of one of the people of `simulated`."""
    rng = np.random.default_rng([seed, number, *kind.encode(), *rhythm.encode()])
    inner_s = windows_per_record * CONTEXT / KINDS[kind].rate_hz
    signal, landmarks = SIMULATE[kind](rng, inner_s + 2 * MARGIN_S, rhythm)
    windows = cut(signal, replace(landmarks, span_s=(MARGIN_S, MARGIN_S + inner_s)), person_name(kind, number))
    source = f"simulated {kind} ({rhythm}, seed {seed})"
    return replace(windows, sources=(source,), notes=(*windows.notes, f"simulated signals, not recordings: {source}"))


def person_name(kind: str, number: int) -> str:
    return f"simulated {kind} {number:02d}"
