"""What the name and the unit of a column say: its unit, its kind of signal, and for ECG the lead.

A name is cut into words without case and accents (`SITE/ECG_II [mV]` is `ecg`, `ii`); a word decides wherever it stands. Words that name
something else than a heart signal come first: `ECG quality` is a quality, `SpO2` is a number, `SpO2 pleth` is a pulse wave.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

KINDS = ("ecg", "ppg")
LONGEST = 60  # characters of a name that are shown


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BRACKETS = re.compile(r"[\[({<]([^\[\](){}<>]*)[\])}>]")
CASE_MATTERS = re.compile(r"(?i)spo2|sao2|etco2|av[rlf]\b")  # not two words, though a capital follows a small letter

UNITS = {
    "V": "v volt volts",
    "mV": "mv millivolt millivolts millivolt(s)",
    "uV": "uv microvolt microvolts mikrovolt",
    "nV": "nv nanovolt nanovolts",
    "adu": "adu adc count counts raw lsb digits nu au a.u. arb arbitrary none no_units unitless normalized",
    "s": "s sec secs second seconds sekunden sekunde secondes segundos",
    "ms": "ms msec msecs millis millisecond milliseconds millisekunden",
    "us": "us usec micros microsecond microseconds mikrosekunden",
    "ns": "ns nsec nanos nanosecond nanoseconds",
    "min": "min mins minute minutes minuten",
    "h": "h hr hrs hour hours",
    "clock": "hh:mm:ss hh:mm:ss.mmm hh:mm:ss.sss h:m:s mm:ss mm:ss.mmm hms",
    "mmHg": "mmhg kpa cmh2o torr",
    "bpm": "bpm /min 1/min beats/min rpm brpm",
    "m/s2": "m/s2 m/s^2 m/(s^2) m/s² g mg deg/s dps rad/s °/s",
    "°C": "c °c degc celsius",
    "%": "% percent pct",
    "l/s": "l/s ml ml/s l/min lpm ohm kohm",
}
UNIT_OF = {word: unit for unit, words in UNITS.items() for word in words.split()}
BARE_UNITS = _words("mv uv ms us ns sec msec usec seconds milliseconds microseconds nanoseconds millis bpm mmhg adu")  # after a _ or blank
OF_TIME = ("s", "ms", "us", "ns", "min", "h", "clock")
KIND_OF_UNIT = dict.fromkeys(OF_TIME, "time") | {
    "mmHg": "pressure",
    "bpm": "number",
    "m/s2": "acceleration",
    "°C": "temperature",
    "l/s": "respiration",
}

ECG_WORDS = _words("exg elektrokardiogramm electrocardiogram electrocardiogramme elektrokardiogram экг")
PPG_WORDS = _words("bvp pulsewave pulswelle pulsoximetrie ппг фпг плетизмограмма")
ECG_STEMS, PPG_STEMS = ("ecg", "ekg"), ("ppg", "bvp", "pleth", "plet", "photopleth", "fotoplet")
COLOURS = ("green", "ir", "infrared", "red", "blue")
WAVE_WORDS = _words("wave waveform pleth curve kurve welle ppg signal")
NOT_HEART = {  # whatever else the name says
    "time": """time times timestamp timestamps datetime date elapsed clock epoch zeit zeitstempel uhrzeit datum temps heure horodatage
        tiempo tempo hora fecha время unix utc ts""",
    "counter": "index idx counter packet packets seq nseq sequence number unnamed id nr row frame",
    "pressure": "abp art ibp cvp icp pap bp nibp pressure druck blutdruck pression presion pressione finapres map systolic",
    "respiration": """resp respiration respiratory breathing breath breaths rsp rip airflow flow co2 etco2 capno atem atmung respiracion
        respirazione дыхание edr""",
    "acceleration": """acc accel accelerometer acceleration accx accy accz gyro gyroscope gyr gyrox gyroy gyroz mag magnetometer motion imu
        beschleunigung""",
    "temperature": "temp temperature temperatur tmp thermistor",
    "quality": """quality qualitat sqi status flag flags label labels annotation annotations annotator marker markers event events trigger
        leadoff off contact battery valid checksum class rhythm error artifact ambient peak peaks rpeak rpeaks beat beats onset ok""",
    "number": """hr heartrate rate bpm rr rri ibi nn ppi hrv sdnn rmssd herzfrequenz frequency frequenz saturation sat perfusion interval
        intervals pulsrate pulserate""",
    "skin": "eda gsr scl scr",
    "other": "emg eeg eog egg",
}
KIND_OF_WORD = {word: kind for kind, words in NOT_HEART.items() for word in words.split()}
WEAKER = {  # where the name says nothing of a heart
    "time": "t s ms us ns sec seconds millis micros milliseconds",
    "counter": "sample samples count n no num # № sampleid",
    "number": "spo2 sao2 o2",
    "respiration": "thorax abdomen chest impedance imp",
    "ppg": "pulse puls pouls pulso polso oximeter ir infrared red green blue",
}
KIND_OF_WEAKER = {word: kind for kind, words in WEAKER.items() for word in words.split()}
IN_OTHER_SCRIPTS = {  # which are written without blanks
    "ecg": ("心电", "心電", "심전도"),
    "number": ("心率", "心拍数", "血氧", "심박"),
    "ppg": ("脉搏", "脈波", "脉波", "容积", "容積", "맥파"),
    "time": ("时间", "時間", "時刻", "시간"),
    "respiration": ("呼吸", "호흡"),
    "pressure": ("血压", "血圧", "혈압"),
    "acceleration": ("加速", "가속"),
    "temperature": ("温度", "体温", "온도"),
    "counter": ("序号", "番号", "번호"),
}

CHEST = ["v", *(f"v{number}" for number in range(1, 10)), "v3r", "v4r", "vx", "vy", "vz"]
LEADS = {lead: lead for lead in ["i", "ii", "iii", "avr", "avl", "avf", *CHEST]}
LEADS |= {lead: lead for lead in _words("mli mlii mliii ml5 mcl mcl1 mcl5 mcl6 cm1 cm2 cm3 cm4 cm5 cc5 cs12 mv1 mv2 d4")}
LEADS |= {"di": "i", "dii": "ii", "diii": "iii", "d1": "i", "d2": "ii", "d3": "iii", "davr": "avr", "davl": "avl", "davf": "avf"}
PAIRS = {
    ("la", "ra"): "i",
    ("ll", "ra"): "ii",
    ("ll", "la"): "iii",
    ("ml", "ii"): "mlii",
    ("ml", "i"): "mli",
    ("d", "i"): "i",
    ("d", "ii"): "ii",
}
LEAD_WORDS = _words("lead leads ableitung abl derivation derivacion derivazione derivacao deriv отведение avleding afleiding")
AROUND = LEAD_WORDS | _words(
    """ch chan channel kanal canal canale raw roh filtered filt filter signal sig wave waveform value values data cal uncal 24bit 16bit mod
    limb analog adc voltage spannung mv uv"""
)
FILTERED = _words("filtered filt filter gefiltert filtre clean cleaned")


@dataclass(frozen=True)
class Column:
    """A column's name and its unit, which may stand in the name. `seen` is a kind that its values show: "counter" or "constant"."""

    name: str
    given_unit: str = ""
    seen: str = ""

    @cached_property
    def unit(self) -> str:
        """The unit: V, mV, uV, nV, adu, s, ms, us, ns, ... or the text itself; empty where there is none."""
        return canonical_unit(self.given_unit) or unit_in(self.name)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the name without its unit; of a path (`SITE/ECG_II`) those of its last part, where that says anything."""
        bare = BRACKETS.sub(" ", self.name)
        last = words_of(bare.rsplit("/", 1)[-1])
        return last if last and _kind_of_words(last) else words_of(bare)

    @cached_property
    def kind(self) -> str | None:
        """ "ecg", "ppg", another kind of NOT_HEART, "constant"; None where neither name nor unit tells."""
        if self.seen:
            return self.seen
        kind = _kind_of_words(self.words)
        if self.name.strip() in ("#", "№", "sample #", "'sample #'"):
            return "counter"
        unit_kind = KIND_OF_UNIT.get(self.unit)
        if unit_kind == "time" and kind:
            return kind
        return unit_kind or kind or ("number" if self.unit == "%" else None)

    @cached_property
    def colour(self) -> str:
        """The colour of light that the name ends with: green, ir, red or blue; empty where there is none."""
        colour = next((colour for colour in COLOURS if any(word.endswith(colour) for word in self.words)), "")
        single = {"r": "red", "g": "green", "b": "blue"}.get(self.words[-1] if self.words else "", "")
        return "ir" if colour == "infrared" else colour or single

    @cached_property
    def lead(self) -> str:
        """The ECG lead, in small letters; of a pulse the colour of its light. Empty where the name does not say which."""
        return self.colour if self.kind == "ppg" else _lead_in(self.words)

    @cached_property
    def is_filtered(self) -> bool:
        return bool(FILTERED.intersection(self.words))


@lru_cache(maxsize=4096)
def column_called(name: str, given_unit: str = "", seen: str = "") -> Column:
    """The column of this name, judged once: a folder's recordings mostly have the same ones."""
    return Column(name, given_unit, seen)


