"""The beats of recordings in a figure and in words, from the stored summary alone."""

import json
from typing import Any

import numpy as np
import xarray as xr

from heartlens.axes import KINDS
from heartlens.findings import Findings
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.beats.detect import BANDS, HIGH, LOW, NUMBERS, Beats
from heartlens.tasks.command import first_lines


def plot(summary: xr.Dataset) -> Any:
    """Thirty seconds of the first recordings with their beats, and every beat's confidence and interval over the whole recording."""
    from heartlens import figures

    n_drawn = summary.sizes["example"]
    with figures.style():
        page = figures.page(figures.PAGE_MM, 90 if n_drawn == 1 else 15 + 38 * n_drawn)
        if n_drawn == 1:
            panels = [tuple(page.subplots(3, 1, height_ratios=(3, 2, 2)))]
        else:
            panels = [(*row, None) for row in page.subplots(n_drawn, 2, width_ratios=(3, 2), squeeze=False)]
        for number, (signal, confidence, interval) in enumerate(panels):
            own = summary.isel(example=number)
            index = int(own["signal_record_index"])
            of_record = summary["record_index"].values == index
            time_s, confidences, intervals = (summary[name].values[of_record] for name in ("time_s", "confidence", "interval_s"))
            beat = Beats(time_s, confidences, intervals, (), (), ())
            ends = (span.split("-") for span in filter(None, str(summary["gaps_s"].values[index]).split("; ")))
            spans = [(float(begin_s), float(end_s)) for begin_s, end_s in ends]
            _signal_panel(figures, signal, own, beat, str(summary["record"].values[index]))
            figures.by_band(confidence, beat.time_s, beat.confidence, beat.band_index, named=False)
            for bound in (LOW, HIGH):
                confidence.axhline(bound, color="0.6", linewidth=0.6, linestyle=":")
            confidence.set(ylim=(0, 1.02), ylabel="confidence", xlabel="time (s)")
            if interval is not None:
                figures.by_band(interval, beat.time_s, beat.interval_s, beat.band_index, named=False)
                interval.set(ylabel="interval (s)", xlabel="time (s)")
                interval.set_ylim(0, 1.1 * max(float(np.nanmax(beat.interval_s, initial=0.0)), 0.1))
            for axes in (confidence, interval):
                if axes is not None:
                    figures.gaps(axes, spans)
                    axes.set_xlim(0, float(summary["duration_s"].values[index]))
    return page


def _signal_panel(figures: Any, axes: Any, own: xr.Dataset, beat: Beats, name: str) -> None:
    """The excerpt of one recording with its beats."""
    rate_hz = KINDS["ppg"].rate_hz
    start_s, signal = float(own["signal_start_s"]), own["signal"].values
    signal = signal[np.isfinite(signal)]
    time_s = start_s + np.arange(len(signal)) / rate_hz
    place = np.round((beat.time_s - start_s) * rate_hz).astype(int)
    inside = (place >= 0) & (place < len(signal))
    axes.plot(time_s, signal, color="0.3", linewidth=0.7)
    figures.by_band(axes, beat.time_s[inside], signal[place[inside]].astype(float), beat.band_index[inside])
    axes.set(xlim=(time_s[0], time_s[-1]), ylabel="signal", xlabel="time (s)")
    axes.set_title(name, loc="left")


def findings(summary: xr.Dataset) -> Findings:
    """Each recording in one line."""
    used = summary.isel(record=np.flatnonzero(summary["reason"].values.astype(str) == ""))
    lines = [_in_words(used.isel(record=number)) for number in range(used.sizes["record"])]
    is_filtered = json.loads(summary.attrs.get("data_options", "{}")).get("bandpass", False)
    n_unsure = int((used["mean_confidence"].values <= HIGH).sum())
    hint = f"The detector is unsure in {n_unsure} of {len(lines)} recordings; it learnt from filtered pulses: try --bandpass."
    hints = (hint,) if n_unsure and not is_filtered else ()
    columns = (
        "record",
        "beats",
        "high",
        "medium",
        "low",
        "mean confidence",
        "used (s)",
        "gaps",
        "median interval (s)",
        "per minute",
        "not used",
    )
    shown = ("n_beats", "n_high", "n_medium", "n_low", "mean_confidence", "used_s", "n_gaps", "median_interval_s", "pulses_per_minute")
    rows = [
        (str(name), *(cell(round(float(summary[each].values[index]), 3)) for each in shown), str(summary["reason"].values[index]))
        for index, name in enumerate(summary["record"].values[:500])
    ]
    return Findings(
        title=f"Beats of {summary.attrs['n_records']} recordings, by {summary.attrs['checkpoint']}",
        question="Where are the beats, and how sure is the detector of each?",
        verdict=(*first_lines(lines, "records.csv"), *hints),
        columns=columns,
        rows=tuple(rows),
        cautions=(
            "Confidence is the detector's own; how often it is right was measured on other recordings (docs/beats.md).",
            "Intervals are between pulses at the finger, in steps of 20 ms; a pulse comes later than its R peak, by a varying time.",
            NOT_MEDICAL,
        ),
        methods=(
            "Windows of 500 tokens every 100, each tokenised by itself; a token's probability is the mean over its windows; beats are "
            "local maxima of at least 0.015, at least 0.28 s apart and at most 0.4 s wide, as published.",
            f"Bands as published: low below {LOW}, high above {HIGH}. Gaps hold no beats, and no interval reaches over one.",
        ),
    )


def _in_words(record: xr.Dataset) -> str:
    """A recording's beats in one line."""
    numbers = {name: float(record[name]) for name in NUMBERS}
    bands = ", ".join(f"{numbers[f'n_{band}']:.0f} {band}" for band in reversed(BANDS))
    rhythm = (
        f"; median interval {numbers['median_interval_s']:.3f} s ({numbers['pulses_per_minute']:.0f} per minute)"
        if np.isfinite(numbers["median_interval_s"])
        else ""
    )
    mean = f", mean confidence {numbers['mean_confidence']:.2f}" if numbers["n_beats"] else ""
    gaps = f"; gaps (s): {record['gaps_s'].item()}" if numbers["n_gaps"] else ""
    counted = f"{numbers['n_beats']:.0f} beats in {numbers['used_s']:.0f} of {numbers['duration_s']:.0f} s{mean}"
    return f"{record['record'].item()}: {counted}; confidence of beats: {bands}{rhythm}{gaps}"


def cell(value: float) -> str:
    """A number as the tables have it; nothing where it is not known."""
    return "" if np.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
