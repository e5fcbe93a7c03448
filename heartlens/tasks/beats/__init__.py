"""Where are the beats of a pulse recording of any length, and how sure is the detector of each?

The published procedure (HeartGPT, `PPG_beat_detect`): windows of 500 tokens every 100, each tokenised by itself, the last ones filled up
with token 0; the probability of a token is the mean over the windows that hold it; beats are its local maxima (`measures.beat_matching`).
Bands of confidence as published: low below 0.2051, high above 0.4598. What cannot be used of a recording is a gap: no beats are looked for
there, and no interval reaches over it.
"""

import hashlib
import re
from argparse import Namespace
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from heartlens.axes import KINDS
from heartlens.refusal import Refusal
from heartlens.tasks.beats.detect import HIGH, LOW, NUMBERS, STEP, Beats, beats_in, refuse_other_models
from heartlens.tasks.beats.page import cell, findings, plot
from heartlens.tasks.command import Made, Task, first_lines, mat
from heartlens.tasks.recordings import Prepared, files_of, inventory_of_recordings, recordings_of

COLUMNS = ("record", "person", "time_s", "confidence", "band", "interval_s", "reason")
N_DRAWN, DRAWN_S = 4, 30.0  # recordings, and seconds of each
# imported one by one while the model's threads are at work: afterwards all would wait for it
NEEDED_LATER = ("scipy.optimize", "scipy.stats", "scipy.signal", "heartlens.figures", "heartlens.report")


def add_arguments(parser: Any) -> None:
    """The options of the task."""
    group = parser.add_argument_group("further files")
    group.add_argument("--annotations", action="store_true", help="also write WFDB annotations (RECORD.beats)")
    group.add_argument("--mat", action="store_true", help="also write RECORD.mat: context, model_output and peaks_array, as published")


def made(given: Namespace, subject: Any) -> Made:
    """The beats of all recordings, one recording after the other."""
    rate_hz, kind = KINDS[subject.kind].rate_hz, subject.kind
    beat_rows: list[tuple[Any, ...]] = []
    record_rows: list[tuple[Any, ...]] = []
    recordings, lines = list[Prepared](), list[str]()
    drawn: list[tuple[int, float, np.ndarray]] = []
    files: dict[str, bytes] = {}
    by_beat: list[tuple[int, np.ndarray]] = []
    n_windows = 0
    imported = map(import_module, NEEDED_LATER)
    refuse_other_models(subject)
    for prepared in recordings_of(files_of(given, kind), kind, given.keep_names):
        recordings.append(prepared.bare)
        about = (prepared.name, prepared.person)
        if prepared.reason:
            lines.append(f"{prepared.name}: not used: {prepared.reason}")
            beat_rows.append((*about, "", "", "", "", prepared.reason))
            record_rows.append((*about, *[""] * len(NUMBERS), "", prepared.reason))
            continue
        detected = beats_in(subject, prepared, lambda n_windows: next(imported, None))
        numbers, gaps = detected.numbers(rate_hz, prepared.duration_s), detected.gaps(rate_hz, prepared.duration_s)
        record_rows.append((*about, *map(cell, numbers.values()), "; ".join(f"{begin:.2f}-{end:.2f}" for begin, end in gaps), ""))
        beat_rows += rows_of(about, detected)
        n_windows += sum(len(range(0, len(each), STEP)) for each in detected.probability)
        by_beat.append((len(recordings) - 1, np.stack([detected.time_s, detected.confidence, detected.interval_s])))
        if len(drawn) < N_DRAWN:
            drawn.append(excerpt(prepared, len(recordings) - 1, rate_hz))
        files |= forms(given, prepared, detected, rate_hz)
    if len(lines) == len(recordings):
        raise Refusal(f"no recording could be used: {recordings[0].name}: {recordings[0].reason}")
    summary = summary_of(recordings, record_rows, by_beat, drawn)
    summary.attrs["n_windows"] = n_windows
    read = inventory_of_recordings(recordings, kind, n_windows)
    tables = {"beats.csv": (COLUMNS, beat_rows), "records.csv": (("record", "person", *NUMBERS, "gaps_s", "reason"), record_rows)}
    return Made(summary, read, tables, files, first_lines(lines, "records.csv"), len(lines))


