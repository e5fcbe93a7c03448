"""Files of marks beside a WFDB record, in the MIT annotation format (https://physionet.org/physiotools/wag/annot-5.htm).

Words of 16 bits: the upper 6 say what is marked, the lower 10 how many samples after the mark before. `wfdb.rdann` reads the same, takes
twenty times as long, and never comes back from some damaged files.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

MOST_BYTES = 2**21  # a day of beats has a tenth of it
SYMBOLS = dict(enumerate("NLRaVFJASEj/Q~", 1)) | {16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B"}
SYMBOLS |= {26: "^", 27: "t", 28: "+", 29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@", 37: "x", 38: "f"}
SYMBOLS |= {39: "(", 40: ")", 41: "r"}
SKIP, NUMBER, SUBTYPE, CHANNEL, TEXT = 59, 60, 61, 62, 63
NOTE = 22
CLOCK = re.compile(rb"## time resolution: ([0-9]+(?:\.[0-9]*)?)")


@dataclass(frozen=True)
class Marks:
    """`sample` of each mark and its symbol (`x` for one that only the file itself defines); `clock_hz` is None where it is the record's."""

    sample: Int[np.ndarray, " mark"]
    symbols: str
    clock_hz: float | None


def marks_in(path: Path) -> Marks | None:
    """The marks in order of time; None where the file is none of marks, or too large for one."""
    if path.stat().st_size > MOST_BYTES:
        return None
    content = path.read_bytes()
    if len(content) < 2 or len(content) % 2:
        return None
    words = np.frombuffer(content, "<u2").tolist()
    sample, at = 0, 0
    samples, symbols = list[int](), list[str]()
    clock_hz = None
    while at < len(words) and words[at]:
        code, step = words[at] >> 10, words[at] & 0x3FF
        at += 1
        if code == SKIP:
            if at + 2 > len(words):
                return None
            skipped = words[at] << 16 | words[at + 1]
            sample += skipped - (skipped >> 31 << 32)
            at += 2
        elif code == TEXT:
            text = content[2 * at : 2 * at + step]
            clock = CLOCK.match(text) if symbols and symbols[-1] == SYMBOLS[NOTE] and sample == 0 else None
            clock_hz = float(clock[1]) if clock else clock_hz
            at += (step + 1) // 2
        elif code not in (NUMBER, SUBTYPE, CHANNEL):
            sample += step
            samples.append(sample)
            symbols.append(SYMBOLS.get(code, "x"))
    if at > len(words) or (clock_hz is not None and not 0 < clock_hz < math.inf):
        return None
    order = np.argsort(samples, kind="stable")
    return Marks(np.array(samples, np.int64)[order], "".join(symbols[place] for place in order), clock_hz)
