"""A simulated recording as a file that every command reads: a CSV of time and one signal, every digit kept."""

import numpy as np

from heartlens.axes import KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.simulate.corpus import SIMULATE
from heartlens.signals.simulate.rhythms import RHYTHMS

COLUMNS = {"ecg": "ecg_mV", "ppg": "ppg"}
MOST_S = 7200.0


def simulated_csv(kind: str, rhythm: str = "sinus", seed: int = 0, duration_s: float = 60.0) -> str:
    """The text of a CSV with a simulated recording at the model's rate. Refuses unknown kinds, rhythms, and lengths but 5 s to 2 h."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if rhythm not in RHYTHMS:
        raise unknown("rhythm", rhythm, RHYTHMS)
    if not 5.0 <= duration_s <= MOST_S:
        raise Refusal(f"a simulated recording of {duration_s:g} s; legal: 5 to {MOST_S:g} s")
    rng = np.random.default_rng([seed, *kind.encode(), *rhythm.encode()])
    signal, _ = SIMULATE[kind](rng, duration_s, rhythm)
    rows = (f"{number / KINDS[kind].rate_hz:.2f},{value!r}" for number, value in enumerate(signal.tolist()))
    return "\n".join([f"time_s,{COLUMNS[kind]}", *rows, ""])
