"""Tables of text: one column or one row of samples, or several columns under a header, one of which may be the time.

A time column is called t, time or timestamp, with or without a unit: "Time [s]", "time_ms". Without one, steps longer than 1 are
taken for milliseconds. Uneven times are interpolated (modified Akima: local, little overshoot) onto an even grid at their usual
step; gaps of more than GAP_STEPS usual steps become NaN.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from heartlens.refusal import Refusal
from heartlens.signals.hints import Hints
from heartlens.signals.recording import Recording, agreed_rate, choose_lead, digest, kind_of_lead, record_name

TIME_NAME = re.compile(r"(t|time|timestamp|elapsed[ _]?time)[ _]*[\[(]?(s|sec|seconds|ms|msec|milliseconds)?[\])]?", re.IGNORECASE)
GAP_STEPS = 3  # a longer silence between two samples is a gap, not jitter
EVEN = 0.2  # times within this fraction of a step of an even grid are even

Signal = Float64[np.ndarray, " sample"]
Grid = Float64[np.ndarray, " grid"]


def read(path: Path, hints: Hints) -> Recording:
    """The recording in a table of text. Refuses what is not numbers, an unknown lead, and a rate that is missing or contradicted."""
    names, columns = _table(path)
    times = [name for name in names if TIME_NAME.fullmatch(name)][:1]
    leads = [name for name in names if name not in times]
    if not leads:
        raise Refusal(f"{path}: there is only a time column")
    index, notes = choose_lead(leads, hints.lead, hints.kind, path)
    signal = _numbers(columns[names.index(leads[index])], leads[index], path)
    rate_hz = hints.rate_hz
    if times:
        time_s, unit_notes = _seconds(_numbers(columns[names.index(times[0])], times[0], path), times[0], path)
        signal, rate_hz, time_notes = _evenly(signal, time_s, rate_hz, path)
        notes += unit_notes + time_notes
    rate_hz = agreed_rate(None, rate_hz, path)
    name = leads[index]
    return Recording(record_name(path), kind_of_lead(name), name, rate_hz, signal, "", None, str(path), digest(path), notes)


def _table(path: Path) -> tuple[list[str], list[Shaped[np.ndarray, " row"]]]:
    """The names and the columns. Blank lines inside are missing samples, for a line dropped would shift all that follow."""
    n_blank, first = _first_line(path)
    separator = next((mark for mark in "\t;," if mark in first), ",")
    names = [field.strip().strip("\"'").strip() for field in first.split(separator)]
    headerless = all(_is_number(name) for name in names)
    table = _parsed(path, separator, n_blank, None if headerless else 0)
    table = table[: table.notna().any(axis=1).to_numpy().nonzero()[0].max(initial=-1) + 1]
    if table.empty:
        raise Refusal(f"{path}: the table has no rows of numbers")
    if headerless:
        table = table.T if len(table) == 1 else table
        names = [f"column {index}" for index in range(table.shape[1])]
    return names[: table.shape[1]], [table.iloc[:, index].to_numpy() for index in range(table.shape[1])]


def _parsed(path: Path, separator: str, n_blank: int, header: int | None) -> Any:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep=separator,
                header=header,
                skiprows=n_blank,
                skip_blank_lines=False,
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
                na_values=["-"],
            )
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise Refusal(f"{path}: not a table of numbers ({str(error).splitlines()[0]})") from error


def _first_line(path: Path) -> tuple[int, str]:
    """How many blank lines the file begins with, and the line after them."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            found = next(((number, line) for number, line in enumerate(file) if line.strip()), None)
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not a text file") from error
    if found is None:
        raise Refusal(f"{path}: the file is empty")
    return found[0], found[1].rstrip("\r\n")


def _is_number(field: str) -> bool:
    try:
        return not field or float(field) is not None
    except ValueError:
        return False


def _numbers(column: Shaped[np.ndarray, " row"], name: str, path: Path) -> Signal:
    if column.dtype.kind in "fiu":
        return column.astype(np.float64)
    wrong = next((value for value in column if isinstance(value, str) and not _is_number(value)), column[0])
    raise Refusal(f"{path}: {name} holds {str(wrong)[:40]!r}, which is not a number")


def _seconds(time: Signal, name: str, path: Path) -> tuple[Signal, tuple[str, ...]]:
    if len(time) < 2 or np.isnan(time).any() or (np.diff(time) < 0).any():
        raise Refusal(f"{path}: the times in {name!r} must ascend and none may be missing")
    matched = TIME_NAME.fullmatch(name)
    unit = matched[2] if matched else None
    step = float(np.median(np.diff(time)))
    milliseconds = unit.lower().startswith("m") if unit else step > 1
    notes = () if unit else (f"times taken for {'milliseconds' if milliseconds else 'seconds'} (their usual step is {step:g})",)
    return time / 1000 if milliseconds else time, notes


def _evenly(signal: Signal, time_s: Signal, given_hz: float | None, path: Path) -> tuple[Grid, float, tuple[str, ...]]:
    steps = np.diff(time_s)
    mean, median = steps.mean(), np.median(steps)
    if median <= 0:
        raise Refusal(f"{path}: most times are equal to the one before")
    off_grid = np.abs(time_s - time_s[0] - np.arange(len(time_s)) * mean).max()
    repeated = (steps == 0).any()  # two samples at one time: the times are printed with too few digits
    if off_grid < (mean if repeated else max(EVEN * mean, _digit_s(time_s))):
        return signal, agreed_rate(1 / mean, given_hz, path), ()
    rate_hz = agreed_rate(1 / steps[np.abs(steps - median) < median / 2].mean(), given_hz, path)
    return _interpolated(signal, time_s, rate_hz), rate_hz, (f"uneven times: interpolated at {rate_hz:.4g} Hz",)


def _digit_s(time_s: Signal) -> float:
    """The value of the last printed digit of the times: what rounding may move them by."""
    digits = (digit for digit in (1e-1, 1e-2, 1e-3, 1e-4) if np.abs(time_s / digit - np.round(time_s / digit)).max() < 1e-3)
    return 1.001 * next(digits, 0.0)


def _interpolated(signal: Signal, time_s: Signal, rate_hz: float) -> Grid:
    from scipy.interpolate import Akima1DInterpolator

    known = np.isfinite(signal) & (np.diff(time_s, prepend=-np.inf) > 0)
    if known.sum() < 2:
        return np.full(len(signal), np.nan)
    time_s, signal, start_s, end_s = time_s[known], signal[known], time_s[0], time_s[-1]
    grid = start_s + np.arange(int((end_s - start_s) * rate_hz + 1e-6) + 1) / rate_hz
    even = Akima1DInterpolator(time_s, signal, method="makima")(grid)
    after = np.clip(np.searchsorted(time_s, grid), 1, len(time_s) - 1)
    even[time_s[after] - time_s[after - 1] > GAP_STEPS / rate_hz] = np.nan
    return np.asarray(even, np.float64)
