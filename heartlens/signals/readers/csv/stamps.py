"""What a column of times means in seconds: numbers in some unit, times of day, dates with times.

The unit of numbers is the user's (`--time-unit`), else that of the name or of a line of units, else that in which the rate agrees with the
one given or named above the table, else that in which the first time is a date from 1995 to 2065, else the one of s, ms, us and ns that
gives a rate from 10 to below 10,000 Hz: a step of 0.01 is seconds, one of 1 milliseconds. A step between 0.1 and 1 may be either: refused.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.column_names import Column, shown
from heartlens.signals.readers.csv.body import Convert
from heartlens.signals.readers.csv.fields import CLOCK, EPOCH_S, is_clock, number

PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "min": 1 / 60, "h": 1 / 3600}
GUESSED = ("s", "ms", "us", "ns")
RATES_HZ = (10.0, 10_000.0)
DAY_S = 86400.0
HALF_DAY = {"a": 0.0, "p": 12 * 3600.0}

Seconds = Float64[np.ndarray, " row"]


def numbers_or_clock(examples: list[str]) -> Convert:
    """What makes times of a chunk: numbers as they are (whole ones stay whole), clock times in seconds, what is neither NaN."""
    return _clock if sum(is_clock(field) for field in examples) > 0.5 * max(sum(bool(field) for field in examples), 1) else _number


def _number(values: Shaped[np.ndarray, " row"], first_line: int) -> Shaped[np.ndarray, " row"]:
    return values if values.dtype.kind in "fiu" else _floats(values.tolist())


def _floats(texts: list[Any]) -> Seconds:
    """Numbers of texts, NaN of what is none. (`pandas.to_numeric` ends the process on some texts of many digits.)"""
    return np.array([_float(text) for text in texts], np.float64)


def _float(value: Any) -> float:
    if isinstance(value, str):
        return number(value.strip(), "," if "," in value else ".")
    return np.nan if value is None or isinstance(value, bool) else float(value)


def _clock(values: Shaped[np.ndarray, " row"], first_line: int) -> Seconds:
    """Times of day in seconds; with dates, seconds since 1970. Half days (PM) count; zones do not: a recording has one."""
    import pandas as pd

    texts = pd.Series(values, dtype=object)
    first = next((text for text in values.tolist() if isinstance(text, str)), "")
    if re.match(r"\d{4}-\d{2}-\d{2}[T ]\d", first):
        times = pd.to_datetime(texts.str.replace(",", "."), format="ISO8601", utc=True, errors="coerce")
        whole = times.dt.as_unit("ns").astype("int64").to_numpy() / 1e9
        return np.where(times.isna().to_numpy(), np.nan, whole)
    if re.fullmatch(r"\d{1,2}:\d{2}:\d{2}(\.\d+)?", first):  # the same as below, for these alone, ten times as fast
        spans = pd.to_timedelta(texts, errors="coerce")
        if (spans.isna() == texts.isna()).all():
            return np.asarray(spans.dt.total_seconds(), np.float64)
    parts = texts.astype("string").str.extract(CLOCK)
    hours, minutes, seconds, tenths = (_floats(parts[name].fillna("").tolist()) for name in ("h", "m", "s", "tenths"))
    is_short = np.isnan(seconds) & ~np.isnan(hours)  # minutes and seconds: 3:07.25
    time_s = np.where(is_short, hours * 60 + minutes + np.nan_to_num(tenths), hours * 3600 + minutes * 60 + seconds)
    half = parts["half"].str[0].str.lower()
    noon = np.where(half.notna().to_numpy(bool) & (hours == 12), -12 * 3600.0, 0.0)
    time_s = time_s + half.map(HALF_DAY).fillna(0.0).to_numpy(float) + noon
    return time_s + _days(parts["date"].fillna(parts["date_after"])) * DAY_S


def _days(dates: Any) -> Seconds:
    """Days since 1970 of dates that are written year first, day first or month first: whichever gives the shortest time."""
    import pandas as pd

    different = dates.dropna().unique()
    if not len(different):
        return np.zeros(len(dates))
    spans = {}
    for order in ("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y"):
        days = pd.to_datetime(pd.Series(different, dtype=object).str.replace(r"[/.]", "-", regex=True), format=order, errors="coerce")
        numbers = days.astype("datetime64[ns]").astype("int64").to_numpy() / 1e9 / DAY_S
        if not days.isna().any() and (np.diff(numbers) >= 0).all():
            spans[np.ptp(numbers)] = dict(zip(different, numbers, strict=True))
    if not spans:
        return np.zeros(len(dates))
    return dates.map(spans[min(spans)]).fillna(0.0).to_numpy(float)


def in_seconds(
    values: Shaped[np.ndarray, " row"], column: Column, is_text: bool, time_unit: str | None, rate_hz: float | None, path: Path
) -> tuple[Seconds, str, bool]:
    """Times in seconds from the first, NaN where there is none; in words what they were taken for; whether more than their steps tells it.

    `rate_hz` is the rate that was given or that the file names. Refuses a unit that cannot be told.
    """
    name = shown(column.name)
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    if not finite.any():
        raise Refusal(f"{path}: {name!r} holds no times")
    if is_text:
        return _over_midnight(values) - values[finite.argmax()], f"times of {name!r}", True
    first = _sound_first(values[finite])
    since_first = np.asarray(values - first, np.float64) if values.dtype.kind != "u" else values.astype(np.float64) - float(first)
    step = _usual_step(since_first[finite])
    stated = column.unit if column.unit in PER_S else ""
    if time_unit or stated:
        unit = time_unit or stated
        other = f" (its name says {stated})" if time_unit and stated and stated != time_unit else ""
        return since_first / PER_S[unit], f"times of {name!r} in {unit}{other}", True
    unit, is_certain = _told_unit(abs(float(first)), step, rate_hz)
    if not unit:
        raise Refusal(f"{path}: the unit of the times in {name!r} cannot be told (their usual step is {step:g}); give --time-unit")
    return since_first / PER_S[unit], f"times of {name!r} taken for {_in_words(unit)} (their usual step is {step:g})", is_certain


def _in_words(unit: str) -> str:
    return {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]


def _sound_first(values: Shaped[np.ndarray, " finite"]) -> Any:
    """The first time, or where it is far from all others (damaged) one of the middle: others less it keep their digits."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    is_far = abs(float(values[0]) - middle) > 1000 * (high - low) > 0
    return values.dtype.type(middle) if is_far else values[0]