def canonical_unit(text: str) -> str:
    """A unit under one name: `millivolts` is mV, µV is uV; another text is given back as it is.

    >>> [canonical_unit(text) for text in ("[µV]", "Volts", "counts", "'seconds'", "uS", "furlong")]
    ['uV', 'V', 'adu', 's', 'uS', 'furlong']
    """
    text = unicodedata.normalize("NFKC", text).strip().strip("\"'[](){}<>* ").replace("μ", "u")
    return "uS" if text == "uS" else UNIT_OF.get(text.lower(), text)


def unit_in(name: str) -> str:
    """The unit at the end of a name, in brackets or after a blank or `_`; empty where there is none.

    >>> [unit_in(name) for name in ("ECG [uV]", "time_ms", "Zeit in s", "Lead V", "ppg_g", "ECG (lead II) (mV)")]
    ['uV', 'ms', 's', '', '', 'mV']
    """
    for inside in reversed(BRACKETS.findall(name)):
        if (unit := canonical_unit(inside)) in UNITS or unit in ("uS", "%"):
            return unit
    words = re.split(r"[\s_,./:-]+", unicodedata.normalize("NFKC", name).replace("μ", "u").strip().lower())
    if len(words) > 1 and words[-1] in BARE_UNITS:
        return UNIT_OF[words[-1]]
    of_time = len(words) > 1 and words[-1] in UNIT_OF and UNIT_OF[words[-1]] in OF_TIME
    is_time = KIND_OF_WORD.get(words[0]) == "time" or words[0] == "t"
    return UNIT_OF[words[-1]] if of_time and is_time else UNIT_OF[name.strip().lower()] if name.strip().lower() in BARE_UNITS else ""


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, without case and accents.

    >>> words_of("SITE/ECG_II"), words_of("ecgLeadII"), words_of("dérivation I"), words_of("aVR")
    (('site', 'ecg', 'ii'), ('ecg', 'lead', 'ii'), ('derivation', 'i'), ('avr',))
    """
    name = CASE_MATTERS.sub(lambda match: match[0].lower(), name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return tuple(re.findall(r"[^\W_]+", plain.lower()))


def shown(name: str) -> str:
    """A name as a message shows it: short, in one line."""
    line = "".join(sign if sign.isprintable() else " " for sign in name).strip()
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _kind_of_words(words: tuple[str, ...]) -> str | None:
    named = {word for word in words if word in KIND_OF_WORD}
    if {"heart", "pulse", "lead"} & set(words) and {"rate", "off"} & named:
        return "quality" if "off" in named else "number"
    for word in words:
        if word in KIND_OF_WORD:
            return KIND_OF_WORD[word]
    text = " ".join(words)
    by_script = next((kind for kind, parts in IN_OTHER_SCRIPTS.items() if any(part in text for part in parts)), None)
    if by_script:
        return by_script
    if any(word in PPG_WORDS or word.startswith(PPG_STEMS) for word in words) or (
        {"spo2", "pulse"} & set(words) and WAVE_WORDS & set(words)
    ):
        return "ppg"
    if any(word in ECG_WORDS or word.startswith(ECG_STEMS) or word.endswith(ECG_STEMS) for word in words) or _lead_in(words):
        return "ecg"
    if LEAD_WORDS & set(words) and all(word in AROUND or word.isdigit() for word in words):
        return "ecg"
    return next((KIND_OF_WEAKER[word] for word in words if word in KIND_OF_WEAKER), None)


def _lead_in(words: tuple[str, ...]) -> str:
    """The one lead that the words name, alone or beside words that may stand around a lead; several are joined."""
    own = tuple(word for word in words if word not in AROUND and not word.startswith(ECG_STEMS) and word not in ECG_WORDS)
    is_ecg = any(word.startswith(ECG_STEMS) or word in ECG_WORDS | LEAD_WORDS for word in words)
    for pair, lead in PAIRS.items():
        if own == pair or (is_ecg and all(word in own for word in pair)):
            return lead
    leads = [LEADS[word] for word in own if word in LEADS]
    if not leads or (len(leads) < len(own) and not is_ecg):
        return ""
    return "-".join(leads)
