"""What the lines above a table say of it in words: its rate, its unit, its lead.

`Sample Rate,512.407 hertz`, `%Sample Rate = 100 Hz`, `Interval= 0.01 s`, `0.5 msec/sample`, `"sampling rate": 1000`, `Abtastrate;250`.
"""

import re
import unicodedata
from dataclasses import dataclass

from heartlens.signals.column_names import canonical_unit

LONGEST_LINE = 4000  # characters that are looked at
QUANTITY = r"\W{0,12}?(?P<number>\d[\d.,]*)\s*\"?\s*(?P<unit>k?hz|khertz|hertz|sps|fps|[mu]?s(?:ec)?\b)?"
RATE_WORDS = (
    r"sampl\w*[ _-]*(?:rate|freq\w*)|sampfreq|abtast\w*[ -]?\w*|(?:frame|data|acquisition)[ _-]*rate|samples?[ _-]*per[ _-]*sec\w*|"
    r"frequence d.echantillonnage|frecuencia de muestreo|frequenza di campionamento|(?:taxa|frequencia) de amostragem|"
    r"bemonsteringsfrequentie|sampl\w*frekvens|частота дискретизации|采样率|采样频率|サンプリング周波数"
)
RATE = re.compile(rf"(?:{RATE_WORDS}|^\W*(?:rate|freq|frequency|fs|sr)\b)[^\d,;:=\t]{{0,12}}{QUANTITY}")
INTERVAL = re.compile(
    rf"(?:(?:sampl\w*[ _-]*)(?:interval|period|time)|^\W*(?:interval|period|dt|delta ?t)\b|abtastintervall)[^\d,;:=\t]{{0,12}}{QUANTITY}"
)
PER_SAMPLE = re.compile(r"(?P<number>\d[\d.,]*)\s*(?P<unit>[mu]?s(?:ec)?)\s*/\s*sample")
PER_SECOND = re.compile(r"(?P<number>\d[\d.,]*)\s*(?P<unit>)samples?\s*(?:/|per)\s*s(?:ec(?:ond)?)?\b")
UNIT = re.compile(r"^\W*(?:units?|einheit|unite|unidad|unita|unidade)\s*[,;:=\t|]\s*(?P<text>[^,;\t]+)")
LEAD = re.compile(
    r"^\W*(?:(?:lead|ableitung|derivation|derivacion|derivazione)\s*[,;:=\t|]|(?:channel|signal|kanal)\s*[:=])\s*(?P<text>[^,;\t]+)"
)
ABOUT = re.compile(
    r"^\W*(?:name|date|datum|recorded|device|version|software|classification|symptoms|start|subject|patient|id|age|sex|birth)\b"
)
IN_NAME = re.compile(r"[\[(@_ ](?P<number>\d+(?:\.\d+)?)\s*hz\b")
NO_RATE = re.compile(r"filter|notch|pass|cut|band|mains")
SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6}


@dataclass(frozen=True)
class Facts:
    """`rates_hz`: all different ones that are named; of `unit` and `lead` the last one named."""

    rates_hz: tuple[float, ...] = ()
    unit: str = ""
    lead: str = ""

    @property
    def rate_hz(self) -> float | None:
        """The rate, where one is named and no other."""
        return self.rates_hz[0] if len(self.rates_hz) == 1 else None


def facts_in(lines: list[str], decimal: str) -> Facts:
    """What the lines say; `decimal` is the decimal mark of the table."""
    rates = [rate_hz for line in lines if (rate_hz := rate_in(line, decimal))]
    units, leads = ([text for line in lines if (text := _text_in(pattern, line))] for pattern in (UNIT, LEAD))
    return Facts(tuple(dict.fromkeys(rates)), canonical_unit(units[-1]) if units else "", leads[-1] if leads else "")


def rate_in(line: str, decimal: str) -> float | None:
    """The rate in Hz that a line names as such.

    >>> rate_in("Sample Rate,512.407 hertz", "."), rate_in("Interval=\\t0.004 s", "."), rate_in("Heart rate: 75", ".")
    (512.407, 250.0, None)
    """
    line = _plain(line)
    for pattern in (RATE, PER_SECOND):
        if match := pattern.search(line):
            unit = match["unit"] or ""
            scale = 1 / SECONDS[unit] if unit in SECONDS else 1000.0 if unit.startswith("k") else 1.0
            value = _number(match["number"], decimal)
            return value * scale if value and unit not in SECONDS else None
    for pattern in (INTERVAL, PER_SAMPLE):
        if (match := pattern.search(line)) and match["unit"] in SECONDS and (value := _number(match["number"], decimal)):
            return round(1 / (value * SECONDS[match["unit"]]), 9)
    return None


def rate_in_name(name: str) -> float | None:
    """The rate that a column's name tells, as in `ECG (250 Hz)`; none where the number may be a filter's."""
    match = IN_NAME.search(name.lower())
    return float(match["number"]) or None if match and not NO_RATE.search(name.lower()) else None


def is_about(line: str) -> bool:
    """Whether a line tells something of the recording, so that it is no row of names."""
    plain = _plain(line)
    return bool(rate_in(line, ".") or UNIT.search(plain) or LEAD.search(plain) or ABOUT.search(plain))


def _text_in(pattern: re.Pattern[str], line: str) -> str:
    plain = _plain(line)
    match = pattern.search(plain)
    if not match:
        return ""
    same_length = len(plain) == len(line.strip())  # without accents the places are the same
    text = line.strip()[match.start("text") : match.end("text")] if same_length else match["text"]
    return text.strip().strip("\"'").strip()


def _plain(line: str) -> str:
    decomposed = unicodedata.normalize("NFKD", line.strip()[:LONGEST_LINE])
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).lower()


def _number(text: str, decimal: str) -> float | None:
    text = text.rstrip(".,")
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text) and decimal == ".":
        text = text.replace(",", "")
    text = text.replace(",", ".")
    return float(text) if text.count(".") <= 1 else None
