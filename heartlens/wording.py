"""Numbers and names as reports write them; what is not known is said."""

import math
from typing import Any

NO_INTERVAL, NOT_MEASURED, UNBOUNDED = "no interval", "not measured", "unbounded"


def number(value: Any, form: str = ".2f") -> str:
    """A number.

    >>> number(1.234), number(0.5, "+.3f"), number(float("nan"))
    ('1.23', '+0.500', 'not measured')
    """
    return NOT_MEASURED if math.isnan(float(value)) else format(float(value), form)


def interval(low: Any, high: Any, form: str = ".2f") -> str:
    """An interval.

    >>> interval(0.1, 0.25), interval(float("nan"), float("nan")), interval(-math.inf, math.inf)
    ('0.10 to 0.25', 'no interval', 'unbounded')
    """
    if math.isinf(float(low)) and math.isinf(float(high)):
        return UNBOUNDED
    return NO_INTERVAL if math.isnan(float(low)) else f"{float(low):{form}} to {float(high):{form}}"


def interval_at(here: Any, name: str, form: str = ".2f") -> str:
    """The interval of a variable of a summary: its `_low` to its `_high`."""
    return interval(here[f"{name}_low"], here[f"{name}_high"], form)


def with_interval(here: Any, name: str, form: str = ".2f") -> str:
    """A variable of a summary, its interval in parentheses."""
    return f"{number(here[name], form)} ({interval_at(here, name, form)})"


def p_value(value: Any) -> str:
    """A p- or q-value; nothing where none could be computed."""
    return "" if math.isnan(float(value)) else f"{float(value):.4f}"


def plain(name: Any) -> str:
    """A name without underscores: waves and readouts.

    >>> plain("dicrotic_notch")
    'dicrotic notch'
    """
    return str(name).replace("_", " ")