def summary_of(
    recordings: list[Prepared], rows: list[tuple[Any, ...]], by_beat: list[tuple[int, np.ndarray]], drawn: list[Any]
) -> xr.Dataset:
    """All beats and recordings, and the excerpts that are drawn."""
    time_s, confidence, interval_s = np.concatenate([values for _, values in by_beat], axis=1)
    of_record = np.concatenate([np.full(values.shape[1], index) for index, values in by_beat])
    numbers = {name: (("record",), np.array([float(row[2 + place] or "nan") for row in rows])) for place, name in enumerate(NUMBERS)}
    length = max(len(signal) for _, _, signal in drawn)
    signals = np.stack([np.pad(signal.astype(float), (0, length - len(signal)), constant_values=np.nan) for _, _, signal in drawn])
    return xr.Dataset(
        {
            "person": (("record",), np.array([each.person for each in recordings], np.str_)),
            "reason": (("record",), np.array([each.reason for each in recordings], np.str_)),
            "gaps_s": (("record",), np.array([str(row[-2]) for row in rows], np.str_)),
            **numbers,
            "time_s": (("beat",), time_s),
            "confidence": (("beat",), confidence),
            "interval_s": (("beat",), interval_s),
            "record_index": (("beat",), of_record),
            "signal": (("example", "sample"), signals),
            "signal_start_s": (("example",), np.array([start_s for _, start_s, _ in drawn])),
            "signal_record_index": (("example",), np.array([index for index, _, _ in drawn])),
        },
        coords={"record": [each.name for each in recordings]},
        attrs={"n_records": len(by_beat), "kind": "ppg", "low_below": LOW, "high_above": HIGH},
    )


def excerpt(prepared: Prepared, index: int, rate_hz: float) -> tuple[int, float, np.ndarray]:
    """The first seconds of the longest usable stretch."""
    signal, start_s = max(prepared.stretches, key=lambda stretch: len(stretch[0]))
    return index, start_s, signal[: round(DRAWN_S * rate_hz)]


def rows_of(about: tuple[str, str], detected: Beats) -> list[tuple[Any, ...]]:
    each = zip(detected.time_s, detected.confidence, detected.band, detected.interval_s, strict=True)
    return [
        (*about, f"{time_s:.3f}", f"{confidence:.6f}", band, "" if np.isnan(interval_s) else f"{interval_s:.3f}", "")
        for time_s, confidence, band, interval_s in each
    ]


def forms(given: Namespace, prepared: Prepared, detected: Beats, rate_hz: float) -> dict[str, bytes]:
    """The further files that were asked for, named after the record."""
    name, forms = file_stem(prepared.name), dict[str, bytes]()
    token = np.round(detected.time_s * rate_hz).astype(int)
    if given.annotations:
        forms[f"{name}.beats"] = _annotations(token, rate_hz)
    if given.mat:
        starts = [round(start_s * rate_hz) for start_s in detected.starts_s]
        n_tokens = max(start + len(each) for start, each in zip(starts, detected.probability, strict=True))
        arrays = {"context": np.full(n_tokens, np.nan), "model_output": np.full(n_tokens, np.nan), "peaks_array": np.zeros(n_tokens)}
        for start, probability, context in zip(starts, detected.probability, detected.context, strict=True):
            arrays["model_output"][start : start + len(probability)] = probability
            arrays["context"][start : start + len(context)] = context
        arrays["peaks_array"][token] = detected.confidence
        forms[f"{name}.mat"] = mat(**arrays)
    return forms


def file_stem(name: str) -> str:
    """A recording's name as that of a file; where letters had to be replaced, with a hash, so that two recordings never share a file.

    >>> file_stem("cf10d3/hour"), file_stem("Müller"), file_stem("Möller")
    ('cf10d3_hour', 'M_ller-a78429', 'M_ller-eb7816')
    """
    legal = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return legal if legal == name.replace("/", "_") else f"{legal}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _annotations(token: Int[np.ndarray, " beat"], rate_hz: float) -> bytes:
    """A WFDB annotation file: a normal beat (N) at each sample at the model's rate."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import wfdb

    if not len(token):
        return b"\0\0"  # the end of an annotation file that holds none
    with TemporaryDirectory() as folder:
        wfdb.wrann("record", "beats", token, ["N"] * len(token), fs=rate_hz, write_dir=folder)
        return Path(folder, "record.beats").read_bytes()


TASK = Task("beats", __doc__, "a beat detector: ppg-beat, or one's own file", add_arguments, made, plot, findings)
run_command = TASK.run_command