def _usual_step(times: Seconds) -> float:
    """The usual time from a sample to the next: the median, or where most times are equal the mean of the middle part."""
    if len(times) < 2:
        return 0.0
    steps = np.diff(times)
    median = float(np.median(steps))
    if median > 0:
        return median
    tenth = len(times) // 10
    return float((times[-1 - tenth] - times[tenth]) / max(len(times) - 1 - 2 * tenth, 1))


def _told_unit(first: float, step: float, rate_hz: float | None) -> tuple[str, bool]:
    """The unit (empty where it cannot be told), and whether more than the step tells it."""
    if step <= 0:
        return "s", False  # what is wrong with such times is said later
    rates = {unit: PER_S[unit] / step for unit in GUESSED}
    if rate_hz:
        near = [unit for unit in GUESSED if abs(rates[unit] / rate_hz - 1) < 0.1]
        if near:
            return near[0], True
    of_epoch = next((unit for unit in GUESSED if EPOCH_S[0] < first / PER_S[unit] < EPOCH_S[1]), "")
    if of_epoch and RATES_HZ[0] / 100 <= rates[of_epoch] < RATES_HZ[1]:
        return of_epoch, True
    if 0.1 < step < 1:
        return "", False  # 5 Hz in seconds, or 5000 Hz in milliseconds
    return next((unit for unit in GUESSED if RATES_HZ[0] <= rates[unit] * (1 + 1e-9) and rates[unit] < RATES_HZ[1]), ""), False


def _over_midnight(time_s: Seconds) -> Seconds:
    """Times of day counted on where they begin anew; times with dates as they are."""
    finite = np.isfinite(time_s)
    if (time_s[finite] > DAY_S).any():
        return time_s
    steps = np.diff(time_s[finite], prepend=time_s[finite][:1])
    counted = time_s.copy()
    counted[finite] += DAY_S * np.cumsum((steps < -DAY_S / 2).astype(int) - (steps > DAY_S / 2))
    return counted
