"""Which channel of several is read: by its name, its unit and its kind, never because it is the first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from heartlens.refusal import Refusal, unknown
from heartlens.signals.column_names import COLOURS, KINDS, Column, column_called, shown

PREFERRED_LEADS = ("i", "ii", "mlii")  # the lead the models were trained on, and what comes near it
BESIDE = ("time", "counter", "constant")  # columns beside which one more is the only signal
CAMERA = ("red", "green", "blue")  # through a finger: red was read in 19 of 21 recordings of Welltory's, green in 11
MOST_SHOWN = 12
WORDS = {
    "ecg": "ECG",
    "ppg": "a pulse (PPG)",
    "number": "a number and no wave",
    "constant": "of one value throughout",
    "other": "no heart signal",
}


def kind_of_lead(lead: str, unit: str = "") -> str | None:
    """'ecg' or 'ppg' where the lead's name tells, else None.

    >>> kind_of_lead("MLII"), kind_of_lead("PLETH"), kind_of_lead("column 1"), kind_of_lead("ECG", "mmHg")
    ('ecg', 'ppg', None, None)
    """
    kind = column_called(lead, unit).kind
    return kind if kind in KINDS else None


def columns_of(leads: Sequence[str], units: Sequence[str] | None = None, seen: Mapping[int, str] | None = None) -> list[Column]:
    """The columns of a table, judged together: R, G and B beside each other are colours of light, x, y and z are accelerations.

    `seen` are kinds that the values show ("counter", "constant"), by index.
    """
    seen = dict(seen or {})
    letters = {lead.strip().lower(): index for index, lead in enumerate(leads)}
    if len({"x", "y", "z"} & letters.keys()) > 1:
        seen = {letters[letter]: "acceleration" for letter in "xyz" if letter in letters} | seen
    ends = [lead.strip().lower().replace("_", " ").split() or [""] for lead in leads]
    of_colour = [index for index, words in enumerate(ends) if {words[0], words[-1]} & {"r", "g", "b"}]
    if {letter for index in of_colour for letter in ends[index]} >= {"r", "g", "b"}:
        seen = dict.fromkeys(of_colour, "ppg") | seen
    if any(column_called(lead).kind == "number" for lead in leads):  # beside a heart rate or SpO2, a pulse is a rate
        seen = {index: "number" for index, lead in enumerate(leads) if lead.strip().lower() in ("pulse", "puls")} | seen
    others = [letter for letter in letters if len(letter) == 1 and letter.isalpha() and letter not in "ivrgbt"]
    if len(others) > 1:  # i and v among other letters are no leads
        seen = {letters[letter]: "other" for letter in ("i", "v") if letter in letters} | seen
    return [column_called(lead, (units or [""] * len(leads))[index], seen.get(index, "")) for index, lead in enumerate(leads)]


def choose_lead(
    leads: list[str],
    lead: str | int | None,
    kind: str | None,
    path: Path,
    units: Sequence[str] | None = None,
    seen: Mapping[int, str] | None = None,
) -> tuple[int, tuple[str, ...]]:
    """The index of the lead to read, and a note where the choice was not the user's.

    `lead` is a name (case does not matter) or an index from 0. Without one: for ECG lead I, else II or MLII, else the first that is ECG
    by its name; for PPG one without a colour, else green, infrared, red, blue, of a camera (red, green and blue) red; ECG before PPG.
    `seen` is that of `columns_of`.
    Refuses a lead that the file does not have or has twice, a single one that is no heart signal, and several of which none is.

    >>> choose_lead(["RESP", "II", "V"], None, None, Path("a.csv"))
    (1, ('lead II taken of RESP, II, V',))
    """
    columns = columns_of(leads, units, seen)
    if lead is not None:
        return _asked_for(columns, str(lead), path)
    fitting = [index for index, column in enumerate(columns) if column.kind in KINDS and kind in (column.kind, None)]
    if not fitting:
        return _only_signal(columns, kind, path)
    lights = {column.colour for column in columns}
    colours = CAMERA if lights.issuperset(CAMERA) and "ir" not in lights else COLOURS
    index = min(fitting, key=lambda index: (*_rank(columns[index], colours), index))
    name = leads[index].strip().lower()
    if [leads[each].strip().lower() for each in fitting].count(name) > 1:
        raise Refusal(f"{path}: several columns are called {shown(leads[index])}: {_listed(leads)}; give --lead as a number from 0")
    if len(leads) == 1:
        return index, ()
    colour = f" (of several colours: {columns[index].lead})" if _are_colours(columns, fitting, index) else ""
    return index, (f"lead {shown(leads[index])} taken of {_listed(leads)}{colour}",)


def _rank(column: Column, colours: Sequence[str]) -> tuple[int, int, bool]:
    if column.kind == "ecg":
        preferred = column.lead in PREFERRED_LEADS
        return 0, PREFERRED_LEADS.index(column.lead) if preferred else len(PREFERRED_LEADS), column.is_filtered
    is_weak = not column.lead and any(word in ("pulse", "puls") for word in column.words)
    order = ("", *colours)
    return 1, len(order) if is_weak else order.index(column.lead), column.is_filtered


def _are_colours(columns: list[Column], fitting: list[int], index: int) -> bool:
    return columns[index].kind == "ppg" and bool(columns[index].lead) and len({columns[each].lead for each in fitting}) > 1


def _only_signal(columns: list[Column], kind: str | None, path: Path) -> tuple[int, tuple[str, ...]]:
    """A column of unknown name, where it is the only one beside times and counters; the only one, if it may be a heart signal."""
    rest = [index for index, column in enumerate(columns) if column.kind not in BESIDE]
    names = [column.name for column in columns]
    if len(rest) == 1 and (columns[rest[0]].kind is None or (len(columns) == 1 and columns[rest[0]].kind in KINDS)):
        return rest[0], (f"lead {shown(names[rest[0]])} taken of {_listed(names)}",) if len(columns) > 1 else ()
    wanted = WORDS[kind] if kind else "a heart signal"
    if len(columns) == 1:
        raise Refusal(f"{path}: {shown(names[0])} is {_called(columns[0])} by its name or values; to read it all the same give --lead 0")
    raise Refusal(f"{path}: no column is plainly {wanted}; there are {_listed(names)}; give --lead, a name or a number from 0")


def _asked_for(columns: list[Column], lead: str, path: Path) -> tuple[int, tuple[str, ...]]:
    names = [column.name.strip().lower() for column in columns]
    wanted = lead.strip().lower()
    same = [index for index, name in enumerate(names) if name == wanted]
    if not same and wanted.isascii() and wanted.isdigit() and int(wanted[:9]) < len(columns):
        same = [int(wanted)]
    if not same:
        meant = column_called(lead)
        same = [index for index, column in enumerate(columns) if meant.words and column.words == meant.words]
        same = same or [index for index, each in enumerate(columns) if meant.lead and each.kind == meant.kind and each.lead == meant.lead]
    if len(same) > 1:
        places = ", ".join(f"{index} ({shown(columns[index].name)})" for index in same[:MOST_SHOWN])
        raise Refusal(f"{path}: --lead {shown(lead)} may be column {places}; give the number")
    if not same:
        raise Refusal(f"{path}: {unknown('lead', shown(lead), [shown(column.name) for column in columns[:MOST_SHOWN]])}")
    column = columns[same[0]]
    if column.kind in (*KINDS, None):
        return same[0], ()
    return same[0], (f"lead {shown(column.name)} taken as asked for; by its name, unit or values it is {_called(column)}",)


def _called(column: Column) -> str:
    kind = column.kind or "unknown"
    return WORDS.get(kind, f"a {kind}" if kind in ("time", "counter", "pressure", "temperature", "quality") else kind)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(shown(name) for name in names[:MOST_SHOWN]) + more
