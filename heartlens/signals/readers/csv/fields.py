"""Single fields of a table: is it a number, a blank, a time of day or a date?"""

import re

BLANKS = frozenset(["", "-", "--", "---", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "<na>", "inf", "-inf", "+inf"])
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
NUMBER_WITH_COMMA = re.compile(r"[-+]?(?:\d+,\d+|,\d+|\d+,)(?:[eE][-+]?\d+)?")
EPOCH_S = (8e8, 3e9)  # seconds since 1970 that are times of a recording: from 1995 to 2065
DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
CLOCK = re.compile(
    rf"[\['\"]*(?:(?P<date>{DATE})[T ,_]+)?(?P<h>\d{{1,2}}):(?P<m>\d{{2}})(?::(?P<s>\d{{2}}(?:[.,]\d*)?))?(?P<tenths>\.\d+)?"
    rf"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[-+]\d{{2}}:?\d{{2}})?(?:\s+(?P<date_after>{DATE}))?[\]'\"]*"
)


def is_number(field: str, decimal: str = ".") -> bool:
    """Whether the field is a number written with this decimal mark."""
    if decimal == "," and "," in field:
        return NUMBER_WITH_COMMA.fullmatch(field) is not None
    return NUMBER.fullmatch(field) is not None


def is_blank(field: str) -> bool:
    """Whether the field stands for a missing sample."""
    return field.lower() in BLANKS


def is_clock(field: str) -> bool:
    """Whether the field is a time of day, with or without a date."""
    return ":" in field and len(field) < 48 and CLOCK.fullmatch(field) is not None


def number(field: str, decimal: str = ".") -> float:
    """The number in a field, NaN where there is none."""
    return float(field.replace(",", ".") if decimal == "," else field) if is_number(field, decimal) else float("nan")
